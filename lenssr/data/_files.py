"""Data files of the package."""

from collections import namedtuple
from functools import cache
from importlib import resources

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty
from astropy.wcs import WCS

DEMO_FILE = "slacs0946_ground.fits"


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

    path = resources.files("lenssr.data") / DEMO_FILE
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


GALAXY_FILE = "galaxies.fits"

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
    return list(_read_galaxies())


@cache
def _read_galaxies():
    path = resources.files("lenssr.data") / GALAXY_FILE
    with resources.as_file(path) as local, fits.open(local, memmap=False) as hdus:
        return tuple(_stamp(hdu) for hdu in hdus[1:])


def _stamp(hdu):
    image = np.asarray(hdu.data, dtype=float)
    header = hdu.header
    return GalaxyStamp(f"{header['OBJECT']} {header['FILTER']}", image / image.sum(),
                       header["PIXSCALE"], header["HALFLITE"])


def half_light_radius(image):
    """Measure the radius in pixels of the circle about the centroid that holds half of the flux."""
    y, x = np.indices(image.shape)
    total = image.sum()
    radius = np.hypot(y - (y * image).sum() / total, x - (x * image).sum() / total).ravel()
    order = np.argsort(radius, kind="stable")
    return float(np.interp(total / 2, np.cumsum(image.ravel()[order]), radius[order]))


PSF_FILE = "psfs.fits"
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
    return list(_read_psfs(telescope))


@cache
def _read_psfs(telescope):
    path = resources.files("lenssr.data") / PSF_FILE
    with resources.as_file(path) as local, fits.open(local, memmap=False) as hdus:
        return tuple(_psf(hdu) for hdu in hdus[1:] if hdu.header["TELESCOP"] == telescope)


def _psf(hdu):
    kernel = np.asarray(hdu.data, dtype=float)
    return MeasuredPSF(hdu.header["OBJECT"], kernel / kernel.sum(), hdu.header["PIXSCALE"])


SKY_FILE = "sky.fits"
SKY_BANDS = ("i", "r")


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
    if band not in SKY_BANDS:
        raise ValueError(f"`band` must be one of {', '.join(SKY_BANDS)}, got {band!r}")
    return _read_skies(band)


@cache
def _read_skies(band):
    path = resources.files("lenssr.data") / SKY_FILE
    with resources.as_file(path) as local, fits.open(local, memmap=False) as hdus:
        hdu = hdus[f"SKY_{band}"]
        return np.float32(hdu.data * hdu.header["STEP"]), hdu.header["LAG1"]


def lag_one(sky, use=None):
    """Measure the correlation of neighbouring pixels, averaged over both axes."""
    use = np.ones(sky.shape, bool) if use is None else use
    sky = np.where(use, sky - sky[use].mean(), 0)
    products = []
    for axis in (-2, -1):
        # The last pixel along the axis has no neighbour.
        pairs = np.delete(use & np.roll(use, -1, axis), -1, axis)
        products.append(np.delete(sky * np.roll(sky, -1, axis), -1, axis)[pairs].mean())
    return float(np.mean(products) / sky[use].var())
