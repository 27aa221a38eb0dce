"""Slope of what was recovered against the truth, with its error, and its dependence on S/N."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import curve_fit

__all__ = ["Curve", "fit_curve", "slope"]

LEAST = 8      # objects of which a slope has a meaning
DRAWS = 200    # of the bootstrap
GROUP = 12     # objects in a point of the curve
MOST = 8       # points


def slope(truth, found, rng):
    """Slope of the regression of one set of vectors on another, and its bootstrap error."""
    if len(truth) < LEAST:
        return np.nan, np.nan
    draws = rng.integers(len(truth), size=(DRAWS, len(truth)))
    scatter = [_slope(truth[draw], found[draw]) for draw in draws]
    return _slope(truth, found), float(np.std(scatter, ddof=1))


def _slope(truth, found):
    truth, found = truth - truth.mean(axis=0), found - found.mean(axis=0)
    return float((truth * found).sum() / (truth**2).sum())


@dataclass(frozen=True)
class Curve:
    r"""Slope against signal to noise: :math:`1 / (a + b / \mathrm{SNR}^2)`."""

    a: float
    b: float
    a_error: float
    b_error: float

    def slope(self, snr):
        """The slope at a signal to noise ratio."""
        return 1 / (self.a + self.b / np.asarray(snr, dtype=float) ** 2)

    def correct(self, values, snr):
        """Values with the slope taken out."""
        values, gain = np.asarray(values, dtype=float), 1 / self.slope(snr)
        return values * (gain[:, None] if gain.ndim < values.ndim and gain.ndim else gain)


def fit_curve(truth, found, snr, rng):
    """The `Curve` of a set of objects."""
    nothing = Curve(*[np.nan] * 4)
    count = min(len(truth) // GROUP, MOST)
    if count < 3:
        return nothing
    points = []
    for group in np.array_split(np.argsort(snr), count):
        # The slope is a function of 1 / SNR^2, of which this is the mean.
        place = np.mean(snr[group] ** -2.0) ** -0.5
        points.append((place, *slope(truth[group], found[group], rng)))
    place, slopes, errors = np.transpose(points)
    try:
        (a, b), covariance = curve_fit(
            lambda s, a, b: 1 / (a + b / s**2), place, slopes, p0=(1.0, 0.0),
            sigma=np.maximum(errors, 1e-6), absolute_sigma=True)
    except RuntimeError:
        return nothing
    if not np.all(a + b / snr**2 > 0) or not np.isfinite(covariance).all():
        return nothing
    return Curve(float(a), float(b), *map(float, np.sqrt(np.diag(covariance))))
