"""Rescaled cubes, linear WCSs, crops, planes and wrapped WCSs."""


import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData, NDData, NDDataRef
from astropy.wcs import WCS
from astropy.wcs.wcsapi import (
    BaseHighLevelWCS,
    BaseLowLevelWCS,
    HighLevelWCSWrapper,
    SlicedLowLevelWCS,
)
from wcs_cases import (
    CD,
    CDELT,
    LINEAR,
    TAN,
    assert_same_sky,
    cube_header,
    image_header,
    random_pixels,
    sip_wcs,
    to_fine,
    written,
)

from lenssr.exceptions import LensSRWarning
from lenssr.image import (
    RescaledWCS,
    read_wcs,
    rescale_wcs,
    wcs_from_hdus,
    wcs_to_fits,
)


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
        there = np.array(wcs.all_pix2world(to_fine(x, 3), to_fine(y, 3), z, 1))
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
        new.wcs_pix2world([[to_fine(7, 2), to_fine(9, 2)]], 1), [[5e-7 + 7e-10, 18.0]], rtol=1e-14
    )


def test_pixels_off_the_sky_stay_off():
    """The corners of a map of all the sky have no position, before and after."""
    allsky = {"CTYPE1": "GLON-AIT", "CTYPE2": "GLAT-AIT", "CDELT1": -3.4, "CDELT2": 2.2}
    old = read_wcs(image_header(**{**LINEAR, **allsky, "CRVAL1": 0.0, "CRVAL2": 0.0}))
    new = rescale_wcs(old, 2)
    assert np.isnan(old.all_pix2world(2, 2, 1)).all() and np.isnan(new.all_pix2world(3, 3, 1)).all()
    assert_same_sky(old, new, 2, random_pixels(old))


@pytest.mark.parametrize("kind", [NDDataRef, CCDData, SlicedLowLevelWCS])
def test_crop_becomes_a_wcs_of_its_own(kind):
    full = sip_wcs()
    if kind is SlicedLowLevelWCS:
        crop = SlicedLowLevelWCS(full, (slice(10, 50), slice(20, None)))
    else:
        crop = kind(np.zeros((80, 100)), wcs=full, unit="adu")[10:50, 20:].wcs
    new = rescale_wcs(crop, 3)
    assert isinstance(new, WCS) and new.pixel_shape == (240, 120)
    x, y = np.random.default_rng(2).uniform([[1], [1]], [[80], [40]], (2, 100))
    header, hdus = written(new)
    with hdus:
        back = wcs_from_hdus(header, hdus)
    for wcs in (new, back):
        np.testing.assert_allclose(
            wcs.all_pix2world(to_fine(x, 3), to_fine(y, 3), 1),
            full.all_pix2world(x + 20, y + 10, 1),
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
    found = new.all_pix2world(to_fine(x, 2), to_fine(y, 2), 1)
    np.testing.assert_allclose(found, truth, atol=1e-11)


def assert_both_interfaces(new, old, scale):
    """Low- and high-level APE 14, and a place in NDData."""
    assert isinstance(new, BaseLowLevelWCS) and isinstance(new, BaseHighLevelWCS)
    assert NDData(np.zeros((2, 2)), wcs=new).wcs is new
    x, y = np.random.default_rng(4).uniform(0, 79, (2, 100))
    fine = to_fine(x + 1, scale) - 1, to_fine(y + 1, scale) - 1
    here = old.pixel_to_world_values(x, y)
    np.testing.assert_allclose(new.pixel_to_world_values(*fine), here, rtol=0, atol=1e-11)
    np.testing.assert_allclose(new.world_to_pixel_values(*here), fine, rtol=0, atol=1e-6 * scale)
    position, truth = new.pixel_to_world(*fine), old.pixel_to_world(x, y)
    if old.world_n_dim == 3:
        position, truth = position[0], truth[0]
    assert position.separation(truth).to_value("deg").max() < 1e-11


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


@pytest.mark.parametrize("scale", [0, -2, 2.5, 2.0, True, "2", None])
def test_scale_must_be_a_positive_integer(scale):
    wcs = read_wcs(image_header(**TAN, **CD))
    with pytest.raises(ValueError, match=f"`scale` must be a positive integer, got {scale!r}"):
        rescale_wcs(wcs, scale)
