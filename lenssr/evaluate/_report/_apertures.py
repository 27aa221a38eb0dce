"""Flux in circles, before and after."""

import numpy as np
from astropy import units as u
from astropy.table import Table

from lenssr.evaluate._report._checks import degraded, fwhm_of
from lenssr.image import to_fine_pixel

__all__ = ["apertures"]

RADII = (0.5, 1.0, 2.0, 4.0)  # of circles, in FWHM of the input's PSF
ASSUMED_FWHM = 4.0            # pixels, where that is not known


def apertures(subject, centre, pixel=None):
    """Flux in circles, by the input and by the results."""
    image, scale = subject.image, subject.scale
    radii = _radii(image, np.array(centre))
    own = [_circle(centre, r) for r in radii]
    fine = [_circle(to_fine_pixel(np.array(centre), scale), r * scale) for r in radii]
    area = scale**2 * subject.share
    table = Table({"radius": radii * scale * (pixel or 1)}, masked=True)
    table["radius"].unit = u.arcsec if pixel else u.pix
    table["input"], table["error"] = _sums(own, area * image.data, image.mask, area * image.sigma)
    (table["result"],) = _sums(fine, subject.result.data, subject.mask)
    if subject.truth is not None:
        (table["truth"],) = _sums(fine, subject.truth, subject.mask | np.isnan(subject.truth))
    for result in subject.results:
        back = degraded(subject, result)
        (same,) = _sums(fine, result.data, subject.mask) if back is None else \
            _sums(own, area * back, image.mask)
        table[f"{result.name} / input"] = np.ma.masked_invalid(
            np.ma.divide(same, np.ma.masked_equal(table["input"], 0)))
    return _described(table, subject)


def _radii(image, centre):
    """Radii in pixels, such that the circles lie within the image."""
    most = min((centre + 0.5).min(), (np.array(image.shape[::-1]) - 0.5 - centre).min())
    fwhm = ASSUMED_FWHM if image.psf is None else fwhm_of(image.psf)
    radii = np.array([each * fwhm for each in RADII if each * fwhm < most])
    return radii if len(radii) else np.array([most])


def _circle(centre, radius):
    from photutils.aperture import CircularAperture

    return CircularAperture(centre, radius)


def _sums(circles, data, mask, sigma=None):
    """Sums over circles, and their errors if those of the pixels are independent."""
    from photutils.aperture import aperture_photometry

    found = aperture_photometry(np.where(mask, 0, data), circles, error=sigma, mask=mask)
    names = ("aperture_sum",) if sigma is None else ("aperture_sum", "aperture_sum_err")
    return [np.array([found[f"{name}_{k}"][0] for k in range(len(circles))]) for name in names]


def _described(table, subject):
    about = {"radius": "of the circle", "input": "flux in the input, the sum over output pixels",
             "error": "of that, its pixels being independent",
             "result": f"flux in the result by {subject.result.name}, at its own resolution: a "
                       "sharper image has more in a small circle",
             "truth": "flux in the truth"}
    about |= {f"{each.name} / input": "flux of the result at the resolution of the input, over "
              "that of the input" if subject.degrades(each) else "flux of the result over that "
              "of the input" for each in subject.results}
    for name in table.colnames:
        table[name].info.description = about[name]
        table[name].info.format = ".3f" if name == "radius" else ".4f" if "/" in name else ".4g"
        if name in ("input", "error", "result", "truth"):
            table[name].unit = subject.unit
    return table
