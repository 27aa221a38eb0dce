"""Whether results explain the data that they were made of."""

import numpy as np

from lenssr.evaluate._fidelity.part import Part, make_table, middle, snr_bins
from lenssr.methods import DataResidual

__all__ = ["Consistency"]

NEAR = 0.1  # of the reduced chi-squared from one


class Consistency(Part):
    """Reduced chi-squared of results, and of the truth, brought back to their data."""

    given = True

    def references(self, samples):
        (one,) = samples
        plane = one.ready.plane
        if plane.psf is None:
            return {}
        chi2 = DataResidual(plane, one.scale).chi2(one.truth * one.ready.span)
        return {"truth": [{"snr": one.snr, "chi2": chi2}]}

    def measure(self, restored):
        (one,) = restored
        return [{"snr": one.sample.snr, "chi2": one.result.header.get("SRCHI2", np.nan)}]

    def tables(self, rows, rng):
        found = []
        for label, lines in rows.items():
            snr, chi2 = (np.array([line[key] for line in lines], float) for key in ("snr", "chi2"))
            known = np.isfinite(chi2)
            if not known.any():
                continue
            for low, high, where in ((0.0, np.inf, known), *snr_bins(snr)):
                values = chi2[where & known]
                median, error, scatter, n = middle(values)
                near, above = ((np.mean(np.abs(values - 1) <= NEAR), np.mean(values > 1 + NEAR))
                               if n else (np.nan, np.nan))
                found.append({"method": label, "snr_low": low, "snr_high": high, "n": n,
                              "chi2": median, "error": error, "scatter": scatter, "near": near,
                              "above": above})
        return {"consistency": make_table(found)}
