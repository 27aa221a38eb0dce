"""Diffusion samplers, noise schedules, and the Kalman update of posterior samples."""

import functools
import math
from dataclasses import replace

import numpy as np
from scipy import fft

from lenssr.image import FWHM_PER_SIGMA, TARGET_FWHM, relative_kernel
from lenssr.methods._consistency import DataResidual, RegularisedInverse
from lenssr.uncertainty import central_cutout


def dpm(latent, levels, denoise, new_noise):
    """
    Sample with DPM-Solver++(2M), second order (Lu et al. 2022, arXiv:2211.01095).

    ``latent`` has noise of the first of the decreasing ``levels``. ``denoise(latent, level)``
    returns the expected latent; ``new_noise(step)`` returns standard normal numbers.
    """
    before, step_before = None, None
    for sigma, next_sigma in zip(levels, levels[1:]):
        estimate = mean = denoise(latent, sigma)
        step = math.log(sigma / next_sigma)
        if before is not None:
            mean = estimate + (estimate - before) * (step / (2 * step_before))
        latent = next_sigma / sigma * latent + (1 - next_sigma / sigma) * mean
        before, step_before = estimate, step
    return denoise(latent, levels[-1])


def ddim(latent, levels, denoise, new_noise):
    """Sample with deterministic DDIM (Song et al. 2021, arXiv:2010.02502); see `dpm`."""
    for sigma, next_sigma in zip(levels, levels[1:]):
        latent = next_sigma / sigma * latent + (1 - next_sigma / sigma) * denoise(latent, sigma)
    return denoise(latent, levels[-1])


def ddpm(latent, levels, denoise, new_noise):
    """Sample with ancestral DDPM (Ho et al. 2020, arXiv:2006.11239), which adds noise."""
    for k, (sigma, next_sigma) in enumerate(zip(levels, levels[1:])):
        ratio = (next_sigma / sigma)**2
        latent = ratio * latent + (1 - ratio) * denoise(latent, sigma)
        latent = latent + next_sigma * math.sqrt(1 - ratio) * new_noise(k)
    return denoise(latent, levels[-1])


# Sampler and its default number of steps.
SAMPLERS = {"dpm": (dpm, 10), "ddim": (ddim, 50), "ddpm": (ddpm, 250)}


def draw(sampler, levels, denoise, start, new_noise):
    """
    Draw latents from standard normal numbers ``start``; other arguments as in `dpm`.

    A deterministic sampler is linear for a Gaussian latent. The start is scaled such that a latent
    of variance one is reproduced for any number of steps.
    """
    levels = [float(level) for level in levels]
    spread = math.hypot(levels[0], 1.0)
    if sampler != "ddpm":
        spread = float(1 / _gain(levels, 1.0, sampler == "ddim"))
    return SAMPLERS[sampler][0](spread * start, levels, denoise, new_noise)


def spread_gain(levels, variance, first_order=False):
    r"""
    Return the standard deviation of samples over the true value, for Gaussian directions.

    In a direction of variance :math:`\lambda` the exact denoiser is
    :math:`D(x; \sigma) = x \lambda / (\lambda + \sigma^2)`, so a sampler multiplies its start by a
    number. ``first_order`` selects DDIM instead of DPM-Solver++(2M).
    """
    variance = np.asarray(variance, dtype=float)
    total = _gain(levels, variance, first_order) / np.sqrt(variance)
    return total / _gain(levels, 1.0, first_order)


def _gain(levels, variance, first_order):
    """Return the factor by which a sampler multiplies its start."""
    sampler = ddim if first_order else dpm
    return sampler(np.ones(np.shape(variance)), levels,
                   lambda x, level: x * variance / (variance + level**2), None)


