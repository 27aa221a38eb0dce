"""How the errors of pixels hang together: otherwise where sources are than in the empty sky."""

from dataclasses import dataclass, replace

import numpy as np

from lenssr.uncertainty._autocorrelation import MAX_LAG, decimate, sum_variance
from lenssr.uncertainty._factors import APERTURE_AREAS, APERTURE_FRACTIONS, aperture_sum_factor
from lenssr.uncertainty._noise_correlation import autocovariance

__all__ = ["ErrorCorrelation", "measure_error_correlation"]

FAINT, BRIGHT = 1.5, 2.0  # of the level: up to which errors are of the sky, from which of sources
LEAST = 100   # pixels of which a correlation is measured
NAMES = "kernels", "levels", "factors"
THIN = 0.25   # share of the pixels below which pairs are too few to tell, and count as far apart


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
    def stack(cls, several):
        """Of a cube, from those of its planes."""
        return cls(*(np.stack([getattr(one, name) for one in several])
                     for name in NAMES))

    def and_rest(self, rest):
        """With a second part."""
        return ErrorCorrelation(*(np.concatenate([getattr(one, name) for one in (self, rest)])
                                  for name in NAMES))

    def scaled(self, factor):
        """Of the image times a number."""
        return replace(self, levels=self.levels * abs(factor))

    def __getitem__(self, item):
        """Of some planes of a cube, or some parts of the errors of an image."""
        return ErrorCorrelation(*(getattr(self, name)[item] for name in NAMES))

    def at_steps(self, item, ndim):
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
        parts, share, size = self.sum_parts(weights, stds)
        factor = float(aperture_sum_factor(share, size, self.factors[-1]))
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
    for use in (std <= FAINT * level, std > BRIGHT * level):
        if use.sum() < LEAST:
            continue
        found = 0.0
        for error in errors:
            # Pixels count by their variance: so sums do, in which the brightest are most.
            mean, pairs = autocovariance(error, use, MAX_LAG)
            found = found + mean * np.minimum(pairs / (THIN * use.sum()), 1)
        if found[MAX_LAG, MAX_LAG] > 0:
            kernels.append(found / found[MAX_LAG, MAX_LAG])
    if not kernels:
        kernels.append(np.zeros((2 * MAX_LAG + 1, 2 * MAX_LAG + 1)))
        kernels[0][MAX_LAG, MAX_LAG] = 1.0
    return ErrorCorrelation(np.stack([kernels[0], kernels[-1]])[None], np.array([level]))
