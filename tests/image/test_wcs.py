"""World coordinates: the sky must stay where it was, to a millionth of a pixel."""

import functools
import io
import os
import sys
import warnings

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import ICRS, SkyCoord
from astropy.io import fits
from astropy.modeling.models import Multiply, Pix2Sky_TAN, RotateNative2Celestial, Scale, Shift
from astropy.nddata import CCDData, NDData, NDDataRef
from astropy.utils.data import get_pkg_data_filename
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs import WCS, DistortionLookupTable, FITSFixedWarning, Sip
from astropy.wcs.wcsapi import (
    BaseHighLevelWCS,
    BaseLowLevelWCS,
    HighLevelWCSWrapper,
    SlicedLowLevelWCS,
)

from lenssr.exceptions import LensSRWarning
from lenssr.image import (
    RescaledWCS,
    check_same_sky,
    read_wcs,
    rescale_alternates,
    rescale_wcs,
    strip_wcs,
    wcs_from_hdus,
    wcs_to_fits,
)

# Every image of the shared folder with a celestial WCS: file, extension, distortion.
FILES = [
    ("1904-66_TAN.fits", 0, ""),
    ("DECam_00154912_12_header.fits", 0, "hidden"),  # TAN with PV, no pixels
    ("astropy_dist_lookup.fits.gz", 1, "sip tables"),
    ("astropy_irac_sip.hdr", 0, "sip"),
    ("astropy_j94f05bgq_flt.fits", 1, "sip"),  # 1 x 1
    ("astropy_j94f05bgq_flt.fits", 2, ""),  # no pixels
    ("astropy_j94f05bgq_flt.fits", 4, "sip"),
    ("astropy_m13_rice.fits", 1, ""),  # CROTA
    ("astropy_sip-broken.hdr", 0, "sip"),
    ("astropy_sip-wcs.fits", 0, "sip"),
    ("astropy_sip.fits", 0, "sip"),
    ("astropy_siponly.hdr", 0, "sip"),
    ("astropy_too_many_pv.hdr", 0, "sip"),
    ("astropy_tpvonly.hdr", 0, "hidden"),
    ("sipsample.fits", 0, "sip"),
    ("tanpv.fits", 0, "hidden"),
    ("tpv.fits", 0, "hidden"),
]

# Of astropy's own test data: a plate solution, other projections, a cube with CD.
ASTROPY_FILES = [
    ("dss.14.29.56-62.41.05.fits.gz", "hidden"),
    ("maps/1904-66_ZPN.hdr", ""),
    ("maps/1904-66_CAR.hdr", ""),
    ("maps/1904-66_COE.hdr", ""),
    ("maps/1904-66_HPX.hdr", ""),
    ("maps/1904-66_NCP.hdr", ""),
    ("ie6d07ujq_wcs.fits", "detector"),
]


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


def finer(x, scale):
    """FITS pixel coordinates in pixels ``scale`` times finer."""
    return (np.asarray(x) - 0.5) * scale + 0.5


def random_pixels(wcs, n=100, seed=7):
    """FITS pixel coordinates ``(2, n)`` over the image, or around CRPIX if it has no size."""
    u01 = np.random.default_rng(seed).uniform(size=(2, n))
    if wcs.pixel_shape is None:
        return wcs.wcs.crpix[:2, None] + 400 * (u01 - 0.5)
    return 0.5 + u01 * np.array(wcs.pixel_shape[:2])[:, None]


def offset_in_pixels(here, there, beside):
    """Largest angle between two lists of positions, in units of that to a third."""
    here, there, beside = (SkyCoord(*p, unit="deg") for p in (here, there, beside))
    return (here.separation(there) / here.separation(beside)).to_value("").max()


def assert_same_sky(old, new, scale, pixels):
    """Forward and back, on FITS WCSs of two axes."""
    x, y = pixels
    here = old.all_pix2world(x, y, 1)
    there = new.all_pix2world(finer(x, scale), finer(y, scale), 1)
    beside = old.all_pix2world(x + 1, y, 1)
    valid = np.isfinite(here).all(axis=0)  # a map of all the sky has corners without any
    np.testing.assert_array_equal(np.isfinite(there).all(axis=0), valid)
    valid &= np.isfinite(beside).all(axis=0)
    assert valid.sum() > 50
    here, there, beside = (np.array(p)[:, valid] for p in (here, there, beside))
    assert offset_in_pixels(here, there, beside) < 1e-6
    back = new.all_world2pix(*here, 1, tolerance=1e-9, maxiter=50)
    np.testing.assert_allclose(back, finer(pixels[:, valid], scale), rtol=0, atol=1e-6 * scale)


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


# -- the files ----------------------------------------------------------------


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize(("name", "extension", "kind"), FILES)
def test_files_keep_their_sky(shared_data, name, extension, kind, scale):
    header, hdus = open_case(shared_data / "wcs" / name, extension)
    check_file(header, hdus, kind, scale)


@pytest.mark.parametrize("scale", [1, 3])
@pytest.mark.parametrize(("name", "kind"), ASTROPY_FILES)
def test_astropys_files_keep_their_sky(name, kind, scale):
    try:
        path = get_pkg_data_filename(os.path.join("data", name), package="astropy.wcs.tests")
    except (OSError, ImportError):
        pytest.skip("this astropy comes without its test data")
    header, hdus = open_case(path)
    check_file(header, hdus, kind, scale)


