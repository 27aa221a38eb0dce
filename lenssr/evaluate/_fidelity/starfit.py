"""Width, ellipticity and place of stars."""

import numpy as np

from lenssr.evaluate._fidelity.moments import adaptive_moments

__all__ = ["measure_stars"]

REACH = 2.0  # FWHM around a star that are fitted
ROOM = 4.0   # and that are cut out for its moments


def measure_stars(image, places, fwhm):
    """Fit a round Gaussian to stars, and measure their moments."""
    from astropy.table import Table
    from photutils.psf import CircularGaussianPSF, PSFPhotometry

    places = np.atleast_2d(np.asarray(places, dtype=float))
    model = CircularGaussianPSF(fwhm=fwhm)
    model.fwhm.fixed = False
    side = 2 * int(np.ceil(REACH * fwhm)) + 1
    x, y = places.T
    guess = [image[round(b), round(a)] * np.pi * fwhm**2 / (4 * np.log(2)) for a, b in places]
    found = PSFPhotometry(model, side)(image, init_params=Table(
        {"x": x, "y": y, "flux": guess, "fwhm": np.full(len(x), fwhm)}))
    return {"fwhm": np.array(found["fwhm_fit"]), "flux": np.array(found["flux_fit"]),
            "place": np.stack([found["x_fit"], found["y_fit"]], axis=1),
            "e": np.array([_ellipticity(image, place, fwhm) for place in places])}


def _ellipticity(image, place, fwhm):
    half = int(np.ceil(ROOM * fwhm))
    x, y = (max(int(round(p)) - half, 0) for p in place)
    stamp = image[y:y + 2 * half + 1, x:x + 2 * half + 1]
    found = adaptive_moments(stamp, (place[0] - x, place[1] - y), fwhm)
    return np.full(2, np.nan) if found is None else found.e
