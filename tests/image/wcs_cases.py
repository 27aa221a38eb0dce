"""Headers, formulas and comparisons shared by the tests of WCSs."""

import functools
import io

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import DistortionLookupTable

from lenssr.image import (
    read_wcs,
    strip_wcs,
    wcs_to_fits,
)


def to_fine(x, scale):
    """FITS pixel coordinates in pixels ``scale`` times finer."""
    return (np.asarray(x) - 0.5) * scale + 0.5


def random_pixels(wcs, n=100, seed=7):
    """FITS pixel coordinates ``(2, n)`` over the image, or around CRPIX if it has no size."""
    u01 = np.random.default_rng(seed).uniform(size=(2, n))
    if wcs.pixel_shape is None:
        return wcs.wcs.crpix[:2, None] + 400 * (u01 - 0.5)
    return 0.5 + u01 * np.array(wcs.pixel_shape[:2])[:, None]


def offset_in_pixels(here, there, neighbour):
    """Largest angle between two lists of positions, in units of that to a third."""
    here, there, neighbour = (SkyCoord(*p, unit="deg") for p in (here, there, neighbour))
    return (here.separation(there) / here.separation(neighbour)).to_value("").max()


def assert_same_sky(old, new, scale, pixels):
    """Forward and back, on FITS WCSs of two axes."""
    x, y = pixels
    here = old.all_pix2world(x, y, 1)
    there = new.all_pix2world(to_fine(x, scale), to_fine(y, scale), 1)
    neighbour = old.all_pix2world(x + 1, y, 1)
    valid = np.isfinite(here).all(axis=0)  # a map of all the sky has corners without any
    np.testing.assert_array_equal(np.isfinite(there).all(axis=0), valid)
    valid &= np.isfinite(neighbour).all(axis=0)
    assert valid.sum() > 50
    here, there, neighbour = (np.array(p)[:, valid] for p in (here, there, neighbour))
    assert offset_in_pixels(here, there, neighbour) < 1e-6
    back = new.all_world2pix(*here, 1, tolerance=1e-9, maxiter=50)
    np.testing.assert_allclose(back, to_fine(pixels[:, valid], scale), rtol=0, atol=1e-6 * scale)


def written(wcs, header=None, shape=(2, 2)):
    """Header and HDUList of a real FITS file that holds the WCS, read back."""
    out = strip_wcs(fits.Header() if header is None else header)
    cards, extra = wcs_to_fits(wcs)
    out.extend(cards, unique=True)
    for key in ("XTENSION", "BSCALE", "BZERO"):
        out.remove(key, ignore_missing=True)
    buffer = io.BytesIO()
    image = fits.PrimaryHDU(np.zeros(shape, np.float32), out)
    fits.HDUList([image, *extra]).writeto(buffer, output_verify="exception")
    buffer.seek(0)
    hdus = fits.open(buffer, lazy_load_hdus=False)
    return hdus[0].header, hdus


def image_header(**cards):
    """Header of an image of 100 x 80 pixels."""
    header = fits.Header(
        [("SIMPLE", True), ("BITPIX", -32), ("NAXIS", 2), ("NAXIS1", 100), ("NAXIS2", 80)]
    )
    header.update(cards)
    return header


LINEAR = {"CRPIX1": 50.0, "CRPIX2": 40.0, "CRVAL1": 150.0, "CRVAL2": 2.2}
TAN = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", **LINEAR}
CD = {"CD1_1": -1e-4, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 1e-4}
CDELT = {"CDELT1": -1e-4, "CDELT2": 1e-4}


def gnomonic(xi, eta, ra0, dec0):
    """Inverse gnomonic projection in degrees (Calabretta & Greisen 2002, by spherical triangle)."""
    xi, eta, ra0, dec0 = np.radians(np.broadcast_arrays(xi, eta, ra0, dec0))
    down = np.cos(dec0) - eta * np.sin(dec0)
    ra = ra0 + np.arctan2(xi, down)
    dec = np.arctan2(np.sin(dec0) + eta * np.cos(dec0), np.hypot(xi, down))
    return np.degrees(ra), np.degrees(dec)


TPV = {"PV1_1": 1.0, "PV2_1": 1.0, "PV1_4": 1e-3, "PV2_6": 2e-3, "PV1_0": 0.1}
TNX = (
    'wtype=tnx axtype={} lngcor = "3. 3. 3. 2. -0.01 0.01 -0.01 0.01 '
    '1.E-4 {}E-4 1.E-4 2.E-4 3.E-4 1.E-4 "'
)


def tnx_cards():
    cards = {"CTYPE1": "RA---TNX", "CTYPE2": "DEC--TNX", "WAT0_001": "system=image"}
    for axis, text in ((1, TNX.format("ra", 1)), (2, TNX.format("dec", 5).replace("lng", "lat"))):
        cards |= {f"WAT{axis}_{i:03d}": text[68 * i - 68 : 68 * i] for i in (1, 2)}
    return cards


def cube_header(**cards):
    header = image_header(**TAN, **CDELT)
    header["NAXIS"] = 3
    header.insert("NAXIS2", ("NAXIS3", 5), after=True)
    header.update(CTYPE3="FREQ", CUNIT3="Hz", CRPIX3=1.0, CRVAL3=1e11, CDELT3=1e6)
    header.update(cards)
    return header


def sip_wcs():
    wcs = read_wcs(
        image_header(
            **{**TAN, "CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP"},
            **CD,
            **{"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-4, "B_1_1": 2e-4},
        )
    )
    ramp = np.linspace(0, 3, 6, dtype=np.float32).reshape(2, 3)
    wcs.cpdis1 = DistortionLookupTable(ramp, (1.0, 1.0), (1.0, 1.0), (50.0, 79.0))
    return wcs


@functools.cache
def open_case(path, extension=0):
    """Header and HDUList (None for a text header) of a file; nothing may change them."""
    if str(path).endswith(".hdr"):
        with open(path, encoding="latin1") as file:
            text = file.read()
        return fits.Header.fromstring(text, sep="\n" if "\n" in text else ""), None
    with fits.open(path, lazy_load_hdus=False) as hdus:
        copies = fits.HDUList([hdu.copy() for hdu in hdus])
    return copies[extension].header, copies