def check_file(header, hdus, kind, scale):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        truth = WCS(header, hdus)  # what astropy makes of it, warnings and all
    old = read_wcs(header, hdus)
    pixels = random_pixels(old)
    assert old.pixel_shape == truth.pixel_shape or truth.pixel_shape is None
    np.testing.assert_array_equal(
        old.all_pix2world(*pixels, 1), truth.all_pix2world(*pixels, 1)
    )
    # the case is what it says: a distortion that is not there proves nothing
    assert ("sip" in kind) == (old.sip is not None)
    assert ("tables" in kind) == (old.cpdis1 is not None)
    assert ("detector" in kind) <= (old.det2im1 is not None)
    if kind:
        core = old.wcs.crval, old.wcs.crpix, old.pixel_scale_matrix
        xi, eta = core[2] @ (pixels - core[1][:, None])
        plain = gnomonic(xi, eta, *core[0])
        exact = old.all_pix2world(*pixels, 1)
        beside = old.all_pix2world(pixels[0] + 1, pixels[1], 1)
        assert offset_in_pixels(exact, plain, beside) > 1e-3
    new = rescale_wcs(old, scale)
    if old.pixel_shape is not None:
        assert new.pixel_shape == tuple(n * scale for n in old.pixel_shape)
        assert new.array_shape == new.pixel_shape[::-1]
    assert_same_sky(old, new, scale, pixels)
    new_header, new_hdus = written(new, header)
    with new_hdus:
        back = wcs_from_hdus(new_header, new_hdus)
        assert_same_sky(old, back, scale, pixels)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FITSFixedWarning)
            plain = WCS(new_header, new_hdus)  # any other reader
        assert_same_sky(old, plain, scale, pixels)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_gwcs_file_keeps_its_sky(shared_data, scale):
    asdf = pytest.importorskip("asdf")
    gwcs = pytest.importorskip("gwcs")
    with asdf.open(shared_data / "wcs" / "gwcs_nircamwcs.asdf", lazy_load=False) as file:
        old = file["wcs"]
    bounds = old.pixel_bounds
    new = rescale_wcs(old, scale)
    assert old.pixel_bounds == bounds and old.pixel_shape is None  # left alone
    header, hdus = written(new)
    with hdus:
        back = wcs_from_hdus(header, hdus)
    x, y = np.random.default_rng(1).uniform(-0.5, 2047.5, (2, 100))
    fine = finer(x + 1, scale) - 1, finer(y + 1, scale) - 1
    here, beside = old(x, y), old(x + 1e-3, y, with_bounding_box=False)
    for wcs in (new, back):
        assert isinstance(wcs, gwcs.WCS)
        assert offset_in_pixels(here, wcs(*fine), beside) * 1e-3 < 1e-6
        assert wcs.pixel_bounds == ((-0.5, 2048 * scale - 0.5),) * 2
        assert np.isnan(wcs(-1.0, 5.0)).all()  # outside, as before
        sky = wcs.pixel_to_world(*fine)
        assert offset_in_pixels(here, (sky.ra.deg, sky.dec.deg), beside) * 1e-3 < 1e-6
        # The file's inverse is a fit, good to some hundredths of a pixel: the same fit.
        inverse = old.invert(*here, with_bounding_box=False)
        expected = [finer(p + 1, scale) - 1 for p in inverse]
        found = wcs.invert(*here, with_bounding_box=False)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * scale)


# -- closed forms -------------------------------------------------------------


@pytest.mark.parametrize("scale", [2, 3, 5])
@pytest.mark.parametrize("form", ["CD", "PC", "CROTA"])
def test_tan_by_hand(form, scale):
    """A rotated, flipped, non-square TAN against the formula of the projection."""
    angle = np.radians(33.0)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    step = np.diag([-2e-4, 3e-4])
    header = image_header(**{**TAN, "CRPIX1": 17.25, "CRPIX2": -301.5})
    if form == "CROTA":
        matrix = turn @ step  # Calabretta & Greisen 2002, equation 186 ff.
        header.update({"CDELT1": -2e-4, "CDELT2": 3e-4, "CROTA2": 33.0})
    elif form == "CD":
        matrix = turn @ step
        header.update({f"CD{i + 1}_{j + 1}": v for (i, j), v in np.ndenumerate(matrix)})
    else:
        matrix = step @ turn
        header.update({"CDELT1": -2e-4, "CDELT2": 3e-4})
        header.update({f"PC{i + 1}_{j + 1}": v for (i, j), v in np.ndenumerate(turn)})
    new_header, hdus = written(rescale_wcs(read_wcs(header), scale))
    with hdus:
        new = WCS(new_header)
    # corners of the footprint, which both grids share, and whatever lies between
    for x, y in [(0.5, 0.5), (100.5, 80.5), (0.5, 80.5), (50.0, 7.3)]:
        truth = gnomonic(*(matrix @ [x - 17.25, y + 301.5]), 150.0, 2.2)
        found = new.all_pix2world(finer(x, scale), finer(y, scale), 1)
        np.testing.assert_allclose(found, truth, rtol=0, atol=1e-11)
    # the first fine pixel has its centre (1 - 1/s)/2 of a coarse pixel from the coarse centre
    first = 0.5 + 0.5 / scale
    truth = gnomonic(*(matrix @ [first - 17.25, first + 301.5]), 150.0, 2.2)
    np.testing.assert_allclose(new.all_pix2world(1, 1, 1), truth, rtol=0, atol=1e-11)
    if form == "CD":
        np.testing.assert_allclose(new.wcs.cd, matrix / scale, rtol=1e-12)  # of the card
    else:
        np.testing.assert_allclose(new.wcs.cdelt, np.diag(step) / scale, rtol=1e-15)


def test_sip_by_hand():
    """The polynomial, evaluated in the pixels of the new image."""
    header = image_header(**TAN, **CD, A_ORDER=3, B_ORDER=2, A_2_0=1e-4, A_1_2=3e-6, B_0_2=-2e-4)
    header.update(CTYPE1="RA---TAN-SIP", CTYPE2="DEC--TAN-SIP")
    new = rescale_wcs(read_wcs(header), 3)
    x, y = 91.0, 12.5
    a, b = x - 50, y - 40
    moved = a + 1e-4 * a**2 + 3e-6 * a * b**2, b - 2e-4 * b**2
    truth = gnomonic(-1e-4 * moved[0], 1e-4 * moved[1], 150.0, 2.2)
    found = new.all_pix2world(finer(x, 3), finer(y, 3), 1)
    np.testing.assert_allclose(found, truth, rtol=0, atol=1e-11)
    np.testing.assert_allclose(new.sip.a[1, 2], 3e-6 / 9)