# Noise levels of a static schedule, in units of the standard deviation of the latent.
MAX_SIGMA, MIN_SIGMA = 20.0, 0.02
MIN_STEPS, MAX_STEPS = 6, 16  # number of steps of a dynamic schedule
SPREAD_TOLERANCE = 0.0075  # relative error of the standard deviation of the samples
EDGE_TOLERANCE = 0.02  # relative error from the first and the last noise level
START_FACTORS, SPACING_POWERS = (1, 2, 4), (0.0, 0.15, 0.3)  # candidates of a dynamic schedule
MIN_VARIANCE = 0.01  # fraction of the total variance below which a direction is ignored
SPECTRUM_SIDE = 64  # output pixels of the field whose spectrum is computed
POWER_SLOPE = 3.0  # slope of the power spectrum of skies
MAX_WAVELENGTH = 24.0  # output pixels beyond which the power spectrum is flat
RMS_TO_PEAK = 0.2  # typical rms of the light over its peak


def static_schedule(steps):
    """Return noise levels, ``(steps,)``, in geometric progression."""
    return np.geomspace(MAX_SIGMA, MIN_SIGMA, steps)


def check_schedule(levels):
    """Return user-defined noise levels as an array; raise `ValueError` if invalid."""
    try:
        schedule = np.array(levels, dtype=float)
    except (TypeError, ValueError):
        schedule = np.empty(0)
    if schedule.ndim != 1 or len(schedule) < 2 or not np.isfinite(schedule).all() or not (
            schedule > 0).all() or not (np.diff(schedule) < 0).all():
        raise ValueError("`schedule` must be 'dynamic', 'static' or at least two positive noise "
                         f"levels that decrease, got {levels!r}")
    return schedule


@functools.cache
def _cosines(side):
    """Return the initial orthonormal basis of latent cells of ``side**2`` pixels."""
    return np.kron(*(fft.dct(np.eye(side), axis=0, norm="ortho"),) * 2)


def latent_spectrum(image, scale, side, snr, correlation):
    """
    Return the variances of the latent directions of an image, in decreasing order.

    Data leave a posterior power :math:`(1/P + A^2/N)^{-1}` of skies of power :math:`P(k)`, with
    the transfer function :math:`A` from the target resolution to the data and the noise power
    :math:`N`. Whitening by cells gives directions whose mean variance is one. ``snr`` is peak over
    noise; without a PSF a FWHM of four pixels is assumed.
    """
    psf = image.psf
    if psf is None:
        y, x = np.mgrid[-10:11, -10:11]
        psf = np.exp(-(x**2 + y**2) / 2 / (4 / FWHM_PER_SIGMA)**2)
        psf /= psf.sum()
    n = SPECTRUM_SIDE // side * side
    kernel = relative_kernel(psf, scale)
    kernel = kernel[central_cutout(kernel.shape, n)]
    transfer = np.abs(fft.fft2(kernel, s=(n, n))) / kernel.sum()
    f = fft.fftfreq(n)
    k2 = f[:, None]**2 + f**2
    power = (k2 + MAX_WAVELENGTH**-2)**(-POWER_SLOPE / 2)
    power *= (RMS_TO_PEAK * snr)**2 / power.mean()
    power *= np.exp(-(2 * np.pi * TARGET_FWHM / FWHM_PER_SIGMA)**2 * k2)
    # White noise smoothed by a Gaussian of width w has a neighbour correlation exp(-1 / 4 w^2).
    width2 = 0.0 if correlation < 0.01 else -1 / (4 * np.log(min(correlation, 0.9)))
    noise = np.exp(-4 * np.pi**2 * width2 * scale**2 * k2)
    noise *= scale**2 / max(noise[k2 <= (0.5 / scale)**2].mean(), 1e-12)
    remaining = 1 / (1 / power + transfer**2 / np.maximum(noise, 1e-6))
    return latent_variances(remaining, side)


def latent_variances(power, side):
    """Return the variances of the directions of whitened cells of a field."""
    n, basis = len(power), _cosines(side)
    covariance = fft.ifft2(power).real
    cells = n // side
    blocks = np.empty((cells, cells, side**2, side**2), complex)
    for q in range(side**2):
        column = np.roll(covariance, divmod(q, side), (0, 1)).reshape(cells, side, cells, side)
        blocks[..., q] = fft.fft2(column.transpose(0, 2, 1, 3).reshape(cells, cells, -1),
                                  axes=(0, 1))
    blocks = basis @ blocks @ basis.T
    spread = np.sqrt(np.einsum("abii->i", blocks).real / cells**2)
    variances = np.linalg.eigvalsh(blocks / spread / spread[:, None]).ravel()
    return np.sort(np.maximum(variances, 1e-12))[::-1]


