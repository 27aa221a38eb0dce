"""Bad input: an error that names the argument, or a right result with a warning."""

import io
import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, NDData, StdDevUncertainty, VarianceUncertainty
from astropy.table import Table
from astropy.wcs import WCS

from lenssr import LensSRWarning, superresolve
from lenssr.image import gaussian_psf

CLASSICAL = ("bilinear", "bicubic", "lanczos", "richardson_lucy", "wiener")
OPTIONS = {"richardson_lucy": {"n_iter": 5, "n_probes": 2}}
SHAPE = (12, 14)
NOISE = np.random.default_rng(0).normal(0, 1, SHAPE)
PSF = gaussian_psf(2.5)
# Data without noise have a chi2 far below one.
NOISELESS = pytest.mark.filterwarnings("ignore:the result has a reduced chi2")
GOOD = {"uncertainty": 1.0, "unit": "nJy", "psf": PSF, "method": "bilinear"}


def spoilt(value, array=NOISE):
    array = array.copy()
    array[2, 3] = value
    return array


def named(keyword, **cards):
    return {"data": fits.HDUList([fits.PrimaryHDU(NOISE, fits.Header(list(cards.items())))]),
            **keyword}


WAVE = WCS(naxis=3)
WAVE.wcs.ctype = "RA---TAN", "DEC--TAN", "WAVE"

