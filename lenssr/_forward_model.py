"""Forward model of an observation, PSF convolution and binning, and its adjoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import fft

from lenssr.image import check_tile, oversample_psf, relative_kernel, tiles

if TYPE_CHECKING:
    import torch


DEFAULT_TILE = 256  # side of a tile in input pixels


class PolyphaseConvolution:
    """
    Convolution between a grid and a grid ``scale`` times finer, tile by tile.

    Fine pixel ``j`` lies at ``u_j = (j + 0.5) / scale - 0.5`` in coarse pixels. `forward` computes
    ``y_i = sum_j K(u_i - u_j) x_j``, `adjoint` its transpose; both grids are zero outside. The
    fine image is split into its ``scale**2`` interleaved phases, and each phase is convolved with
    a phase of the kernel on the coarse grid. The kernel has shape ``(scale * n, scale * m)`` with
    ``n`` and ``m`` odd, sampled at the offsets of `lenssr.image.oversample_psf`.
    """

    def __init__(self, kernel, scale, shape, tile=None):
        size = [n // scale for n in kernel.shape]
        if any(n % 2 == 0 or n * scale != k for n, k in zip(size, kernel.shape, strict=True)):
            raise ValueError(f"`kernel` must have {scale} times an odd number of elements in both "
                             f"axes, got shape {kernel.shape}")
        self.scale = scale
        self.shape = tuple(shape)
        self.radius = tuple(n // 2 for n in size)
        side = tuple(min(check_tile(tile) or DEFAULT_TILE, n) for n in self.shape)
        self._tiles = tiles(self.shape, side, self.radius)
        self._lengths = tuple(
            fft.next_fast_len(n + 2 * r, real=True)
            for n, r in zip(side, self.radius, strict=True)
        )
        # y_i = sum_m K_a[i - m + radius] x[scale m + a] with K_a = K[scale - 1 - a :: scale]
        phases = _split(kernel[::-1, ::-1], scale)[:, :, ::-1, ::-1]
        self._transfer = fft.rfft2(phases, s=self._lengths)

    def forward(self, fine):
        """Convolve an image of the fine grid to the coarse grid."""
        phases = _split(fine, self.scale)
        coarse = np.empty(self.shape)
        skip = tuple(slice(2 * r, None) for r in self.radius)
        for tile in self._tiles:
            spectrum = fft.rfft2(self._padded(phases, tile))
            spectrum *= self._transfer
            block = fft.irfft2(spectrum.sum(axis=(0, 1)), s=self._lengths)[skip]
            ny, nx = (c.stop - c.start for c in tile.core)
            coarse[tile.core] = block[:ny, :nx]
        return coarse

    def adjoint(self, coarse):
        """Apply the transpose of `forward`."""
        fine = np.empty(tuple(self.scale * n for n in self.shape))
        phases = _split(fine, self.scale)
        for tile in self._tiles:
            spectrum = fft.rfft2(self._padded(coarse, tile))
            block = fft.irfft2(spectrum * self._transfer.conj(), s=self._lengths)
            ny, nx = (c.stop - c.start for c in tile.core)
            phases[:, :, *tile.core] = block[:, :, :ny, :nx]
        return fine

    def _padded(self, array, tile):
        """Return a tile with its halo, zero-padded to the FFT length."""
        block = np.zeros(array.shape[:-2] + self._lengths)
        inner = tuple(
            slice(p.start - c.start + r, p.stop - c.start + r)
            for c, p, r in zip(tile.core, tile.padded, self.radius, strict=True)
        )
        block[..., *inner] = array[..., *tile.padded]
        return block


class PSFConvolution(PolyphaseConvolution):
    """
    PSF convolution and binning of a scene in flux per fine pixel.

    The effective PSF of the data includes the pixel response, so that sampling the convolved scene
    at the pixel centres does the binning.
    """

    def __init__(self, psf, scale, shape, tile=None):
        super().__init__(oversample_psf(psf, scale), scale, shape, tile)


class ForwardModel:
    """
    Prediction of noise-free data from an image at the target resolution.

    Both images are surface brightness: a constant image stays constant. The image is continued by
    its edge values.
    """

    def __init__(self, psf, scale, shape, tile=None):
        self.scale = scale
        self.margin = tuple(n // 2 for n in psf.shape)
        padded = tuple(n + 2 * m for n, m in zip(shape, self.margin, strict=True))
        self._kernel = PolyphaseConvolution(relative_kernel(psf, scale), scale, padded, tile)

    def forward(self, image):
        """Predict the noise-free data, ``(ny, nx)``, of an image."""
        padded = np.pad(image, [(self.scale * m,) * 2 for m in self.margin], mode="edge")
        (my, mx), data = self.margin, self._kernel.forward(padded) / self.scale**2
        return data[my:data.shape[0] - my, mx:data.shape[1] - mx]

    def adjoint(self, data):
        """Apply the transpose of `forward`."""
        image = self._kernel.adjoint(np.pad(data, [(m, m) for m in self.margin]))
        image /= self.scale**2
        for axis, m in enumerate(self.margin):
            image = _fold_edges(np.moveaxis(image, axis, 0), self.scale * m)
            image = np.moveaxis(image, 0, axis)
        return image


def _fold_edges(padded, m):
    """Apply the transpose of edge padding by ``m`` pixels along the first axis."""
    inner = padded[m:len(padded) - m].copy()
    inner[0] += padded[:m].sum(axis=0)
    inner[-1] += padded[len(padded) - m:].sum(axis=0)
    return inner


def convolve_tiled(image, kernel, tile=None):
    """Convolve an image with an odd kernel; keep the shape, zero outside."""
    return PolyphaseConvolution(kernel, 1, image.shape, tile).forward(image)


def _split(fine, scale):
    """Return a view of the interleaved phases, shape ``(scale, scale, ny, nx)``."""
    ny, nx = (n // scale for n in fine.shape)
    return fine.reshape(ny, scale, nx, scale).transpose(1, 3, 0, 2)


LOG_AREA_OFFSET = 2.5  # logarithm of the area in pixels of a typical PSF


class BatchForwardModel:
    """
    Differentiable `ForwardModel` of a batch, with a kernel for each image.

    The kernels of `lenssr.image.relative_kernel` have shape ``(batch, scale * n, scale * m)``, the
    data ``(batch, 1, ny, nx)``.
    """

    def __init__(self, kernel: torch.Tensor, scale: int, shape: tuple):
        import torch
        from torch.nn import functional

        self.scale, self.shape = scale, tuple(shape)
        self.margin = tuple(n // scale // 2 for n in kernel.shape[-2:])
        self.sides = tuple(n + 2 * m for n, m in zip(self.shape, self.margin))
        # Phases as in PolyphaseConvolution; the margins, which are cropped, absorb the wrap-around.
        phases = functional.pixel_unshuffle(kernel.flip(-2, -1)[:, None], scale).flip(-2, -1)
        self.transfer = torch.fft.rfft2(phases, s=self.sides) / scale**2

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Predict the noise-free data of images ``scale`` times finer."""
        import torch
        from torch.nn import functional

        (my, mx), s = self.margin, self.scale
        image = functional.pad(image, (s * mx, s * mx, s * my, s * my), mode="replicate")
        spectrum = torch.fft.rfft2(functional.pixel_unshuffle(image, s))
        data = torch.fft.irfft2((spectrum * self.transfer).sum(dim=1, keepdim=True), s=self.sides)
        return data[..., 2 * my:, 2 * mx:]

    def adjoint(self, data: torch.Tensor) -> torch.Tensor:
        """Apply the transpose of `forward`."""
        import torch
        from torch.nn import functional

        (my, mx), s = self.margin, self.scale
        spectrum = torch.fft.rfft2(functional.pad(data, (2 * mx, 0, 2 * my, 0)))
        image = functional.pixel_shuffle(
            torch.fft.irfft2(spectrum * self.transfer.conj(), s=self.sides), s)
        return _fold_edges_tensor(_fold_edges_tensor(image, s * my, -2), s * mx, -1)


def covered_area(kernel: torch.Tensor, scale: int) -> torch.Tensor:
    """Return the effective area of kernels in input pixels, shape ``(batch,)``."""
    return scale**2 / (kernel**2).sum(dim=(-2, -1))


def _fold_edges_tensor(image, m, axis):
    """Apply the transpose of edge padding by ``m`` pixels along an axis."""
    if not m:
        return image
    import torch

    n = image.shape[axis] - 2 * m
    before, inner, after = image.split([m, n, m], axis)
    edges = [before.sum(axis, keepdim=True), after.sum(axis, keepdim=True)]
    if n == 1:
        return inner + edges[0] + edges[1]
    first, interior, last = inner.split([1, n - 2, 1], axis)
    return torch.cat([first + edges[0], interior, last + edges[1]], axis)
