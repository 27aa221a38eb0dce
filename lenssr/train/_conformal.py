"""Calibration factors of predicted errors, their coverage, and error correlation."""

import numpy as np

from lenssr.image import expand_mask
from lenssr.uncertainty import (
    APERTURE_AREAS,
    APERTURE_FRACTIONS,
    CROWDING_BINS,
    MAX_LAG,
    NORMAL_COVERAGE,
    SNR_BINS,
    ErrorCorrelation,
    aperture_sum_factor,
    autocovariance,
    conformal_factor,
    crowding,
    crowding_bin,
    prior_error_correlation,
    snr_bin,
    to_quadrant,
)

FACTOR_ROUNDS = 12  # passes over all factors, which depend on each other
MIN_CELL_PIXELS = 1000  # pixels that determine the factor of a cell
FACTOR_GRID = np.exp(np.linspace(-1.5, 1.5, 601))  # factors that are tried in one round
CORRELATION_CLIP = 7.0  # standard deviations at which errors are clipped
N_IMAGE_GROUPS = 10  # groups of images whose scatter gives the error of a correlation
CORRELATION_SIGMA = 2.0  # standard errors below which a correlation counts as zero


def conformal_factors(error, std, snr, crowd):
    r"""
    Compute calibration factors by local signal-to-noise ratio and crowding.

    The factor of a bin minimises :math:`\max_{k=1,2} |c_k - p_k|`, with :math:`c_k` the
    fraction of errors within :math:`k` predicted standard deviations and :math:`p_k` its value
    for a normal distribution.
    """
    shape = len(SNR_BINS), len(CROWDING_BINS)
    which = np.ravel_multi_index((snr_bin(snr), crowding_bin(crowd)), shape)
    order = np.argsort(which, kind="stable")
    error, std, snr, crowd = (np.asarray(values)[order] for values in (error, std, snr, crowd))
    error, counts = np.abs(error), np.bincount(which, minlength=np.prod(shape))
    ends = np.cumsum(counts)
    members = [slice(start, end) for start, end in zip(ends - counts, ends)]
    known = np.flatnonzero(counts >= MIN_CELL_PIXELS) if counts.max() >= MIN_CELL_PIXELS else [
        int(counts.argmax())]
    nearest = nearest_bins(shape, known)
    factors = np.ones(shape)
    for _ in range(FACTOR_ROUNDS):
        sigma = std * conformal_factor(snr, crowd, factors)
        step = {k: _best_factor(error[members[k]] / sigma[members[k]]) for k in known}
        factors *= np.reshape([step[j] for j in nearest], shape)
    return [[float(f"{value:.4g}") for value in row] for row in factors]


def nearest_bins(shape, known):
    """Return the nearest determined bin of each bin, in the same row if possible."""
    row, column = np.indices(shape).reshape(2, -1)
    away = shape[1] * np.abs(row[:, None] - row[known]) + np.abs(column[:, None] - column[known])
    return np.asarray(known)[away.argmin(axis=1)]


def _best_factor(off):
    """Return the best factor for errors in units of predicted errors."""
    off = np.sort(off)
    within = np.stack([np.searchsorted(off, k * FACTOR_GRID, "right") for k in (1, 2)]) / len(off)
    return FACTOR_GRID[np.argmin(max_deviation(within))]


def max_deviation(within):
    """Return the largest deviation of coverage from `NORMAL_COVERAGE`."""
    return np.abs(np.moveaxis(within, 0, -1) - NORMAL_COVERAGE).max(axis=-1)


def cross_validated_factors(error, std, snr, use, scale):
    """Compute factors from all images, and their coverage by two-fold cross-validation."""
    crowd = np.stack([crowding(*half, scale) for half in zip(snr, use)])
    planes, sigma = (error, std, snr, crowd), np.empty_like(std)
    halves = [np.arange(len(std)) % 2 == k for k in range(2)]
    for half, other_half in (halves, halves[::-1]):
        factors = conformal_factors(*(plane[half][use[half]] for plane in planes))
        sigma[other_half] = std[other_half] * conformal_factor(snr[other_half], crowd[other_half],
                                                               factors)
    fractions = coverage(error[use], sigma[use], snr[use])
    factors = conformal_factors(*(plane[use] for plane in planes))
    return factors, std * conformal_factor(snr, crowd, factors), fractions


