"""The observation of an image of the declared resolution, for batches in torch."""

import torch
from torch.nn import functional

__all__ = ["MIDDLE_AREA", "Observation", "covered_area"]

#: Logarithm of the pixels that a PSF of middling width covers, which is told as zero.
MIDDLE_AREA = 2.5


class Observation:
    """
    What telescopes make of images, each through a kernel of its own, and the transpose.

    The twin of `lenssr.methods._operator.Degrade` that can be differentiated: surface
    brightness on both grids, and beyond its frame an image goes on as its edge.

    Parameters
    ----------
    kernel : `~torch.Tensor`
        Kernels as `lenssr.image._kernels.relative_kernel` makes them, shape
        ``(batch, scale * n, scale * m)`` with ``n`` and ``m`` odd.
    scale : int
        Output pixels per input pixel along each axis.
    shape : tuple of int
        Shape ``(ny, nx)`` of the data.
    """

    def __init__(self, kernel: torch.Tensor, scale: int, shape: tuple):
        self.scale, self.shape = scale, tuple(shape)
        self.margin = tuple(n // scale // 2 for n in kernel.shape[-2:])
        self.sides = tuple(n + 2 * m for n, m in zip(self.shape, self.margin))
        # y_i = sum_m K_a[i - m + margin] x[scale m + a] with K_a = K[scale - 1 - a :: scale],
        # as in PhaseKernel; what wraps around falls into the margins, which are cut.
        phases = functional.pixel_unshuffle(kernel.flip(-2, -1)[:, None], scale).flip(-2, -1)
        self.transfer = torch.fft.rfft2(phases, s=self.sides) / scale**2

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """The data, ``(batch, 1, ny, nx)``, that images, ``scale`` times finer, mean."""
        (my, mx), s = self.margin, self.scale
        image = functional.pad(image, (s * mx, s * mx, s * my, s * my), mode="replicate")
        spectrum = torch.fft.rfft2(functional.pixel_unshuffle(image, s))
        data = torch.fft.irfft2((spectrum * self.transfer).sum(dim=1, keepdim=True), s=self.sides)
        return data[..., 2 * my:, 2 * mx:]

    def adjoint(self, data: torch.Tensor) -> torch.Tensor:
        """The transpose of `forward`, of data ``(batch, 1, ny, nx)``."""
        (my, mx), s = self.margin, self.scale
        spectrum = torch.fft.rfft2(functional.pad(data, (2 * mx, 0, 2 * my, 0)))
        image = functional.pixel_shuffle(
            torch.fft.irfft2(spectrum * self.transfer.conj(), s=self.sides), s)
        return _folded(_folded(image, s * my, -2), s * mx, -1)


def covered_area(kernel: torch.Tensor, scale: int) -> torch.Tensor:
    """How many input pixels kernels cover, ``(batch,)``: noise averages down by as many."""
    return scale**2 / (kernel**2).sum(dim=(-2, -1))


def _folded(image, m, dim):
    """Transpose of continuing an axis by its edges."""
    if not m:
        return image
    n = image.shape[dim] - 2 * m
    before, inner, after = image.split([m, n, m], dim)
    edges = [before.sum(dim, keepdim=True), after.sum(dim, keepdim=True)]
    if n == 1:
        return inner + edges[0] + edges[1]
    first, middle, last = inner.split([1, n - 2, 1], dim)
    return torch.cat([first + edges[0], middle, last + edges[1]], dim)
