"""Lens model with a pixelated source and a correction of the lensing potential."""

from dataclasses import dataclass

import torch

from lenssr.lensing import (
    SplinePotential,
    deflection_derivatives,
    series_terms,
    sersic_derivatives,
    sersic_profile,
)
from lenssr.methods._lens_model._scene import ParametricScene, ScenePriors

SOURCE_SIDE = 20          # pixels along a side of the source grid
SOURCE_RADIUS = 3.0       # half-light radii from the centre of the source grid to its edge
MIN_SOURCE_STD = 0.02     # of the peak; prior width where the profiles are dark
CORRELATION_LENGTH = 1.0  # of the source prior, pixels
POTENTIAL_NODES = 7       # along a side of the potential correction
POTENTIAL_RADIUS = 1.5    # Einstein radii that the potential correction covers


class SourceGrid:
    """
    Surface brightness of a source on a square grid, bilinear between its pixels.

    ``profiles`` ``(k, 6)`` and their ``amplitudes`` set the extent of the grid and the prior.
    """

    def __init__(self, profiles, amplitudes, side=SOURCE_SIDE):
        self.profiles, self.amplitudes, self.side = profiles, amplitudes, side
        radii = profiles[:, 2].exp()
        flux = (amplitudes * radii**2).clamp(min=0) + 1e-12
        self.centre = (profiles[:, :2] * flux[:, None]).sum(0) / flux.sum()
        offset = (profiles[:, :2] - self.centre).norm(dim=1)
        size = float((flux / flux.sum() * (offset + radii)).sum())
        self.half = SOURCE_RADIUS * max(size, 0.3)
        self.step = 2 * self.half / (side - 1)

    def _profile_light(self):
        """Surface brightness of the profiles at the pixels, ``(side, side)``."""
        axis = torch.linspace(-self.half, self.half, self.side, dtype=torch.float64)
        x, y = (c + axis for c in self.centre)
        light = sersic_profile(x[None, :], y[:, None], self.profiles)
        return (self.amplitudes[:, None, None] * light).sum(0)

    def prior_root(self):
        """Root ``(side**2, side**2)`` of the prior covariance of the residual source."""
        # Smoothed, as the cusp of a profile does not measure the residual next to it.
        std = self._profile_light().clamp(min=0)
        std = torch.nn.functional.avg_pool2d(std[None, None], 3, 1, 1)[0, 0]
        std = (std + MIN_SOURCE_STD * std.max() + 1e-9).ravel()
        index = torch.arange(self.side, dtype=torch.float64)
        distance2 = ((index[:, None] - index) / CORRELATION_LENGTH) ** 2
        root = torch.linalg.cholesky(torch.exp(-distance2 / 2)
                                     + 1e-4 * torch.eye(self.side, dtype=torch.float64))
        return std[:, None] * torch.kron(root, root)

    def _cells(self, beta):
        """Cell indices of rays, positions within the cells, and flags of rays on the grid."""
        axes = []
        for b, c in zip(beta, self.centre):
            u = (b - (float(c) - self.half)) / self.step
            cell = u.floor().clamp(0, self.side - 2)
            axes.append((cell.long(), u - cell, (u > 0) & (u < self.side - 1)))
        (ix, fx, inside_x), (iy, fy, inside_y) = axes
        return ix, iy, fx, fy, inside_x & inside_y

    def planes(self, beta):
        """Lensed images of single source pixels, ``(side**2, ny, nx)``, for rays ``(ny, nx)``."""
        ix, iy, fx, fy, inside = self._cells(beta)
        planes = beta[0].new_zeros(self.side**2, beta[0].numel())
        rays = torch.arange(beta[0].numel())
        for dx, wx in ((0, 1 - fx), (1, fx)):
            for dy, wy in ((0, 1 - fy), (1, fy)):
                index = ((iy + dy) * self.side + ix + dx).ravel()
                planes[index, rays] = (wx * wy * inside).ravel()
        return planes.reshape(-1, *beta[0].shape)

    def light(self, beta, pixels):
        """Surface brightness of rays, and its derivatives along x and y."""
        ix, iy, fx, fy, inside = self._cells(beta)
        p = pixels.reshape(self.side, self.side).to(fx.dtype)
        a, b, c, d = p[iy, ix], p[iy, ix + 1], p[iy + 1, ix], p[iy + 1, ix + 1]
        value = (a * (1 - fx) + b * fx) * (1 - fy) + (c * (1 - fx) + d * fx) * fy
        by_x = ((b - a) * (1 - fy) + (d - c) * fy) / self.step
        by_y = ((c - a) * (1 - fx) + (d - b) * fx) / self.step
        return value * inside, by_x * inside, by_y * inside


@dataclass
class PixelatedState:
    """
    Values of a pixelated model: parameters ``(n,)``, amplitudes ``(k,)``, coefficients, pixels.

    Potential coefficients and source pixels are in units of their prior widths.
    """

    values: torch.Tensor
    amplitudes: torch.Tensor
    potential: torch.Tensor
    pixels: torch.Tensor

    @property
    def group_sizes(self):
        """Number of values of each group."""
        return [len(group) for group in vars(self).values()]

    def joined(self):
        """All values in one vector."""
        return torch.cat([*vars(self).values()])

    def moved(self, step):
        """State after a step in the joined vector."""
        return PixelatedState(*(group + change for group, change in zip(
            vars(self).values(), step.split(self.group_sizes))))