def coverage(error, sigma, snr):
    """Measure the coverage of errors within 1 and 2 predicted standard deviations."""
    off, which = np.abs(error) / sigma, snr_bin(snr)
    rows = {}
    for name, where in (("all", slice(None)), *((n, which == k) for k, n in enumerate(SNR_BINS))):
        if off[where].size:
            rows[name] = [round(float((off[where] <= k).mean()), 4) for k in (1, 2)]
    return rows


def rest_correlation(arrays, total_std, snr, scale):
    r"""
    Correlation by lag of the part of the errors that is not of the measurement.

    With :math:`u` the errors and :math:`v` draws of those of measurement, both in units of the
    whole predicted :math:`\sigma`, and :math:`b^2 = 1 - \sigma_m^2 / \sigma^2` the share of the
    rest, where there is a source

    .. math:: \rho(l) = \frac{\sum b_i b_{i+l} (u_i u_{i+l} - v_i v_{i+l})}
        {\sum b_i^2 b_{i+l}^2} ,

    the least squares of :math:`u_i u_j - v_i v_j = b_i b_j \rho(i - j)`. In the sky, where
    :math:`b` is next to nothing, it is that of the errors themselves, :math:`\sum u_i u_{i+l}`.
    """
    sums = np.zeros((N_IMAGE_GROUPS, 4, 2 * MAX_LAG + 1, 2 * MAX_LAG + 1))
    for k, sigma in enumerate(total_std):
        measured = arrays["std"][k]
        prior_fraction = np.sqrt(np.maximum(1 - (measured / sigma) ** 2, 0))
        error = np.clip((arrays["mean"][k] - arrays["truth"][k]) / sigma, -CORRELATION_CLIP,
                        CORRELATION_CLIP)
        # Limit the measurement error to the total error.
        drawn = np.clip(arrays["probe"][k] / np.maximum(measured, sigma), -CORRELATION_CLIP,
                        CORRELATION_CLIP)
        valid, source = expand_mask(arrays["weight"][k] > 0, scale), snr[k] >= 1
        sky, pairs = autocovariance(error, valid & ~source, MAX_LAG)
        with_error, with_drawn, both = (
            np.multiply(*autocovariance(values, valid & source, MAX_LAG))
            for values in (prior_fraction * error, prior_fraction * drawn, prior_fraction**2))
        sums[k % N_IMAGE_GROUPS] += [sky * pairs, pairs, with_error - with_drawn, both]
    correlation = _correlations(sums.sum(axis=0))
    drawn = np.array([_correlations(sums.sum(axis=0) - group_sum) for group_sum in sums])
    spread = np.sqrt((N_IMAGE_GROUPS - 1) * drawn.var(axis=0))
    correlation[np.abs(correlation) < CORRELATION_SIGMA * spread] = 0.0
    correlation = np.clip(correlation, -1, 1)
    correlation[:, MAX_LAG, MAX_LAG] = 1.0
    return {"faint": to_quadrant(correlation[0]), "bright": to_quadrant(correlation[1])}


def _correlations(sums):
    """Compute both correlations from sums of products and weights."""
    sums = np.array([np.mean([np.rot90(rotated, k) for rotated in (product, product.T)
                              for k in range(4)], axis=0)
                     for product in sums])
    minimum = np.maximum(1e-9 * sums[1::2].max(axis=(1, 2), keepdims=True), 1e-30)
    ratio = sums[::2] / np.maximum(sums[1::2], minimum)
    variance = ratio[:, MAX_LAG, MAX_LAG]
    return ratio / np.where(variance > 0, variance, np.inf)[:, None, None]


APERTURE_RADIUS_RANGE = (2.0, 10.0)  # output pixels
N_RANDOM_APERTURES = 16  # random apertures in an image
N_PEAK_APERTURES = 2  # apertures around the brightest pixel
APERTURE_ROUNDS = 12  # passes over all factors, which depend on each other
MIN_APERTURES = 50  # apertures that determine a factor
APERTURE_FACTOR_GRID = np.exp(np.linspace(-1.5, 1.5, 121))  # factors that are tried in one round
MIN_COVERAGE_GAIN = 1e-3  # coverage that a factor further from one has to gain
MAX_APERTURE_FACTOR = 20.0          # of a factor, and of what it may divide by