def test_tables_by_hand():
    """Constant look-up tables shift by so many pixels of the input, on either axis."""
    plain = read_wcs(image_header(**TAN, **CD))
    old = plain.deepcopy()
    grid = {"crpix": (1.0, 1.0), "crval": (1.0, 1.0), "cdelt": (50.0, 40.0)}
    old.cpdis1 = DistortionLookupTable(np.full((3, 3), 2.5, np.float32), *grid.values())
    old.cpdis2 = DistortionLookupTable(np.full((3, 3), -1.5, np.float32), *grid.values())
    old.det2im1 = DistortionLookupTable(np.full((3, 3), 0.25, np.float32), *grid.values())
    old.det2im2 = DistortionLookupTable(np.full((3, 3), 4.0, np.float32), *grid.values())
    x, y = random_pixels(old)
    truth = plain.all_pix2world(x + 2.75, y + 2.5, 1)
    header, hdus = written(rescale_wcs(old, 3))
    with hdus:
        assert [h.name for h in hdus[1:]].count("D2IMARR") == 2
        new = wcs_from_hdus(header, hdus)
        np.testing.assert_allclose(
            new.all_pix2world(finer(x, 3), finer(y, 3), 1), truth, rtol=0, atol=1e-11
        )
        with pytest.raises(ValueError, match="`header` declares a WCS.*D2IMARR"):
            read_wcs(header)


def test_table_grid_is_moved():
    """A slope in the table is found at the same place of the sky, between its nodes."""
    old = read_wcs(image_header(**TAN, **CD))
    ramp = np.add.outer(np.arange(5.0), 3 * np.arange(6.0) ** 2).astype(np.float32) / 8
    old.cpdis2 = DistortionLookupTable(ramp, (2.0, 1.5), (30.0, 11.0), (20.0, 16.0))
    pixels = random_pixels(old)
    x, y = pixels
    column = np.clip((x - 30) / 20 + 2 - 1, 0, 5)  # of the table, from 0
    row = np.clip((y - 11) / 16 + 1.5 - 1, 0, 4)
    left = np.floor(column).clip(0, 4)
    rise = 3 * (left**2 + (column - left) * (2 * left + 1))  # bilinear between nodes
    truth = read_wcs(image_header(**TAN, **CD)).all_pix2world(x, y + (row + rise) / 8, 1)
    np.testing.assert_allclose(old.all_pix2world(x, y, 1), truth, rtol=0, atol=1e-9)
    new = rescale_wcs(old, 4)
    found = new.all_pix2world(finer(x, 4), finer(y, 4), 1)
    np.testing.assert_allclose(found, truth, rtol=0, atol=1e-9)


# -- forms of a FITS WCS ------------------------------------------------------

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


@pytest.mark.parametrize("matrix", [CD, CDELT, {**CDELT, "CROTA2": 20.0}])
@pytest.mark.parametrize(
    "distortion", [{"CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV", **TPV}, tnx_cards()]
)
def test_distortions_inside_wcslib(matrix, distortion):
    """TPV and TNX act between PC and CDELT: dividing CDELT would be wrong."""
    old = read_wcs(image_header(**{**TAN, **matrix, **distortion}))
    plain = read_wcs(image_header(**TAN, **matrix))
    assert np.max(np.subtract(old.all_pix2world(9, 9, 1), plain.all_pix2world(9, 9, 1))) > 1e-5
    new = rescale_wcs(old, 3)
    header, hdus = written(new, image_header(**tnx_cards()))
    with hdus:
        for wcs in (new, read_wcs(header)):
            assert_same_sky(old, wcs, 3, random_pixels(old))


def test_sip_without_suffix_is_applied_and_then_said():
    header = image_header(**TAN, **CD, A_ORDER=2, B_ORDER=2, A_2_0=1e-4)
    old = read_wcs(header)
    assert old.sip is not None and old.wcs.ctype[0] == "RA---TAN"
    new_header, hdus = written(rescale_wcs(old, 2), header)
    hdus.close()
    assert new_header["CTYPE1"] == "RA---TAN-SIP" and new_header["CTYPE2"] == "DEC--TAN-SIP"
    assert_same_sky(old, WCS(new_header), 2, random_pixels(old))
    assert old.wcs.ctype[0] == "RA---TAN"  # the argument is left alone
    old.wcs.ctype = ["SLON-TAN", "SLAT-TAN"]
    assert list(wcs_to_fits(old)[0]["CTYPE*"].values()) == ["SLON-TAN-SIP", "SLAT-TAN-SIP"]


def test_numbers_are_written_to_the_last_digit():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TPV", "DEC--TPV"]
    wcs.wcs.crval = [359.12345678901234, -89.9999999999876]
    wcs.wcs.crpix = [1234567.1234567891, -1e9 / 7]
    wcs.wcs.cd = np.array([[-1 / 3, 1 / 7], [0.0, 1 / 3]]) * 1e-9
    wcs.wcs.set_pv([(1, 1, 1 + 1e-15), (2, 1, 1.0), (1, 4, -np.pi * 1e-7), (2, 7, -1e-10 / 7)])
    wcs.wcs.set()
    header, hdus = written(wcs)
    with hdus:
        back = read_wcs(header)
    for name in ("crval", "crpix", "cd"):
        np.testing.assert_array_equal(getattr(back.wcs, name), getattr(wcs.wcs, name))
    points = wcs.wcs.crpix + np.random.default_rng(3).uniform(-1000, 1000, (50, 2))
    np.testing.assert_array_equal(back.all_pix2world(points, 1), wcs.all_pix2world(points, 1))


def test_fortran_exponents_are_read():
    """FITS allows D for the exponent of a double; astropy's WCS stops reading there."""
    header = image_header(**TAN, **CD, **{key + "A": v for key, v in {**TAN, **CD}.items()})
    for key, number in [("CRVAL1", "1.500000D+02"), ("CD1_1", "-1.D-4"), ("CRVAL1A", "1.5D2")]:
        index = header.index(key)
        del header[key]
        header.insert(index, fits.Card.fromstring(f"{key:<8}= {number:>20} / of a double"))
    header["OBJECT"] = "3D2"
    before = header.tostring()
    wcs, cards = read_wcs(header), rescale_alternates(header, 1)
    assert header.tostring() == before and "1.500000D+02" in before
    x, y = 9.0, 12.0
    truth = gnomonic(-1e-4 * (x - 50), 1e-4 * (y - 40), 150.0, 2.2)
    np.testing.assert_allclose(wcs.all_pix2world(x, y, 1), truth, rtol=0, atol=1e-11)
    alternate = WCS(cards, key="A")
    np.testing.assert_allclose(alternate.wcs_pix2world(x, y, 1), truth, rtol=0, atol=1e-11)
    small = image_header(**TAN, **CD)
    small.append(fits.Card.fromstring("LONPOLE = 1.7d2 / not quite standard"))
    assert read_wcs(small).wcs.lonpole == 170.0