# What to change of a good call, the error, and what its message says.
BAD = {
    # data
    "None": ({"data": None}, TypeError, "`data` must be a FITS file, .* got NoneType"),
    "number": ({"data": 3.0}, TypeError, "`data` must be a FITS file, .* got float"),
    "dict": ({"data": {"a": 1}}, TypeError, "`data` must be a FITS file, .* got dict"),
    "bytes": ({"data": b"x.fits"}, TypeError, "`data` must be a FITS file, .* got bytes"),
    "class": ({"data": CCDData}, TypeError, "`data` must be an array of real numbers, got dtype"),
    "table": ({"data": Table({"a": [1]})}, TypeError, "`data` must be an array of real numbers"),
    "table HDU": ({"data": fits.BinTableHDU(Table({"a": [1]}))}, TypeError,
                  "`data` must be a FITS file, .* got BinTableHDU"),
    "complex": ({"data": NOISE * 1j}, TypeError, "`data` must be an array of real numbers, got "),
    "boolean": ({"data": NOISE > 0}, TypeError, "`data` must be an array of real numbers, got d"),
    "strings": ({"data": [["a", "b"]]}, TypeError, "`data` must be an array of real numbers"),
    "objects": ({"data": np.array([[None]])}, TypeError, "`data` must be an array of real numb"),
    "ragged": ({"data": [[1, 2], [3]]}, ValueError, "`data` must be a regular array of numbers"),
    "quantities": ({"data": [[1 * u.Jy, 2 * u.Jy]]}, ValueError, "`data` must be a regular array"),
    "0-D": ({"data": np.array(3.0)}, ValueError, "`data` must be a 2-D image or a 3-D cube .* 0"),
    "1-D": ({"data": np.zeros(5)}, ValueError, "`data` must be a 2-D image or a 3-D cube .* 1 d"),
    "4-D": ({"data": np.zeros((1, 1, 3, 3))}, ValueError, "`data` must be a 2-D image .* 4 dim"),
    "empty": ({"data": np.zeros((0, 5))}, ValueError, r"`data` must have pixels, .* \(0, 5\)"),
    "no planes": ({"data": np.zeros((0, 5, 5))}, ValueError, "`data` must have pixels"),
    "all NaN": ({"data": np.full(SHAPE, np.nan)}, ValueError, "`data` must have valid pixels, all"),
    "a plane of NaN": ({"data": np.stack([NOISE, NOISE * np.nan])}, ValueError,
                       "`data` must have valid pixels, all of plane 1 are masked"),
    "all masked": ({"mask": np.ones(SHAPE, bool)}, ValueError, "`data` must have valid pixels"),
    "empty section": ({"data": fits.PrimaryHDU()}, ValueError,
                      "`data` must have pixels, the HDU 'PRIMARY' has an empty data section"),
    "no image": ({"data": fits.HDUList([fits.PrimaryHDU()])}, ValueError,
                 "`data` must hold a 2-D image or a cube"),
    "no such file": ({"data": "no/such.fits"}, FileNotFoundError, "`data` must be a FITS file, "),
    "URL": ({"data": "https://mast.stsci.edu/lens.fits"}, FileNotFoundError, "`data` must be a F"),
    "not FITS": ({"data": io.BytesIO(b"GIF89a" * 900)}, ValueError, "`data` must be a readable"),
    "text file": ({"data": io.StringIO("SIMPLE  =")}, ValueError, "`data` must be a readable"),
    "hdu of an array": ({"hdu": 1}, ValueError, "`hdu` must be None unless `data` is a file"),
    # beside it
    "shape of errors": ({"uncertainty": np.ones((3, 3))}, ValueError,
                        r"`uncertainty` must have the shape of the data \(12, 14\), got \(3, 3\)"),
    "negative errors": ({"uncertainty": spoilt(-1.0, np.ones(SHAPE))}, ValueError,
                        "`uncertainty` must not be negative, got -1"),
    "zero errors": ({"uncertainty": spoilt(0.0, np.ones(SHAPE))}, ValueError,
                    "`uncertainty` must be positive, got zero at 1 valid pixels"),
    "zero variance": ({"uncertainty": VarianceUncertainty(spoilt(0.0, np.ones(SHAPE)))},
                      ValueError, "`uncertainty` must be positive, got zero"),
    "no errors": ({"uncertainty": 0}, ValueError, "`uncertainty` must be positive, got zero at 1"),
    "errors all NaN": ({"uncertainty": np.nan}, ValueError, "`data` must have valid pixels"),
    "unit of errors": ({"uncertainty": 1 * u.s}, ValueError, "`uncertainty` must have a unit that"),
    "text as errors": ({"uncertainty": "small"}, TypeError, "`uncertainty` must be an array of"),
    "shape of mask": ({"mask": np.zeros((3, 3), bool)}, ValueError, "`mask` must have the shape"),
    "type of mask": ({"mask": np.full(SHAPE, 0.5)}, TypeError, "`mask` must be boolean or integer"),
    "unit": ({"unit": 5}, TypeError, "`unit` must be an astropy unit or a string, got int"),
    "magnitudes": ({"unit": "mag"}, ValueError, "`unit` must be linear in flux, got the logari"),
    "BUNIT": (named({"unit": None}, BUNIT="mag/arcsec2"), ValueError, "`BUNIT` must be linear in"),
    "flux": ({"flux": "sum"}, ValueError, "`flux` must be one of 'auto', .* got 'sum'"),
    "wcs": ({"wcs": "TAN"}, TypeError, "`wcs` must follow the common WCS interface .* got str"),
    "header as wcs": ({"wcs": fits.Header()}, TypeError, "`wcs` must follow the common WCS inter"),
    "wcs of a cube": ({"wcs": WAVE}, ValueError, "`wcs` must have the 2 pixel axes of the data, "),
    "wcs of a row": ({"wcs": WCS(naxis=1)}, ValueError, "`wcs` must have two pixel axes or more"),
    "header without a sky": (named({}, CTYPE1="RA---TAN", CTYPE2="DEC--TAN", CD1_1=0.0, CD1_2=0.0,
                                   CD2_1=0.0, CD2_2=0.0), ValueError, "`header` declares a WCS"),
    "psf of zero sum": ({"psf": PSF * 0}, ValueError, "`psf` must have a positive sum, got 0"),
    "psf with NaN": ({"psf": spoilt(np.nan, PSF)}, ValueError, "`psf` must be finite, got 1"),
    "broad psf": ({"psf": gaussian_psf(20.0)}, ValueError, "`psf` must be narrower than the image"),
    "psf as a number": ({"psf": 2.5}, ValueError, "`psf` must be a 2-D array, .* have a unit"),
    "psf of planes": ({"psf": [PSF, PSF]}, ValueError, "`psf` must be one PSF or one for each"),
    "angle without wcs": ({"psf": 1 * u.arcsec}, ValueError, "`psf` as a FWHM in arcsec needs a"),
    "psf without file": ({"psf": "psf.fits"}, FileNotFoundError, "`psf` must be a FITS file"),
    "no psf": ({"psf": None, "method": "richardson_lucy"}, ValueError, "`psf` must be given for"),
    "no psf either": ({"psf": None, "method": "wiener"}, ValueError, "`psf` must be given for Wi"),
    # how
    "method": ({"method": "bilinaer"}, ValueError, "`method` must be one of .* did you mean 'bil"),
    "method type": ({"method": 3}, ValueError, "`method` must be one of .* got 3"),
    "option": ({"n_iter": 5}, ValueError, "unknown option `n_iter`: method 'bilinear' takes none"),
    "misspelt": ({"method": "richardson_lucy", "niter": 5}, ValueError, "did you mean `n_iter`"),
    "n_iter": ({"method": "richardson_lucy", "n_iter": 0}, ValueError, "`n_iter` must be a posit"),
    "n_probes": ({"method": "richardson_lucy", "n_probes": 1.5}, ValueError, "`n_probes` must be"),
    "untrained scale": ({"method": "rcan", "scale": 3}, ValueError, "`scale` must be .*2.* got 3"),
    **{f"scale {value!r}": ({"scale": value}, ValueError, "`scale` must be a positive integer, got")
       for value in (0, -1, 2.5, 2.0, True, "2", None, np.nan, [2])},
    **{f"tile {value!r}": ({"tile": value}, ValueError, "`tile` must be a positive integer or None")
       for value in (0, -5, 2.5, True, "64", [3])},
    **{f"seed {value!r}": ({"seed": value}, ValueError, "`seed` must be a non-negative integer, g")
       for value in (-1, 0.5, "a", False)},
    **{f"n_samples {value!r}": ({"n_samples": value}, ValueError, "`n_samples` must be a non-nega")
       for value in (-1, 1.5, True)},
    "samples": ({"n_samples": 3}, ValueError, "`n_samples` must be 0 for method 'bilinear'"),
}


