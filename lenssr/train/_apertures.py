"""Errors of sums over apertures, set against those that are."""

import numpy as np

from lenssr.image import expand_mask
from lenssr.train._conformal import furthest, nearest_cells
from lenssr.uncertainty import (
    APERTURE_AREAS,
    APERTURE_FRACTIONS,
    ErrorCorrelation,
    aperture_sum_factor,
    prior_error_correlation,
)

__all__ = ["sum_factors"]

RADII = (2.0, 10.0)  # output pixels: the least and the largest of the apertures
PLACES = 16          # apertures in an image, anywhere
AT_PEAK = 2          # and around its brightest pixel: of nine, one
ROUNDS = 12          # of finding all factors, which touch each other
LEAST = 50           # apertures that tell a factor
TRIED = np.exp(np.linspace(-1.5, 1.5, 121))  # factors that are tried in one round
LEAN = 1e-3          # share of the sums that a factor e times as far from one has to gain
MOST = 20.0          # of a factor, and of what it may divide by


def sum_factors(arrays, whole, snr, correlation, scale, seed=0):
    r"""Factors by which the predicted errors of sums over apertures cover the true ones."""
    sums = _Sums(arrays, whole, snr, correlation, scale, np.random.default_rng(seed))
    half, within = sums.image % 2 == 0, 0
    for one in (half, ~half):
        within = within + sums.within(sums.fitted(one), ~one)
    factors = [[float(f"{value:.4g}") for value in row] for row in sums.fitted(half | ~half)]
    return factors, [round(float(value), 4) for value in within / len(half)]


class _Sums:
    """Errors of sums over apertures in all images, and what is predicted of them."""

    def __init__(self, arrays, whole, snr, correlation, scale, rng):
        card = {"scales": {str(scale): {"correlation": correlation}}}
        rows = []
        for k, sigma in enumerate(whole):
            measured = np.minimum(arrays["std"][k], sigma)
            prior = np.sqrt(sigma**2 - measured**2)
            known = ErrorCorrelation(arrays["kernels"][k][None], arrays["level"][[k]]).and_rest(
                prior_error_correlation(card, scale, snr[k], prior))
            valid = expand_mask(arrays["weight"][k] > 0, scale)
            error = arrays["mean"][k] - arrays["truth"][k]
            for inside, weights in _apertures(arrays["mean"][k], valid, rng):
                parts, share, size = known.sum_parts(weights, (measured[inside], prior[inside]))
                rows.append((k, abs((weights * error[inside]).sum()), parts[0]**0.5,
                             sum(parts)**0.5, share, size))
        self.image, self.error, self.least, self.std, self.share, self.size = np.transpose(rows)
        place = [np.abs(np.log(np.maximum(each, 1e-9))[:, None] - np.log(at)).argmin(axis=1)
                 for each, at in ((self.share, APERTURE_FRACTIONS), (self.size, APERTURE_AREAS[1:]))]
        self.shape = len(APERTURE_FRACTIONS), len(APERTURE_AREAS) - 1
        self.cell = np.ravel_multi_index(place, self.shape)

    def predicted(self, factors, which, more=1.0):
        """Predicted errors of some of the sums."""
        factor = aperture_sum_factor(self.share[which], self.size[which], factors)
        return np.maximum(more * factor * self.std[which], self.least[which])

    def within(self, factors, which):
        """Numbers of these sums that are within one and two predicted errors."""
        off = self.error[which] / self.predicted(factors, which)
        return np.array([(off <= k).sum() for k in (1, 2)])

    def fitted(self, which):
        """Factors that some of the sums tell."""
        cells = [np.flatnonzero(which & (self.cell == k)) for k in range(np.prod(self.shape))]
        known = [k for k, one in enumerate(cells) if len(one) >= LEAST]
        factors = np.ones(self.shape)
        if not known:
            return factors
        nearest = nearest_cells(self.shape, known)
        for _ in range(ROUNDS):
            step = {k: self._best(factors, cells[k]) for k in known}
            factors = np.clip(factors * np.reshape([step[k] for k in nearest], self.shape),
                              1 / MOST, MOST)
        return factors

    def _best(self, factors, which):
        off = self.error[which] / self.predicted(factors, which, TRIED[:, None])
        within = np.stack([(off <= k).mean(axis=1) for k in (1, 2)])
        # Where all are those of the measurement no factor is better than another.
        return TRIED[np.argmin(furthest(within) + LEAN * np.abs(np.log(TRIED)))]


def _apertures(image, valid, rng):
    """Weights of circles, as many small as large ones, and where they are in an image."""
    from photutils.aperture import CircularAperture

    shape = image.shape
    peak = np.unravel_index(np.where(valid, image, -np.inf).argmax(), shape)[::-1]
    low, high = np.log(np.minimum(RADII, min(shape) / 4))
    for j, radius in enumerate(np.exp(rng.uniform(low, high, AT_PEAK + PLACES))):
        anywhere = radius + rng.random(2) * (np.array(shape[::-1]) - 1 - 2 * radius)
        mask = CircularAperture(peak if j < AT_PEAK else anywhere, radius).to_mask(method="exact")
        inside, part = mask.get_overlap_slices(shape)
        weights = np.where(valid[inside], mask.data[part], 0.0)
        if weights.any():
            yield inside, weights