def dynamic_schedule(variance, steps=None):
    r"""
    Return the shortest noise schedule that samples latents of given variances accurately.

    Schedules start where replacing :math:`N(0, \sigma^2 + \lambda)` by :math:`N(0, \sigma^2 + 1)`
    changes the standard deviation by a few per cent, :math:`|\lambda - 1| / 2 \sigma^2`, or
    higher. They end where the remaining noise, a fraction :math:`\sigma^2 / 2 \lambda`, is as
    small. Steps in :math:`\log \sigma` are denser where the denoiser changes fast, by a power of
    the mean of :math:`\lambda \sigma^2 / (\lambda + \sigma^2)^2`. `spread_gain`, averaged over the
    directions, measures the accuracy.
    """
    relevant = variance[variance > MIN_VARIANCE * variance.mean()]
    sample = np.quantile(relevant, np.linspace(0, 1, 40))
    high = np.clip(np.sqrt(abs(sample.max() - 1) / 2 / EDGE_TOLERANCE), 3, 40)
    low = np.clip(np.sqrt(2 * EDGE_TOLERANCE * np.quantile(sample, 0.05)), 0.005, 0.2)
    paths = [_schedule(factor * high, low, sample, power)
             for factor in START_FACTORS for power in SPACING_POWERS]
    for n in range(MIN_STEPS, MAX_STEPS + 1) if steps is None else (steps,):
        schedules = [path(np.linspace(0, 1, n)) for path in paths]
        losses = [np.mean(np.abs(spread_gain(levels, sample) - 1)) for levels in schedules]
        if min(losses) < SPREAD_TOLERANCE:
            break
    return schedules[int(np.argmin(losses))]


def _schedule(high, low, variance, power):
    """Return noise levels from ``high`` to ``low`` as a function of the fraction of steps."""
    log_sigma = np.linspace(np.log(high), np.log(low), 300)
    square = np.exp(2 * log_sigma)[:, None]
    density = (variance * square / (variance + square)**2).mean(axis=1)**power
    cumulative = np.concatenate([[0], np.cumsum(density[1:] + density[:-1])])
    return lambda fraction: np.exp(np.interp(fraction * cumulative[-1], cumulative, log_sigma))


CG_TOLERANCE = 1e-2  # relative residual of the conjugate gradients


class KalmanUpdate:
    r"""
    Ensemble Kalman update of posterior samples.

    The denoiser does not use data of high signal-to-noise ratio fully, and its samples scatter too
    much. With the variance :math:`V` of the samples as prior, each sample :math:`x` becomes

    .. math:: x' = x + V A^\mathsf{T} (A V A^\mathsf{T} + N)^{-1} (y + \epsilon - A x),

    where :math:`\epsilon` is a draw of the noise :math:`N`, which preserves the spread of the
    samples (Burgers, van Leeuwen & Evensen 1998,
    doi:10.1175/1520-0493(1998)126<1719:ASITEK>2.0.CO;2). Noise with the correlation :math:`c` of
    neighbouring pixels counts as :math:`1 + 2c` times larger.
    """

    def __init__(self, image, run, std, correlation):
        image = replace(image, sigma=image.sigma * (1 + 2 * correlation))
        self.data, self.seed = DataResidual(image, run.scale, run.tile), run.seed
        self.inverse = RegularisedInverse(self.data, std**2, CG_TOLERANCE)

    def __call__(self, sample, number):
        """Update the sample of a number, which seeds its noise."""
        rng = np.random.default_rng([self.seed, number, 17])
        noise = rng.standard_normal(self.data.weight.shape) * (self.data.weight > 0)
        return sample + self.inverse(self.data.residual(sample) + noise)