def test_no_card_is_written_that_follows_from_others():
    header = image_header(**TAN, **CD, **{"DATE-OBS": "2014-07-31T04:49:58.673"})
    wcs = read_wcs(header)
    assert np.isfinite(wcs.wcs.mjdobs)
    cards, extra = wcs_to_fits(wcs)
    assert not extra
    assert cards["DATE-OBS"] == header["DATE-OBS"]
    assert not any(key.startswith(("MJD", "NAXIS", "PC", "CDELT")) for key in cards)
    header["MJDREF"] = 51544.0
    assert wcs_to_fits(read_wcs(header))[0]["MJDREF"] == 51544.0


def test_right_ascension_zero_is_360():
    """Rounding may put a position on either side of the seam: it has not moved."""
    seam = {**TAN, **CD, "CRPIX1": 10.5, "CRVAL1": 0.0, "CRVAL2": 0.0}
    old = read_wcs(image_header(**seam))
    new = read_wcs(image_header(**{**seam, "CRVAL1": 360 - 1e-12}))
    column = old.all_pix2world(10.5, 40, 1)[0], new.all_pix2world(10.5, 40, 1)[0]
    assert column[0] < 1e-20 and column[1] > 359
    check_same_sky(old, new, 1, "has moved")
    new.wcs.crval = [360 - 1e-9, 0.0]  # 1e-5 of a pixel
    with pytest.raises(ValueError, match="`wcs` has moved: positions on the sky would move"):
        check_same_sky(old, new, 1, "has moved")


def test_sip_and_bounds_are_carried():
    old = read_wcs(image_header(**TAN, **CD))
    old.sip = Sip(None, None, np.diag([0.0, 0, 1e-5]), np.diag([0.0, 0, 2e-5]), old.wcs.crpix)
    old.pixel_bounds = [(-0.5, 30.0), None]
    new = rescale_wcs(old, 2)
    assert new.sip.a is None
    np.testing.assert_allclose(new.sip.ap[2, 2], 1e-5 / 8)
    assert new.pixel_bounds == [(-0.5, 60.5), None]
    assert old.pixel_bounds == [(-0.5, 30.0), None]


# -- cubes and axes -----------------------------------------------------------


def cube_header(**cards):
    header = image_header(**TAN, **CDELT)
    header["NAXIS"] = 3
    header.insert("NAXIS2", ("NAXIS3", 5), after=True)
    header.update(CTYPE3="FREQ", CUNIT3="Hz", CRPIX3=1.0, CRVAL3=1e11, CDELT3=1e6)
    header.update(cards)
    return header


@pytest.mark.parametrize(
    "cards",
    [
        {},
        {"CROTA2": 30.0},
        {"PC1_1": 0.8, "PC1_2": -0.6, "PC2_1": 0.6, "PC2_2": 0.8},
        {"PC1_3": 0.25, "PC3_2": -0.5},  # sky and frequency mixed
        {"CD1_1": -1e-4, "CD1_3": 2e-5, "CD2_2": 1e-4, "CD3_3": 1e6},
    ],
)
def test_cube(cards):
    header = cube_header(**cards)
    if "CD1_1" in cards:
        del header["CDELT*"]
    old = read_wcs(header)
    new = rescale_wcs(old, 3)
    assert new.pixel_shape == (300, 240, 5)
    new_header, hdus = written(new, header, shape=(5, 4, 4))
    with hdus:
        back = wcs_from_hdus(new_header, hdus)
    x, y, z = np.random.default_rng(5).uniform(1, [[100], [80], [5]], (3, 100))
    here = np.array(old.all_pix2world(x, y, z, 1))
    for wcs in (new, back):
        there = np.array(wcs.all_pix2world(finer(x, 3), finer(y, 3), z, 1))
        np.testing.assert_allclose(there[:2], here[:2], rtol=0, atol=1e-11)
        np.testing.assert_allclose(there[2], here[2], rtol=1e-14)
    if not any(key.startswith("P") for key in cards):
        assert new.wcs.cdelt[2] == 1e6 if "CD1_1" not in cards else new.wcs.cd[2, 2] == 1e6


def test_cube_of_bands(shared_data):
    """Its header says that the WCS has two axes: so it stays."""
    with fits.open(shared_data / "hsc_hst_cosmos" / "Cut_HSC.fits") as hdus:
        header = hdus[0].header
    assert header["NAXIS"] == 3 and header["WCSAXES"] == 2
    old = read_wcs(header)
    new = rescale_wcs(old, 2)
    assert new.pixel_shape == (100, 100)
    assert_same_sky(old, new, 2, random_pixels(old))


def test_sky_cut_from_a_cube():
    """Astropy cuts the axes of a cube's WCS, but not its pixel_shape."""
    old = WCS(cube_header(), naxis=2)
    assert len(old.pixel_shape) == 3
    new = rescale_wcs(old, 2)
    assert new.pixel_shape == (200, 160)
    assert_same_sky(old, new, 2, random_pixels(old))


def test_sky_across_the_planes_is_refused():
    header = cube_header(CTYPE1="FREQ", CUNIT1="Hz", CTYPE2="RA---TAN")
    header.update(CTYPE3="DEC--TAN", CUNIT3="deg", CRVAL3=2.2, CDELT3=1e-4)
    with pytest.raises(ValueError, match="`wcs` must have its celestial axes.*pixel axes 1, 2"):
        rescale_wcs(read_wcs(header), 2)


