"""PSFs in whatever form: one kernel, odd, centred, of sum one."""

import io
import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.modeling.models import Const2D, Gaussian1D, Gaussian2D, Moffat2D
from astropy.nddata import CCDData, NDData
from photutils.psf import CircularGaussianPSF, GaussianPSF, GriddedPSFModel, ImagePSF, MoffatPSF

from lenssr.exceptions import LensSRWarning
from lenssr.image import gaussian_psf, parse_psf, parse_psfs, psf_fwhm

SHAPE = (60, 64)
PSF = gaussian_psf(3.0)


def blob(shape, y, x, fwhm=3.0):
    """A Gaussian of peak one at (y, x)."""
    yy, xx = np.indices(shape)
    return np.exp(-4 * np.log(2) * ((yy - y) ** 2 + (xx - x) ** 2) / fwhm**2)


def centroid(kernel):
    """Plain first moments about the central pixel."""
    y, x = np.indices(kernel.shape)
    return ((kernel * y).sum() / kernel.sum() - (kernel.shape[0] - 1) / 2,
            (kernel * x).sum() / kernel.sum() - (kernel.shape[1] - 1) / 2)


def assert_kernel(kernel, fwhm=3.0, tolerance=0.02):
    assert kernel.dtype == np.float64 and kernel.ndim == 2
    assert all(n % 2 for n in kernel.shape)
    assert kernel.sum() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(centroid(kernel), 0, atol=0.03)
    assert psf_fwhm(kernel) == pytest.approx(fwhm, rel=tolerance)


def in_file(tmp_path, name="psf.fits", data=PSF):
    fits.PrimaryHDU(data).writeto(tmp_path / name)
    return tmp_path / name


def in_extension(_):
    return fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(PSF)])


def in_memory(_):
    file = io.BytesIO()
    fits.PrimaryHDU(PSF).writeto(file)
    file.seek(0)
    return file


FORMS = {
    "array": lambda _: PSF, "float32": lambda _: PSF.astype(">f4"), "list": lambda _: PSF.tolist(),
    "not normalised": lambda _: 1e4 * PSF, "NDData": lambda _: NDData(PSF),
    "CCDData": lambda _: CCDData(PSF, unit=""), "quantity array": lambda _: PSF * u.one,
    "path": in_file, "str": lambda path: str(in_file(path)),
    "gzip": lambda path: in_file(path, "psf.fits.gz"), "file": in_memory,
    "HDUList": in_extension, "HDU": lambda _: fits.ImageHDU(PSF),
    "primary": lambda _: fits.PrimaryHDU(PSF), "one plane": lambda _: PSF[None],
}


@pytest.mark.parametrize("form", FORMS)
def test_sampled(form, tmp_path):
    (kernel,) = parse_psfs(FORMS[form](tmp_path), 1, SHAPE)
    np.testing.assert_allclose(kernel, PSF, atol=1e-8)
    assert_kernel(kernel)


def test_none():
    assert parse_psf(None, SHAPE) is None
    assert parse_psfs(None, 3, SHAPE) == [None] * 3


def test_compressed(tmp_path):
    fits.CompImageHDU(PSF.astype(np.float32), quantize_level=1e4).writeto(tmp_path / "psf.fits")
    assert_kernel(parse_psf(tmp_path / "psf.fits", SHAPE))


@pytest.mark.parametrize("fwhm", [1.0, 2.5, 7.0])
def test_fwhm_in_pixels(fwhm):
    kernel = parse_psf(fwhm * u.pix, SHAPE)
    np.testing.assert_array_equal(kernel, gaussian_psf(fwhm))


def test_fwhm_as_an_angle():
    kernel = parse_psf(0.7 * u.arcsec, SHAPE, 0.168 * u.arcsec)
    np.testing.assert_allclose(kernel, gaussian_psf(0.7 / 0.168))
    np.testing.assert_allclose(kernel, parse_psf(700 * u.mas, SHAPE, 0.168 / 3600 * u.deg))


SIGMA = 3.0 / 2.3548
MODELS = {
    "Gaussian2D": Gaussian2D(7.0, 40.2, -3, SIGMA, SIGMA),
    "Moffat2D": Moffat2D(1.0, 5, 5, gamma=3.0 / 2 / np.sqrt(2 ** (1 / 3.0) - 1), alpha=3.0),
    "GaussianPSF": GaussianPSF(flux=12, x_0=3.3, y_0=8, x_fwhm=3, y_fwhm=3),
    "CircularGaussianPSF": CircularGaussianPSF(fwhm=3),
    "MoffatPSF": MoffatPSF(alpha=3.0 / 2 / np.sqrt(2 ** (1 / 3.0) - 1), beta=3.0),
    "ImagePSF": ImagePSF(PSF, x_0=30, y_0=2),
    "ImagePSF, oversampled": ImagePSF(blob((61, 61), 30, 30, 12), oversampling=4),
}


