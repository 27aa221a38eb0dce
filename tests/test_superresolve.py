"""Flux, sky, mask, noise and header cards of `superresolve`."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import (
    CCDData,
    InverseVariance,
    NDData,
    StdDevUncertainty,
    VarianceUncertainty,
)
from astropy.wcs import WCS
from astropy.wcs.wcsapi import SlicedLowLevelWCS
from photutils.aperture import CircularAperture, aperture_photometry
from photutils.centroids import centroid_2dg
from scipy import ndimage

from lenssr import LensSRWarning, SuperResolvedImage, register_method, superresolve
from lenssr.image import RescaledWCS, check_tile, gaussian_psf, parse_image, target_psf, tiles
from lenssr.methods import unregister_method

INTERPOLATIONS = ("bilinear", "bicubic", "lanczos")
CLASSICAL = (*INTERPOLATIONS, "richardson_lucy", "wiener")
OPTIONS = {"richardson_lucy": {"n_iter": 8, "n_probes": 2}}
SHAPE = (13, 16)
# What no telescope sees: no noise at all, or a star that is thousands of times as bright.
IDEAL = pytest.mark.filterwarnings("ignore:the result has a reduced chi2")
RNG = np.random.default_rng(0)
NOISE = RNG.normal(0, 1, SHAPE)


def tan(naxis=2, scale=0.1):
    wcs = WCS(naxis=naxis)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN", "WAVE"][:naxis]
    wcs.wcs.crval = [150.1, 2.2, 5e-7][:naxis]
    wcs.wcs.crpix = [5, 6, 1][:naxis]
    wcs.wcs.cdelt = [-scale / 3600, scale / 3600, 1e-7][:naxis]
    wcs.wcs.set()
    return wcs


def restore(image, method="bilinear", **kwargs):
    kwargs = {"uncertainty": 1.0, "unit": "nJy", "psf": gaussian_psf(2.5), **kwargs}
    return superresolve(image, method, **OPTIONS.get(method, {}), **kwargs)


PER_PIXEL = ["electron", "ELECTRONS/S", "counts", "adu", u.Jy, u.nJy, u.nmgy, u.maggy]
BRIGHTNESS = ["MJy/sr", u.nJy / u.arcsec**2, u.Jy / u.beam, "JY/BEAM", "K"]


@pytest.mark.parametrize("method", INTERPOLATIONS)
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_total_flux(method, scale):
    """Also of the faintest source on the brightest sky, and to the edge of the image."""
    for offset in (0.0, 1e3):
        image = NOISE + offset
        result = restore(image, method, scale=scale)
        assert result.shape == tuple(scale * n for n in SHAPE)
        assert result.data.sum() == pytest.approx(image.sum(), rel=1e-9)


@pytest.mark.parametrize("unit", PER_PIXEL)
def test_units_per_pixel(unit):
    result = restore(np.full(SHAPE, 7.0), unit=unit, scale=3)
    np.testing.assert_allclose(result.data, 7 / 9, rtol=1e-6)
    assert result.header["SRFLUX"] == "per-pixel" and result.uncertainty.unit == result.unit
    # input pixels hold the same fluxes as the nine that they became, and similar errors
    assert result.uncertainty.array.max() <= 1 / 9


@IDEAL
@pytest.mark.parametrize("unit", BRIGHTNESS)
@pytest.mark.parametrize("method", CLASSICAL)
def test_units_of_surface_brightness(unit, method):
    result = restore(np.full(SHAPE, 7.0), method, unit=unit, scale=2)
    tolerance = 1e-6 if method in INTERPOLATIONS else 0.02
    np.testing.assert_allclose(result.data[6:-6, 6:-6], 7, rtol=tolerance)
    if method in INTERPOLATIONS:
        np.testing.assert_allclose(result.data, 7, rtol=1e-6)
    assert result.header["SRFLUX"] == "surface-brightness"


@pytest.mark.parametrize("dtype", [np.float32, np.float64, ">f4", np.int32])
def test_type_of_the_result(dtype):
    result = restore((100 * NOISE + 1000).astype(dtype))
    expected = np.float32 if np.dtype(dtype).itemsize == 4 and dtype != np.int32 else np.float64
    for array in (result.data, result.uncertainty.array, result.measurement_std):
        assert array.dtype == expected and array.dtype.isnative


def test_user_flux_convention_has_priority():
    for flux, unit, value in (("surface-brightness", "electron", 7), ("per-pixel", "MJy/sr", 1.75)):
        result = restore(np.full(SHAPE, 7.0), unit=unit, flux=flux)
        np.testing.assert_allclose(result.data, value)
        assert result.header["SRFLUX"] == flux


def test_no_unit():
    with pytest.warns(LensSRWarning, match="the image has no unit: its values count as flux"):
        result = restore(np.full(SHAPE, 4.0), unit=None)
    assert result.unit == u.dimensionless_unscaled
    np.testing.assert_allclose(result.data, 1)


KINDS = {StdDevUncertainty: 1, VarianceUncertainty: 2, InverseVariance: -2}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("unit", ["electron", "MJy/sr"])
def test_class_in_class_out(kind, unit):
    """
    Against bilinear weights worked out by hand.

    Well inside, an output pixel at a scale of two takes 3/4 and 1/4 along each axis, so its
    variance is that of a datum times (9/16 + 1/16)**2.
    """
    image = CCDData(NOISE, unit=unit, uncertainty=kind(np.full(SHAPE, 3.0 ** KINDS[kind])))
    result = superresolve(image, "bilinear")
    fraction = 0.25 if unit == "electron" else 1.0
    sigma = fraction * 3 * (9 / 16 + 1 / 16)
    assert type(result.uncertainty) is kind
    assert result.uncertainty.unit == u.Unit(unit) ** KINDS[kind]
    np.testing.assert_allclose(result.measurement_std[2:-2, 2:-2], sigma)
    np.testing.assert_allclose(result.uncertainty.array[2:-2, 2:-2], sigma ** KINDS[kind])
    # the corner is a copy of its pixel
    assert result.measurement_std[0, 0] == pytest.approx(fraction * 3)
    np.testing.assert_allclose(result.uncertainty.represent_as(StdDevUncertainty).array,
                               result.measurement_std)


def test_faint_units_do_not_overflow():
    """Single precision ends at 3e38."""
    image = CCDData((1e-19 * NOISE).astype(np.float32), unit="erg / (s cm2 Angstrom)",
                    uncertainty=InverseVariance(np.full(SHAPE, 1e40)))
    result = superresolve(image, "bicubic")
    assert result.data.dtype == np.float32 and np.isfinite(result.uncertainty.array).all()
    np.testing.assert_allclose(result.uncertainty.array ** -0.5, result.measurement_std, rtol=1e-5)


def test_errors_agree_with_noise():
    """The exact error of an interpolation against the scatter of 150 noisy images."""
    sigma = RNG.uniform(0.5, 3, SHAPE)
    result = restore(NOISE, "lanczos", uncertainty=sigma, psf=None).measurement_std
    noisy = [restore(RNG.normal(0, sigma), "lanczos", uncertainty=sigma, psf=None).data
             for _ in range(150)]
    np.testing.assert_allclose(np.std(noisy, axis=0), result, rtol=0.3)
    assert np.mean(np.std(noisy, axis=0) / result) == pytest.approx(1, abs=0.02)


def test_estimated_noise():
    field = RNG.normal(0, 2, (60, 60))
    with pytest.warns(LensSRWarning, match="no uncertainty was given: a noise of"):
        result = superresolve(field * u.nJy, "bilinear")
    assert result.header["SRNOISE"] == "estimated"
    assert isinstance(result.uncertainty, StdDevUncertainty)
    inside = result.uncertainty.array[2:-2, 2:-2]
    np.testing.assert_allclose(inside, 2 / 4 * (9 / 16 + 1 / 16), rtol=0.05)
    assert restore(NOISE).header["SRNOISE"] == "given"


MASK = np.zeros(SHAPE, bool)
MASK[4:6, 7] = MASK[0, 0] = MASK[9:12, 12:15] = True


@IDEAL
@pytest.mark.filterwarnings("ignore:.*masked pixels were filled")
@pytest.mark.parametrize("method", CLASSICAL)
def test_masked_values_have_no_effect(method):
    """Bit for bit."""
    star = NOISE + 200 * gaussian_psf(2.5, 13)[:, :13].sum() * np.outer(
        np.exp(-0.5 * (np.arange(13) - 6.0) ** 2), np.exp(-0.5 * (np.arange(16) - 7.3) ** 2))
    reference = restore(np.where(MASK, 0, star), method, mask=MASK)
    for spoilt in (1e30, -1e30, np.nan, np.inf):
        result = restore(np.where(MASK, spoilt, star), method, mask=MASK)
        for name in ("data", "mask", "measurement_std"):
            np.testing.assert_array_equal(getattr(result, name), getattr(reference, name))
    result = restore(np.where(MASK, np.nan, star), method)  # NaN alone says so
    np.testing.assert_array_equal(result.data, reference.data)
    # nor its error
    sigma = np.where(MASK, np.nan, 1.0)
    sigma[4, 7], sigma[5, 7] = -1, 1e30
    result = restore(star, method, mask=MASK, uncertainty=sigma)
    np.testing.assert_array_equal(result.data, reference.data)
    assert np.isfinite(result.data).all() and np.isfinite(result.measurement_std).all()
    assert (result.measurement_std > 0).all()


@pytest.mark.parametrize("method", CLASSICAL)
@pytest.mark.parametrize("scale", [2, 3])
def test_mask_of_the_result(method, scale):
    with pytest.warns(LensSRWarning, match="^12 masked pixels were filled from their neighbours"):
        result = restore(NOISE, method, mask=MASK, scale=scale)
    covered = np.kron(MASK, np.ones((scale, scale))) > 0
    assert result.mask.dtype == bool and result.mask[covered].all()
    # what lies beyond the neighbouring input pixels rests on data
    near = ndimage.binary_dilation(MASK, np.ones((3, 3)))
    assert not result.mask[np.kron(near, np.ones((scale, scale))) == 0].any()
    assert not restore(NOISE, method, scale=scale).mask.any()


def star(y, x, shape=(41, 45), fwhm=4.0):
    yy, xx = np.indices(shape)
    return 1e3 * np.exp(-4 * np.log(2) * ((yy - y) ** 2 + (xx - x) ** 2) / fwhm**2)


@IDEAL
@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("method", CLASSICAL)
def test_position_of_a_star(method, scale):
    """On the sky, to 0.02 output pixels: half-pixel shifts are the classic error."""
    image = CCDData(star(20.3, 22.7), unit="nJy", wcs=tan(), psf=gaussian_psf(4.0, 21),
                    uncertainty=StdDevUncertainty(np.full((41, 45), 1.0)))
    result = superresolve(image, method, scale=scale, **OPTIONS.get(method, {}))
    y, x = np.unravel_index(result.data.argmax(), result.shape)
    centroid = centroid_2dg(result.data[y - 7: y + 8, x - 7: x + 8]) + [x - 7, y - 7]
    true, measured = image.wcs.pixel_to_world(22.7, 20.3), result.wcs.pixel_to_world(*centroid)
    assert true.separation(measured) < 0.02 * (0.1 / scale) * u.arcsec
    # and in pixels, without the WCS
    expected = [(22.7 + 0.5) * scale - 0.5, (20.3 + 0.5) * scale - 0.5]
    np.testing.assert_allclose(centroid, expected, atol=0.02)


def test_ape14_wcs():
    """A crop of a cube is an APE-14 WCS and no FITS WCS; it is wrapped, or cut out."""
    plane = SlicedLowLevelWCS(tan(3), np.s_[0, 2:, 3:])
    for image in (NDData(NOISE, wcs=plane, unit="nJy"), NOISE):
        result = restore(image, wcs=None if image is not NOISE else plane)
        here = result.wcs.pixel_to_world(0.5, 0.5)
        assert here.separation(tan().pixel_to_world(3, 2)) < 1 * u.uas
    row = SlicedLowLevelWCS(tan(3), np.s_[:, 2, :])
    result = restore(NDData(NOISE, wcs=row, unit="nJy"))
    assert isinstance(result.wcs.low_level_wcs, RescaledWCS)


def test_gwcs():
    gwcs = pytest.importorskip("gwcs")
    from astropy.coordinates import ICRS
    from astropy.modeling.models import Multiply, Pix2Sky_TAN, RotateNative2Celestial
    from gwcs import coordinate_frames as cf

    model = Multiply(-3e-5) & Multiply(3e-5) | Pix2Sky_TAN() | RotateNative2Celestial(10, 20, 180)
    wcs = gwcs.WCS([
        (cf.Frame2D(name="detector", unit=(u.pix, u.pix)), model),
        (cf.CelestialFrame(name="sky", reference_frame=ICRS(), unit=(u.deg, u.deg)), None)])
    header = fits.Header([("EQUINOX", 2000.0), ("CTYPE1", "RA---TAN"), ("CRPIX1", 3.0)])
    result = superresolve(NDData(NOISE, wcs=wcs, unit="Jy", meta=header), uncertainty=1.0,
                          method="bilinear", psf=0.3 * u.arcsec, scale=3)
    here, there = wcs.pixel_to_world(4, 5), result.wcs.pixel_to_world(13, 16)
    assert here.separation(there) < 1e-6 * 0.1 * u.arcsec
    # a FITS WCS would bring the equinox itself
    assert result.header["EQUINOX"] == 2000 and "CRPIX1" not in result.header


def test_a_wcs_that_cannot_be_rescaled_fails_early():
    image = NDData(np.zeros((4, *SHAPE)), wcs=SlicedLowLevelWCS(tan(3).swapaxes(0, 2), np.s_[:]))
    register_method("failing", lambda: SimpleNamespace(
        restore=lambda *args: pytest.fail("the method was applied")), overwrite=True)
    try:
        with pytest.raises(ValueError, match="`wcs` must have its celestial axes along the last"):
            restore(image, "failing")
    finally:
        unregister_method("failing")


def headed():
    """A header of an image with a WCS and much else."""
    header = tan().to_header()
    header["OBJECT"], header["EXPTIME"], header["GAIN"] = "J0946+1006", 2096.0, (1.5, "e-/DN")
    header["PIXSCALE"], header["DATAMAX"], header["GOODMEAN"] = 0.1, 99.0, 1.0
    header["BUNIT"], header["NOTHING"], header["LONG"] = "ELECTRONS", None, "word " * 40
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fits.verify.VerifyWarning)
        header["HIERARCH ESO TEL AIRM END"] = 1.2
    for line in ("one", "two", "one"):
        header.add_history(line)
    header.add_comment("a comment")
    header.append(("TWICE", 1), end=True)
    header.append(("TWICE", 2), end=True)
    for key, value in {"CTYPE1P": "X", "CTYPE2P": "Y", "CRPIX1P": 3.0, "CRPIX2P": 4.0,
                       "CRVAL1P": 5.0, "CRVAL2P": 7.0, "CDELT1P": 0.5, "CDELT2P": 0.5}.items():
        header[key] = value
    return header


FALSE = {"BUNIT", "DATAMAX", "GOODMEAN", "WCSAXES", "PIXSCALE"}


@pytest.mark.parametrize("holder", ["HDU", "file", "CCDData"])
def test_cards(holder, tmp_path):
    image = fits.PrimaryHDU(NOISE, headed())
    if holder != "HDU":
        image.writeto(tmp_path / "x.fits")
        image = tmp_path / "x.fits"
    if holder == "CCDData":
        image = CCDData.read(image)
    result = superresolve(image, "bilinear", scale=2, uncertainty=1.0)
    old, new = headed(), result.header
    # of the old sky, or of the old pixels
    sky = {key for key in old if key[:5] in ("CTYPE", "CRPIX", "CRVAL", "CDELT", "CUNIT")
           or key in ("LONPOLE", "LATPOLE", "RADESYS", "MJDREF")}
    for key in set(old) - sky - FALSE - {"HISTORY", "COMMENT", "", "TWICE"}:
        assert str(new.cards[key]) == str(old.cards[key])
    assert list(new["HISTORY"])[:-1] == ["one", "two", "one"]
    assert new["HISTORY"][-1] == "lenssr: super-resolved by bilinear, 2 times finer pixels"
    assert list(new["COMMENT"]) == ["a comment"] and new.count("TWICE") == 2
    assert new["PIXSCALE"] == 0.05  # of the new pixels
    assert not {"BUNIT", "DATAMAX", "GOODMEAN", "NAXIS1", "BITPIX", "CRPIX1", "CTYPE1"} & set(new)
    # the alternate WCS, in new pixels: the same place has the same coordinates
    before, after = WCS(old, key="P"), WCS(new, key="P")
    np.testing.assert_allclose(after.wcs_pix2world([[5.5, 7.5]], 1),
                               before.wcs_pix2world([[3, 4]], 1))
    # and all of it comes back from a file
    result.write(tmp_path / "y.fits")
    assert SuperResolvedImage.read(tmp_path / "y.fits").header == new


def test_result_cards():
    result = restore(NOISE, "richardson_lucy", seed=5, scale=3)
    expected = {"SRMETHOD": "richardson_lucy", "SRSCALE": 3, "SRWEIGHT": "none", "SRSEED": 5,
                "SRCALIB": "measurement", "SRNOISE": "given", "SRFLUX": "per-pixel",
                "SRPSF": "target", "SRNITER": 8, "SRNPROBE": 2}
    assert {key: result.header[key] for key in expected} == expected
    assert result.header["SRVERS"]
    # nothing is said of an earlier run that is not true of this one
    again = superresolve(result, "bilinear")
    assert again.header["SRMETHOD"] == "bilinear" and "SRNITER" not in again.header
    assert len(again.header["HISTORY"]) == 2
    assert superresolve(result, "bilinear", psf=None).header["SRPSF"] == "input"
    assert restore(NOISE, psf=None).header["SRPSF"] == "unknown"


def test_a_header_without_a_wcs_keeps_its_equinox():
    """It may belong to the target coordinates in other cards."""
    header = fits.Header([("RA_TARG", 150.0), ("EQUINOX", 2000.0), ("RADESYS", "ICRS")])
    result = restore(fits.PrimaryHDU(NOISE, header))
    assert result.wcs is None and result.header["EQUINOX"] == 2000
    assert result.header["RADESYS"] == "ICRS"


@IDEAL
@pytest.mark.parametrize("method", CLASSICAL)
def test_psf_of_the_result(method):
    """A restored star has the PSF of the result."""
    psf = gaussian_psf(4.0, 25)
    result = restore(np.pad(1e5 * psf, 8), method, psf=psf)
    if method not in INTERPOLATIONS:
        np.testing.assert_array_equal(result.psf, target_psf())
        return
    # the star is at the centre of an input pixel, where four output pixels meet
    assert result.header["SRPSF"] == "input"
    width = np.sqrt(np.sum(result.data) ** 2 / np.sum(result.data**2))
    declared = np.sqrt(1 / np.sum(result.psf**2))
    assert width == pytest.approx(declared, rel=0.02)


CUBE = RNG.normal(0, 1, (3, *SHAPE))


@pytest.mark.parametrize("method", ["bilinear", "richardson_lucy"])
def test_cubes(method, tmp_path):
    psfs = [gaussian_psf(2.5), gaussian_psf(3.0, 21), 2 * u.pix]
    image = CCDData(CUBE, unit="nJy", wcs=tan(3))
    with pytest.warns(LensSRWarning, match="^36 masked pixels"):
        cube = restore(image, method, psf=psfs, mask=MASK, uncertainty=2.0, seed=1)
    with pytest.warns(LensSRWarning, match="^12 masked pixels"):
        planes = [restore(CUBE[i], method, psf=psfs[i], mask=MASK, uncertainty=2.0, seed=1)
                  for i in range(3)]
    assert cube.shape == (3, 26, 32) and cube.wcs.naxis == 3
    for i, plane in enumerate(planes):
        for name in ("data", "mask", "measurement_std"):
            np.testing.assert_array_equal(getattr(cube, name)[i], getattr(plane, name))
        psf = cube.psf if cube.psf.ndim == 2 else cube.psf[i]
        room = (np.array(psf.shape) - plane.psf.shape) // 2
        np.testing.assert_array_equal(psf, np.pad(plane.psf, [(n, n) for n in room]))
    assert cube.psf.ndim == (3 if method == "bilinear" else 2)
    here = cube.wcs.pixel_to_world_values(0.5, 0.5, 1)
    np.testing.assert_allclose(here, tan(3).pixel_to_world_values(0, 0, 1), rtol=1e-12)
    cube.write(tmp_path / "x.fits")
    back = SuperResolvedImage.read(tmp_path / "x.fits")
    np.testing.assert_array_equal(back.data, cube.data)
    assert back.wcs.naxis == 3 and back.header == cube.header


def test_cube_without_psf_and_of_one_psf():
    assert restore(CUBE, psf=None).psf is None
    assert restore(CUBE).psf.ndim == 2


@pytest.mark.parametrize("method", CLASSICAL)
def test_tiles_change_nothing(method):
    image = RNG.normal(0, 1, (40, 33))
    full, tiled = (restore(image, method, tile=tile, seed=3) for tile in (None, 11))
    np.testing.assert_allclose(tiled.data, full.data, atol=1e-5)
    np.testing.assert_allclose(tiled.measurement_std, full.measurement_std, atol=1e-5)


def test_tiles_cover_the_plane_once():
    count = np.zeros((10, 7), int)
    for tile in tiles((10, 7), (4, 3), (2, 1)):
        count[tile.core] += 1
        block = np.arange(70).reshape(10, 7)
        np.testing.assert_array_equal(block[tile.padded][tile.inner()], block[tile.core])
        fine = np.kron(block, np.ones((2, 2), int))
        padded = np.kron(block[tile.padded], np.ones((2, 2), int))
        np.testing.assert_array_equal(padded[tile.inner(2)], fine[tile.outer(2)])
        assert block[tile.padded].shape[0] <= 4 + 2 * 2
    assert (count == 1).all()
    assert check_tile(None) is None and check_tile(np.int64(5)) == 5


def test_the_same_seed_gives_the_same_result():
    results = [restore(NOISE, "richardson_lucy", seed=seed) for seed in (None, 0, 7, 7)]
    stds = [result.measurement_std for result in results]
    np.testing.assert_array_equal(stds[0], stds[1])
    np.testing.assert_array_equal(stds[2], stds[3])
    assert not np.array_equal(stds[0], stds[2])
    assert [result.header["SRSEED"] for result in results] == [0, 0, 7, 7]


def test_warnings_are_lenssr_warnings(tmp_path):
    """A minimal FITS file emits no other warning."""
    header = tan().to_header()
    header.update({"DATE-OBS": "01/02/99", "MJD-OBS": 51210.0})
    fits.PrimaryHDU(RNG.normal(0, 1, (20, 20)), header).writeto(tmp_path / "x.fits")
    with pytest.warns() as caught:
        superresolve(tmp_path / "x.fits", "bicubic")
    assert {item.category for item in caught} == {LensSRWarning}
    assert [str(item.message)[:25] for item in caught] == [
        "no uncertainty was given:", "the image has no unit: it"]


def test_photutils_takes_the_result():
    """It compares the units of data and errors by their hash."""
    for unit in ("nJy", "MJy/sr", "electron"):
        image = CCDData(NOISE, unit=unit, uncertainty=StdDevUncertainty(np.ones(SHAPE)))
        table = aperture_photometry(superresolve(image, "bilinear"), CircularAperture((9, 9), 4))
        assert table["aperture_sum"].unit == table["aperture_sum_err"].unit == u.Unit(unit)


WCS_FILES = ["1904-66_TAN.fits", "astropy_dist_lookup.fits.gz", "astropy_m13_rice.fits",
             "astropy_sip-wcs.fits", "sipsample.fits", "tpv.fits", "tanpv.fits"]


@pytest.mark.filterwarnings("ignore::lenssr.LensSRWarning")
@pytest.mark.parametrize("name", WCS_FILES)
def test_real_files_round_trip(name, shared_data, tmp_path):
    """Contents of a real file after super-resolving, writing and reading."""
    path = shared_data / "wcs" / name
    parsed = parse_image(path, uncertainty=1.0)
    result = superresolve(path, "bilinear", uncertainty=1.0)
    result.write(tmp_path / "x.fits")
    back = SuperResolvedImage.read(tmp_path / "x.fits")
    assert back.header == result.header and back.unit == result.unit
    np.testing.assert_array_equal(back.data, result.data)
    ny, nx = parsed.shape
    y, x = RNG.uniform(-0.5, [[ny - 0.5], [nx - 0.5]], (2, 100))
    true, companion = parsed.wcs.pixel_to_world(x, y), parsed.wcs.pixel_to_world(x + 1, y)
    for wcs in (result.wcs, back.wcs):
        measured = wcs.pixel_to_world(2 * x + 0.5, 2 * y + 0.5)
        assert (true.separation(measured) < 1e-6 * true.separation(companion)).all()
    # cards: only those of the sky, of the pixels, and of the layout have gone
    gone = set(parsed.header) - set(result.header)
    cards = set(back.wcs.to_header(relax=True)) if back.wcs is not None else set()
    assert not {"EXPTIME", "OBJECT", "TELESCOP", "INSTRUME", "FILTER", "DATE-OBS"} & gone - cards
    with fits.open(tmp_path / "x.fits") as hdus:
        hdus.verify("exception")


def test_real_cube_of_bands(shared_data):
    folder = shared_data / "hsc_hst_cosmos"
    with pytest.warns(LensSRWarning) as caught:
        result = superresolve(folder / "Cut_HSC.fits", "bilinear", psf=folder / "PSF_HSC.fits")
    assert result.shape == (5, 100, 100) and result.psf.shape[0] == 5
    assert {str(item.message)[:12] for item in caught} == {
        "no uncertain", "the image ha", "`psf` was re"}


def test_the_header_keeps_warnings(tmp_path):
    """Each once, complete in a file, absent from the next result, and emitted to the caller."""
    bad = NOISE.copy()
    bad[3, 4] = np.nan
    with pytest.warns(LensSRWarning) as caught:
        result = superresolve(bad, "bilinear")
    assert {item.filename for item in caught} == {__file__}
    records = list(dict.fromkeys(str(item.message) for item in caught))
    assert len(records) == 3 and any(len(text) > 68 for text in records)
    result.write(tmp_path / "warned.fits")
    header = SuperResolvedImage.read(tmp_path / "warned.fits").header
    assert [header[f"SRWARN{k}"] for k in (1, 2, 3)] == records and "SRWARN4" not in header
    again = restore(result, uncertainty=1.0, psf=None, mask=np.zeros(result.shape, bool))
    assert not [key for key in again.header if key.startswith("SRWARN")]


@pytest.mark.filterwarnings("ignore:the image has no unit")
def test_filtered_warnings_are_kept():
    for _ in range(2):
        result = superresolve(NOISE, "bilinear", uncertainty=1.0)
        assert result.header["SRWARN1"].startswith("the image has no unit")


@pytest.mark.filterwarnings("error::lenssr.LensSRWarning")
def test_warnings_can_still_be_errors():
    with pytest.raises(LensSRWarning, match="the image has no unit"):
        superresolve(NOISE, "bilinear", uncertainty=1.0)


def test_default_method():
    """A physics network if the PSF is known, else an image network."""
    image = dict(uncertainty=1.0, unit="adu")
    result = superresolve(NOISE, psf=gaussian_psf(3.0), n_probes=1, **image)
    assert result.header["SRMETHOD"] == "unrolled" and result.header["SRCALIB"] == "predictive"
    with pytest.warns(LensSRWarning, match="no `psf` was given"):
        result = superresolve(NOISE, n_probes=1, **image)
    assert result.header["SRMETHOD"] == "rcan"