@pytest.mark.parametrize("name", BAD)
def test_one_clear_error(name):
    change, error, message = BAD[name]
    with warnings.catch_warnings(), pytest.raises(error, match=message) as caught:
        # That all pixels without a valid error are masked is said before there is none left.
        warnings.filterwarnings("ignore", ".*without a finite uncertainty")
        superresolve(**{"data": NOISE, **GOOD, **change})
    assert type(caught.value) in (ValueError, TypeError, FileNotFoundError)
    assert "\n" not in str(caught.value)


def test_files(tmp_path):
    path = tmp_path / "lens.fits"
    fits.PrimaryHDU(NOISE).writeto(path)
    full = path.read_bytes()
    for content in (full[:-1000], full[:100], b"", b"\x00" * 5000,
                    full.replace(b"  12 ", b" 120 ")):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="`data` must be a readable FITS file, .*lens.fits"):
            superresolve(path, **GOOD)
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(Table({"a": [1]}))]).writeto(
        path, overwrite=True)
    with pytest.raises(ValueError, match="`data` must hold a 2-D image .* table"):
        superresolve(path, **GOOD)
    with pytest.raises(FileNotFoundError, match="`data` must be a FITS file, got no file at"):
        superresolve(tmp_path, **GOOD)


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    fits.PrimaryHDU(NOISE).writeto(tmp_path / "x.fits")

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(fits, "open", refuse)
    with pytest.raises(ValueError, match="`data` must be a readable FITS file, .* Permission den"):
        superresolve(tmp_path / "x.fits", **GOOD)


def small(method, data, **kwargs):
    return superresolve(data, method, unit="nJy", flux="surface-brightness", uncertainty=1.0,
                        **OPTIONS.get(method, {}), **kwargs)