@pytest.mark.parametrize("name", MODELS)
def test_models(name):
    model = MODELS[name].copy()
    before = model.parameters.copy()
    assert_kernel(parse_psf(model, SHAPE))
    np.testing.assert_array_equal(model.parameters, before)


def test_model_of_an_oblong_psf_keeps_its_axes():
    kernel = parse_psf(GaussianPSF(x_fwhm=6.4, y_fwhm=3.2), SHAPE)
    centre = [n // 2 for n in kernel.shape]
    assert (kernel[centre[0]] > kernel.max() / 2).sum() == 7
    assert (kernel[:, centre[1]] > kernel.max() / 2).sum() == 3


def test_model_that_depends_on_the_place():
    """photutils' grid has PSFs at the corners of an image: the one at the centre is wanted."""
    psfs = np.array([gaussian_psf(fwhm, 21) for fwhm in (2, 4, 2, 4)])
    corners = [(0, 0), (64, 0), (0, 60), (64, 60)]  # (x, y)
    grid = GriddedPSFModel(NDData(psfs, meta={"grid_xypos": corners, "oversampling": 1}))
    kernel = parse_psf(grid, SHAPE)
    reach = kernel.shape[0] // 2
    near = slice(10 - reach, 11 + reach)
    np.testing.assert_allclose(kernel, (psfs[0] + psfs[1])[near, near] / 2, atol=2e-6)


def test_broad_models_are_not_cut_off():
    kernel = parse_psf(CircularGaussianPSF(fwhm=60), (150, 150))
    assert kernel.shape[0] > 150
    assert_kernel(kernel, 60)


def test_models_are_trimmed():
    assert parse_psf(CircularGaussianPSF(fwhm=2), SHAPE).shape[0] < 15


@pytest.mark.parametrize(("shape", "centre"), [((21, 21), (10, 10)), ((20, 22), (10, 11)),
                                               ((20, 22), (9, 10)), ((20, 21), (9, 10))])
def test_centred_on_a_pixel(shape, centre):
    """An even side has no central pixel: one more is all it takes, and no warning."""
    kernel = parse_psf(blob(shape, *centre), SHAPE)
    assert_kernel(kernel)
    assert kernel.max() == kernel[kernel.shape[0] // 2, kernel.shape[1] // 2]
    assert kernel.max() == pytest.approx(PSF.max(), rel=1e-5)


@pytest.mark.parametrize(("shape", "centre", "shift"), [
    ((31, 31), (15.3, 14.6), r"\(\+0.40, -0.30\)"), ((31, 33), (11, 16), r"\(\+0.00, \+4.00\)"),
    ((30, 30), (14.5, 14.5), r"\([+-]0.50, [+-]0.50\)")])
def test_off_centre(shape, centre, shift):
    with pytest.warns(LensSRWarning, match=f"`psf` was recentred by {shift} pixels in x and y"):
        kernel = parse_psf(blob(shape, *centre), SHAPE)
    assert_kernel(kernel)
    reach = kernel.shape[0] // 2
    near = kernel[reach - 5: reach + 6, kernel.shape[1] // 2 - 5: kernel.shape[1] // 2 + 6]
    np.testing.assert_allclose(near, gaussian_psf(3.0, 11), atol=4e-4)


def test_small_offsets_stay():
    kernel = blob((31, 31), 15.02, 15.0)
    np.testing.assert_allclose(parse_psf(kernel, SHAPE), kernel / kernel.sum())


def test_nothing_is_lost_by_recentring():
    """A PSF at the corner of its stamp keeps all that the stamp holds."""
    stamp = blob((25, 25), 5, 5)
    with pytest.warns(LensSRWarning, match="recentred"):
        kernel = parse_psf(stamp, SHAPE)
    assert kernel.shape == (39, 39)
    np.testing.assert_allclose(kernel[14:, 14:] * stamp.sum(), stamp, atol=1e-9)


def test_noise_and_a_neighbour_do_not_pull_the_centre():
    stamp = blob((41, 41), 20, 20) + 0.1 * blob((41, 41), 33, 30)
    stamp += np.random.default_rng(0).normal(0, 1e-3, stamp.shape)
    np.testing.assert_allclose(parse_psf(stamp, SHAPE), stamp / stamp.sum())


def test_a_delta():
    delta = np.zeros((5, 5))
    delta[2, 2] = 1
    np.testing.assert_array_equal(parse_psf(delta, SHAPE), delta)
    np.testing.assert_array_equal(parse_psf([[1.0]], SHAPE), [[1.0]])


@pytest.mark.parametrize("psfs", [
    [PSF, gaussian_psf(4.0)], (PSF, CircularGaussianPSF(fwhm=4)), [3 * u.pix, 0.8 * u.arcsec],
    np.stack([gaussian_psf(3.0, 25), gaussian_psf(4.0, 25)]), [3, 4] * u.pix,
    fits.ImageHDU(np.stack([gaussian_psf(3.0, 25), gaussian_psf(4.0, 25)]))])
def test_one_for_each_plane(psfs):
    first, second = parse_psfs(psfs, 2, SHAPE, 0.2 * u.arcsec)
    assert_kernel(first)
    assert_kernel(second, 4.0)
    with pytest.raises(ValueError, match="`psf` must be one PSF or one for each of the 3 planes, "
                                         "got 2"):
        parse_psfs(psfs, 3, SHAPE, 0.2 * u.arcsec)


def test_one_plane_has_one_fwhm():
    with pytest.raises(ValueError, match=r"`psf` as a Quantity must be one FWHM, got shape \(2,\)"):
        parse_psf([3, 4] * u.pix, SHAPE)


def test_one_for_all_planes():
    planes = parse_psfs(PSF.tolist(), 3, SHAPE)
    assert len(planes) == 3 and planes[0] is planes[2]


def spoilt(value):
    psf = PSF.copy()
    psf[3, 4] = value
    return psf


@pytest.mark.parametrize(("psf", "error", "message"), [
    (np.zeros((5, 5)), ValueError, "must have a positive sum, got 0"),
    (-PSF, ValueError, "must have a positive sum, got -1"),
    (PSF - PSF.mean(), ValueError, "must have a positive sum"),
    (spoilt(np.nan), ValueError, "must be finite, got 1 values of NaN"),
    (spoilt(np.inf), ValueError, "must be finite, got 1 values of NaN or infinity"),
    (gaussian_psf(70.0), ValueError, r"must be narrower than the image \(60, 64\), got .* 69.9"),
    (70 * u.pix, ValueError, "must be narrower than the image"),
    (1e9 * u.pix, ValueError, "must be narrower than the image"),  # not a terabyte of it
    (np.ones(5), ValueError, "must be a 2-D array, got 1 dim"),
    (np.ones((2, 2, 2, 2)), ValueError, "must be a 2-D array, got 4 dim"),
    (3.0, ValueError, r"must be a 2-D array, got 0 dimensions \(a FWHM must have a unit"),
    (0 * u.pix, ValueError, "as a FWHM must be positive, got 0"),
    (-1 * u.pix, ValueError, "as a FWHM must be positive, got -1"),
    (np.nan * u.pix, ValueError, "as a FWHM must be positive, got nan"),
    (3 * u.Jy, ValueError, "as a FWHM must be in pixels or an angle, got Jy"),
    (0.7 * u.arcsec, ValueError, "as a FWHM in arcsec needs a WCS"),
    (object(), TypeError, "must be an array, a FWHM as a Quantity, .* got object"),
    ({"a": 1}, TypeError, "must be an array, .* got dict"),
    ([["a"]], TypeError, "must be an array, .* got list"),
    (Gaussian1D(), TypeError, "must be a model of two inputs, got 1"),
    (Gaussian2D(1 * u.Jy, 0 * u.deg, 0 * u.deg, 1 * u.deg, 1 * u.deg), TypeError,
     "must be a model that can be evaluated at pixel coordinates, got Gaussian2D"),
    (Const2D(0), ValueError, "must have a positive sum, got 0"),
    ("no/such/psf.fits", FileNotFoundError, "must be a FITS file, got no file at 'no/such"),
    (io.BytesIO(b"not FITS" * 1000), ValueError, "must be a readable FITS file, the file is"),
    (fits.HDUList([fits.PrimaryHDU()]), ValueError, "must be a file with an image, got one with"),
    (fits.ImageHDU(), ValueError, "must have pixels, the HDU '' has an empty data section"),
])
def test_bad_psfs(psf, error, message):
    with warnings.catch_warnings(), pytest.raises(error, match=f"`psf` {message}") as caught:
        warnings.simplefilter("error")
        parse_psfs(psf, 1, SHAPE)
    assert "\n" not in str(caught.value)
    if not isinstance(psf, (str, io.BytesIO)):
        with pytest.raises(error):
            parse_psf(psf, SHAPE)


def test_measured_psfs(shared_data):
    # PSFs of HST, centred or recentred by a fraction of a pixel with a warning.
    paths = sorted((shared_data / "psfs").glob("psf_*.npy"))
    assert paths
    for path in paths:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LensSRWarning)
            kernel = parse_psf(np.load(path), SHAPE)
        assert kernel.sum() == pytest.approx(1) and all(n % 2 for n in kernel.shape), path
        peak = np.unravel_index(kernel.argmax(), kernel.shape)
        assert peak == tuple(n // 2 for n in kernel.shape), path


def test_psf_of_each_band(shared_data):
    with pytest.warns(LensSRWarning, match="recentred"):
        psfs = parse_psfs(shared_data / "hsc_hst_cosmos" / "PSF_HSC.fits", 5, (50, 50))
    widths = [psf_fwhm(psf) for psf in psfs]
    assert all(3 < width < 6 for width in widths)
