"""Parts about stars and blank skies: the PSF of a result, and what it makes of noise."""

import numpy as np
from astropy.stats import mad_std

from lenssr.evaluate._fidelity.detections import count_sources, rate_limits
from lenssr.evaluate._fidelity.part import Part, make_table, middle
from lenssr.evaluate._fidelity.scenes import LAGS, blanks, stars
from lenssr.evaluate._fidelity.starfit import measure_stars
from lenssr.image import psf_fwhm

__all__ = ["Blank", "Stars"]


class Stars(Part):
    """Width, ellipticity, place and flux of stars against the PSF that a result declares."""

    groups = staticmethod(stars)

    def measure(self, restored):
        (one,) = restored
        psf, places = one.result.psf, one.sample.pair.truth["places"]
        if psf is None:
            return []
        width = psf_fwhm(psf)
        declared = measure_stars(psf, [[(n - 1) / 2 for n in psf.shape[::-1]]], width)
        found = measure_stars(one.image, places, width)
        return [{"fwhm": fwhm, "declared": declared["fwhm"][0], "shift": place - true,
                 "e": e - declared["e"][0]}
                for fwhm, place, true, e in zip(found["fwhm"], found["place"], places, found["e"])]

    def tables(self, rows, rng):
        found = []
        for label, lines in rows.items():
            if not lines:
                continue
            values = {key: np.array([line[key] for line in lines]) for key in lines[0]}
            ratio, error, scatter, n = middle(values["fwhm"] / values["declared"])
            row = {"method": label, "n": n, "fwhm": np.nanmedian(values["fwhm"]),
                   "declared": np.median(values["declared"]), "ratio": ratio, "error": error,
                   "scatter": scatter}
            row |= dict(zip(("e1", "e2"), (middle(e)[0] for e in values["e"].T)))
            for name, shift in zip(("dx", "dy"), values["shift"].T):
                row[name], row[f"{name}_error"], row[f"{name}_scatter"], _ = middle(shift)
            found.append(row)
        return {"stars": make_table(found)}


class Blank(Part):
    """Sources at five sigma where there are none."""

    errors, groups = True, staticmethod(blanks)

    def measure(self, restored):
        (one,) = restored
        image = one.image
        return [{"noise": one.sample.pair.truth["fidelity"], "pixels": image.size,
                 "by_uncertainty": count_sources(image, one.sigma),
                 "by_scatter": count_sources(image, mad_std(image)),
                 "by_input": count_sources(image, one.sample.noise)}]

    def tables(self, rows, rng):
        found = []
        for label, lines in rows.items():
            for name, lag in LAGS.items():
                part = [line for line in lines if line["noise"] == name]
                total = {key: sum(line[key] for line in part)
                         for key in ("pixels", "by_uncertainty", "by_scatter", "by_input")}
                rate, limit = rate_limits(total["by_uncertainty"], total["pixels"])
                found.append({"method": label, "noise": name, "lag": lag,
                              "pixels": total.pop("pixels"),
                              "by_uncertainty": total.pop("by_uncertainty"), "per_million": rate,
                              "limit": limit, **total})
        return {"blank": make_table(found)}
