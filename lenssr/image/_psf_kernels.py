"""PSF kernels: Gaussians, the target PSF, and kernels on a finer grid."""

import numpy as np
from scipy import fft, ndimage, optimize

TARGET_FWHM = 2.0  # FWHM in output pixels of the Gaussian target PSF

WIENER_FLOOR = 1e-3  # target transfer below which the PSF is not inverted

FWHM_PER_SIGMA = 2 * np.sqrt(2 * np.log(2))  # FWHM of a Gaussian of unit standard deviation


def gaussian_psf(fwhm, size=None):
    """Sample a circular Gaussian at pixel centres."""
    if not (np.isfinite(fwhm) and fwhm > 0):
        raise ValueError(f"`fwhm` must be a positive number of pixels, got {fwhm}")
    if size is None:
        size = 2 * int(np.ceil(2.5 * fwhm)) + 1
    if size != int(size) or size < 1 or size % 2 == 0:
        raise ValueError(f"`size` must be an odd positive integer, got {size}")
    offset = np.arange(size) - size // 2
    profile = np.exp(-0.5 * (offset * FWHM_PER_SIGMA / fwhm) ** 2)
    profile /= profile.sum()
    return np.outer(profile, profile)


def target_psf():
    """
    Return the target PSF of restored images on the output grid.

    The target resolution is finite and well sampled by the grid, as in STARRED
    (doi:10.21105/joss.05340).
    """
    return gaussian_psf(TARGET_FWHM)


def oversample_psf(psf, scale):
    """Evaluate an effective PSF at the offsets between input and output pixel centres."""
    psf = _checked(psf)
    offsets = [(np.arange(scale * n) + 0.5) / scale - n / 2 for n in psf.shape]
    return _in_phase(_evaluate(psf, *offsets), scale)


def resampled_psf(psf, scale):
    """Resample an effective PSF to the output grid."""
    psf = _checked(psf)
    radii = [scale * n // 2 for n in psf.shape]
    kernel = _evaluate(psf, *(np.arange(-r, r + 1) / scale for r in radii))
    return kernel / kernel.sum()


def widened_psf(psf, factor):
    """Stretch a PSF about its centre by a factor, with unit sum."""
    centre = np.array(psf.shape) // 2
    wide = ndimage.affine_transform(psf, np.full(2, 1 / factor), centre - centre / factor, order=3)
    return wide / wide.sum()


def relative_kernel(psf, scale):
    r"""
    Compute the kernel between the target PSF and a PSF.

    :math:`\hat R = \hat K \hat G (1 + \epsilon) / (\hat G^2 + \epsilon)` with :math:`\epsilon
    = 10^{-3}`, for the PSF :math:`K` and the target Gaussian :math:`G`. Frequencies absent
    from the target are not restored.
    """
    kernel = oversample_psf(psf, scale)
    sides = [fft.next_fast_len(n + 8 * scale, real=True) for n in kernel.shape]
    k2 = fft.fftfreq(sides[0])[:, None] ** 2 + fft.rfftfreq(sides[1])[None, :] ** 2
    target = np.exp(-2 * (np.pi * TARGET_FWHM / FWHM_PER_SIGMA) ** 2 * k2)
    transfer = target * (1 + WIENER_FLOOR) / (target**2 + WIENER_FLOOR)
    kernel = fft.irfft2(fft.rfft2(kernel, s=sides) * transfer, s=sides)[
        :kernel.shape[0], :kernel.shape[1]]
    return _in_phase(kernel, scale)


def _in_phase(kernel, scale):
    """Normalise each phase of a kernel to unit sum, so that sources keep their flux."""
    for a in range(scale):
        for b in range(scale):
            kernel[a::scale, b::scale] /= kernel[a::scale, b::scale].sum()
    return kernel


def _checked(psf):
    """Return a float array of unit sum, or raise `ValueError`."""
    psf = np.asarray(psf, dtype=float)
    if psf.ndim != 2 or psf.shape[0] % 2 == 0 or psf.shape[1] % 2 == 0:
        raise ValueError(f"`psf` must be a 2-D array, odd in both axes, got shape {psf.shape}")
    total = psf.sum()
    if not (np.isfinite(total) and total > 0):
        raise ValueError(f"`psf` must be finite and of positive sum, got the sum {total}")
    return psf / total


def _moffat(parameters, y, x):
    """Evaluate an elliptical Moffat profile; its last parameter is 1 / beta, 0 for a Gaussian."""
    a, b, c, peak, y0, x0, flat = parameters
    y, x = y - y0, x - x0
    radius2 = (a * y**2 + 2 * b * y * x + c * x**2) / 2
    # trial steps may lead from ellipses to hyperbolae
    return peak * np.exp(-np.log1p(np.maximum(flat * radius2, -0.9)) / flat)


def _evaluate(psf, dy, dx):
    """Interpolate a sampled PSF at the offsets ``dy`` x ``dx`` from its centre."""
    ny, nx = psf.shape
    y, x = np.arange(ny)[:, None] - ny // 2, np.arange(nx)[None, :] - nx // 2
    value, residual = 0.0, psf
    peak = psf.max()
    if min(ny, nx) >= 5:
        fit = optimize.least_squares(
            lambda p: (_moffat(p, y, x) - psf).ravel() / peak,
            [0.5, 0, 0.5, peak, 0, 0, 0.2],
            bounds=([1e-4, -9, 1e-4, 0, -1, -1, 1e-4], [99, 9, 99, np.inf, 1, 1, 1]),
            x_scale=[0.5, 0.5, 0.5, peak, 1, 1, 0.3],
        )
        residual = psf - _moffat(fit.x, y, x)
        value = _moffat(fit.x, dy[:, None], dx[None, :])
    # Reflect at the outer pixel edges so that truncated wings do not ring. Pad explicitly:
    # scipy's reflection is inexact on arrays of a few pixels.
    residual = np.pad(residual, 24, mode="symmetric")
    where = np.meshgrid(dy + ny // 2 + 24, dx + nx // 2 + 24, indexing="ij")
    return value + ndimage.map_coordinates(residual, where, order=5, mode="nearest")