@pytest.mark.parametrize("method", CLASSICAL)
@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (1, 7), (2, 3)])
def test_small_images(method, scale, shape):
    """A constant stays the constant, where the PSF fits into the image at all."""
    data = np.full(shape, 5.0)
    psf = 0.9 * u.pix
    result = small(method, data, psf=psf, scale=scale)
    assert result.shape == tuple(scale * n for n in shape)
    assert np.isfinite(result.data).all() and (result.measurement_std > 0).all()
    np.testing.assert_allclose(result.data, 5, rtol=1e-9 if method in CLASSICAL[:3] else 0.5)


@pytest.mark.parametrize("method", CLASSICAL)
def test_a_psf_that_does_not_fit(method):
    for shape in ((1, 1), (3, 3)):
        with pytest.raises(ValueError, match="`psf` must be narrower than the image"):
            small(method, np.ones(shape), psf=4 * u.pix)


@pytest.mark.parametrize("method", CLASSICAL)
def test_one_valid_pixel(method):
    """The other pixels are filled and masked."""
    data = np.full((5, 5), np.nan)
    data[2, 2] = 3.0
    with pytest.warns(LensSRWarning, match="24 masked pixels were filled"):
        result = small(method, data, psf=2 * u.pix)
    # with the wings of Lanczos even the pixel itself rests mostly on the others
    assert result.mask.sum() == (100 if method == "lanczos" else 96)
    assert result.mask[4:6, 4:6].all() == (method == "lanczos")
    assert np.isfinite(result.data).all()


@pytest.mark.parametrize("method", CLASSICAL)
def test_small_images_without_errors(method):
    for shape in ((1, 1), (3, 3)):
        with pytest.warns(LensSRWarning, match="a noise of"):
            result = superresolve(np.arange(1.0, 1 + np.prod(shape)).reshape(shape), method,
                                  unit="nJy", psf=0.9 * u.pix, **OPTIONS.get(method, {}))
        assert np.isfinite(result.data).all() and np.isfinite(result.measurement_std).all()


@NOISELESS
@pytest.mark.parametrize("method", CLASSICAL)
@pytest.mark.parametrize("value", [0.0, 1e-30, 1e30])
def test_extreme_values(method, value):
    data = value * (1 + 0.1 * NOISE)
    sigma = 0.1 * value or 1.0
    result = superresolve(data, method, unit="nJy", psf=PSF, uncertainty=sigma,
                          **OPTIONS.get(method, {}))
    assert np.isfinite(result.data).all() and np.isfinite(result.measurement_std).all()
    assert result.data.sum() == pytest.approx(data.sum(), rel=0.1, abs=0.02 * sigma * data.size)


@NOISELESS
@pytest.mark.parametrize("method", CLASSICAL)
def test_nothing_but_zeros(method):
    with pytest.warns(LensSRWarning, match="the image shows no noise"):
        result = superresolve(np.zeros(SHAPE), method, unit="nJy", psf=PSF,
                              **OPTIONS.get(method, {}))
    np.testing.assert_allclose(result.data, 0, atol=0.01)


def test_pixels_without_weight():
    sigma = np.ones(SHAPE)
    sigma[0, 0], sigma[1, 1] = np.nan, np.inf
    with pytest.warns(LensSRWarning) as caught:
        result = superresolve(NOISE, **{**GOOD, "uncertainty": StdDevUncertainty(sigma)})
    assert [str(item.message)[:40] for item in caught] == [
        "2 pixels without a finite uncertainty ar", "2 masked pixels were filled from their n"]
    assert result.mask.sum() == 8


def test_a_mask_that_the_uncertainty_needs():
    """Masked pixels may have any error; pipelines write -1."""
    sigma = spoilt(-1.0, np.ones(SHAPE))
    with pytest.warns(LensSRWarning, match="1 masked pixels"):
        result = superresolve(NOISE, **{**GOOD, "uncertainty": sigma}, mask=sigma < 0)
    assert np.isfinite(result.uncertainty.array).all()


def test_nothing_happens_to_the_input():
    image = NDData(NOISE.copy(), uncertainty=StdDevUncertainty(np.ones(SHAPE)), meta={"a": 1})
    superresolve(image, "bilinear", unit="nJy")
    np.testing.assert_array_equal(image.data, NOISE)
    assert image.unit is None and image.meta == {"a": 1}
