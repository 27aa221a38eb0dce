"""How the noise of neighbouring pixels of real images hangs together."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import fft, ndimage

from lenssr._validation import check_positive_int
from lenssr.uncertainty._autocorrelation import MAX_LAG, decimate, sum_variance
from lenssr.uncertainty._factors import APERTURE_AREAS, APERTURE_FRACTIONS, aperture_sum_factor
from lenssr.uncertainty._sky import find_sky

NOISE_LAGS = 4  # pixels beyond which resampling correlates no noise
SOURCE_SIGMA = 3.0  # standard deviations of the smoothed image above which there is a source
SOURCE_MARGIN = 6  # pixels around sources that are left out
BACKGROUND_SIGMA = 12.0  # pixels; smoother structure is background, not noise
MIN_SKY_FRACTION = 0.1  # fraction of the pixels that must be sky
NOISE_CLIP = 5.0  # standard deviations
MAX_PATCH_SIDE = 2048  # pixels along a side of the central excerpt
CORRELATION_SIGMA = 4.0  # standard errors above which a correlation is significant


def autocovariance(values, use, lags):
    """Mean product of pixels by how far they are apart."""
    sides = [fft.next_fast_len(max(n, lags + 1) + lags, real=True) for n in values.shape]
    sums = []
    for image in (np.where(use, values, 0.0), use.astype(float)):
        power = np.abs(fft.rfft2(image, s=sides)) ** 2
        wrapped = np.roll(fft.irfft2(power, s=sides), (lags, lags), (0, 1))
        sums.append(wrapped[: 2 * lags + 1, : 2 * lags + 1])
    pairs = np.rint(sums[1])
    return sums[0] / np.maximum(pairs, 1), pairs


def sky_correlation(values, mask):
    """Correlation of the noise of an image, from its sky."""
    part = tuple(slice(max(0, (n - MAX_PATCH_SIDE) // 2), (n + MAX_PATCH_SIDE) // 2) for n in values.shape)
    values, mask = values[part], mask[part]
    usual, (noise, sky) = find_sky(values, mask)[0], find_sky(values, mask, SOURCE_SIGMA)
    correlation, excess = np.zeros((2 * NOISE_LAGS + 1, 2 * NOISE_LAGS + 1)), 1.0
    if noise > 0 and sky.any():
        blank = ndimage.binary_erosion(sky, iterations=SOURCE_MARGIN, border_value=True)
        sky = blank if blank.mean() > MIN_SKY_FRACTION else sky
        values = _flatten(values, sky)
        use = sky & (np.abs(values) < NOISE_CLIP * noise)
        covariance, pairs = autocovariance(values, use, NOISE_LAGS)
        covariance = _undo_flattening(covariance)
        if (variance := covariance[NOISE_LAGS, NOISE_LAGS]) > 0:
            excess = np.sqrt(variance) / (usual or noise)
            correlation = covariance / variance
            correlation[np.abs(correlation) * np.sqrt(pairs) < CORRELATION_SIGMA] = 0.0
    correlation[NOISE_LAGS, NOISE_LAGS] = 1.0
    return correlation, float(excess)


def neighbour_correlation(values, mask):
    """Correlation of the noise of neighbouring pixels, mean over both axes; zero if unknown."""
    if min(values.shape) <= 2 * NOISE_LAGS:
        return 0.0
    correlation = sky_correlation(values, mask)[0]
    return float(np.mean([correlation[NOISE_LAGS, NOISE_LAGS - 1], correlation[NOISE_LAGS, NOISE_LAGS + 1],
                          correlation[NOISE_LAGS - 1, NOISE_LAGS], correlation[NOISE_LAGS + 1, NOISE_LAGS]]))


def _flatten(values, sky):
    """The image minus its sky, smoothed."""
    values = values - np.median(values[sky])
    weight = ndimage.gaussian_filter(sky.astype(float), BACKGROUND_SIGMA)
    smooth = ndimage.gaussian_filter(np.where(sky, values, 0.0), BACKGROUND_SIGMA)
    return values - smooth / np.maximum(weight, 1e-3)


def _undo_flattening(covariance):
    """The autocovariance before noise and all was flattened."""
    y, x = np.mgrid[-NOISE_LAGS: NOISE_LAGS + 1, -NOISE_LAGS: NOISE_LAGS + 1]

    def gaussian(variance):
        return np.exp(-(x**2 + y**2) / (2 * variance)) / (2 * np.pi * variance)

    taken = 2 * gaussian(BACKGROUND_SIGMA**2) - gaussian(2 * BACKGROUND_SIGMA**2)
    return covariance + covariance.sum() / (1 - taken.sum()) * taken


# Errors over the sky level: of sky pixels, and of sources.
MAX_FAINT_ERROR, MIN_BRIGHT_ERROR = 1.5, 2.0
MIN_CORRELATION_PIXELS = 100  # pixels needed to measure a correlation
ARRAY_NAMES = "kernels", "levels", "factors"
MIN_PAIR_FRACTION = 0.25  # pixel pairs at a lag, below which a correlation counts as zero


@dataclass(frozen=True)
class ErrorCorrelation:
    r"""
    Correlation by lag of the errors of an image.

    Errors of standard deviation :math:`\sigma` are the sum of two that are independent: one of
    :math:`\min(\sigma, \ell)`, as in the sky, and one of
    :math:`\sqrt{\max(\sigma^2 - \ell^2, 0)}`, which is nearly all where a source is. Each has a
    correlation by lag of its own.

    Attributes
    ----------
    kernels : `~numpy.ndarray`
        Correlations, odd in the last two axes, one in the middle; before them two for sky and
        source; before that one or two for the errors of the measurement and the rest; for a cube
        bands come first. Shape ``(..., parts, 2, n, n)``.
    levels : `~numpy.ndarray`
        The level :math:`\ell` of each part in the unit of the image, shape ``(..., parts)``.
    factors : `~numpy.ndarray`
        What errors of sums are multiplied by: along the first of the two last axes by the share
        of their variance that is of the last part in the sky, 0.001 to 0.8, along the other by
        the number of pixels, 12 to 300; one for a single pixel. Of several parts those of the
        last count. Shape ``(..., parts, 6, 3)``, ones by default.
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
        """Of one part whose errors are everywhere correlated alike."""
        return cls(np.stack([kernel, kernel])[None], np.zeros(1))

    @classmethod
    def stack(cls, correlations):
        """Of a cube, from those of its planes."""
        return cls(*(np.stack([getattr(item, name) for item in correlations])
                     for name in ARRAY_NAMES))

    def with_component(self, other_correlation):
        """With a second part."""
        return ErrorCorrelation(*(np.concatenate([getattr(item, name) for item in (self, other_correlation)])
                                  for name in ARRAY_NAMES))

    def scaled(self, factor):
        """Of the image times a number."""
        return replace(self, levels=self.levels * abs(factor))

    def __getitem__(self, item):
        """Of some planes of a cube, or some parts of the errors of an image."""
        return ErrorCorrelation(*(getattr(self, name)[item] for name in ARRAY_NAMES))

    def decimate(self, item, ndim):
        """Of an image of which every so many pixels were taken; see `lenssr.image._lags`."""
        return replace(self, kernels=decimate(self.kernels, item, ndim))

    def sum_variance(self, weights, stds):
        """
        Variance of a weighted sum of the pixels of a plane.

        Parameters
        ----------
        weights : `~numpy.ndarray`
            Weights, shape ``(ny, nx)``.
        stds : sequence of `~numpy.ndarray`
            Standard deviations of the pixels, for each part.
        """
        if not np.any(weights):
            return 0.0
        parts, fraction, size = self.sum_parts(weights, stds)
        factor = float(aperture_sum_factor(fraction, size, self.factors[-1]))
        # What the noise alone does is no less for what the calibration found of all errors.
        return max(factor**2 * sum(parts), parts[0])

    def sum_parts(self, weights, stds):
        """
        Variance of a sum by parts, before any factor, and what the factor depends on.

        Parameters
        ----------
        weights, stds
            As `sum_variance` takes them.

        Returns
        -------
        parts : list of float
            Variance of each part.
        share : float
            That of the last part that is of the sky, over the sum of all.
        size : float
            Number of pixels that have the weights: square of their sum over sum of their squares.
        """
        parts, sky = [], 0.0
        for kernels, level, std in zip(self.kernels, self.levels, stds):
            source = np.sqrt(np.maximum(std**2 - level**2, 0))
            sky, source = (sum_variance(weights, part, kernel)
                           for part, kernel in zip((np.minimum(std, level), source), kernels))
            parts.append(sky + source)
        size = np.abs(weights).sum() ** 2 / (weights**2).sum()
        return parts, sky / max(sum(parts), np.finfo(float).tiny), float(size)


