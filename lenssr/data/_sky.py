"""Real skies without sources, read from the package."""

from functools import cache
from importlib import resources

import numpy as np
from astropy.io import fits

__all__ = ["sky_stamps"]

FILE = "sky.fits"
BANDS = ("i", "r")


def sky_stamps(band="i"):
    """
    Empty skies of the Dark Energy Survey: real noise, correlated as coadded images have it.

    Parameters
    ----------
    band : {"i", "r"}
        The filter.

    Returns
    -------
    stamps : `~numpy.ndarray`
        Shape ``(n, 91, 91)``, 32 bits: each stamp without its median, in units of its noise
        (robust, from the median absolute deviation). Pixels are of 0.263 arcsec.
    correlation : float
        Correlation of pixels next to each other off sources, the mean over both axes and all
        stamps.

    Raises
    ------
    ValueError
        If there are no skies of that band.

    Notes
    -----
    Where a source was, a fifth to a third of each stamp, there is sky from elsewhere in it, in
    blocks of 15 pixels; across their seams the noise is not correlated. Sources too faint to be
    found are left. The file is read once: copy a stamp before writing into it.
    """
    if band not in BANDS:
        raise ValueError(f"`band` must be one of {', '.join(BANDS)}, got {band!r}")
    return _read(band)


@cache
def _read(band):
    path = resources.files("lenssr.data") / FILE
    with resources.as_file(path) as local, fits.open(local, memmap=False) as hdus:
        hdu = hdus[f"SKY_{band}"]
        return np.float32(hdu.data * hdu.header["STEP"]), hdu.header["LAG1"]


def lag_one(sky, use=None):
    """Correlation of pixels next to each other, the mean over both axes, where ``use``."""
    use = np.ones(sky.shape, bool) if use is None else use
    sky = np.where(use, sky - sky[use].mean(), 0)
    products = []
    for axis in (-2, -1):
        # The last along the axis has no neighbour.
        pairs = np.delete(use & np.roll(use, -1, axis), -1, axis)
        products.append(np.delete(sky * np.roll(sky, -1, axis), -1, axis)[pairs].mean())
    return float(np.mean(products) / sky[use].var())
