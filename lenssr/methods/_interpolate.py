"""Interpolation: bilinear, bicubic, Lanczos."""

import numpy as np
from scipy import signal, sparse

from lenssr.image import expand_mask, oversample_psf
from lenssr.methods._base import Restoration
from lenssr.uncertainty import ErrorCorrelation, kernel_correlation


def _bilinear(d):
    """Triangle."""
    return np.maximum(1 - np.abs(d), 0)


def _bicubic(d):
    """Cubic convolution of Keys (1981) with a = -1/2, exact for quadratics."""
    d = np.abs(d)
    near = (1.5 * d - 2.5) * d**2 + 1
    outer = ((-0.5 * d + 2.5) * d - 4) * d + 2
    return np.where(d < 1, near, np.where(d < 2, outer, 0))


def _lanczos(d):
    """Sinc under a sinc window three pixels wide."""
    return np.where(np.abs(d) < 3, np.sinc(d) * np.sinc(d / 3), 0)


# Kernel and half-width in input pixels.
INTERPOLATION_KERNELS = {"bilinear": (_bilinear, 1), "bicubic": (_bicubic, 2), "lanczos": (_lanczos, 3)}


class Interpolate:
    """Separable interpolation with pixel centres aligned."""

    def __init__(self, kind):
        if kind not in INTERPOLATION_KERNELS:
            raise ValueError(f"`kind` must be one of {', '.join(INTERPOLATION_KERNELS)}, got {kind!r}")
        self.kind = kind

    def restore(self, image, run):
        """Interpolate one plane."""
        rows, columns = (_weights(self.kind, n, run.scale) for n in image.shape)
        variance = _separable(rows.power(2), image.sigma**2, columns.power(2))
        absent = _separable(abs(rows), image.mask.astype(float), abs(columns))
        absent /= np.multiply.outer(*(abs(m).sum(axis=1) for m in (rows, columns)))
        parent = expand_mask(image.mask, run.scale)
        return Restoration(
            mean=_separable(rows, image.data, columns),
            measurement_std=np.sqrt(variance),
            mask=parent | (absent > 0.5),
            psf=None if image.psf is None else self._psf(image.psf, run.scale),
            psf_kind="input",
            correlation=ErrorCorrelation.stationary(self._correlation(run.scale)),
        )

    def _correlation(self, scale):
        """Correlation of the errors: that of what one input pixel gives to the output."""
        reach = INTERPOLATION_KERNELS[self.kind][1]
        response = _weights(self.kind, 4 * reach + 1, scale)[:, [2 * reach]].toarray()
        return kernel_correlation(response * response.T)

    def _psf(self, psf, scale):
        """What a point source becomes, on the output grid."""
        kernel, reach = INTERPOLATION_KERNELS[self.kind]
        offsets = (np.arange((2 * reach + 1) * scale) + 0.5) / scale - reach - 0.5
        profile = kernel(offsets[np.abs(offsets) < reach])
        result = signal.convolve(oversample_psf(psf, scale), np.multiply.outer(profile, profile))
        return result / result.sum()


def _weights(kind, n, scale):
    """Matrix of shape ``(scale * n, n)`` that interpolates along one axis."""
    kernel, reach = INTERPOLATION_KERNELS[kind]
    position = (np.arange(scale * n) + 0.5) / scale - 0.5
    taps = np.floor(position)[:, None] + np.arange(1 - reach, reach + 1)
    weights = kernel(position[:, None] - taps)
    weights /= weights.sum(axis=1, keepdims=True)
    columns = taps.astype(int) % (2 * n)
    columns = np.minimum(columns, 2 * n - 1 - columns)
    row = np.broadcast_to(np.arange(scale * n)[:, None], columns.shape)
    # entries that reflection brings to one pixel are added
    entries = (weights.ravel(), (row.ravel(), columns.ravel()))
    return sparse.coo_array(entries, shape=(scale * n, n)).tocsr()


def _separable(rows, image, columns):
    """``rows @ image @ columns.T``."""
    return rows @ (columns @ image.T).T
