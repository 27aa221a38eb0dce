"""Correlation of image noise and of pixel errors, modelled apart for sources and blank sky."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import fft, ndimage

from lenssr._validation import check_positive_int
from lenssr.uncertainty._autocorrelation import MAX_LAG, decimate, sum_variance
from lenssr.uncertainty._factors import APERTURE_AREAS, APERTURE_FRACTIONS, aperture_sum_factor
from lenssr.uncertainty._sky import central_cutout, find_sky

NOISE_LAGS = 4  # pixels; resampling correlates noise up to this lag
SOURCE_SIGMA = 3.0  # standard deviations; detection threshold in the smoothed image
SOURCE_MARGIN = 6  # pixels around sources that are masked because of their wings
BACKGROUND_SIGMA = 12.0  # pixels; smoother structure counts as background
MIN_SKY_FRACTION = 0.1  # fraction of the pixels that must be sky
NOISE_CLIP = 5.0  # standard deviations; outliers are not used
MAX_CUTOUT_SIDE = 2048  # pixels along a side of the central cutout
CORRELATION_SIGMA = 4.0  # standard errors above which a correlation is significant


def autocovariance(values, use, lags):
    """Return the mean product of pixels by lag, and the number of pixel pairs."""
    sides = [fft.next_fast_len(max(n, lags + 1) + lags, real=True) for n in values.shape]
    sums = []
    for image in (np.where(use, values, 0.0), use.astype(float)):
        power = np.abs(fft.rfft2(image, s=sides)) ** 2
        wrapped = np.roll(fft.irfft2(power, s=sides), (lags, lags), (0, 1))
        sums.append(wrapped[: 2 * lags + 1, : 2 * lags + 1])
    pairs = np.rint(sums[1])
    return sums[0] / np.maximum(pairs, 1), pairs


def sky_correlation(values, mask):
    """
    Measure the noise correlation of an image by lag, shape ``(9, 9)``, on blank sky.

    Correlations below four standard errors are set to zero. The second result is the ratio of the
    noise to the noise of `estimate_sky`, which takes peaks of correlated noise for sources.
    """
    cutout = central_cutout(values.shape, MAX_CUTOUT_SIDE)
    values, mask = values[cutout], mask[cutout]
    sky_rms, (noise, sky) = find_sky(values, mask)[0], find_sky(values, mask, SOURCE_SIGMA)
    correlation, excess = np.zeros((2 * NOISE_LAGS + 1, 2 * NOISE_LAGS + 1)), 1.0
    if noise > 0 and sky.any():
        blank = ndimage.binary_erosion(sky, iterations=SOURCE_MARGIN, border_value=True)
        sky = blank if blank.mean() > MIN_SKY_FRACTION else sky
        values = _flatten(values, sky)
        use = sky & (np.abs(values) < NOISE_CLIP * noise)
        covariance, pairs = autocovariance(values, use, NOISE_LAGS)
        covariance = _undo_flattening(covariance)
        if (variance := covariance[NOISE_LAGS, NOISE_LAGS]) > 0:
            excess = np.sqrt(variance) / (sky_rms or noise)
            correlation = covariance / variance
            correlation[np.abs(correlation) * np.sqrt(pairs) < CORRELATION_SIGMA] = 0.0
    correlation[NOISE_LAGS, NOISE_LAGS] = 1.0
    return correlation, float(excess)


def neighbour_correlation(values, mask):
    """Return the noise correlation of neighbouring pixels; zero if unknown."""
    if min(values.shape) <= 2 * NOISE_LAGS:
        return 0.0
    correlation, lag = sky_correlation(values, mask)[0], NOISE_LAGS
    return float(np.mean([correlation[lag, lag - 1], correlation[lag, lag + 1],
                          correlation[lag - 1, lag], correlation[lag + 1, lag]]))


def _flatten(values, sky):
    """Subtract the smoothed sky background."""
    values = values - np.median(values[sky])
    weight = ndimage.gaussian_filter(sky.astype(float), BACKGROUND_SIGMA)
    smooth = ndimage.gaussian_filter(np.where(sky, values, 0.0), BACKGROUND_SIGMA)
    return values - smooth / np.maximum(weight, 1e-3)


def _undo_flattening(covariance):
    """
    Return the autocovariance of the noise before `_flatten`.

    For noise that is short-ranged compared with the smoothing kernel ``g`` and whose autocovariance
    has the sum ``s``, flattening subtracts ``s (2 g - g * g)``.
    """
    y, x = np.mgrid[-NOISE_LAGS: NOISE_LAGS + 1, -NOISE_LAGS: NOISE_LAGS + 1]

    def gaussian(variance):
        return np.exp(-(x**2 + y**2) / (2 * variance)) / (2 * np.pi * variance)

    removed = 2 * gaussian(BACKGROUND_SIGMA**2) - gaussian(2 * BACKGROUND_SIGMA**2)
    return covariance + covariance.sum() / (1 - removed.sum()) * removed


# Error over the sky level: largest of sky pixels, smallest of source pixels.
MAX_SKY_ERROR, MIN_SOURCE_ERROR = 1.5, 2.0
MIN_CORRELATION_PIXELS = 100  # pixels needed to measure a correlation
ARRAY_NAMES = "kernels", "levels", "factors"
MIN_PAIR_FRACTION = 0.25  # pixel pairs over pixels; with fewer, correlations shrink to zero


@dataclass(frozen=True)
class ErrorCorrelation:
    r"""
    Correlation of pixel errors, modelled separately for sources and for blank sky.

    Errors of standard deviation :math:`\sigma` are the sum of two independent errors. The sky error
    has the standard deviation :math:`\min(\sigma, \ell)`, the source error
    :math:`\sqrt{\max(\sigma^2 - \ell^2, 0)}`. Each has a correlation that depends on the pixel lag.

    Parameters
    ----------
    kernels : `~numpy.ndarray`
        Correlations by lag, shape ``(..., components, 2, n, n)`` with ``n`` odd and a central peak
        of one. The components are the measurement error and, optionally, the prior error. The next
        axis holds sky and source. A cube has its bands first.
    levels : `~numpy.ndarray`
        Sky level :math:`\ell` of each component in the unit of the image, shape
        ``(..., components)``.
    factors : `~numpy.ndarray`, optional
        Factors of the errors of aperture sums, shape ``(..., components, 6, 3)``; ones by default.
        The first axis of the table is the variance fraction of the prior error of the sky, 0.001 to
        0.8. The second axis is the area, 12 to 300 pixels. The last component is used.

    Examples
    --------
    >>> import numpy as np
    >>> from lenssr.uncertainty import ErrorCorrelation
    >>> white = np.zeros((49, 49))
    >>> white[24, 24] = 1
    >>> correlation = ErrorCorrelation.stationary(white)
    >>> ones = np.ones((5, 5))
    >>> round(correlation.sum_variance(ones, [ones]), 3)
    25.0
    """

    kernels: np.ndarray
    levels: np.ndarray
    factors: np.ndarray = None

    def __post_init__(self):
        if self.factors is None:
            shape = *np.shape(self.levels), len(APERTURE_FRACTIONS), len(APERTURE_AREAS) - 1
            object.__setattr__(self, "factors", np.ones(shape))

    @classmethod
    def stationary(cls, kernel):
        """Make the correlation of one component, equal at all pixels."""
        return cls(np.stack([kernel, kernel])[None], np.zeros(1))

    @classmethod
    def stack(cls, correlations):
        """Make the correlation of a cube from the correlations of its planes."""
        return cls(*(np.stack([getattr(item, name) for item in correlations])
                     for name in ARRAY_NAMES))

    def with_component(self, component):
        """Return the correlation with a second component."""
        return ErrorCorrelation(*(
            np.concatenate([getattr(item, name) for item in (self, component)])
            for name in ARRAY_NAMES))

    def scaled(self, factor):
        """Return the correlation of the image times a factor."""
        return replace(self, levels=self.levels * abs(factor))

    def __getitem__(self, item):
        """Return planes of a cube, or components of an image."""
        return ErrorCorrelation(*(getattr(self, name)[item] for name in ARRAY_NAMES))

    def decimate(self, item, ndim):
        """Return the correlation of an image after slicing by ``item``."""
        return replace(self, kernels=decimate(self.kernels, item, ndim))

    def sum_variance(self, weights, stds):
        """
        Compute the variance of a weighted sum of the pixels of a plane.

        Parameters
        ----------
        weights : `~numpy.ndarray`
            Weights, shape ``(ny, nx)``.
        stds : sequence of `~numpy.ndarray`
            Standard deviations of the pixels for each component.

        Returns
        -------
        variance : float
            Variance in the squared unit of the image.
        """
        if not np.any(weights):
            return 0.0
        variances, fraction, area = self.sum_parts(weights, stds)
        factor = float(aperture_sum_factor(fraction, area, self.factors[-1]))
        # The calibration of the total error must not reduce the measurement error.
        return max(factor**2 * sum(variances), variances[0])

    def sum_parts(self, weights, stds):
        """
        Compute the variance of a weighted sum for each component, before any factor.

        Parameters
        ----------
        weights : `~numpy.ndarray`
            Weights, shape ``(ny, nx)``.
        stds : sequence of `~numpy.ndarray`
            Standard deviations of the pixels for each component.

        Returns
        -------
        variances : list of float
            Variance of each component.
        fraction : float
            Fraction of the variance due to the sky error of the last component.
        area : float
            Effective area in pixels: squared sum of the weights over the sum of their squares.
        """
        variances, sky = [], 0.0
        for kernels, level, std in zip(self.kernels, self.levels, stds):
            source = np.sqrt(np.maximum(std**2 - level**2, 0))
            sky, source = (sum_variance(weights, error, kernel)
                           for error, kernel in zip((np.minimum(std, level), source), kernels))
            variances.append(sky + source)
        area = np.abs(weights).sum() ** 2 / (weights**2).sum()
        return variances, sky / max(sum(variances), np.finfo(float).tiny), float(area)


def measure_error_correlation(errors, std):
    """
    Measure the `ErrorCorrelation`, one component, of draws of the error of an image.

    ``errors`` are independent draws and ``std`` their standard deviation, shape ``(ny, nx)``. With
    too few source pixels, the sky correlation is used for both. The range of the correlation is
    larger around faint sources, so errors of sums over 3 to 20 pixels are up to 40 % too large.
    """
    level = float(np.percentile(std, 25))
    kernels = []
    for use in (std <= MAX_SKY_ERROR * level, std > MIN_SOURCE_ERROR * level):
        if use.sum() < MIN_CORRELATION_PIXELS:
            continue
        kernel = 0.0
        for error in errors:
            # Weighted by variance, as pixels are in the variance of a sum.
            mean, pairs = autocovariance(error, use, MAX_LAG)
            kernel = kernel + mean * np.minimum(pairs / (MIN_PAIR_FRACTION * use.sum()), 1)
        if kernel[MAX_LAG, MAX_LAG] > 0:
            kernels.append(kernel / kernel[MAX_LAG, MAX_LAG])
    if not kernels:
        kernels.append(np.zeros((2 * MAX_LAG + 1, 2 * MAX_LAG + 1)))
        kernels[0][MAX_LAG, MAX_LAG] = 1.0
    return ErrorCorrelation(np.stack([kernels[0], kernels[-1]])[None], np.array([level]))


MAX_CORRELATED_SIDE = 256  # output pixels of the central cutout that measures correlations


def monte_carlo_error(restore_mean, image, n_probes=8, seed=0, *, mean=None, smooth=1.0):
    r"""
    Propagate noise realisations through a method; return the standard deviation and correlation.

    For an estimator :math:`f` that is smooth over the range of the noise, and noise realisations
    :math:`e_k`,

    .. math::
        \mathrm{var}[f] \simeq \frac{1}{K} \sum_k \left( f(y + e_k) - f(y) \right)^2,

    which is unbiased to first order in the noise. ``restore_mean`` maps an image to a new array and
    is the same map for every realisation. ``smooth`` is the standard deviation in output pixels
    of the Gaussian that smooths the variance. Without smoothing, the relative standard error is
    ``1 / sqrt(2 K)``. Noise is drawn for the whole image, so that the result depends on no tile.
    """
    n_probes = check_positive_int("n_probes", n_probes)
    rng = np.random.default_rng(seed)
    if mean is None:
        mean = restore_mean(image)
    variance, probes = np.zeros(mean.shape), []
    cutout = central_cutout(mean.shape, MAX_CORRELATED_SIDE)
    for _ in range(n_probes):
        noise = rng.standard_normal(image.shape) * image.sigma
        noise[image.mask] = 0
        noise += image.data
        # In place, to save the memory of another array of the size of a mosaic.
        difference = restore_mean(replace(image, data=noise))
        difference -= mean
        probes.append(difference[cutout].copy())
        difference *= difference
        variance += difference
    variance /= n_probes
    if smooth:
        variance = ndimage.gaussian_filter(variance, smooth, mode="reflect")
    std = np.sqrt(variance, out=variance)
    return std, measure_error_correlation(probes, std[cutout])
