"""Fidelity test of ellipticities: regression slope and correction curve."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import curve_fit

from lenssr.evaluate._fidelity._base import FidelityTest, make_table, snr_bins
from lenssr.evaluate._fidelity._scenes import adaptive_moments, galaxies

MIN_OBJECTS = 8  # objects needed for a slope
N_SLOPE_RESAMPLES = 200  # bootstrap samples
OBJECTS_PER_POINT = 12  # of the correction curve
MAX_CURVE_POINTS = 8  # of the correction curve


def regression_slope(truth, measured, rng):
    """Compute the regression slope of vectors on true vectors, and its bootstrap error."""
    if len(truth) < MIN_OBJECTS:
        return np.nan, np.nan
    draws = rng.integers(len(truth), size=(N_SLOPE_RESAMPLES, len(truth)))
    scatter = [_slope(truth[draw], measured[draw]) for draw in draws]
    return _slope(truth, measured), float(np.std(scatter, ddof=1))


def _slope(truth, measured):
    truth, measured = truth - truth.mean(axis=0), measured - measured.mean(axis=0)
    return float((truth * measured).sum() / (truth**2).sum())


@dataclass(frozen=True)
class CorrectionCurve:
    r"""Slope against signal-to-noise ratio: :math:`1 / (a + b / \mathrm{SNR}^2)`."""

    a: float
    b: float
    a_error: float
    b_error: float

    def slope(self, snr):
        """Compute the slope at a signal-to-noise ratio."""
        return 1 / (self.a + self.b / np.asarray(snr, dtype=float) ** 2)

    def correct(self, values, snr):
        """Divide values by the slope."""
        values, gain = np.asarray(values, dtype=float), 1 / self.slope(snr)
        return values * (gain[:, None] if gain.ndim < values.ndim and gain.ndim else gain)


def fit_curve(truth, measured, snr, rng):
    """Fit a `CorrectionCurve` to a set of objects."""
    nothing = CorrectionCurve(*[np.nan] * 4)
    count = min(len(truth) // OBJECTS_PER_POINT, MAX_CURVE_POINTS)
    if count < 3:
        return nothing
    points = []
    for group in np.array_split(np.argsort(snr), count):
        # The slope is a linear function of 1 / SNR^2, so that the mean is taken of 1 /
        # SNR^2.
        mean_snr = np.mean(snr[group] ** -2.0) ** -0.5
        points.append((mean_snr, *regression_slope(truth[group], measured[group], rng)))
    mean_snr, slopes, errors = np.transpose(points)
    try:
        (a, b), covariance = curve_fit(
            lambda s, a, b: 1 / (a + b / s**2), mean_snr, slopes, p0=(1.0, 0.0),
            sigma=np.maximum(errors, 1e-6), absolute_sigma=True)
    except RuntimeError:
        return nothing
    if not np.all(a + b / snr**2 > 0) or not np.isfinite(covariance).all():
        return nothing
    return CorrectionCurve(float(a), float(b), *map(float, np.sqrt(np.diag(covariance))))


SIGNAL_RADIUS = 3.0  # standard deviations of the object


class Shape(FidelityTest):
    """Test of the slope of measured on true ellipticity, with its correction curve."""

    uses_pairs, groups = True, staticmethod(galaxies)

    def measure(self, restored):
        (restored_pair,) = restored
        sample, true = restored_pair.sample, restored_pair.sample.moments
        if true is None:
            return []
        moments = adaptive_moments(restored_pair.image, true.centre, true.fwhm, sample.mask)
        offset = np.indices(sample.truth.shape)[::-1] - true.centre[:, None, None]
        radius2 = np.einsum("iyx,ij,jyx->yx", offset, np.linalg.inv(true.covariance), offset)
        return [{"of": sample.pair.truth.get("fidelity", "pairs"), "true": true.e,
                 "snr": sample.signal_to_noise(radius2 < SIGNAL_RADIUS**2),
                 "found": np.full(2, np.nan) if moments is None else moments.e}]

    def tables(self, rows, rng):
        slopes, curves = [], []
        for label, lines in rows.items():
            for of in sorted({line["of"] for line in lines}):
                part = [line for line in lines if line["of"] == of]
                arrays = [np.array([line[key] for line in part])
                          for key in ("true", "found", "snr")]
                names = {"method": label, "of": of}
                slopes += [names | row for row in _slopes(*arrays, rng)]
                curves.append(names | {"n": len(part)} | vars(_curve(*arrays, rng)))
        return {"shape": make_table(slopes), "correction": make_table(curves)}


def _slopes(true, measured, snr, rng):
    """Return rows of slopes by signal-to-noise ratio, before and after the correction."""
    lost, corrected = np.isnan(measured[:, 0]), np.full_like(measured, np.nan)
    for half in (0, 1):
        learnt, tested = (np.arange(len(snr)) % 2 == k for k in (half, 1 - half))
        curve = _curve(true[learnt], measured[learnt], snr[learnt], rng)
        corrected[tested] = curve.correct(measured[tested], snr[tested])
    for low, high, where in snr_bins(snr):
        row = {"snr_low": low, "snr_high": high, "n": int(where.sum()),
               "lost": lost[where].mean() if where.any() else np.nan}
        for name, values in (("slope", measured), ("corrected", corrected)):
            use = where & ~np.isnan(values[:, 0])
            row[name], row[f"{name}_error"] = regression_slope(true[use], values[use], rng)
        yield row


def _curve(true, measured, snr, rng):
    use = ~np.isnan(measured[:, 0]) & (snr > 0)
    return fit_curve(true[use], measured[use], snr[use],
                     rng) if use.any() else CorrectionCurve(*[np.nan] * 4)
