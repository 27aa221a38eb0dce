"""The demonstration lens, read from the package."""

from importlib import resources

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty
from astropy.wcs import WCS

__all__ = ["demo_lens"]

FILE = "slacs0946_ground.fits"


def demo_lens():
    """
    SLACS J0946+1006, the double Einstein ring, as a telescope on the ground would see it.

    An HST image (ACS, F814W) blurred to a seeing of 0.75 arcsec, binned to pixels of
    0.2 arcsec and given fresh noise by `lenssr.simulate.reobserve`; the truth, made from
    the same image, has pixels of 0.1 arcsec and the resolution that restored images
    declare.

    Returns
    -------
    pair : `~lenssr.simulate.LensPair`
        ``lr``, shape ``(64, 64)``, with uncertainty and effective PSF, and ``hr``, shape
        ``(128, 128)``, in electrons per second and pixel. ``truth`` holds ``source``,
        ``seeing``, ``snr``, ``depth`` and ``seed`` of the degradation.

    Notes
    -----
    Neither image has HST's orientation: the source of the data came without one. Their
    WCS has the published position of the lens at its centre and takes up as north.
    """
    from lenssr._pair import LensPair

    path = resources.files("lenssr.data") / FILE
    with resources.as_file(path) as local, fits.open(local, memmap=False) as hdus:
        def image(name, psf, **parts):
            header = hdus[name].header
            return CCDData(_native(hdus[name]), unit=u.Unit(header["BUNIT"]), wcs=WCS(header),
                           psf=_native(hdus[psf]), meta={"OBJECT": about["OBJECT"]}, **parts)

        about = hdus[0].header
        sigma = StdDevUncertainty(_native(hdus["ERR"]), unit=u.Unit(hdus["ERR"].header["BUNIT"]))
        return LensPair(
            image("SCI", "PSF", uncertainty=sigma), image("TRUTH", "TRUTHPSF"),
            {"source": about["ORIGIN"], "seeing": about["SEEING"] * u.arcsec,
             "snr": about["PEAKSNR"], "depth": about["DEPTH"], "seed": about["SEED"]})


def _native(hdu):
    return np.asarray(hdu.data, dtype=float)
