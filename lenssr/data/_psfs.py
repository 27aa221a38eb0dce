"""Measured point-spread functions, read from the package."""

from collections import namedtuple
from functools import cache
from importlib import resources

import numpy as np
from astropy.io import fits

__all__ = ["measured_psfs"]

FILE = "psfs.fits"
TELESCOPES = ("HSC", "HST", "JWST")

MeasuredPSF = namedtuple("MeasuredPSF", "name kernel pixel_scale")


def measured_psfs(telescope):
    """
    Effective point-spread functions, pixel response included, as telescopes have them.

    Parameters
    ----------
    telescope : {"HSC", "HST", "JWST"}
        Hyper Suprime-Cam on Subaru (g, r, i, z and y in three fields), WFC3/UVIS on the Hubble
        Space Telescope (F814W, five places of the detector), or NIRCam on the James Webb Space
        Telescope (F090W, three stars).

    Returns
    -------
    psfs : list of namedtuple
        ``name``; ``kernel``, of sum one and odd sides, at most 41; and ``pixel_scale``
        (arcsec).

    Raises
    ------
    ValueError
        If there are none of that telescope.

    Notes
    -----
    A Gaussian fit to the core is within 0.01 pixels of the centre. JWST's stars are undersampled
    and left where they are, up to 0.45 pixels off it. The file is read once: copy a kernel before
    writing into it.
    """
    if telescope not in TELESCOPES:
        raise ValueError(f"`telescope` must be one of {', '.join(TELESCOPES)}, got {telescope!r}")
    return list(_read(telescope))


@cache
def _read(telescope):
    path = resources.files("lenssr.data") / FILE
    with resources.as_file(path) as local, fits.open(local, memmap=False) as hdus:
        return tuple(_psf(hdu) for hdu in hdus[1:] if hdu.header["TELESCOP"] == telescope)


def _psf(hdu):
    kernel = np.asarray(hdu.data, dtype=float)
    return MeasuredPSF(hdu.header["OBJECT"], kernel / kernel.sum(), hdu.header["PIXSCALE"])