def test_cube_with_distortion_keeps_the_sky():
    """FITS distortions have two axes; a coordinate of the third is dropped aloud."""
    sip = {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "A_ORDER": 2, "B_ORDER": 2}
    header = cube_header(**sip, A_2_0=1e-4)
    with pytest.warns(LensSRWarning, match="'FREQ' of the cube's third axis is dropped"):
        wcs = read_wcs(header)
    assert wcs.naxis == 2 and wcs.pixel_shape == (100, 80)
    for key in ("CTYPE3", "CUNIT3", "CRPIX3", "CRVAL3", "CDELT3"):
        del header[key]
    again = read_wcs(header)  # nothing is lost: no warning
    np.testing.assert_array_equal(again.all_pix2world(9, 9, 1), wcs.all_pix2world(9, 9, 1))
    # written for a cube, it stays one of two axes
    new_header, hdus = written(wcs, header, shape=(3, 2, 2))
    with hdus:
        assert wcs_from_hdus(new_header, hdus).naxis == 2


def test_image_with_more_axes_in_its_wcs():
    header = image_header(**TAN, **CDELT, WCSAXES=4, CTYPE3="FREQ", CRVAL3=1e11, CTYPE4="STOKES")
    wcs = read_wcs(header)
    assert wcs.naxis == 2 and wcs.pixel_shape == (100, 80)
    plain = read_wcs(image_header(**TAN, **CDELT))
    assert_same_sky(plain, rescale_wcs(wcs, 2), 2, random_pixels(wcs))


def test_linear_wcs_is_carried():
    """A slit's spectrum, or plain lengths: both axes of the image become finer."""
    old = read_wcs(image_header(CTYPE1="WAVE", CUNIT1="m", CRVAL1=5e-7, CDELT1=1e-10, CDELT2=2.0))
    new = rescale_wcs(old, 2)
    np.testing.assert_allclose(
        new.wcs_pix2world([[finer(7, 2), finer(9, 2)]], 1), [[5e-7 + 7e-10, 18.0]], rtol=1e-14
    )


def test_pixels_off_the_sky_stay_off():
    """The corners of a map of all the sky have no position, before and after."""
    allsky = {"CTYPE1": "GLON-AIT", "CTYPE2": "GLAT-AIT", "CDELT1": -3.4, "CDELT2": 2.2}
    old = read_wcs(image_header(**{**LINEAR, **allsky, "CRVAL1": 0.0, "CRVAL2": 0.0}))
    new = rescale_wcs(old, 2)
    assert np.isnan(old.all_pix2world(2, 2, 1)).all() and np.isnan(new.all_pix2world(3, 3, 1)).all()
    assert_same_sky(old, new, 2, random_pixels(old))


# -- headers that are wrong ---------------------------------------------------


def test_no_wcs_is_none():
    assert read_wcs(image_header(EQUINOX=2000.0, WCSAXES=2)) is None
    assert read_wcs(fits.Header()) is None


@pytest.mark.parametrize(
    ("cards", "reason"),
    [
        ({"A_ORDER": 2, "A_2_0": 1e-5}, "A_ORDER provided without corresponding B_ORDER"),
        ({"CTYPE1": "RA---XYZ", "CTYPE2": "DEC--XYZ"}, "Unrecognized projection code"),
        ({"CTYPE2": "DEC--SIN"}, "Inconsistent projection types"),
        ({"CTYPE2": ""}, "Unmatched celestial axes"),
        ({"CD1_1": "-1e-4"}, "CD1_1 = '-1e-4 *' a floating-point value was expected"),
        ({"CRPIX2": "nan"}, "CRPIX2.*a floating-point value was expected"),
        ({"CD1_1": 0.0}, "row 1 of its CD matrix is zero"),
        ({"CD1_1": -1e-4, "CD1_2": 1e-4, "CD2_1": -1e-4}, "singular"),
        ({"PV1_99": 1.0}, "Invalid parameter number"),
        ({"CPDIS1": "POLYNOMIAL"}, "Polynomial distortion is not implemented"),
        ({"CPDIS1": "LOOKUP"}, "HDUList is required"),
        ({"D2IMDIS1": "LOOKUP"}, "D2IMDIS1 needs a look-up table in an extension D2IMARR"),
        ({"AXISCORR": 1}, "AXISCORR needs a look-up table"),
        ({"SRWCSEXT": "WCSASDF"}, "SRWCSEXT needs an extension WCSASDF"),
    ],
)
def test_header_without_a_possible_wcs(cards, reason):
    with pytest.raises(ValueError, match=f"`header` declares a WCS, but it is not valid: .*{reason}"):
        read_wcs(image_header(**{**TAN, **CD, **cards}))


def test_header_with_missing_table_keyword():
    header = image_header(**TAN, **CD, D2IMDIS1="LOOKUP")
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros((2, 2)), name="D2IMARR")])
    with pytest.raises(ValueError, match="`header` declares a WCS.*D2IM1.AXIS.1"):
        read_wcs(header, hdus)


def test_old_detector_table():
    header = image_header(**TAN, **CD, AXISCORR=1)
    table = fits.ImageHDU(np.full(100, 0.5, np.float32), name="D2IMARR")
    wcs = read_wcs(header, fits.HDUList([fits.PrimaryHDU(), table]))  # no deprecation warning
    plain = read_wcs(image_header(**TAN, **CD))
    truth = plain.all_pix2world(9.5, 9, 1)
    np.testing.assert_allclose(wcs.all_pix2world(9, 9, 1), truth, rtol=0, atol=1e-11)
    new = rescale_wcs(wcs, 2)
    np.testing.assert_allclose(new.all_pix2world(17.5, 17.5, 1), truth, rtol=0, atol=1e-11)


def test_header_of_one_axis():
    header = fits.Header({"NAXIS": 1, "NAXIS1": 100, "CTYPE1": "WAVE", "CRVAL1": 1.0})
    with pytest.raises(ValueError, match="`header` declares a WCS.*one axis|1 axis, the image 2"):
        read_wcs(header)


def test_harmless_repairs_are_silent_and_others_told():
    header = image_header(**TAN, **CD, RADECSYS="FK5", **{"DATE-OBS": "31/12/99"})
    assert read_wcs(header).wcs.radesys == "FK5"  # any warning is an error in this suite
    header["EQUINOX"] = "J2000"
    with pytest.warns(LensSRWarning, match="a card of `header` is ignored: EQUINOX"):
        read_wcs(header)


