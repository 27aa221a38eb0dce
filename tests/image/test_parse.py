"""Anything in: each way to hold an image gives the same planes."""

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.modeling.models import Multiply, Pix2Sky_TAN, RotateNative2Celestial, Shift
from astropy.nddata import (
    CCDData,
    Cutout2D,
    InverseVariance,
    NDData,
    NDDataRef,
    StdDevUncertainty,
    UnknownUncertainty,
    VarianceUncertainty,
)
from astropy.utils.masked import Masked
from astropy.wcs import WCS
from astropy.wcs.wcsapi import SlicedLowLevelWCS

from lenssr.exceptions import LensSRWarning
from lenssr.image import parse_image

DATA = np.random.default_rng(0).normal(0, 2, (9, 11)).astype(np.float32).astype(float)
SIGMA = np.linspace(1, 3, DATA.size).reshape(DATA.shape)


def sky(naxis=2, scale=0.168):
    wcs = WCS(naxis=naxis)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN", "WAVE"][:naxis]
    wcs.wcs.crval = [150.1, 2.2, 5e-7][:naxis]
    wcs.wcs.crpix = [5, 6, 1][:naxis]
    wcs.wcs.cdelt = [-scale / 3600, scale / 3600, 1e-7][:naxis]
    wcs.wcs.set()
    return wcs


def header():
    return fits.Header([("OBJECT", "a lens"), ("BUNIT", "nJy"), ("EXPTIME", 3.5)])


def in_file(name, hdu=fits.PrimaryHDU):
    def make(folder):
        fits.HDUList([fits.PrimaryHDU(), hdu(DATA.astype(np.float32), header())] if hdu is not
                     fits.PrimaryHDU else [hdu(DATA, header())]).writeto(folder / name)
        return folder / name
    return make


def in_memory(folder):
    return io.BytesIO(in_file("x.fits")(folder).read_bytes())


def compressed(data, head):
    return fits.CompImageHDU(data, head, compression_type="GZIP_1", quantize_level=0)


