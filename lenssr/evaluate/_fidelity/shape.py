"""The part about shapes: ellipticities of the brightest objects, and of single galaxies."""

import numpy as np

from lenssr.evaluate._fidelity.moments import adaptive_moments
from lenssr.evaluate._fidelity.part import Part, make_table, snr_bins
from lenssr.evaluate._fidelity.scenes import galaxies
from lenssr.evaluate._fidelity.slopes import Curve, fit_curve, slope

__all__ = ["Shape"]

REACH = 3.0  # standard deviations of an object, within which its light is its signal


class Shape(Part):
    """Slope of recovered on true ellipticity, and the curve that corrects for it."""

    given, groups = True, staticmethod(galaxies)

    def measure(self, restored):
        (one,) = restored
        sample, true = one.sample, one.sample.moments
        if true is None:
            return []
        found = adaptive_moments(one.image, true.centre, true.fwhm, sample.mask)
        offset = np.indices(sample.truth.shape)[::-1] - true.centre[:, None, None]
        radius2 = np.einsum("iyx,ij,jyx->yx", offset, np.linalg.inv(true.covariance), offset)
        return [{"of": sample.pair.truth.get("fidelity", "pairs"), "true": true.e,
                 "snr": sample.signal_to_noise(radius2 < REACH**2),
                 "found": np.full(2, np.nan) if found is None else found.e}]

    def tables(self, rows, rng):
        slopes, curves = [], []
        for label, lines in rows.items():
            for of in sorted({line["of"] for line in lines}):
                part = [line for line in lines if line["of"] == of]
                facts = [np.array([line[key] for line in part])
                         for key in ("true", "found", "snr")]
                names = {"method": label, "of": of}
                slopes += [names | row for row in _slopes(*facts, rng)]
                curves.append(names | {"n": len(part)} | vars(_curve(*facts, rng)))
        return {"shape": make_table(slopes), "correction": make_table(curves)}


def _slopes(true, found, snr, rng):
    """Rows by signal to noise, before the correction and after it."""
    lost, corrected = np.isnan(found[:, 0]), np.full_like(found, np.nan)
    for half in (0, 1):
        learnt, tested = (np.arange(len(snr)) % 2 == k for k in (half, 1 - half))
        curve = _curve(true[learnt], found[learnt], snr[learnt], rng)
        corrected[tested] = curve.correct(found[tested], snr[tested])
    for low, high, where in snr_bins(snr):
        row = {"snr_low": low, "snr_high": high, "n": int(where.sum()),
               "lost": lost[where].mean() if where.any() else np.nan}
        for name, values in (("slope", found), ("corrected", corrected)):
            use = where & ~np.isnan(values[:, 0])
            row[name], row[f"{name}_error"] = slope(true[use], values[use], rng)
        yield row


def _curve(true, found, snr, rng):
    use = ~np.isnan(found[:, 0]) & (snr > 0)
    return fit_curve(true[use], found[use], snr[use], rng) if use.any() else Curve(*[np.nan] * 4)
