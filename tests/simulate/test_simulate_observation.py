"""Simulated observations, compared with integrals over the requested profiles."""

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData

from lenssr.image import gaussian_psf
from lenssr.methods import PSFConvolution
from lenssr.simulate import simulate_observation

NATIVE, PIXEL = 2.2, 0.05  # FWHM (pixels) and pixel scale (arcsec) of the images
# y, x and flux of point sources in the image
POINTS = np.array([[60.3, 58.8, 50.0], [48.5, 71.5, 20.0], [75.0, 40.0, 30.0]])


def gaussians(shape, points, fwhm, step=1):
    """Return point sources as Gaussians of a FWHM in pixels, sampled on pixels of ``step``."""
    y, x = ((np.arange(n // step) + 0.5) * step - 0.5 for n in shape)
    sigma = fwhm / 2.354820045
    image = 0.0
    for cy, cx, flux in points:
        r2 = (y[:, None] - cy) ** 2 + (x[None, :] - cx) ** 2
        image = image + flux * np.exp(-r2 / (2 * sigma**2)) / (2 * np.pi * sigma**2)
    return image


def moffats(shape, points, fwhm, beta, step, fine=3):
    """Return point sources as Moffat profiles, integrated over pixels of ``step``."""
    n = step * fine
    y, x = ((np.arange(m * fine) + 0.5) / fine - 0.5 for m in shape)
    alpha2 = (fwhm / 2) ** 2 / (2 ** (1 / beta) - 1)
    # Fraction of the light within four FWHM, where the profile is truncated.
    within = 1 - (1 + (4 * fwhm) ** 2 / alpha2) ** (1 - beta)
    image = 0.0
    for cy, cx, flux in points:
        r2 = (y[:, None] - cy) ** 2 + (x[None, :] - cx) ** 2
        profile = (beta - 1) / (np.pi * alpha2) * (1 + r2 / alpha2) ** -beta / within
        image = image + flux * np.where(r2 < (4 * fwhm) ** 2, profile, 0) / fine**2
    return image.reshape(shape[0] // step, n, shape[1] // step, n).sum(axis=(1, 3))


@pytest.fixture(scope="module")
def high_resolution():
    return gaussians((120, 112), POINTS, NATIVE)


def observe(image, **options):
    # The noise is far below a thousandth of the peak.
    settings = dict(psf=gaussian_psf(NATIVE), pixel_scale=PIXEL, seeing=0.7, snr=1e7)
    return simulate_observation(image, **{**settings, **options})


@pytest.mark.parametrize("scale, bin, beta",
                         [(2, 2, 3.5), (2, 1, 3.0), (3, 2, 2.5), (2, 4, 4.5)])
def test_against_integrals(scale, bin, beta):
    step = scale * bin
    shape = (10 * 24, 9 * 24)
    points = POINTS + [50.0, 50.0, 0.0]
    native = min(NATIVE, 2 * bin)
    pair = observe(gaussians(shape, points, native), psf=gaussian_psf(native), seeing=0.8,
                   scale=scale, bin=bin, beta=beta)
    truth = gaussians(shape, points, 2 * bin, bin) * bin**2
    expected = moffats(shape, points, 0.8 / PIXEL, beta, step)
    assert pair.hr.shape == truth.shape and pair.lr.shape == expected.shape
    assert abs(pair.hr.data - truth).max() < 1e-3 * truth.max()
    assert abs(pair.lr.data - expected).max() < 1e-3 * expected.max()


def test_declared_psf_maps_truth_to_observation(high_resolution):
    # A point source at the centre of a pixel of the truth, a grid point of PSFConvolution.
    point = np.array([[2 * 28 + 0.5, 2 * 27 + 0.5, 10.0]])
    pair = observe(gaussians(high_resolution.shape, point, NATIVE))
    scene = np.zeros(pair.hr.shape)
    scene[28, 27] = 10.0
    expected = PSFConvolution(pair.lr.psf, 2, pair.lr.shape).forward(scene)
    assert abs(pair.lr.data - expected).max() < 1e-3 * expected.max()
    assert pair.lr.psf.shape[0] % 2 == 1
    assert pair.lr.psf.sum() == pytest.approx(1)
    assert 3.5 < pair.truth["fwhm"] < 4.2  # 0.7 arcsec, with the response of a pixel of 0.2 arcsec


def test_flux_position_and_scales(high_resolution):
    pair = observe(high_resolution)
    assert pair.scale == 2
    assert pair.lr.shape == (30, 28)
    assert pair.hr.data.sum() == pytest.approx(POINTS[:, 2].sum(), rel=1e-5)
    # the Moffat wings of the sources leave the frame
    assert pair.lr.data.sum() == pytest.approx(POINTS[:, 2].sum(), rel=0.01)
    assert pair.lr.wcs.proj_plane_pixel_scales()[0].to_value("arcsec") == pytest.approx(4 * PIXEL)
    # Both WCSs have the same sky coordinates at the image corner.
    corner = pair.lr.wcs.pixel_to_world(-0.5, -0.5)
    assert corner.separation(pair.hr.wcs.pixel_to_world(-0.5, -0.5)).arcsec < 1e-9
    assert pair.lr.unit == pair.hr.unit == u.electron
    assert pair.hr.psf.shape == gaussian_psf(2).shape


def test_constant_surface_brightness(high_resolution):
    bright = (high_resolution + 3) * u.MJy / u.sr
    pair = observe(bright, snr=1e9)
    assert pair.hr.unit == u.MJy / u.sr
    assert pair.hr.data[0, 0] == pytest.approx(3, rel=1e-6)
    assert pair.lr.data[-1, 0] == pytest.approx(3, rel=0.01)


def test_margin_crops_to_the_centre(high_resolution):
    full, cropped = observe(high_resolution), observe(high_resolution, margin=3)
    assert np.allclose(cropped.hr.data, full.hr.data[6:-6, 6:-6])
    # The noise depends on the size of the image.
    assert np.allclose(cropped.lr.data, full.lr.data[3:-3, 3:-3], atol=1e-5)


def test_noise(high_resolution):
    clean = observe(high_resolution).lr.data
    pair = observe(high_resolution, snr=20.0, seed=4)
    sigma = pair.lr.uncertainty.array
    assert np.ptp(sigma) == 0
    assert sigma[0, 0] == pytest.approx(clean.max() / 20, rel=1e-4)
    deviation = (pair.lr.data - clean) / sigma
    assert abs(deviation.std() - 1) < 4 / np.sqrt(2 * clean.size)
    assert np.array_equal(pair.lr.data, observe(high_resolution, snr=20.0, seed=4).lr.data)
    assert not np.array_equal(pair.lr.data, observe(high_resolution, snr=20.0, seed=5).lr.data)


def test_photon_noise(high_resolution):
    clean = observe(high_resolution).lr.data
    sigma = observe(high_resolution, snr=100.0, depth=50.0).lr.uncertainty.array
    # A source of 100 times a sky noise of 50 electrons adds 5,000 to a variance of 2,500.
    where = np.unravel_index(clean.argmax(), clean.shape)
    assert sigma[where] / sigma.min() == pytest.approx(np.sqrt(1 + 5000 / 2500), rel=1e-3)


def test_noise_of_the_image_is_part_of_the_scene(high_resolution):
    noise = np.random.default_rng(1).normal(0, 0.5, high_resolution.shape)
    clean, noisy = observe(high_resolution), observe(high_resolution + noise)
    for part, step in (("hr", 2), ("lr", 4)):
        added = (getattr(noisy, part).data - getattr(clean, part).data)[2:-2, 2:-2] / step**2
        # The image has a few dozen resolution elements, which limits the precision.
        assert added.std() == pytest.approx(0.5 * clean.truth[f"gain_{part}"], rel=0.25)


def test_snr_is_above_the_sky_level(high_resolution):
    plain, raised = observe(high_resolution, snr=50.0), observe(high_resolution + 1.0, snr=50.0)
    ratio = raised.lr.uncertainty.array[0, 0] / plain.lr.uncertainty.array[0, 0]
    assert ratio == pytest.approx(1, rel=0.1)


def test_masked_pixels_are_ignored(high_resolution):
    mask = np.zeros(high_resolution.shape, bool)
    mask[40:43, 60:63] = True
    expected = observe(high_resolution, mask=mask)
    spoilt = np.where(mask, 1e30, high_resolution)
    for image in (observe(spoilt, mask=mask), observe(np.where(mask, np.nan, high_resolution)),
                  observe(CCDData(spoilt, unit="electron", mask=mask))):
        assert np.array_equal(image.hr.data, expected.hr.data)
        assert np.array_equal(image.lr.data, expected.lr.data)
    assert expected.truth["filled"] == pytest.approx(9 / high_resolution.size)


def test_psf_and_unit_of_the_image(high_resolution):
    image = CCDData(high_resolution, unit="adu", psf=gaussian_psf(NATIVE))
    pair = simulate_observation(image, pixel_scale=PIXEL * u.arcsec, seeing=700 * u.mas, snr=1e7)
    assert pair.lr.unit == u.adu
    assert np.allclose(pair.hr.data, observe(high_resolution).hr.data)


@pytest.mark.parametrize("options, message", [
    (dict(psf=gaussian_psf(6.0)), "`bin` must be larger"),
    (dict(psf=gaussian_psf(4.0), seeing=0.1), "`seeing` must be larger"),
    (dict(psf=None), "`psf` must be given"),
    (dict(scale=2.5), "`scale` must be a positive integer, got 2.5"),
    (dict(margin=-1), "`margin` must be"),
    (dict(margin=14), "`image` must have more than"),
    (dict(seeing=-1), "`seeing` must be a positive number"),
    (dict(snr=np.nan), "`snr` must be a positive number"),
    (dict(beta=1.0), "`beta` must be above 1"),
    (dict(depth=0), "`depth` must be a positive number"),
    (dict(mask=np.ones((120, 112), bool)), "at least one valid pixel"),
])
def test_errors(high_resolution, options, message):
    with pytest.raises(ValueError, match=message):
        observe(high_resolution, **options)


def test_invalid_images():
    with pytest.raises(ValueError, match="a source above its sky"):
        observe(np.ones((64, 64)))
    with pytest.raises(ValueError, match="`image` must have 2 dimensions, got 3"):
        observe(np.ones((2, 64, 64)))
    with pytest.raises(TypeError, match="`image` must be an array"):
        observe({"image": 1})


def test_real_lens_keeps_its_flux(shared_data):
    folder = shared_data / "hst_slacs0946"
    image, psf = fits.getdata(folder / "data.fits"), fits.getdata(folder / "psf.fits")
    pair = simulate_observation(image, psf, pixel_scale=0.05, seeing=0.75, snr=100,
                                unit="electron / s")
    assert pair.hr.data.sum() == pytest.approx(image[:280, :280].sum(), rel=2e-3)
    # The PSF moves light out of the frame and mirrored light into it.
    assert pair.lr.data.sum() == pytest.approx(pair.hr.data.sum(), rel=5e-3)
    assert pair.hr.data.max() * 4 > pair.lr.data.max()