def test_other_warnings_pass(monkeypatch):
    def noisy(*args, **kwargs):
        warnings.warn("of another kind", UserWarning, stacklevel=2)
        return WCS(*args, **kwargs)

    monkeypatch.setattr("lenssr.image._wcs_fits.WCS", noisy)
    with pytest.warns(UserWarning, match="of another kind"):
        read_wcs(image_header(**TAN, **CD))


def test_cards_that_no_astronomer_wrote_do_not_matter():
    header = image_header(**TAN, **CD)
    header.append(fits.Card.fromstring("BAD@KEY = 1"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyUserWarning)  # fits reading the card
        header.tostring()
    assert read_wcs(header).naxis == 2


# -- crops, planes and other WCSs ---------------------------------------------


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


@pytest.mark.parametrize("kind", [NDDataRef, CCDData, SlicedLowLevelWCS])
def test_crop_becomes_a_wcs_of_its_own(kind):
    whole = sip_wcs()
    if kind is SlicedLowLevelWCS:
        crop = SlicedLowLevelWCS(whole, (slice(10, 50), slice(20, None)))
    else:
        crop = kind(np.zeros((80, 100)), wcs=whole, unit="adu")[10:50, 20:].wcs
    new = rescale_wcs(crop, 3)
    assert isinstance(new, WCS) and new.pixel_shape == (240, 120)
    x, y = np.random.default_rng(2).uniform([[1], [1]], [[80], [40]], (2, 100))
    header, hdus = written(new)
    with hdus:
        back = wcs_from_hdus(header, hdus)
    for wcs in (new, back):
        np.testing.assert_allclose(
            wcs.all_pix2world(finer(x, 3), finer(y, 3), 1),
            whole.all_pix2world(x + 20, y + 10, 1),
            rtol=0,
            atol=1e-10,
        )


def test_plane_of_a_cube():
    cube = read_wcs(cube_header(PC1_1=0.8, PC1_2=-0.6, PC2_1=0.6, PC2_2=0.8))
    plane = cube[3]
    assert plane.pixel_n_dim == 2 and not isinstance(plane, WCS)
    new = rescale_wcs(plane, 2)
    assert isinstance(new, WCS) and new.naxis == 2
    x, y = random_pixels(new)
    truth = cube.all_pix2world(x, y, np.full(100, 4.0), 1)[:2]
    np.testing.assert_allclose(new.all_pix2world(finer(x, 2), finer(y, 2), 1), truth, atol=1e-11)


def assert_both_interfaces(new, old, scale):
    """Low- and high-level APE 14, and a place in NDData."""
    assert isinstance(new, BaseLowLevelWCS) and isinstance(new, BaseHighLevelWCS)
    assert NDData(np.zeros((2, 2)), wcs=new).wcs is new
    x, y = np.random.default_rng(4).uniform(0, 79, (2, 100))
    fine = finer(x + 1, scale) - 1, finer(y + 1, scale) - 1
    here = old.pixel_to_world_values(x, y)
    np.testing.assert_allclose(new.pixel_to_world_values(*fine), here, rtol=0, atol=1e-11)
    np.testing.assert_allclose(new.world_to_pixel_values(*here), fine, rtol=0, atol=1e-6 * scale)
    found, truth = new.pixel_to_world(*fine), old.pixel_to_world(x, y)
    if old.world_n_dim == 3:
        found, truth = found[0], truth[0]
    assert found.separation(truth).to_value("deg").max() < 1e-11


@pytest.mark.parametrize("coupling", [{"PC1_3": 0.25}, {"PC1_3": 0.25, "PC3_1": 0.1}])
def test_plane_that_cannot_stand_alone_is_wrapped(coupling):
    """A sky that drifts with the third axis: right in memory, refused in a file."""
    plane = read_wcs(cube_header(**coupling))[3]
    new = rescale_wcs(plane, 3)
    assert isinstance(new, RescaledWCS) and new.scale == 3
    assert new.pixel_shape == (300, 240) and new.array_shape == (240, 300)
    assert_both_interfaces(new, plane, 3)
    assert "RescaledWCS" in repr(new)
    twice = rescale_wcs(HighLevelWCSWrapper(new), 2)
    assert_both_interfaces(twice, plane, 6)
    assert twice.pixel_bounds is None
    with pytest.raises(ValueError, match="`wcs` must be a FITS WCS or gWCS to be wri.*Rescal"):
        wcs_to_fits(new)


def test_bounds_of_a_wrapped_wcs():
    cube = read_wcs(cube_header(PC1_3=0.25, PC3_1=0.1))
    cube.pixel_bounds = [(-0.5, 99.5), (3.0, 9.0), (0.0, 4.0)]
    assert rescale_wcs(cube[3], 2).pixel_bounds == ((-0.5, 199.5), (6.5, 18.5))


# -- gWCS ---------------------------------------------------------------------


def make_gwcs(quantity=False, third=False):
    """TAN written with models: 0.1 arcsec pixels around (150, 2.2)."""
    gwcs = pytest.importorskip("gwcs")
    pytest.importorskip("asdf_astropy")
    from gwcs import coordinate_frames as cf

    pix, deg = (u.pix, u.deg) if quantity else (1, 1)
    step = 2.7e-5 * u.deg / u.pix if quantity else 2.7e-5
    sky = (
        (Shift(-30.25 * pix) | Multiply(-step)) & (Shift(-55.5 * pix) | Multiply(step))
        | Pix2Sky_TAN()
        | RotateNative2Celestial(150.0 * deg, 2.2 * deg, 180.0 * deg)
    )
    celestial = cf.CelestialFrame(axes_order=(0, 1), reference_frame=ICRS(), unit=(u.deg, u.deg))
    if not third:
        frame = cf.Frame2D(name="detector", unit=(u.pix, u.pix))
        wcs = gwcs.WCS(sky, input_frame=frame, output_frame=celestial)
    else:
        axes = ("PIXEL",) * 3
        frame = cf.CoordinateFrame(3, axes, (0, 1, 2), unit=(u.pix,) * 3, name="detector")
        spectral = cf.SpectralFrame(axes_order=(2,), unit=u.um)
        world = cf.CompositeFrame([celestial, spectral])
        wcs = gwcs.WCS(sky & Scale(0.5), input_frame=frame, output_frame=world)
    return wcs


@pytest.mark.parametrize("quantity", [False, True])
def test_gwcs_by_hand(quantity):
    old = make_gwcs(quantity)
    if not quantity:  # astropy's models cannot have both
        old.bounding_box = ((-0.5, 79.5), (-0.5, 59.5))
    old.pixel_shape = (80, 60)
    new = rescale_wcs(old, 3)
    header, hdus = written(new)
    with hdus:
        back = wcs_from_hdus(header, hdus)
    x, y = np.random.default_rng(8).uniform(0, [[79], [59]], (2, 100))
    fine = finer(x + 1, 3) - 1, finer(y + 1, 3) - 1
    truth = gnomonic(-2.7e-5 * (x - 30.25), 2.7e-5 * (y - 55.5), 150.0, 2.2)
    for wcs in (new, back):
        np.testing.assert_allclose(wcs.pixel_to_world_values(*fine), truth, rtol=0, atol=1e-11)
        np.testing.assert_allclose(wcs.world_to_pixel_values(*truth), fine, rtol=0, atol=1e-6)
        assert wcs.pixel_bounds == (None if quantity else ((-0.5, 239.5), (-0.5, 179.5)))
        assert wcs.pixel_shape == (240, 180)
    assert NDData(np.zeros((180, 240)), wcs=new).wcs is new


def test_gwcs_cube_and_crop():
    old = make_gwcs(third=True)
    new = rescale_wcs(old, 2)
    found = new.pixel_to_world_values(10.5, 20.5, 4.0)  # of the old image: 5, 10
    truth = *gnomonic(-2.7e-5 * (5 - 30.25), 2.7e-5 * (10 - 55.5), 150.0, 2.2), 2.0
    np.testing.assert_allclose(found, truth, rtol=0, atol=1e-11)
    crop = NDDataRef(np.zeros((4, 60, 80)), wcs=old)[1:, 5:, 7:].wcs
    new = rescale_wcs(crop, 2)
    np.testing.assert_allclose(
        new.pixel_to_world_values((5 - 7) * 2 + 0.5, (10 - 5) * 2 + 0.5, 4.0 - 1), truth, atol=1e-11
    )
    assert type(new) is type(old)  # so that it can be written


def test_gwcs_with_a_box_for_each_slit_is_refused():
    gwcs = pytest.importorskip("gwcs")
    from astropy.modeling.bounding_box import CompoundBoundingBox

    old = make_gwcs(third=True)
    boxes = {(1,): ((-0.5, 9.5), (-0.5, 9.5)), (2,): ((-0.5, 9.5), (-0.5, 5.5))}
    old.attach_compound_bounding_box(boxes, [("x",)])
    assert isinstance(old.bounding_box, CompoundBoundingBox) and isinstance(old, gwcs.WCS)
    with pytest.raises(ValueError, match="`wcs` cannot be carried: it has a bounding box for each"):
        rescale_wcs(old, 2)


def test_gwcs_without_its_packages(monkeypatch):
    header, hdus = written(make_gwcs())
    with hdus:
        monkeypatch.setitem(sys.modules, "asdf_astropy", None)
        with pytest.raises(ImportError, match="install gwcs and asdf-astropy"):
            read_wcs(header, hdus)


# -- what cannot be done ------------------------------------------------------


@pytest.mark.parametrize("scale", [0, -2, 2.5, 2.0, True, "2", None])
def test_scale_must_be_a_positive_integer(scale):
    wcs = read_wcs(image_header(**TAN, **CD))
    with pytest.raises(ValueError, match=f"`scale` must be a positive integer, got {scale!r}"):
        rescale_wcs(wcs, scale)


def test_types():
    header = image_header(**TAN, **CD)
    with pytest.raises(TypeError, match="`wcs` must follow the common WCS interface.*got str"):
        rescale_wcs("wcs", 2)
    with pytest.raises(TypeError, match="`wcs` must follow"):
        wcs_to_fits(None)
    with pytest.raises(TypeError, match="`header` must be a fits.Header, got dict"):
        read_wcs({})
    with pytest.raises(TypeError, match="`hdulist` must be a fits.HDUList or None, got list"):
        read_wcs(header, [])
    with pytest.raises(TypeError, match="`header` must be a fits.Header, got str"):
        strip_wcs("header")
    with pytest.raises(ValueError, match="`wcs` must have two pixel axes or more, got 1"):
        rescale_wcs(WCS(naxis=1), 2)


def test_prior_distortion_inside_wcslib_is_refused():
    """Polynomials of the pixels that only WCSLIB knows of (astropy reads them for alternates)."""
    header = image_header(**{key + "A": value for key, value in {**TAN, **CD}.items()})
    for axis in (1, 2):
        header[f"CPDIS{axis}A"] = "Polynomial"
        for field in ("NAXES: 2", "AXIS.1: 1", "AXIS.2: 2", "NTERMS: 1", "TERM.1.COEFF: 1e-3"):
            header.append(fits.Card.fromstring(f"DP{axis}A    = '{field}'"))
        header.append(fits.Card.fromstring(f"DP{axis}A    = 'TERM.1.VAR.1.POW: 2'"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wcs = WCS(header, key="A")
    with pytest.raises(ValueError, match="`wcs` cannot be carried to finer pixels exactly"):
        rescale_wcs(wcs, 2)
    with pytest.warns(LensSRWarning, match="alternate WCS 'A' of `header` is dropped"):
        assert not rescale_alternates(header, 2)


def test_sip_about_another_point_cannot_be_written():
    wcs = sip_wcs()
    wcs.wcs.crpix += 5.0  # SIP has a CRPIX of its own in memory, but not in a header
    assert_same_sky(wcs, rescale_wcs(wcs, 3), 3, random_pixels(wcs))
    with pytest.raises(ValueError, match="`wcs` cannot be written to FITS exactly"):
        wcs_to_fits(wcs)


def test_table_coordinates_cannot_be_written():
    columns = [
        fits.Column("COORD", "3D", dim="(1,3)", array=np.array([[1.0, 2.0, 4.0]])),
        fits.Column("INDEX", "3D", dim="(3)", array=np.array([[1.0, 2.0, 3.0]])),
    ]
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns, name="WAVETAB")])
    table = {"CTYPE3": "WAVE-TAB", "CUNIT3": "m", "PS3_0": "WAVETAB", "PS3_1": "COORD"}
    header = cube_header(**table, PS3_2="INDEX", CRVAL3=1.0, CDELT3=1.0)
    old = read_wcs(header, hdus)
    new = rescale_wcs(old, 2)
    np.testing.assert_allclose(
        new.all_pix2world(finer(9, 2), finer(7, 2), 2.5, 1), old.all_pix2world(9, 7, 2.5, 1)
    )
    np.testing.assert_allclose(new.all_pix2world(1, 1, 2.5, 1)[2], 3.0)
    with pytest.raises(ValueError, match="`wcs` cannot be written to FITS:.*WAVETAB"):
        wcs_to_fits(new)


