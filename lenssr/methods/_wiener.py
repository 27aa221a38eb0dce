"""Wiener filter to a finer grid at the target resolution, aliasing included."""

import numpy as np
from scipy import fft, optimize

from lenssr._forward_model import PolyphaseConvolution
from lenssr.image import FWHM_PER_SIGMA, TARGET_FWHM, expand_mask, oversample_psf, target_psf
from lenssr.methods._base import Restoration, require_psf
from lenssr.uncertainty import ErrorCorrelation, kernel_correlation

BLOCK_SIDE, MAX_BLOCKS = 64, 8  # input pixels of a periodogram block, and blocks along an axis

# Mean and width of the priors of ln(k0), k0 in cycles per pixel, and of the slope p.
LOG_K0_PRIOR, SLOPE_PRIOR = (-2.5, 1.0), (4.0, 1.0)


class Wiener:
    r"""
    Linear filter of least mean square error for stationary scenes.

    With the transfer function :math:`P` of the PSF, a scene of power spectrum :math:`S` and white
    noise of power :math:`N` for each pixel, the data at frequency :math:`k` contain the
    ``scale**2`` aliases :math:`k + m` of the scene. The best linear estimate at the target
    resolution :math:`G` is

    .. math::
        \hat X(k + m) = \frac{G(k+m)\, P^*(k+m)\, S(k+m)}
                             {\sum_{m'} |P(k+m')|^2 S(k+m') + N}\, Y(k).

    The spectrum :math:`S = A\,(1 + k^2 / k_0^2)^{-p/2}` maximises the Whittle likelihood (Whittle
    1953, doi:10.1007/BF02590998) of the periodogram, with weak priors on :math:`k_0` and :math:`p`.
    The periodogram is the mean over blocks of 64 pixels of the squared cosine transform, which has
    reflecting boundaries. The filter is truncated to a finite kernel that conserves flux. Outside
    the frame the image is continued by its median.

    The measurement error is the exact error of independent noise through the filter. The scatter of
    the median is bounded near the edge of the frame.
    """

    spectrum = None  # result of `fit_spectrum` to use; by default fitted to each image

    def restore(self, image, run):
        """Restore one plane."""
        require_psf(image, "Wiener deconvolution")
        valid = ~image.mask
        noise = np.mean(image.sigma[valid] ** 2)
        spectrum = self.spectrum or fit_spectrum(image.data, image.psf, noise, run.scale)
        kernel = wiener_kernel(spectrum, image.psf, noise, run.scale)
        level = np.median(image.data[valid])
        # Standard error of a median of Gaussian noise.
        level_std = np.sqrt(noise * min(1.0, np.pi / 2 / np.count_nonzero(valid)))

        spread = PolyphaseConvolution(kernel[::-1, ::-1], run.scale, image.shape, run.tile).adjoint
        outside = np.abs(1 - spread(np.ones(image.shape)))

        def estimator(probe):
            return level + spread(probe.data - level)

        mean = estimator(image)
        square = PolyphaseConvolution(kernel[::-1, ::-1] ** 2, run.scale, image.shape, run.tile)
        variance = np.maximum(square.adjoint(image.sigma**2), 0)
        return Restoration(
            mean=mean,
            measurement_std=np.sqrt(variance) + outside * level_std,
            mask=expand_mask(image.mask, run.scale),
            psf=target_psf(),
            metadata={"power_slope": round(spectrum[2], 3)},
            correlation=ErrorCorrelation.stationary(kernel_correlation(kernel)),
            estimator=estimator,
        )


