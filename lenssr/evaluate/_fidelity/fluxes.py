"""Flux of a restored image over that of the truth."""

import numpy as np

__all__ = ["RADII", "circles", "flux_ratio"]

RADII = (2, 3, 5, 7, 10)
"""Radii of the apertures, output pixels."""

MOSTLY = 0.5  # of the absolute flux that must be left when both signs are added


def circles(places, radius):
    """photutils' circular apertures of one radius around places ``x, y``, shape ``(n, 2)``."""
    from photutils.aperture import CircularAperture

    return CircularAperture(np.atleast_2d(places), radius)


def flux_ratio(image, truth, mask, place=None, radius=None):
    """Flux over true flux, of all pixels that are not masked, or in an aperture."""
    def flux(of):
        if radius is None:
            return of[~mask].sum()
        return circles(place, radius).do_photometry(of, mask=mask)[0][0]

    true = flux(truth)
    return float(flux(image) / true) if true > MOSTLY * flux(np.abs(truth)) else np.nan