# -- cards --------------------------------------------------------------------


def test_strip_leaves_nothing_of_the_old_wcs():
    header = image_header(**{**TAN, **CD, **TPV, **tnx_cards()})
    header.update(A_ORDER=2, B_1_1=1e-5, A_DMAX=1.0)
    header.update(CROTA2=1.0, EQUINOX=2000.0, RADECSYS="FK5", LONPOLE=180.0, WCSDIM=2, PC001001=1.0)
    header.update(CRPIX1P=1.0, CD1_1O=2.0, WCSNAMEO="OPUS", A_3_1O=1.0, CPDIS1="LOOKUP", AMDX1=1.0)
    header.append(fits.Card.fromstring("DP1     = 'EXTVER: 1'"))
    header.append(fits.Card.fromstring("D2IM1   = 'EXTVER: 1'"))
    kept = {"OBJECT": "lens", "PA_V3": 3.0, "A_1": 1, "CDS": 2, "PCOUNT": 0, "PVALUE": 1.0}
    kept |= {"DATE-OBS": "2020-01-01", "CD1": 5, "WCSCDATE": "x", "PSF": 2, "DPID": 7}
    kept["EPOCH"] = 2000.0
    header.update(kept)
    header.add_history("made by hand")
    header["BIG"] = ("x" * 100, "a card that CONTINUEs")
    before = header.copy()
    out = strip_wcs(header)
    standard = ["SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2"]
    assert list(out) == [*standard, *kept, "BIG", "HISTORY"]
    assert out["BIG"] == "x" * 100 and out.comments["BIG"] == "a card that CONTINUEs"
    out["OBJECT"] = "other"
    assert header.tostring() == before.tostring()  # a copy
    assert read_wcs(out) is None


