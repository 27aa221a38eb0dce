"""Pairs of two images of a field: Gaussian galaxies in closed form, and fields of HSC and HST."""

import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, NDData, StdDevUncertainty, VarianceUncertainty
from astropy.wcs import WCS, FITSFixedWarning
from astropy.wcs.wcsapi import HighLevelWCSWrapper, SlicedLowLevelWCS
from scipy import ndimage
from skimage.filters import window
from skimage.registration import phase_cross_correlation

from lenssr import LensSRWarning, superresolve
from lenssr.image import gaussian_psf
from lenssr.methods import PSFConvolution
from lenssr.simulate import pair_observations

PIXEL, HR_PIXEL = 0.2, 0.05  # pixel scales of both images, arcsec
SEEING, HR_FWHM = 0.7, 0.12  # FWHMs of both PSFs, arcsec
GAIN, PEDESTAL = 2.5, 3.0
SIGMA = 1 / 2.354820045
# Offsets east and north of the centre (arcsec), FWHM without PSF (arcsec), and flux.
GALAXIES = np.array([[0.3, -0.2, 0.5, 900.0], [-1.6, 1.1, 0.3, 400.0], [1.2, 1.5, 0.4, 500.0]])


def sky(shape, pixel, angle=0.0, crval=(150.0, 2.0)):
    """Return a TAN WCS about the image centre, rotated by an angle in degrees."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = crval
    wcs.wcs.crpix = (shape[1] + 1) / 2, (shape[0] + 1) / 2
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    wcs.wcs.cd = pixel / 3600 * np.array([[-c, s], [s, c]])
    wcs.wcs.set()
    return wcs


def draw(shape, pixel, fwhm, angle=0.0, moved=(0.0, 0.0), density=False):
    """Return the galaxies at a Gaussian PSF, in flux per pixel or per square arcsec."""
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    y, x = np.indices(shape)
    image = np.zeros(shape)
    for east, north, size, flux in GALAXIES:
        px = (-c * east + s * north) / pixel + (shape[1] - 1) / 2 + moved[0]
        py = (s * east + c * north) / pixel + (shape[0] - 1) / 2 + moved[1]
        var = SIGMA**2 * (size**2 + fwhm**2) / pixel**2
        image += flux * np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * var)) / (2 * np.pi * var)
    return image / pixel**2 if density else image


def image(data, wcs, fwhm, pixel, noise, unit="electron", mask=None, seed=0):
    """Return an image with noise, uncertainty and Gaussian PSF."""
    data = data + noise * np.random.default_rng(seed).standard_normal(data.shape)
    return CCDData(data, unit=unit, wcs=wcs, psf=gaussian_psf(fwhm / pixel), mask=mask,
                   uncertainty=StdDevUncertainty(np.full(data.shape, max(noise, 1e-3))))


def field(*, noise=(0.0, 0.0), angle=0.0, moved=(0.0, 0.0), shapes=((40, 44), (240, 230)),
          fine=HR_PIXEL, seed=0, masks=(None, None)):
    """Return the low- and the high-resolution image."""
    low_shape, high_shape = shapes
    low = GAIN * draw(low_shape, PIXEL, SEEING, moved=moved) + PEDESTAL
    high = draw(high_shape, fine, HR_FWHM, angle)
    return (image(low, sky(low_shape, PIXEL), SEEING, PIXEL, noise[0], "adu", masks[0], seed),
            image(high, sky(high_shape, fine, angle), HR_FWHM, fine, noise[1], "electron",
                  masks[1], seed + 1000))


def truth(scale, shape=(40, 44), moved=(0.0, 0.0)):
    """Return the noise-free target."""
    pixel = PIXEL / scale
    moved = np.multiply(moved, scale)
    clean = draw(tuple(scale * n for n in shape), pixel, 2 * pixel, moved=moved)
    return GAIN * clean + PEDESTAL / scale**2


@pytest.mark.parametrize("scale, angle, fine", [
    (2, 0.0, 0.05), (2, 33.0, 0.05), (3, -120.0, 0.03), (1, 5.0, 0.05), (2, 12.0, 0.1)])
def test_against_closed_form(scale, angle, fine):
    shapes = (40, 44), (int(13 / fine), int(12.4 / fine))
    fwhm = max(HR_FWHM, 1.6 * fine)
    lr, hr = field(angle=angle, shapes=shapes, fine=fine)
    hr = image(draw(shapes[1], fine, fwhm, angle), hr.wcs, fwhm, fine, 0.0)
    pair = pair_observations(lr, hr, scale)
    expected = truth(scale)
    assert pair.scale == scale and not pair.hr.mask.any()
    peak = expected.max()
    assert abs(pair.hr.data - expected).max() < 2e-3 * peak
    assert pair.truth["gain"] == pytest.approx(GAIN, rel=1e-3)
    assert pair.truth["pedestal"].to_value("adu") == pytest.approx(PEDESTAL, abs=0.01)
    assert abs(pair.truth["shift"].value).max() < 0.01 * scale
    total = (pair.hr.data - PEDESTAL / scale**2).sum()
    assert total == pytest.approx(GAIN * GALAXIES[:, 3].sum(), rel=2e-3)
    assert pair.hr.unit == pair.lr.unit == u.adu
    assert np.array_equal(pair.hr.psf, gaussian_psf(2.0))


@pytest.mark.parametrize("moved", [(0.3, -0.2), (-1.4, 2.6), (5.0, 4.0)])
def test_shift(moved):
    # The galaxies are offset from their positions in the WCS of `lr`.
    pair = pair_observations(*field(moved=moved, angle=20.0))
    assert pair.truth["shift"].to_value("pix") == pytest.approx(2 * np.array(moved), abs=0.01)
    assert abs(pair.hr.data - truth(2, moved=moved))[~pair.hr.mask].max() < 0.01 * truth(2).max()


def test_without_alignment():
    both = field(moved=(0.5, 0.3), noise=(1.0, 0.1))
    aligned, unaligned = pair_observations(*both), pair_observations(*both, align=False)
    assert (unaligned.truth["shift"] == 0).all()
    assert unaligned.truth["chi2"] > 2 > aligned.truth["chi2"]


def test_gain_pedestal_and_shift_within_their_errors():
    deviations = []
    for seed in range(8):
        fit = pair_observations(*field(noise=(1.0, 0.3), moved=(0.4, 0.1), seed=seed)).truth
        deviations.append([(fit["gain"] - GAIN) / fit["gain_error"],
                           ((fit["pedestal"] - PEDESTAL * u.adu) / fit["pedestal_error"]).value,
                           *((fit["shift"].value - [0.8, 0.2]) / fit["shift_error"].value)])
        assert 0.85 < fit["chi2"] < 1.15
    deviations = np.array(deviations)
    assert (abs(deviations) < 4).all()
    # The scatter of eight draws has an error of a quarter.
    scatter = deviations.std(axis=0)
    assert (0.3 < scatter).all() and (scatter < 1.7).all()


def test_noise_of_the_target_is_as_declared():
    lr, hr = field(angle=15.0)
    clean = pair_observations(lr, hr)
    rng, drawn = np.random.default_rng(3), []
    sigma = np.where(np.arange(240)[:, None] < 120, 0.5, 1.5) * np.ones(hr.shape)
    for _ in range(8):
        noisy = CCDData(hr.data + sigma * rng.standard_normal(hr.shape), unit="electron",
                        wcs=hr.wcs, psf=hr.psf, uncertainty=StdDevUncertainty(sigma))
        pair = pair_observations(lr, noisy, align=False)
        drawn.append((pair.hr.data - clean.hr.data) / pair.hr.uncertainty.array)
    drawn = np.array(drawn)[:, 4:-4, 4:-4]
    for part in (drawn[:, :30], drawn[:, -30:]):
        assert part.std() == pytest.approx(1, abs=0.05)
    across = np.mean(drawn[:, :, 1:] * drawn[:, :, :-1])
    assert across == pytest.approx(pair.truth["correlation"][8, 9], abs=0.05)
    assert across > 0.3
    # One electron in each pixel of `hr` is a surface brightness of 16 electrons per pixel of `lr`.
    declared = pair.hr.uncertainty.array[-20:].mean() * 4
    assert declared == pytest.approx(GAIN * 16 * 1.5 * pair.truth["noise_gain"], rel=0.03)


def test_correlated_noise_is_measured():
    lr, hr = field(noise=(0.5, 0.0))
    noise = ndimage.gaussian_filter(np.random.default_rng(5).standard_normal(hr.shape), 0.7)
    hr = CCDData(hr.data + noise / noise.std(), unit="electron", wcs=hr.wcs, psf=hr.psf)
    with pytest.warns(LensSRWarning, match="`hr`: no uncertainty was given"):
        pair = pair_observations(lr, hr)
    difference = (pair.hr.data - truth(2)) / pair.hr.uncertainty.array
    assert difference[4:-4, 4:-4].std() == pytest.approx(1, abs=0.1)
    assert 0.85 < pair.truth["chi2"] < 1.15
    assert pair.truth["chi2_lr"] > 2 * pair.truth["chi2"]


def test_wcs_is_exact():
    lr, hr = field(angle=50.0)
    for pair in (pair_observations(lr, hr), pair_observations(lr, hr, 3)):
        y, x = np.mgrid[-0.5:40:8, -0.5:44:8]
        fine = [(p + 0.5) * pair.scale - 0.5 for p in (x, y)]
        offset_hr = lr.wcs.pixel_to_world(x, y).separation(pair.hr.wcs.pixel_to_world(*fine))
        assert offset_hr.max() < 1e-6 * u.arcsec
        assert lr.wcs.pixel_to_world(x, y).separation(pair.lr.wcs.pixel_to_world(x, y)).max() == 0


def test_surface_brightness():
    lr, hr = field()
    lr = CCDData(GAIN * draw((40, 44), PIXEL, SEEING, density=True) + PEDESTAL, psf=lr.psf,
                 unit=u.nJy / u.arcsec**2, wcs=lr.wcs, uncertainty=lr.uncertainty.array)
    high = draw((240, 230), HR_PIXEL, HR_FWHM, density=True)
    for data, unit in ((high, u.MJy / u.sr), (high * HR_PIXEL**2, u.electron)):
        converted = CCDData(data, unit=unit, wcs=hr.wcs, psf=hr.psf,
                            uncertainty=hr.uncertainty.array)
        pair = pair_observations(lr, converted)
        expected = (truth(2) - PEDESTAL / 4) / 0.1**2 + PEDESTAL
        assert abs(pair.hr.data - expected).max() < 2e-3 * expected.max()
        gain = GAIN / (1 if unit.is_equivalent(u.MJy / u.sr) else HR_PIXEL**2)
        assert pair.truth["gain"] == pytest.approx(gain, rel=1e-3)
        assert pair.hr.unit == lr.unit


def test_masked_and_uncovered_pixels():
    masks = np.zeros((40, 44), bool), np.zeros((150, 140), bool)
    masks[0][20, 20:24] = True
    masks[1][40:60, 70:90] = True
    shapes = (40, 44), (150, 140)
    lr, hr = field(shapes=shapes, masks=masks, noise=(0.1, 0.1))
    lr.data[masks[0]], hr.data[masks[1]] = np.nan, 1e30
    lr.data[2, 3] = np.nan
    pair = pair_observations(lr, hr)
    assert np.isfinite(pair.lr.data).all() and np.isfinite(pair.hr.data).all()
    assert np.array_equal(pair.lr.mask, np.isnan(lr.data))
    # `hr` has sides of 7.5 and 7 arcsec, the output of 8 and 8.8: the rim is masked.
    assert pair.hr.mask[:3].all() and pair.hr.mask[:, :9].all() and pair.hr.mask[:, -9:].all()
    inner = pair.hr.mask[5:-5, 12:-12]
    # A mask of 20 pixels of `hr` covers 10 output pixels.
    assert pair.hr.mask[23:31, 44:52].all()
    assert inner.sum() < 300
    difference = abs(pair.hr.data - truth(2))[~pair.hr.mask]
    assert difference.max() < 0.02 * truth(2).max() + 6 * pair.hr.uncertainty.array.max()
    compared = np.isfinite(pair.truth["residual"])
    assert pair.truth["pixels"] == compared.sum() and not compared[lr.mask].any()
    assert not compared[13, 24] and not compared[0].any()


def test_uncertainty_types_and_files(tmp_path):
    lr, hr = field(noise=(1.0, 0.3))
    expected = pair_observations(lr, hr)
    assert np.array_equal(expected.lr.data, lr.data)
    assert np.array_equal(expected.lr.uncertainty.array, lr.uncertainty.array)
    variance = NDData(lr.data, unit="adu", wcs=lr.wcs,
                      uncertainty=StdDevUncertainty(lr.uncertainty.array).represent_as(
                          VarianceUncertainty))
    pair = pair_observations(variance, hr, lr_psf=SEEING * u.arcsec, hr_psf=hr.psf)
    assert pair.lr.uncertainty.uncertainty_type == "var"
    assert np.allclose(pair.hr.data, expected.hr.data, rtol=1e-6)
    path = tmp_path / "lr.fits"
    expected.lr.write(path)
    again = pair_observations(path, hr)
    assert np.allclose(again.hr.data, expected.hr.data, rtol=1e-6)
    assert superresolve(expected.lr, "bilinear").shape == expected.hr.shape


def test_wrapped_wcs_and_cutouts():
    lr, hr = field(noise=(1.0, 0.3), angle=7.0)
    expected = pair_observations(lr, hr)
    cut = hr[20:220, 15:215]
    cut.psf = hr.psf
    pair = pair_observations(lr, cut)
    both = ~pair.hr.mask & ~expected.hr.mask
    both = ndimage.binary_erosion(both, iterations=5)  # edges are mirrored
    difference = abs(pair.hr.data - expected.hr.data)[both] / expected.hr.uncertainty.array[both]
    assert difference.max() < 0.2
    low = HighLevelWCSWrapper(SlicedLowLevelWCS(hr.wcs, (slice(0, None), slice(0, None))))
    wrapped = NDData(hr.data, wcs=low, unit="electron", psf=hr.psf, uncertainty=hr.uncertainty)
    assert np.allclose(pair_observations(lr, wrapped).hr.data, expected.hr.data, rtol=1e-5)


def test_swapped_and_separate_images():
    lr, hr = field(noise=(1.0, 0.3))
    with pytest.raises(ValueError, match="`hr` must be sharper than `lr`.*swapped"):
        pair_observations(hr, lr)
    hr.wcs = sky(hr.shape, HR_PIXEL, crval=(150.0, 2.1))
    with pytest.raises(ValueError, match="`hr` must overlap `lr` on the sky.* 6.00 arcmin apart"):
        pair_observations(lr, hr)
    hr.wcs = sky(hr.shape, HR_PIXEL, crval=(330.0, -2.0))
    with pytest.raises(ValueError, match="`hr` must overlap `lr` on the sky"):
        pair_observations(lr, hr)
    # The overlap of a corner is not enough.
    hr.wcs = sky(hr.shape, HR_PIXEL, crval=(150.0, 2.0 + 9.5 / 3600))
    with pytest.raises(ValueError, match="`hr` must overlap `lr` by more than the PSF"):
        pair_observations(lr, hr)
    hr.wcs = None
    with pytest.raises(ValueError, match="`hr` must have a WCS on the sky"):
        pair_observations(lr, hr)


def test_errors():
    lr, hr = field(noise=(1.0, 0.3))
    for scale in (0, 2.5, True, "2"):
        with pytest.raises(ValueError, match="`scale` must be a positive integer"):
            pair_observations(lr, hr, scale)
    with pytest.raises(ValueError, match="`hr` must be sharper, or `scale` smaller"):
        pair_observations(lr, hr, 4)
    with pytest.raises(ValueError, match="`hr` must have pixels no larger than the output pixels"):
        pair_observations(lr, hr, 6)
    for name, low, high in (("lr", NDData(lr.data, wcs=lr.wcs), hr),
                            ("hr", lr, NDData(hr.data, wcs=hr.wcs))):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LensSRWarning)
            with pytest.raises(ValueError, match=f"`{name}_psf` must be given"):
                pair_observations(low, high)
    with pytest.raises(ValueError, match="`lr` must have a WCS on the sky"):
        pair_observations(CCDData(lr.data, unit="adu", psf=lr.psf, uncertainty=lr.uncertainty), hr)
    with pytest.raises(ValueError, match="`hr_psf` must be finite"):
        pair_observations(lr, hr, hr_psf=np.full((3, 3), np.nan))
    with pytest.raises(TypeError, match="`lr` must be"):
        pair_observations({"lr": 1}, hr)
    with pytest.raises(ValueError, match="`flux` must be one of"):
        pair_observations(lr, hr, flux="counts")
    hr.mask = np.ones(hr.shape, bool)
    with pytest.raises(ValueError, match="`hr` must have valid pixels"):
        pair_observations(lr, hr)


def test_nothing_in_common():
    lr, hr = field(noise=(1.0, 0.3))
    hr.data[:] = np.random.default_rng(8).normal(0, 0.3, hr.shape)
    with pytest.raises(ValueError, match="`hr` must share sources with `lr`"):
        pair_observations(lr, hr)


def cosmos(folder, number, weights):
    """Return the pair of HSC (weighted sum of bands) and HST ACS F814W of a COSMOS field."""
    folder, suffix = folder / "hsc_hst_cosmos", "" if number == 0 else "1"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        cube, header = fits.getdata(folder / f"Cut_HSC{suffix}.fits", header=True)
        hst, hst_header = fits.getdata(folder / f"Cut_HST{suffix}.fits", header=True)
        psfs = fits.getdata(folder / "PSF_HSC.fits")
        psf = sum(w * psfs[band] / psfs[band].sum() for band, w in weights.items())
        lr = CCDData(sum(w * cube[band] for band, w in weights.items()).astype(float),
                     unit="adu", psf=psf, wcs=WCS(header, naxis=2))
        hr = CCDData(hst.astype(float), unit="electron", wcs=WCS(hst_header, naxis=2),
                     psf=fits.getdata(folder / "PSF_HST.fits"))
    with pytest.warns(LensSRWarning) as caught:
        pair = pair_observations(lr, hr)
    for start in ("`lr`: no uncertainty was given", "`hr`: no uncertainty", "`hr_psf` was recent"):
        assert any(str(warning.message).startswith(start) for warning in caught)
    return pair


def degraded(pair):
    """Return both images convolved with both PSFs, without deconvolution, and a mask to compare."""
    high = PSFConvolution(pair.lr.psf, 2, pair.lr.shape).forward(pair.hr.data)
    low = ndimage.gaussian_filter(pair.lr.data, SIGMA)  # FWHM of one pixel of `lr`
    use = ndimage.binary_erosion(np.isfinite(pair.truth["residual"]), iterations=2)
    return low, high, use


def offset(low, high, use):
    """Measure the offset ``(y, x)`` in output pixels between the details of two images."""
    rows, columns = (slice(ends.min(), ends.max() + 1) for ends in np.nonzero(use))
    filtered = [(image - ndimage.gaussian_filter(image, 3.0))[rows, columns]
                for image in (low, high)]
    # Without a taper, the edges of the frame bias the offset to zero.
    taper = window(("tukey", 0.5), filtered[0].shape)
    return 2 * phase_cross_correlation(*(taper * image for image in filtered),
                                       upsample_factor=100, normalization=None)[0]


@pytest.mark.parametrize("number", [0, 1])
def test_cosmos(shared_data, number):
    pair = cosmos(shared_data, number, {2: 1.0})
    residual = pair.truth["residual"]
    low, high, use = degraded(pair)
    bright = ndimage.maximum_filter(high - np.median(high[use]), 3) > 3 * pair.lr.uncertainty.array
    sky = np.isfinite(residual) & ~bright
    assert sky.sum() > 100
    # On the sky, both images agree within their noise.
    assert 0.8 < np.mean(residual[sky] ** 2) < 1.3
    # F814W includes light of the z band: galaxies of different colours have different gains.
    assert 1.3 < pair.truth["chi2"] < 2.2
    assert abs(offset(low, high, use)).max() < 0.1
    # The measurement recovers an offset.
    moved = ndimage.shift(high, (0.1, -0.15), order=5, mode="nearest")
    assert offset(low, moved, use) == pytest.approx([-0.2, 0.3], abs=0.12)


@pytest.mark.parametrize("number", [0, 1])
def test_cosmos_in_one_colour(shared_data, number):
    # The i and z bands of HSC, three to two, have the bandpass of F814W.
    pair = cosmos(shared_data, number, {2: 0.6, 3: 0.4})
    assert 0.8 < pair.truth["chi2"] < 1.3
    assert pair.truth["pixels"] > 1000
