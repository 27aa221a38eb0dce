"""Real galaxies to be lensed, read from the package."""

from collections import namedtuple
from functools import cache
from importlib import resources

import numpy as np
from astropy.io import fits

__all__ = ["galaxy_stamps"]

FILE = "galaxies.fits"

GalaxyStamp = namedtuple("GalaxyStamp", "name image pixel_scale half_light_radius")


def galaxy_stamps():
    """
    Real galaxies, seen by the Hubble Space Telescope, as sources to be lensed.

    Galaxies of COSMOS and AEGIS in F814W and F606W, without sky, noise and neighbours, at
    the resolution of the telescope (about 0.1 arcsec).

    Returns
    -------
    galaxies : list of namedtuple
        ``name``; ``image``, of sum one, square, of odd side, with the flux centroid within a
        pixel of its centre and zero at its edge; ``pixel_scale`` (arcsec); and
        ``half_light_radius`` (arcsec) of a circle about the centroid.

    Notes
    -----
    The file is read once: copy an image before writing into it.
    """
    return list(_read())


@cache
def _read():
    path = resources.files("lenssr.data") / FILE
    with resources.as_file(path) as local, fits.open(local, memmap=False) as hdus:
        return tuple(_stamp(hdu) for hdu in hdus[1:])


def _stamp(hdu):
    image = np.asarray(hdu.data, dtype=float)
    header = hdu.header
    return GalaxyStamp(f"{header['OBJECT']} {header['FILTER']}", image / image.sum(),
                       header["PIXSCALE"], header["HALFLITE"])


def half_light_radius(image):
    """Radius (pixels) of the circle about the flux centroid that holds half of the flux."""
    y, x = np.indices(image.shape)
    total = image.sum()
    radius = np.hypot(y - (y * image).sum() / total, x - (x * image).sum() / total).ravel()
    order = np.argsort(radius, kind="stable")
    return float(np.interp(total / 2, np.cumsum(image.ravel()[order]), radius[order]))