def fit_spectrum(data, psf, noise, scale):
    """
    Fit the power spectrum of the scene behind blurred data with white noise of a variance.

    Returns ``ln(A)``, ``ln(k0)`` with ``k0`` in cycles per input pixel, and ``p``, for the power of
    surface brightness.
    """
    side = tuple(min(BLOCK_SIDE, n) for n in data.shape)
    starts = [
        np.unique(np.linspace(0, n - b, min(-(-n // b), MAX_BLOCKS)).astype(int))
        for n, b in zip(data.shape, side, strict=True)
    ]
    corners = [(y, x) for y in starts[0] for x in starts[1]]
    power = np.zeros(side)
    for y, x in corners:
        block = data[y : y + side[0], x : x + side[1]]
        power += fft.dctn(block - block.mean(), norm="ortho") ** 2
    power = np.delete(power.ravel() / len(corners), 0) / noise

    # A cosine transform of n pixels has the frequencies of a Fourier transform of 2 n pixels.
    grid = tuple(2 * n for n in side)
    response = np.abs(_transfer(psf, scale, grid)) ** 2
    k2 = _squared_frequency(scale, grid)

    def negative_log_posterior(parameters):
        model = _fold(response * _spectrum(parameters, k2), scale)
        # A cosine averages the frequencies +k and -k, which differ for an elongated PSF.
        model = (model + np.roll(model[:, ::-1], 1, axis=1)) / 2
        model = np.delete(model[: side[0], : side[1]].ravel(), 0) + 1
        prior = ((parameters[1] - LOG_K0_PRIOR[0]) / LOG_K0_PRIOR[1]) ** 2
        prior += ((parameters[2] - SLOPE_PRIOR[0]) / SLOPE_PRIOR[1]) ** 2
        return (np.sum(np.log(model) + power / model) * len(corners) + prior) / 2

    # The power is in units of the noise power.
    strongest = np.log(max(np.max(power, initial=0), 1))
    bounds = [(-20, strongest + 20), (-6, -0.7), (1.5, 8)]
    start = [strongest, LOG_K0_PRIOR[0], SLOPE_PRIOR[0]]
    best = optimize.minimize(negative_log_posterior, start, method="L-BFGS-B", bounds=bounds).x
    return float(best[0] + np.log(noise)), float(best[1]), float(best[2])


def wiener_kernel(spectrum, psf, noise, scale):
    """
    Return the finite kernel of the Wiener filter by offset of the output from the input pixel.

    Its half-width is four FWHM of the PSF and at least 16 input pixels; the outer half is tapered.
    Each of its ``scale**2`` phases has the sum one.
    """
    # FWHM of the Gaussian with the effective area of the PSF.
    fwhm = FWHM_PER_SIGMA / np.sqrt(4 * np.pi * np.sum(psf**2))
    radius = max(16, int(np.ceil(4 * fwhm)))
    n = fft.next_fast_len(4 * radius, real=True)
    transfer, k2 = _transfer(psf, scale, (n, n)), _squared_frequency(scale, (n, n))
    power = _spectrum(spectrum, k2)
    observed_power = _fold(np.abs(transfer) ** 2 * power, scale) + noise
    sigma = TARGET_FWHM / FWHM_PER_SIGMA / scale
    target = np.exp(-2 * np.pi**2 * sigma**2 * k2)
    gain = target * transfer.conj() * power / np.tile(observed_power, (scale, scale))
    # Response to one input pixel, in surface brightness.
    response = fft.ifft2(gain * scale**2).real

    size = (2 * radius + 1) * scale
    pixel = (np.arange(size) - radius * scale) % (scale * n)
    distance = np.abs((np.arange(size) + 0.5) / size - 0.5) * 2
    taper = np.where(distance < 0.5, 1, np.sin(np.pi * distance) ** 2)
    taper = np.multiply.outer(taper, taper)
    kernel = response[np.ix_(pixel, pixel)] * taper
    # The filter reduces the mean; a broad pedestal restores it.
    for a in range(scale):
        for b in range(scale):
            phase, shape = kernel[a::scale, b::scale], taper[a::scale, b::scale]
            phase += (1 - phase.sum()) * shape / shape.sum()
    return kernel


def _spectrum(parameters, k2):
    """Return the power at squared frequencies ``k2``."""
    log_power, log_k0, slope = parameters
    return np.exp(log_power - slope / 2 * np.log1p(k2 * np.exp(-2 * log_k0)))


def _transfer(psf, scale, grid):
    """
    Return the transfer function from a scene of surface brightness to the data, on a periodic grid.

    Output pixel 0 lies at the corner of input pixel 0, so that sampling every ``scale``-th value
    completes the observation.
    """
    kernel = oversample_psf(psf, scale) / scale**2
    positions = [
        (np.arange(size) - (scale * (n // 2 + 1) - 1)) % (scale * side)
        for size, n, side in zip(kernel.shape, psf.shape, grid, strict=True)
    ]
    periodic = np.zeros([scale * side for side in grid])
    np.add.at(periodic, np.ix_(*positions), kernel)
    return fft.fft2(periodic)


def _squared_frequency(scale, grid):
    """Return squared frequencies in cycles per input pixel on the output grid."""
    return np.add.outer(*((scale * fft.fftfreq(scale * n)) ** 2 for n in grid))


def _fold(power, scale):
    """Sum over aliases."""
    ny, nx = (n // scale for n in power.shape)
    return power.reshape(scale, ny, scale, nx).sum(axis=(0, 2))