def test_cards_of_pixel_size():
    header = fits.Header({"PIXSCALE": 0.6, "SECPIX1": -0.3, "PIXAR_SR": 9e-12})
    header["SECPIX"] = "0.3 arcsec"
    header.update(LTV1=3.0, LTM1_1=1.0, DATASEC="[1:5,1:5]", CCDSEC="[1:5,1:5]", OCRPIX1=4.0)
    header["PXSCAL1"] = (True, "nonsense")
    assert list(strip_wcs(header)) == list(header)  # the same pixels
    out = strip_wcs(header, 3)
    assert list(out) == ["PIXSCALE", "SECPIX1", "PIXAR_SR", "CCDSEC"]
    values = out["PIXSCALE"], out["SECPIX1"], out["PIXAR_SR"]
    np.testing.assert_allclose(values, [0.2, -0.1, 1e-12])


@pytest.mark.parametrize("scale", [1, 3])
@pytest.mark.parametrize(
    "matrix", [CD, {**CDELT, "PC1_2": 0.5}, {"CDELT1": 2e-4}, {"CD1_1": 2e-4, "CD2_2": 1e-4}]
)
def test_alternates_are_carried(matrix, scale):
    alternate = {key + "B": value for key, value in {**TAN, **matrix, "CRPIX1": -7.5}.items()}
    header = image_header(**TAN, **CD, **alternate, WCSNAMEB="other", A_2_0B=1e-3)
    header.update(CRPIX1P=3.0, CRVAL2P=7.0)
    cards = rescale_alternates(header, scale)
    defaults = {"CDELT2B", "CRPIX2P", "CDELT1P", "CDELT2P"}
    assert set(cards) - set(header) <= defaults
    assert cards["WCSNAMEB"] == "other" and "A_2_0B" not in cards
    out = strip_wcs(header, scale)
    out.extend(wcs_to_fits(rescale_wcs(read_wcs(header), scale))[0], unique=True)
    out.extend(cards)
    again = strip_wcs(out, keep_alternates=True)
    assert list(again) == list(strip_wcs(header, scale)) + list(cards)
    for key in "BP":
        old, new = WCS(header, key=key), WCS(out, key=key)
        points = np.random.default_rng(6).uniform(1, 80, (100, 2))
        np.testing.assert_allclose(
            new.wcs_pix2world(finer(points, scale), 1), old.wcs_pix2world(points, 1), atol=1e-11
        )
    assert header["CRPIX1B"] == -7.5


def test_alternate_that_cannot_be_read_is_dropped_aloud():
    header = image_header(**TAN, **CD, CTYPE1C="RA---XYZ", CTYPE2C="DEC--XYZ")
    with pytest.warns(LensSRWarning, match="alternate WCS 'C' of `header` is dropped: .*proj"):
        assert not rescale_alternates(header, 2)
    with pytest.raises(ValueError, match="`scale` must be"):
        rescale_alternates(header, 0)


def test_alternate_with_hst_archive_cards(shared_data):
    """SIP has no letter: the alternates share the primary's, rescaled."""
    header, hdus = open_case(shared_data / "wcs" / "astropy_j94f05bgq_flt.fits", 1)
    out = strip_wcs(header, 2)
    out.extend(wcs_to_fits(rescale_wcs(read_wcs(header, hdus), 2))[0], unique=True)
    out.extend(rescale_alternates(header, 2))
    old, new = WCS(header, key="O"), WCS(out, key="O")
    assert old.sip is not None and new.sip is not None
    assert_same_sky(old, new, 2, np.random.default_rng(9).uniform(1, 2000, (2, 100)))


def test_importing_takes_no_heavy_package():
    import subprocess

    code = "import sys, lenssr.image; lenssr.image.rescale_wcs; print({'gwcs', 'torch'} & set(sys.modules))"
    root = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert done.stdout.strip() == "set()", done.stderr