def aperture_factors(arrays, total_std, snr, correlation, scale, seed=0):
    """Compute calibration factors of aperture fluxes."""
    sums = _ApertureErrors(arrays, total_std, snr, correlation, scale, np.random.default_rng(seed))
    half, within = sums.image % 2 == 0, 0
    for part in (half, ~half):
        within = within + sums.within(sums.fitted(part), ~part)
    factors = [[float(f"{value:.4g}") for value in row] for row in sums.fitted(half | ~half)]
    return factors, [round(float(value), 4) for value in within / len(half)]


class _ApertureErrors:
    """Errors of aperture fluxes in all images, with their predictions."""

    def __init__(self, arrays, total_std, snr, correlation, scale, rng):
        card = {"scales": {str(scale): {"correlation": correlation}}}
        rows = []
        for k, sigma in enumerate(total_std):
            measured = np.minimum(arrays["std"][k], sigma)
            prior = np.sqrt(sigma**2 - measured**2)
            known = ErrorCorrelation(arrays["kernels"][k][None],
                                     arrays["level"][[k]]).with_component(
                prior_error_correlation(card, scale, snr[k], prior))
            valid = expand_mask(arrays["weight"][k] > 0, scale)
            error = arrays["mean"][k] - arrays["truth"][k]
            for inside, weights in _apertures(arrays["mean"][k], valid, rng):
                parts, fraction, size = known.sum_parts(weights, (measured[inside], prior[inside]))
                rows.append((k, abs((weights * error[inside]).sum()), parts[0]**0.5,
                             sum(parts)**0.5, fraction, size))
        self.image, self.error, self.least, self.std, self.fraction, self.size = np.transpose(rows)
        knots = [np.abs(np.log(np.maximum(values, 1e-9))[:, None] - np.log(at)).argmin(axis=1)
                 for values, at in ((self.fraction, APERTURE_FRACTIONS),
                                    (self.size, APERTURE_AREAS[1:]))]
        self.shape = len(APERTURE_FRACTIONS), len(APERTURE_AREAS) - 1
        self.cell = np.ravel_multi_index(knots, self.shape)

    def predicted(self, factors, which, more=1.0):
        """Return the predicted errors of apertures."""
        factor = aperture_sum_factor(self.fraction[which], self.size[which], factors)
        return np.maximum(more * factor * self.std[which], self.least[which])

    def within(self, factors, which):
        """Count the apertures within 1 and 2 predicted errors."""
        off = self.error[which] / self.predicted(factors, which)
        return np.array([(off <= k).sum() for k in (1, 2)])

    def fitted(self, which):
        """Fit factors to a subset of the apertures."""
        cells = [np.flatnonzero(which & (self.cell == k)) for k in range(np.prod(self.shape))]
        known = [k for k, members in enumerate(cells) if len(members) >= MIN_APERTURES]
        factors = np.ones(self.shape)
        if not known:
            return factors
        nearest = nearest_bins(self.shape, known)
        for _ in range(APERTURE_ROUNDS):
            step = {k: self._best(factors, cells[k]) for k in known}
            factors = np.clip(factors * np.reshape([step[k] for k in nearest], self.shape),
                              1 / MAX_APERTURE_FACTOR, MAX_APERTURE_FACTOR)
        return factors

    def _best(self, factors, which):
        off = self.error[which] / self.predicted(factors, which, APERTURE_FACTOR_GRID[:, None])
        within = np.stack([(off <= k).mean(axis=1) for k in (1, 2)])
        # Without prior error all factors fit equally well.
        return APERTURE_FACTOR_GRID[np.argmin(max_deviation(within) + MIN_COVERAGE_GAIN
                                              * np.abs(np.log(APERTURE_FACTOR_GRID)))]


def _apertures(image, valid, rng):
    """Return weights and positions of random circular apertures in an image."""
    from photutils.aperture import CircularAperture

    shape = image.shape
    peak = np.unravel_index(np.where(valid, image, -np.inf).argmax(), shape)[::-1]
    low, high = np.log(np.minimum(APERTURE_RADIUS_RANGE, min(shape) / 4))
    for j, radius in enumerate(np.exp(rng.uniform(low, high,
                                                  N_PEAK_APERTURES + N_RANDOM_APERTURES))):
        anywhere = radius + rng.random(2) * (np.array(shape[::-1]) - 1 - 2 * radius)
        mask = CircularAperture(peak if j < N_PEAK_APERTURES else anywhere,
                                radius).to_mask(method="exact")
        inside, part = mask.get_overlap_slices(shape)
        weights = np.where(valid[inside], mask.data[part], 0.0)
        if weights.any():
            yield inside, weights
