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
    Load the double Einstein ring SLACS J0946+1006 at ground-based seeing, with its truth.

    An HST image (ACS F814W) was degraded to a seeing of 0.75 arcsec, pixels of 0.2 arcsec and new
    noise by `lenssr.simulate.simulate_observation`. The truth comes from the same image, with
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
