"""Packaged data: the demonstration lens, real galaxies, measured PSFs and blank skies."""

from collections import namedtuple
from functools import cache
from importlib import resources

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty
from astropy.wcs import WCS

from lenssr._pair import LensPair
from lenssr._validation import check_name

TELESCOPES = ("HSC", "HST", "JWST")  # telescopes of the measured PSFs
SKY_BANDS = ("i", "r")  # filters of the blank skies

GalaxyStamp = namedtuple("GalaxyStamp", "name image pixel_scale half_light_radius")
MeasuredPSF = namedtuple("MeasuredPSF", "name kernel pixel_scale")


def demo_lens():
    """
    Load the double Einstein ring SLACS J0946+1006 at ground-based seeing, with its truth.

    An HST image (ACS F814W) was degraded to a seeing of 0.75 arcsec, pixels of 0.2 arcsec and new
    noise by `lenssr.simulate.simulate_observation`. The truth is the same image with
    pixels of 0.1 arcsec at the target resolution.

    Returns
    -------
    pair : `~lenssr.simulate.LensPair`
        ``lr``, shape ``(64, 64)``, with uncertainty and effective PSF, and ``hr``, shape
        ``(128, 128)``, in electrons per second and pixel. ``truth`` holds ``source``, ``seeing``,
        ``snr``, ``depth`` and ``seed`` of the degradation.

    Notes
    -----
    The orientation of the HST image is unknown. The WCS places the published position of the lens
    at the image centre, with north up.

    Examples
    --------
    >>> from lenssr.data import demo_lens
    >>> demo_lens().lr.shape
    (64, 64)
    """
    return _read("slacs0946_ground.fits", _make_demo_lens)


def galaxy_stamps():
    """
    Load images of real galaxies as sources of lenses.

    Galaxies of COSMOS and AEGIS observed by HST in F814W and F606W, without sky, noise and
    neighbours, at a resolution of about 0.1 arcsec.

    Returns
    -------
    galaxies : list of namedtuple
        ``name``; ``image``, square, of odd side and unit sum, with the centroid within a pixel of
        its centre and zeros at the edge; ``pixel_scale`` (arcsec); ``half_light_radius`` (arcsec).

    Notes
    -----
    The file is read once: copy an image before you modify it.

    Examples
    --------
    >>> from lenssr.data import galaxy_stamps
    >>> len(galaxy_stamps()) > 10
    True
    """
    return list(_read_once("galaxies.fits", _make_galaxies))


def measured_psfs(telescope):
    """
    Load measured effective PSFs, pixel response included.

    Parameters
    ----------
    telescope : {"HSC", "HST", "JWST"}
        Hyper Suprime-Cam (g, r, i, z and y in three fields), WFC3/UVIS of HST (F814W, five detector
        positions), or NIRCam of JWST (F090W, three stars).

    Returns
    -------
    psfs : list of namedtuple
        ``name``; ``kernel``, of unit sum and odd sides of at most 41 pixels; and ``pixel_scale``
        (arcsec).

    Raises
    ------
    ValueError
        If the telescope is unknown.

    Notes
    -----
    Kernels are centred to 0.01 pixels by a Gaussian fit to their core. The undersampled stars of
    JWST are offset by up to 0.45 pixels. The file is read once: copy a kernel before you modify it.

    Examples
    --------
    >>> from lenssr.data import measured_psfs
    >>> len(measured_psfs("JWST"))
    3
    """
    check_name("telescope", telescope, TELESCOPES)
    return list(_read_once("psfs.fits", _make_psfs)[telescope])


def sky_stamps(band="i"):
    """
    Load blank-sky images of the Dark Energy Survey with correlated noise.

    Parameters
    ----------
    band : {"i", "r"}
        Filter.

    Returns
    -------
    stamps : `~numpy.ndarray`
        Shape ``(n, 91, 91)``, float32: each stamp minus its median, in units of its robust noise.
        Pixels have a side of 0.263 arcsec.
    correlation : float
        Noise correlation of neighbouring pixels, averaged over both axes and all stamps.

    Raises
    ------
    ValueError
        If there are no skies of the band.

    Notes
    -----
    Sources, a fifth to a third of each stamp, were replaced by sky from elsewhere in blocks of 15
    pixels. The noise is not correlated across block edges. Undetected sources remain. The file is
    read once: copy a stamp before you modify it.

    Examples
    --------
    >>> from lenssr.data import sky_stamps
    >>> sky_stamps("i")[0].shape[1:]
    (91, 91)
    """
    check_name("band", band, SKY_BANDS)
    return _read_once("sky.fits", _make_skies)[band]


def _read(name, make):
    """Open a packaged FITS file and return ``make(hdus)``."""
    with resources.as_file(resources.files("lenssr.data") / name) as path:
        with fits.open(path, memmap=False) as hdus:
            return make(hdus)


_read_once = cache(_read)


def _to_float(hdu):
    """Return the pixels of an HDU as native floats."""
    return np.asarray(hdu.data, dtype=float)


def _unit_sum(hdu):
    """Return the pixels of an HDU divided by their sum."""
    pixels = _to_float(hdu)
    return pixels / pixels.sum()


def _make_demo_lens(hdus):
    primary = hdus[0].header

    def image(name, psf_name, **fields):
        header = hdus[name].header
        return CCDData(_to_float(hdus[name]), unit=u.Unit(header["BUNIT"]), wcs=WCS(header),
                       psf=_to_float(hdus[psf_name]), meta={"OBJECT": primary["OBJECT"]}, **fields)

    sigma = StdDevUncertainty(_to_float(hdus["ERR"]), unit=u.Unit(hdus["ERR"].header["BUNIT"]))
    return LensPair(
        image("SCI", "PSF", uncertainty=sigma), image("TRUTH", "TRUTHPSF"),
        {"source": primary["ORIGIN"], "seeing": primary["SEEING"] * u.arcsec,
         "snr": primary["PEAKSNR"], "depth": primary["DEPTH"], "seed": primary["SEED"]})


def _make_galaxies(hdus):
    return [GalaxyStamp(f"{hdu.header['OBJECT']} {hdu.header['FILTER']}", _unit_sum(hdu),
                        hdu.header["PIXSCALE"], hdu.header["HALFLITE"]) for hdu in hdus[1:]]


def _make_psfs(hdus):
    return {telescope: [
        MeasuredPSF(hdu.header["OBJECT"], _unit_sum(hdu), hdu.header["PIXSCALE"])
        for hdu in hdus[1:] if hdu.header["TELESCOP"] == telescope] for telescope in TELESCOPES}


def _make_skies(hdus):
    skies = {band: hdus[f"SKY_{band}"] for band in SKY_BANDS}
    return {band: (np.float32(hdu.data * hdu.header["STEP"]), hdu.header["LAG1"])
            for band, hdu in skies.items()}
