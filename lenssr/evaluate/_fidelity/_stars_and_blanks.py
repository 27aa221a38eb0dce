"""Fidelity tests on star fields and blank images."""

import warnings

import numpy as np
from astropy.stats import mad_std

from lenssr.evaluate._fidelity._base import FidelityTest, make_table, robust_statistics
from lenssr.evaluate._fidelity._scenes import NOISE_KERNEL_WIDTHS, adaptive_moments, blanks, stars
from lenssr.image import psf_fwhm

FIT_RADIUS = 2.0  # FWHM around a star
STAMP_RADIUS = 4.0  # FWHM around a star


def measure_stars(image, positions, fwhm):
    """Fit a round Gaussian to stars and measure their moments."""
    from astropy.table import Table
    from photutils.psf import CircularGaussianPSF, PSFPhotometry

    positions = np.atleast_2d(np.asarray(positions, dtype=float))
    model = CircularGaussianPSF(fwhm=fwhm)
    model.fwhm.fixed = False
    side = 2 * int(np.ceil(FIT_RADIUS * fwhm)) + 1
    x, y = positions.T
    guess = [image[round(b), round(a)] * np.pi * fwhm**2 / (4 * np.log(2)) for a, b in positions]
    photometry = PSFPhotometry(model, side)(image, init_params=Table(
        {"x": x, "y": y, "flux": guess, "fwhm": np.full(len(x), fwhm)}))
    return {"fwhm": np.array(photometry["fwhm_fit"]), "flux": np.array(photometry["flux_fit"]),
            "place": np.stack([photometry["x_fit"], photometry["y_fit"]], axis=1),
            "e": np.array([_ellipticity(image, position, fwhm) for position in positions])}


def _ellipticity(image, position, fwhm):
    half = int(np.ceil(STAMP_RADIUS * fwhm))
    x, y = (max(int(round(p)) - half, 0) for p in position)
    stamp = image[y:y + 2 * half + 1, x:x + 2 * half + 1]
    moments = adaptive_moments(stamp, (position[0] - x, position[1] - y), fwhm)
    return np.full(2, np.nan) if moments is None else moments.e


def count_sources(image, sigma, threshold=5.0):
    """Count connected regions above a threshold."""
    from photutils.segmentation import detect_sources
    from photutils.utils.exceptions import NoDetectionsWarning

    level = np.broadcast_to(threshold * np.asarray(sigma, dtype=float), image.shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoDetectionsWarning)  # no source was found
        segments = detect_sources(image, level, n_pixels=1)
    return 0 if segments is None else segments.n_labels


def rate_limits(count, pixels, per=1e6):
    """Compute the rate of false sources and its upper limit."""
    from scipy.stats import chi2

    return per * count / pixels, per * chi2.ppf(0.95, 2 * (count + 1)) / 2 / pixels


class Stars(FidelityTest):
    """Test of width, ellipticity, position and flux of stars against the declared PSF."""

    groups = staticmethod(stars)

    def measure(self, restored):
        (restored_pair,) = restored
        psf, positions = restored_pair.result.psf, restored_pair.sample.pair.truth["places"]
        if psf is None:
            return []
        width = psf_fwhm(psf)
        declared = measure_stars(psf, [[(n - 1) / 2 for n in psf.shape[::-1]]], width)
        stars_measured = measure_stars(restored_pair.image, positions, width)
        return [{"fwhm": fwhm, "declared": declared["fwhm"][0], "shift": position - true,
                 "e": e - declared["e"][0]}
                for fwhm, position, true, e in zip(stars_measured["fwhm"], stars_measured["place"],
                                                   positions, stars_measured["e"])]

    def tables(self, rows, rng):
        table_rows = []
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
                row[name], row[f"{name}_error"], row[f"{name}_scatter"], _ = robust_statistics(
                    shift)
            table_rows.append(row)
        return {"stars": make_table(table_rows)}


class Blank(FidelityTest):
    """Test of false 5-sigma sources on blank images."""

    errors, groups = True, staticmethod(blanks)

    def measure(self, restored):
        (restored_pair,) = restored
        image = restored_pair.image
        return [{"noise": restored_pair.sample.pair.truth["fidelity"], "pixels": image.size,
                 "by_uncertainty": count_sources(image, restored_pair.sigma),
                 "by_scatter": count_sources(image, mad_std(image)),
                 "by_input": count_sources(image, restored_pair.sample.noise)}]

    def tables(self, rows, rng):
        table_rows = []
        for label, lines in rows.items():
            for name, lag in NOISE_KERNEL_WIDTHS.items():
                part = [line for line in lines if line["noise"] == name]
                total = {key: sum(line[key] for line in part)
                         for key in ("pixels", "by_uncertainty", "by_scatter", "by_input")}
                rate, limit = rate_limits(total["by_uncertainty"], total["pixels"])
                table_rows.append({"method": label, "noise": name, "lag": lag,
                                   "pixels": total.pop("pixels"),
                                   "by_uncertainty": total.pop("by_uncertainty"),
                                   "per_million": rate,
                                   "limit": limit, **total})
        return {"blank": make_table(table_rows)}