def measure_error_correlation(errors, std):
    """Correlation of errors of one image."""
    level = float(np.percentile(std, 25))
    kernels = []
    for use in (std <= MAX_FAINT_ERROR * level, std > MIN_BRIGHT_ERROR * level):
        if use.sum() < MIN_CORRELATION_PIXELS:
            continue
        kernel = 0.0
        for error in errors:
            # Pixels count by their variance: so sums do, in which the brightest are most.
            mean, pairs = autocovariance(error, use, MAX_LAG)
            kernel = kernel + mean * np.minimum(pairs / (MIN_PAIR_FRACTION * use.sum()), 1)
        if kernel[MAX_LAG, MAX_LAG] > 0:
            kernels.append(kernel / kernel[MAX_LAG, MAX_LAG])
    if not kernels:
        kernels.append(np.zeros((2 * MAX_LAG + 1, 2 * MAX_LAG + 1)))
        kernels[0][MAX_LAG, MAX_LAG] = 1.0
    return ErrorCorrelation(np.stack([kernels[0], kernels[-1]])[None], np.array([level]))


EXCERPT_SIDE = 256  # output pixels of the central excerpt whose errors are correlated


def monte_carlo_error(restore_mean, image, n_probes=8, seed=0, *, mean=None, smooth=1.0):
    r"""
    Standard deviation that the noise of the data gives to a restored image, and correlation.

    For an estimator :math:`f` that is smooth over the range of the noise, and
    probes :math:`e_k` drawn from the noise of the data,

    .. math::
        \mathrm{var}[f] \simeq \frac{1}{K} \sum_k \left( f(y + e_k) - f(y) \right)^2,
    """
    n_probes = check_positive_int("n_probes", n_probes)
    rng = np.random.default_rng(seed)
    if mean is None:
        mean = restore_mean(image)
    variance, probes = np.zeros(mean.shape), []
    part = tuple(slice((n - min(n, EXCERPT_SIDE)) // 2, (n + min(n, EXCERPT_SIDE)) // 2)
                 for n in mean.shape)
    for _ in range(n_probes):
        noise = rng.standard_normal(image.shape) * image.sigma
        noise[image.mask] = 0
        noise += image.data
        # In place: at the scale of a survey's mosaic every further array counts.
        difference = restore_mean(replace(image, data=noise))
        difference -= mean
        probes.append(difference[part].copy())
        difference *= difference
        variance += difference
    variance /= n_probes
    if smooth:
        variance = ndimage.gaussian_filter(variance, smooth, mode="reflect")
    std = np.sqrt(variance, out=variance)
    return std, measure_error_correlation(probes, std[part])
