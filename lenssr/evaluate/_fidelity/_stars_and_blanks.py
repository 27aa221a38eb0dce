"""Width, ellipticity and place of stars."""

import warnings

import numpy as np
from astropy.stats import mad_std

from lenssr.evaluate._fidelity._base import FidelityTest, make_table, robust_statistics
from lenssr.evaluate._fidelity._scenes import NOISE_KERNEL_WIDTHS, adaptive_moments, blanks, stars
from lenssr.image import psf_fwhm

FIT_RADIUS = 2.0  # FWHM around a star
STAMP_RADIUS = 4.0  # FWHM around a star


def measure_stars(image, places, fwhm):
    """Fit a round Gaussian to stars, and measure their moments."""
    from astropy.table import Table
    from photutils.psf import CircularGaussianPSF, PSFPhotometry

    places = np.atleast_2d(np.asarray(places, dtype=float))
    model = CircularGaussianPSF(fwhm=fwhm)
    model.fwhm.fixed = False
    side = 2 * int(np.ceil(FIT_RADIUS * fwhm)) + 1
    x, y = places.T
    guess = [image[round(b), round(a)] * np.pi * fwhm**2 / (4 * np.log(2)) for a, b in places]
    found = PSFPhotometry(model, side)(image, init_params=Table(
        {"x": x, "y": y, "flux": guess, "fwhm": np.full(len(x), fwhm)}))
    return {"fwhm": np.array(found["fwhm_fit"]), "flux": np.array(found["flux_fit"]),
            "place": np.stack([found["x_fit"], found["y_fit"]], axis=1),
            "e": np.array([_ellipticity(image, place, fwhm) for place in places])}


def _ellipticity(image, place, fwhm):
    half = int(np.ceil(STAMP_RADIUS * fwhm))
    x, y = (max(int(round(p)) - half, 0) for p in place)
    stamp = image[y:y + 2 * half + 1, x:x + 2 * half + 1]
    found = adaptive_moments(stamp, (place[0] - x, place[1] - y), fwhm)
    return np.full(2, np.nan) if found is None else found.e


def count_sources(image, sigma, threshold=5.0):
    """Number of connected regions above a threshold, by photutils' segmentation."""
    from photutils.segmentation import detect_sources
    from photutils.utils.exceptions import NoDetectionsWarning

    level = np.broadcast_to(threshold * np.asarray(sigma, dtype=float), image.shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoDetectionsWarning)  # which is the good answer
        found = detect_sources(image, level, n_pixels=1)
    return 0 if found is None else found.n_labels


def rate_limits(count, pixels, per=1e6):
    """Rate of false sources and its upper limit."""
    from scipy.stats import chi2

    return per * count / pixels, per * chi2.ppf(0.95, 2 * (count + 1)) / 2 / pixels


class Stars(FidelityTest):
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
            ratio, error, scatter, n = robust_statistics(values["fwhm"] / values["declared"])
            row = {"method": label, "n": n, "fwhm": np.nanmedian(values["fwhm"]),
                   "declared": np.median(values["declared"]), "ratio": ratio, "error": error,
                   "scatter": scatter}
            row |= dict(zip(("e1", "e2"), (robust_statistics(e)[0] for e in values["e"].T)))
            for name, shift in zip(("dx", "dy"), values["shift"].T):
                row[name], row[f"{name}_error"], row[f"{name}_scatter"], _ = robust_statistics(shift)
            found.append(row)
        return {"stars": make_table(found)}


class Blank(FidelityTest):
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
            for name, lag in NOISE_KERNEL_WIDTHS.items():
                part = [line for line in lines if line["noise"] == name]
                total = {key: sum(line[key] for line in part)
                         for key in ("pixels", "by_uncertainty", "by_scatter", "by_input")}
                rate, limit = rate_limits(total["by_uncertainty"], total["pixels"])
                found.append({"method": label, "noise": name, "lag": lag,
                              "pixels": total.pop("pixels"),
                              "by_uncertainty": total.pop("by_uncertainty"), "per_million": rate,
                              "limit": limit, **total})
        return {"blank": make_table(found)}