# Each gives the image with its unit and its card OBJECT.
HOLDERS = {
    "path": in_file("x.fits"), "str": lambda folder: str(in_file("x.fits")(folder)),
    "gzip": in_file("x.fits.gz"), "extension": in_file("x.fits", fits.ImageHDU),
    "compressed": in_file("x.fits.fz", compressed), "file": in_memory,
    "open file": lambda folder: open(in_file("x.fits")(folder), "rb"),
    "HDUList": lambda _: fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(DATA, header())]),
    "HDU": lambda _: fits.ImageHDU(DATA, header()),
    "primary": lambda _: fits.PrimaryHDU(DATA, header()),
    "compressed HDU": lambda _: compressed(DATA, header()),
    "CCDData": lambda _: CCDData(DATA, unit=u.nJy, header=header()),
    "NDData": lambda _: NDData(DATA, unit=u.nJy, meta={"object": "a lens"}),
    "NDDataRef": lambda _: NDDataRef(DATA, unit=u.nJy, meta={"OBJECT": "a lens"}),
    "NDData of Quantity": lambda _: NDData(DATA * u.nJy, meta={"OBJECT": "a lens"}),
}
# And these nothing but the numbers, or the unit.
ARRAYS = {
    "array": lambda: DATA, "list": lambda: DATA.tolist(), "float32": lambda: DATA.astype("<f4"),
    "big-endian": lambda: DATA.astype(">f4"), "Fortran": lambda: np.asfortranarray(DATA),
    "view": lambda: np.repeat(DATA, 2, axis=1)[:, ::2], "masked": lambda: np.ma.array(DATA),
    "Masked": lambda: Masked(DATA), "Quantity": lambda: DATA * u.nJy,
    "Masked Quantity": lambda: Masked(DATA * u.nJy),
    "Cutout2D": lambda: Cutout2D(np.pad(DATA, 4), (9, 8), DATA.shape),
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_holders(holder, tmp_path):
    held = HOLDERS[holder](tmp_path)
    parsed = parse_image(held, uncertainty=1.5)
    if hasattr(held, "close"):
        held.close()  # it was left open
    (plane,) = parsed.planes
    np.testing.assert_array_equal(plane.data, DATA)
    np.testing.assert_array_equal(plane.sigma, np.full(DATA.shape, 1.5))
    assert plane.noise == 1.5 and not plane.mask.any() and plane.psf is None
    assert parsed.unit == u.nJy and parsed.header["OBJECT"] == "a lens"
    assert parsed.shape == plane.shape == DATA.shape and parsed.noise_given
    assert not {"NAXIS1", "BITPIX", "SIMPLE", "XTENSION"} & set(parsed.header)
    assert parsed.dtype in (np.float32, np.float64) and plane.data.dtype == np.float64


@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays(kind):
    parsed = parse_image(ARRAYS[kind](), uncertainty=1.0)
    np.testing.assert_array_equal(parsed.planes[0].data, DATA)
    assert parsed.unit == (u.nJy if "Quantity" in kind else None)
    assert parsed.dtype == (np.float32 if kind in ("float32", "big-endian") else np.float64)
    assert parsed.dtype.isnative and len(parsed.header) == 0


def test_the_image_is_left_alone():
    data, mask = DATA.copy(), np.zeros(DATA.shape, bool)
    mask[2, 3], data[2, 3], data[0, 0] = True, 1e30, np.nan
    image = CCDData(data.copy(), unit="Jy", mask=mask.copy(), header=header(),
                    uncertainty=StdDevUncertainty(SIGMA.copy()))
    parse_image(image)
    np.testing.assert_array_equal(image.data, data)
    np.testing.assert_array_equal(image.mask, mask)
    np.testing.assert_array_equal(image.uncertainty.array, SIGMA)
    assert image.header["BUNIT"] == "nJy"


@pytest.mark.parametrize("dtype", [np.uint8, ">i2", np.int64, np.uint16])
def test_integers(dtype):
    counts = np.arange(99).reshape(9, 11).astype(dtype)
    parsed = parse_image(counts, uncertainty=1)
    assert parsed.dtype == np.float64
    np.testing.assert_array_equal(parsed.planes[0].data, np.arange(99.0).reshape(9, 11))


def test_scaled_integers(tmp_path):
    """Unsigned integers are stored with BZERO, which must not stay in the header."""
    fits.PrimaryHDU(np.full((4, 5), 40000, np.uint16), header()).writeto(tmp_path / "x.fits")
    parsed = parse_image(tmp_path / "x.fits", uncertainty=1)
    assert (parsed.planes[0].data == 40000).all() and "BZERO" not in parsed.header


MASK = np.zeros(DATA.shape, bool)
MASK[3, 4:6] = True


@pytest.mark.parametrize("image", [
    np.ma.array(np.where(MASK, 1e30, DATA), mask=MASK), Masked(np.where(MASK, np.nan, DATA), MASK),
    Masked(DATA * u.Jy, MASK), NDData(DATA, mask=MASK), NDData(np.ma.array(DATA, mask=MASK)),
    CCDData(DATA, unit="", mask=MASK), np.where(MASK, np.inf, DATA),
    CCDData(DATA, unit="", mask=MASK.astype(int) * 16)])
def test_masks(image):
    parsed = parse_image(image, uncertainty=1)
    np.testing.assert_array_equal(parsed.planes[0].mask, MASK)
    np.testing.assert_array_equal(parsed.planes[0].data[~MASK], DATA[~MASK])
    assert np.abs(parsed.planes[0].data).max() < 10


@pytest.mark.parametrize(("given", "kind"), [
    (StdDevUncertainty(SIGMA), StdDevUncertainty),
    (VarianceUncertainty(SIGMA**2), VarianceUncertainty),
    (InverseVariance(SIGMA**-2), InverseVariance)])
def test_uncertainties(given, kind):
    for holder, unit in ((CCDData, "Jy"), (NDData, None), (NDDataRef, "adu")):
        image = holder(DATA, unit=unit, uncertainty=kind(given.array))
        parsed = parse_image(image)
        np.testing.assert_allclose(parsed.planes[0].sigma, SIGMA, rtol=1e-12)
        assert parsed.kind is kind and parsed.noise_given


def test_uncertainty_in_another_unit():
    image = NDData(DATA, unit=u.Jy, uncertainty=StdDevUncertainty(1000 * SIGMA, unit=u.mJy))
    np.testing.assert_allclose(parse_image(image).planes[0].sigma, SIGMA)
    # which the numbers of the image do not follow, if the user says what they are
    parsed = parse_image(image, unit=u.electron)
    np.testing.assert_allclose(parsed.planes[0].sigma, SIGMA)
    assert parsed.unit == u.electron
    with pytest.raises(ValueError, match="`uncertainty` must have a unit that converts to elec"):
        parse_image(image, unit=u.electron, uncertainty=1 * u.Jy)


def test_keywords_win():
    image = CCDData(DATA, unit=u.Jy, mask=MASK, wcs=sky(), psf=np.eye(3),
                    uncertainty=VarianceUncertainty(SIGMA))
    parsed = parse_image(image, unit="nJy", mask=~MASK & (DATA > 0), wcs=sky(scale=0.05),
                         uncertainty=InverseVariance(np.full(DATA.shape, 0.25)), psf=2 * u.pix)
    assert parsed.unit == u.nJy and parsed.kind is InverseVariance
    assert (parsed.planes[0].sigma == 2).all()
    np.testing.assert_array_equal(parsed.planes[0].mask, ~MASK & (DATA > 0))
    assert parsed.wcs.wcs.cdelt[1] == pytest.approx(0.05 / 3600)
    assert parsed.planes[0].psf.shape == (11, 11)


def test_a_unit_that_is_given_is_all_that_counts():
    """Neither an unknown unit nor magnitudes are in the way of one who knows better."""
    image = fits.PrimaryHDU(DATA, fits.Header([("BUNIT", "mag")]))
    with pytest.raises(ValueError, match="`BUNIT` must be linear in flux"):
        parse_image(image, uncertainty=1)
    assert parse_image(image, uncertainty=1, unit="nJy").unit == u.nJy
    image.header["BUNIT"] = "blorp"
    assert parse_image(image, uncertainty=1, unit="nJy").unit == u.nJy
    assert parse_image(NDData(DATA, unit="mag"), uncertainty=1, unit="Jy").unit == u.Jy
    assert parse_image(DATA * u.mag, uncertainty=1, unit="Jy").unit == u.Jy
    with pytest.raises(ValueError, match="`unit` must be linear in flux"):
        parse_image(DATA * u.mag, uncertainty=1)


def test_unknown_units_have_no_square():
    image = fits.PrimaryHDU(DATA, fits.Header([("BUNIT", "blorp")]))
    with pytest.warns(LensSRWarning) as caught:
        parsed = parse_image(image, uncertainty=VarianceUncertainty(SIGMA**2))
    assert [str(w.message)[:30] for w in caught] == [
        "unit 'blorp' is unknown to ast", "astropy has no square of the u"]
    assert parsed.kind is StdDevUncertainty
    np.testing.assert_allclose(parsed.planes[0].sigma, SIGMA)


def test_pixels_without_weight_are_masked():
    weight = np.ones(DATA.shape)
    weight[0], weight[1, 1], weight[2, 2] = 0, np.nan, np.inf
    data = DATA.copy()
    data[2, 2] = 0  # outside the exposure both are zero
    with pytest.warns(LensSRWarning, match="^13 pixels without a finite uncertainty are taken as"):
        parsed = parse_image(data, uncertainty=InverseVariance(weight))
    assert parsed.planes[0].mask.sum() == 13 and np.isfinite(parsed.planes[0].sigma).all()
    # not said of those that are known to be missing
    assert parse_image(data, uncertainty=InverseVariance(weight), mask=~(weight == 1)).planes


def test_metadata_that_fits_cannot_hold():
    meta = {"good": 1, "a long keyword": "x" * 30, "array": np.zeros(3), "nested": {"a": 1},
            "accents": "é", "number": np.float32(0.5), "none": None, "nan": np.nan,
            "GOOD": 2, "history": ["first", "second\nthird"], 5: "five",
            "long keyword, long value": "y" * 100, "text": "y" * 200}
    with pytest.warns(LensSRWarning, match="metadata that a FITS header cannot hold was dropped: "
                                           "array, nested, accents, nan, GOOD"):
        held = parse_image(NDData(DATA, meta=meta), uncertainty=1).header
    assert held["GOOD"] == 1 and held["NUMBER"] == 0.5 and held["5"] == "five"
    assert list(held["HISTORY"]) == ["first", "second", "third"]
    assert held["a long keyword"] == "x" * 30 and held["TEXT"] == "y" * 200
    assert isinstance(held["NONE"], fits.card.Undefined) or held["NONE"] is None
    held.tostring()


def test_flags_and_a_stray_wcs_are_not_dropped_in_silence():
    image = CCDData(DATA, unit="Jy", flags=np.zeros(DATA.shape, int), header=sky().to_header())
    with pytest.warns(LensSRWarning) as caught:
        parsed = parse_image(image, uncertainty=1)
    assert "the metadata have a WCS, but the NDData has none" in str(caught[0].message)
    assert "the flags of the NDData were dropped" in str(caught[1].message)
    assert parsed.wcs is None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the flags")
        assert parse_image(image, uncertainty=1, wcs=sky()).wcs is not None


CUBE = np.random.default_rng(1).normal(0, 1, (3, 9, 11))


@pytest.mark.parametrize("mask", [MASK, np.stack([MASK] * 3)])
@pytest.mark.parametrize("sigma", [2.0, np.full(DATA.shape, 2.0), np.full(CUBE.shape, 2.0)])
def test_cubes(mask, sigma):
    psf = [3 * u.pix, np.pad([[1.0]], 3), 4 * u.pix]
    parsed = parse_image(CUBE, mask=mask, uncertainty=sigma, psf=psf, wcs=sky(3))
    assert len(parsed.planes) == 3 and parsed.shape == CUBE.shape
    for plane, data, side in zip(parsed.planes, CUBE, (17, 7, 21)):
        np.testing.assert_array_equal(plane.data[~MASK], data[~MASK])
        np.testing.assert_array_equal(plane.mask, MASK)
        assert (plane.sigma == 2).all() and plane.psf.shape == (side, side)


def test_cube_in_a_file(tmp_path):
    head = sky(3).to_header()
    head["BUNIT"] = "Jy"
    fits.PrimaryHDU(CUBE.astype(">f4"), head).writeto(tmp_path / "x.fits")
    parsed = parse_image(tmp_path / "x.fits", uncertainty=1, psf=0.6 * u.arcsec)
    assert parsed.wcs.naxis == 3 and parsed.dtype == np.float32
    assert parsed.planes[0].psf is parsed.planes[2].psf
    np.testing.assert_allclose(parsed.planes[1].data, CUBE[1], rtol=1e-6)


def gwcs_wcs():
    gwcs = pytest.importorskip("gwcs")
    from astropy.coordinates import ICRS
    from gwcs import coordinate_frames as cf

    step = 0.168 / 3600
    model = (Shift(-4) & Shift(-5)) | (Multiply(-step) & Multiply(step)) | Pix2Sky_TAN() \
        | RotateNative2Celestial(150.1, 2.2, 180)
    frames = (cf.Frame2D(name="detector", unit=(u.pix, u.pix)),
              cf.CelestialFrame(name="sky", reference_frame=ICRS(), unit=(u.deg, u.deg)))
    return gwcs.WCS([(frames[0], model), (frames[1], None)])


@pytest.mark.parametrize("make", [sky, gwcs_wcs, lambda: SlicedLowLevelWCS(sky(), np.s_[1:, 2:]),
                                  lambda: sky(3).celestial])
def test_pixel_scale_of_any_wcs(make):
    """A FWHM as an angle, with a FITS WCS, a gWCS, a low-level crop, a plane."""
    parsed = parse_image(DATA, uncertainty=1, wcs=make(), psf=1.9 * 0.168 * u.arcsec)
    expected = parse_image(DATA, uncertainty=1, psf=1.9 * u.pix).planes[0].psf
    np.testing.assert_allclose(parsed.planes[0].psf, expected, atol=1e-5)
    x, y = np.arange(3), np.arange(3)
    assert isinstance(parsed.wcs.pixel_to_world(x, y), SkyCoord)


def test_pixel_scale_of_a_cropped_cube():
    cube = NDData(CUBE, wcs=SlicedLowLevelWCS(sky(3), np.s_[:, 1:, :]))
    parsed = parse_image(cube, uncertainty=1, psf=1.9 * 0.168 * u.arcsec)
    assert parsed.planes[0].psf.shape == (11, 11)


def test_no_pixel_scale():
    spectral = WCS(naxis=2)
    spectral.wcs.ctype = ["WAVE", "LINEAR"]
    for wcs in (None, spectral, SlicedLowLevelWCS(spectral, np.s_[:, :])):
        with pytest.raises(ValueError, match="`psf` as a FWHM in arcsec needs a WCS"):
            parse_image(DATA, uncertainty=1, wcs=wcs, psf=0.7 * u.arcsec)


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    in_file("x.fits")(tmp_path)
    assert parse_image("~/x.fits", uncertainty=1).shape == DATA.shape
    assert parse_image(Path("~/x.fits"), uncertainty=1).shape == DATA.shape


def test_what_holds_an_array_counts_as_one():
    class Holder:
        def __array__(self, dtype=None, copy=None):
            return DATA

    np.testing.assert_array_equal(parse_image(Holder(), uncertainty=1).planes[0].data, DATA)


def test_unknown_uncertainty():
    image = NDData(DATA, uncertainty=UnknownUncertainty(SIGMA))
    with pytest.raises(TypeError, match="`uncertainty` must be a StdDevUncertainty, .* got Unkn"):
        parse_image(image)
    assert parse_image(image, uncertainty=SIGMA).noise_given