class PixelatedModel:
    """Images and derivatives of a pixelated model, started at one `LensFit`."""

    def __init__(self, fits, grid, data, side):
        layout = fits.layout
        self.layout, self.grid, self.data = layout, grid, data
        self.scene, self.priors = ParametricScene(layout, grid), ScenePriors(layout)
        self.source_grid = self.potential = None
        counts = [0, 0]
        if layout.lens:
            lens_params = fits.values[0, layout.slices("lens")[0]]
            step = 2 * POTENTIAL_RADIUS * float(lens_params[0].exp()) / (POTENTIAL_NODES - 3)
            self.potential = SplinePotential((float(lens_params[4]), float(lens_params[5])), step,
                                             POTENTIAL_NODES)
            self.potential_unit = step**2
            profiles = torch.stack([fits.values[0, params] for params in layout.slices("source")])
            self.source_grid = SourceGrid(profiles, fits.amplitudes[0, :layout.sources], side)
            self.prior_root = self.source_grid.prior_root()
            counts = [self.potential.count, side**2]
        self.start = PixelatedState(fits.values[0].clone(), fits.amplitudes[0].clone(),
                                    *(torch.zeros(n, dtype=torch.float64) for n in counts))

    def trace_rays(self, state, derivatives=False):
        """Source-plane positions of rays, and with ``derivatives`` deflection derivatives."""
        grid = self.grid
        lens_params = state.values[None, self.layout.slices("lens")[0]].to(self.scene.dtype)
        alpha, alpha_derivs = deflection_derivatives(grid.x, grid.y, lens_params,
                                                     series_terms(lens_params))
        correction = self.potential.deflect(grid.x.ravel(), grid.y.ravel(),
                                            state.potential * self.potential_unit)
        beta = (grid.x - alpha.real[0] - correction[0], grid.y - alpha.imag[0] - correction[1])
        return (beta, alpha_derivs[:, 0]) if derivatives else beta

    def source_pixels(self, state):
        """Pixelated residual of the source profiles, ``(side, side)``."""
        return (self.prior_root @ state.pixels).reshape(self.source_grid.side, -1)

    def image(self, state):
        """Image at the target resolution, margins included."""
        planes = self._foreground(state)[0]
        n = self.layout.sources
        image = torch.einsum("k,kyx->yx", state.amplitudes[n:].to(planes.dtype), planes)
        if not self.layout.lens:
            return image
        beta = self.trace_rays(state)
        light = self.source_grid.light(beta, self.source_pixels(state))[0]
        for params, amplitude in zip(self.layout.slices("source"), state.amplitudes):
            light = light + amplitude.to(light.dtype) * sersic_profile(
                *beta, state.values[None, params].to(light.dtype))[0]
        return image + self.grid.to_target(light)

    def _foreground(self, state, derivatives=False):
        """Planes of light, points and sky, and slices and derivatives of the first two."""
        values = state.values[None].to(self.scene.dtype)
        components = list(self.scene.foreground(values, derivatives))
        sky = torch.ones(self.grid.target_shape, dtype=self.scene.dtype)
        return (torch.stack([*(plane[0] for _, plane, _ in components), sky]),
                [(params, change) for params, _, change in components])

    def linearize(self, state):
        """Image at the target resolution, and its derivatives in the joined state."""
        grid, layout, dtype = self.grid, self.layout, self.scene.dtype
        planes, changes = self._foreground(state, derivatives=True)
        amplitudes = state.amplitudes.to(dtype)
        derivs = planes.new_zeros(layout.size, *planes.shape[1:])
        for (params, change), amplitude in zip(changes, amplitudes[layout.sources:]):
            derivs[params] = amplitude * change[:, 0]
        if not layout.lens:
            return torch.einsum("k,kyx->yx", amplitudes, planes), torch.cat([derivs, planes])
        beta, alpha_derivs = self.trace_rays(state, derivatives=True)
        value, by_x, by_y = self.source_grid.light(beta, self.source_pixels(state))
        lensed = []
        for params, amplitude in zip(layout.slices("source"), amplitudes):
            light, light_derivs = sersic_derivatives(*beta, state.values[None, params].to(dtype))
            derivs[params] = grid.to_target(amplitude * light_derivs[:, 0])
            lensed.append(grid.to_target(light[0]))
            by_x = by_x - amplitude * light_derivs[0, 0]
            by_y = by_y - amplitude * light_derivs[1, 0]
        derivs[layout.slices("lens")[0]] = grid.to_target(
            -(by_x * alpha_derivs.real + by_y * alpha_derivs.imag))
        nodes = self.potential.derivatives(grid.x.ravel(), grid.y.ravel())
        nodes = grid.to_target(-self.potential_unit * (by_x * nodes[0] + by_y * nodes[1]))
        pixels = grid.to_target(self.source_grid.planes(beta))
        pixels = torch.einsum("kyx,kj->jyx", pixels, self.prior_root.to(dtype))
        planes = torch.cat([torch.stack(lensed), planes])
        image = torch.einsum("k,kyx->yx", amplitudes, planes) + grid.to_target(value)
        return image, torch.cat([derivs, planes, nodes, pixels])
