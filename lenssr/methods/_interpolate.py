"""Interpolation: bilinear, bicubic, Lanczos."""

import numpy as np
from scipy import signal, sparse

from lenssr._validation import check_name
from lenssr.image import expand_mask, oversample_psf
from lenssr.methods._base import Restoration
from lenssr.uncertainty import ErrorCorrelation, kernel_correlation


def _bilinear(d):
    """Evaluate the triangular kernel."""
    return np.maximum(1 - np.abs(d), 0)


def _bicubic(d):
    """Evaluate cubic convolution (Keys 1981) with a = -1/2, exact for quadratics."""
    d = np.abs(d)
    near = (1.5 * d - 2.5) * d**2 + 1
    outer = ((-0.5 * d + 2.5) * d - 4) * d + 2
    return np.where(d < 1, near, np.where(d < 2, outer, 0))


def _lanczos(d):
    """Evaluate the sinc kernel with a sinc window of three lobes."""
    return np.where(np.abs(d) < 3, np.sinc(d) * np.sinc(d / 3), 0)


# Kernel and its half-width in input pixels.
INTERPOLATION_KERNELS = {
    "bilinear": (_bilinear, 1), "bicubic": (_bicubic, 2), "lanczos": (_lanczos, 3)}


class Interpolate:
    """
    Separable interpolation with aligned pixel centres.

    The kernels are ``"bilinear"``, ``"bicubic"`` (Keys 1981, doi:10.1109/TASSP.1981.1163711) and
    ``"lanczos"`` (Duchon 1979, 1979JApMe..18.1016D). Output pixel ``j`` lies at ``(j + 0.5) /
    scale - 0.5`` in input pixels. The image is continued by reflection about the outer edges of
    its pixels, and the weights of each output pixel have the sum one. Each input pixel then has a
    total weight of ``scale`` along each axis, so that constants and total flux are exact.
    """

    def __init__(self, kernel):
        self.kernel = check_name("kernel", kernel, INTERPOLATION_KERNELS)

    def restore(self, image, run):
        """
        Interpolate one plane.

        The measurement error is the exact error of independent pixels. An output pixel is masked
        if its input pixel is, or if more than half of the absolute weights lie on masked pixels.
        """
        rows, columns = (_weights(self.kernel, n, run.scale) for n in image.shape)
        variance = _separable(rows.power(2), image.sigma**2, columns.power(2))
        masked = _separable(abs(rows), image.mask.astype(float), abs(columns))
        masked /= np.multiply.outer(*(abs(m).sum(axis=1) for m in (rows, columns)))
        return Restoration(
            mean=_separable(rows, image.data, columns),
            measurement_std=np.sqrt(variance),
            mask=expand_mask(image.mask, run.scale) | (masked > 0.5),
            psf=None if image.psf is None else self._psf(image.psf, run.scale),
            psf_kind="input",
            correlation=ErrorCorrelation.stationary(self._correlation(run.scale)),
        )

    def _correlation(self, scale):
        """Return the error correlation, from the response to one input pixel."""
        radius = INTERPOLATION_KERNELS[self.kernel][1]
        response = _weights(self.kernel, 4 * radius + 1, scale)[:, [2 * radius]].toarray()
        return kernel_correlation(response * response.T)

    def _psf(self, psf, scale):
        """
        Return the PSF on the output grid, averaged over positions within an input pixel.

        The mean over the centres of output pixels is the convolution of kernel and PSF, both
        sampled at the offsets between the two grids.
        """
        kernel, radius = INTERPOLATION_KERNELS[self.kernel]
        offsets = (np.arange((2 * radius + 1) * scale) + 0.5) / scale - radius - 0.5
        profile = kernel(offsets[np.abs(offsets) < radius])
        result = signal.convolve(oversample_psf(psf, scale), np.multiply.outer(profile, profile))
        return result / result.sum()


def _weights(name, n, scale):
    """Return the matrix, ``(scale * n, n)``, that interpolates along one axis."""
    kernel, radius = INTERPOLATION_KERNELS[name]
    position = (np.arange(scale * n) + 0.5) / scale - 0.5
    taps = np.floor(position)[:, None] + np.arange(1 - radius, radius + 1)
    weights = kernel(position[:, None] - taps)
    weights /= weights.sum(axis=1, keepdims=True)
    columns = taps.astype(int) % (2 * n)
    columns = np.minimum(columns, 2 * n - 1 - columns)
    row = np.broadcast_to(np.arange(scale * n)[:, None], columns.shape)
    # The sparse matrix sums entries that reflection assigns to the same pixel.
    entries = (weights.ravel(), (row.ravel(), columns.ravel()))
    return sparse.coo_array(entries, shape=(scale * n, n)).tocsr()


def _separable(rows, image, columns):
    """Return ``rows @ image @ columns.T``."""
    return rows @ (columns @ image.T).T
