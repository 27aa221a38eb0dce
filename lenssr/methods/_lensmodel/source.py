"""The source on a grid: what profiles leave, seen through the lens."""

import torch

from lenssr.lensing import sersic_profile

__all__ = ["SourceGrid"]

SIDE = 20         # pixels along a side
REACH = 3.0       # half-light radii of the source on either side
FLOOR = 0.02      # of the peak: what the source may have where its profiles have nothing
LENGTH = 1.0      # pixels over which neighbours are alike


class SourceGrid:
    """Surface brightness of a source on a square grid, linear between its pixels."""

    def __init__(self, profiles, amplitudes, side=SIDE):
        self.profiles, self.amplitudes, self.side = profiles, amplitudes, side
        radii = profiles[:, 2].exp()
        flux = (amplitudes * radii**2).clamp(min=0) + 1e-12
        self.centre = (profiles[:, :2] * flux[:, None]).sum(0) / flux.sum()
        off = (profiles[:, :2] - self.centre).norm(dim=1)
        share = flux / flux.sum()
        size = float((share * (off + radii)).sum())
        self.half = REACH * max(size, 0.3)
        self.step = 2 * self.half / (side - 1)

    def axes(self):
        """Places of the pixels along x and y."""
        place = torch.linspace(-self.half, self.half, self.side, dtype=torch.float64)
        return tuple(c + place for c in self.centre)

    def smooth(self):
        """Surface brightness of the profiles at the pixels, ``(side, side)``."""
        x, y = self.axes()
        light = sersic_profile(x[None, :], y[:, None], self.profiles)
        return (self.amplitudes[:, None, None] * light).sum(0)

    def root(self):
        """Root ``(side**2, side**2)`` of the prior covariance of what is left at the pixels."""
        # The cusp of a profile is no measure of what is left beside it.
        level = self.smooth().clamp(min=0)
        level = torch.nn.functional.avg_pool2d(level[None, None], 3, 1, 1)[0, 0]
        level = (level + FLOOR * level.max() + 1e-9).ravel()
        index = torch.arange(self.side, dtype=torch.float64)
        apart = ((index[:, None] - index) / LENGTH) ** 2
        line = torch.exp(-apart / 2)
        line = torch.linalg.cholesky(line + 1e-4 * torch.eye(self.side, dtype=torch.float64))
        return level[:, None] * torch.kron(line, line)

    def _weights(self, beta):
        """For each ray, its cell and its place therein; none for rays that miss the grid."""
        found = []
        for b, c in zip(beta, self.centre):
            u = (b - (float(c) - self.half)) / self.step
            cell = u.floor().clamp(0, self.side - 2)
            found.append((cell.long(), u - cell, (u > 0) & (u < self.side - 1)))
        (ix, fx, okx), (iy, fy, oky) = found
        return ix, iy, fx, fy, okx & oky

    def planes(self, beta):
        """What each pixel shows of itself, ``(side**2, ny, nx)``."""
        ix, iy, fx, fy, ok = self._weights(beta)
        planes = beta[0].new_zeros(self.side**2, beta[0].numel())
        at = torch.arange(beta[0].numel())
        for dx, wx in ((0, 1 - fx), (1, fx)):
            for dy, wy in ((0, 1 - fy), (1, fy)):
                index = ((iy + dy) * self.side + ix + dx).ravel()
                planes[index, at] = (wx * wy * ok).ravel()
        return planes.reshape(-1, *beta[0].shape)

    def light(self, beta, pixels):
        """Surface brightness where rays meet the grid, and its derivatives along x and y."""
        ix, iy, fx, fy, ok = self._weights(beta)
        p = pixels.reshape(self.side, self.side).to(fx.dtype)
        a, b, c, d = p[iy, ix], p[iy, ix + 1], p[iy + 1, ix], p[iy + 1, ix + 1]
        value = (a * (1 - fx) + b * fx) * (1 - fy) + (c * (1 - fx) + d * fx) * fy
        by_x = ((b - a) * (1 - fy) + (d - c) * fy) / self.step
        by_y = ((c - a) * (1 - fx) + (d - b) * fx) / self.step
        return value * ok, by_x * ok, by_y * ok
