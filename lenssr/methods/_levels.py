"""The noise levels through which samples are drawn: the same for all images, or those of each."""

import functools

import numpy as np
from scipy import fft

from lenssr.image import FWHM_PER_SIGMA, TARGET_FWHM, relative_kernel
from lenssr.methods._samplers import spread_gain

__all__ = ["check_levels", "dynamic_levels", "spectrum_of", "static_levels"]

HIGHEST, LOWEST = 20.0, 0.02  # of a static schedule, in units of the spread of the latent
FEWEST, MOST = 6, 16          # steps that a dynamic schedule may have
TOLERANCE = 0.0075            # relative error of the spread that it may leave
EDGE = 0.02                   # that of its first and last level
STARTS, POWERS = (1, 2, 4), (0.0, 0.15, 0.3)  # times that start; of the spacing of its steps
CUT = 0.01                     # share of the variance below which a direction does not count
SIDE = 64                     # output pixels of the field whose spectrum is found
SLOPE, LONGEST = 3.0, 24.0    # of the power of skies by frequency; output pixels where it ends
LIGHT = 0.2                   # rms light over that of the peak


def static_levels(steps):
    """Levels, ``(steps,)``, that fall by the same factor at each step."""
    return np.geomspace(HIGHEST, LOWEST, steps)


def check_levels(levels):
    """Levels that a user gave, as an array."""
    try:
        found = np.array(levels, dtype=float)
    except (TypeError, ValueError):
        found = np.empty(0)
    if found.ndim != 1 or len(found) < 2 or not np.isfinite(found).all() or not (
            found > 0).all() or not (np.diff(found) < 0).all():
        raise ValueError("`schedule` must be 'dynamic', 'static' or at least two positive noise "
                         f"levels that decrease, got {levels!r}")
    return found


@functools.cache
def _cosines(side):
    """The orthonormal basis of cells of ``side**2`` pixels with which a `Latent` begins."""
    return np.kron(*(fft.dct(np.eye(side), axis=0, norm="ortho"),) * 2)


def spectrum_of(image, scale, side, snr, correlation):
    r"""
    Variances of the directions of the latent of an image, from its noise profile.

    What a telescope leaves open of a sky of power :math:`P(k)` has the power
    :math:`(1/P + A^2/N)^{-1}`: :math:`A` is the transfer function from an image of the declared
    resolution to the data, :math:`N` the power of their noise. Whitening by cells makes of it
    a field whose directions have a mean variance of one, but not each.
    """
    psf = image.psf
    if psf is None:
        y, x = np.mgrid[-10:11, -10:11]
        psf = np.exp(-(x**2 + y**2) / 2 / (4 / FWHM_PER_SIGMA)**2)
        psf /= psf.sum()
    n = SIDE // side * side
    kernel = relative_kernel(psf, scale)
    kernel = kernel[tuple(slice((m - min(m, n)) // 2, (m + min(m, n)) // 2)
                          for m in kernel.shape)]
    transfer = np.abs(fft.fft2(kernel, s=(n, n))) / kernel.sum()
    f = fft.fftfreq(n)
    k2 = f[:, None]**2 + f**2
    power = (k2 + LONGEST**-2)**(-SLOPE / 2)
    power *= (LIGHT * snr)**2 / power.mean()
    power *= np.exp(-(2 * np.pi * TARGET_FWHM / FWHM_PER_SIGMA)**2 * k2)
    # Noise that is a Gaussian average has a correlation exp(-1 / 4 w^2) of neighbours.
    width2 = 0.0 if correlation < 0.01 else -1 / (4 * np.log(min(correlation, 0.9)))
    noise = np.exp(-4 * np.pi**2 * width2 * scale**2 * k2)
    noise *= scale**2 / max(noise[k2 <= (0.5 / scale)**2].mean(), 1e-12)
    left = 1 / (1 / power + transfer**2 / np.maximum(noise, 1e-6))
    return _directions(left, side)


def _directions(power, side):
    """Variances of the directions of the whitened cells of a field of that power."""
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
    found = np.linalg.eigvalsh(blocks / spread / spread[:, None]).ravel()
    return np.sort(np.maximum(found, 1e-12))[::-1]


def dynamic_levels(variance, steps=None):
    r"""
    Levels for an image whose latent has these variances.

    Schedules are tried that start, from :math:`N(0, \sigma^2 + 1)` in place of
    :math:`N(0, \sigma^2 + \lambda)`, where that is good to a few per cent of the spread,
    :math:`|\lambda - 1| / 2 \sigma^2`, or higher; that end where the noise left out, a share of
    :math:`\sigma^2 / 2 \lambda`, is as little; and whose steps are the denser in
    :math:`\log \sigma` the faster the denoiser changes, by a power of the mean of
    :math:`\lambda \sigma^2 / (\lambda + \sigma^2)^2`. It is the shortest that `spread_gain` finds
    within the tolerance, on the average over the directions.
    """
    seen = variance[variance > CUT * variance.mean()]
    sample = np.quantile(seen, np.linspace(0, 1, 40))
    high = np.clip(np.sqrt(abs(sample.max() - 1) / 2 / EDGE), 3, 40)
    low = np.clip(np.sqrt(2 * EDGE * np.quantile(sample, 0.05)), 0.005, 0.2)
    paths = [_path(factor * high, low, sample, power) for factor in STARTS for power in POWERS]
    for n in range(FEWEST, MOST + 1) if steps is None else (steps,):
        several = [path(np.linspace(0, 1, n)) for path in paths]
        losses = [np.mean(np.abs(spread_gain(levels, sample) - 1)) for levels in several]
        if min(losses) < TOLERANCE:
            break
    return several[int(np.argmin(losses))]


def _path(high, low, variance, power):
    """Levels from ``high`` to ``low`` as a function of the share of the steps that are taken."""
    place = np.linspace(np.log(high), np.log(low), 300)
    square = np.exp(2 * place)[:, None]
    density = (variance * square / (variance + square)**2).mean(axis=1)**power
    done = np.concatenate([[0], np.cumsum(density[1:] + density[:-1])])
    return lambda share: np.exp(np.interp(share * done[-1], done, place))
