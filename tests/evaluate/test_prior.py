"""Prior maps: where nothing was measured, where all was, and closed forms between."""

import numpy as np
import pytest
from astropy import units as u

from lenssr import LensSRWarning, SuperResolvedImage, superresolve
from lenssr.evaluate import prior_figure, prior_map, report, split_image
from lenssr.image import FWHM_PER_SIGMA, gaussian_psf, parse_image, relative_kernel
from lenssr.methods import DataResidual, RegularisedInverse

SHAPE, FWHM, SIGMA = (32, 36), 3.0, 1.0
PSF = gaussian_psf(FWHM)


def plane(data=0.0, sigma=SIGMA, psf=PSF, mask=None):
    return parse_image(np.zeros(SHAPE) + data, uncertainty=sigma, psf=psf, unit="adu",
                       mask=mask).planes[0]


def wave(frequency, scale=2):
    """Along x, of unit amplitude, in cycles per input pixel."""
    x = (np.arange(scale * SHAPE[1]) + 0.5) / scale
    return np.broadcast_to(np.cos(2 * np.pi * frequency * x), [scale * n for n in SHAPE])


@pytest.mark.parametrize("frequency", [0.05, 0.15, 0.25])
@pytest.mark.parametrize("noise", [0.03, 0.3])
def test_waves_come_back_as_the_wiener_factor_says(frequency, noise):
    """
    With white noise and a white scene, in closed form.

    A wave that the binning does not alias comes back times R^2 t / (R^2 t + sigma^2 s^2), R being
    what is left of the PSF's transfer over the target's.
    """
    image, scale, variance = plane(sigma=noise), 2, 4.0
    misfit = DataResidual(image, scale)
    values = wave(frequency)
    back = RegularisedInverse(misfit, variance)(misfit.operator.forward(values) * misfit.weight)
    kernel = relative_kernel(PSF, scale)
    at = (np.arange(kernel.shape[1]) + 0.5) / scale - PSF.shape[1] / 2
    transfer = np.sum(kernel * np.cos(2 * np.pi * frequency * at)) / scale**2
    gaussians = [np.exp(-2 * (np.pi * width / FWHM_PER_SIGMA * frequency) ** 2)
                 for width in (FWHM, 2 / scale)]
    assert transfer == pytest.approx(gaussians[0] / gaussians[1], rel=0.02)
    factor = 1 / (1 + noise**2 * scale**2 / (transfer**2 * variance))
    inner = np.s_[20:-20, 20:-20]
    found = np.sum((back * values)[inner]) / np.sum((values**2)[inner])
    assert found == pytest.approx(factor, abs=0.02)


def test_what_the_psf_passes_is_measured_and_what_it_stops_is_not():
    rng = np.random.default_rng(0)
    low, high = 1e3 * wave(0.05), 1e3 * wave(0.8)
    data = DataResidual(plane(), 2).operator.forward(low) + rng.normal(0, SIGMA, SHAPE)
    share = split_image(plane(data), low, 2).prior_fraction[10:-10, 10:-10]
    assert np.median(share) < 0.02 and share.max() < 0.1  # where the wave is zero
    assert np.mean(split_image(plane(data), high, 2).prior_fraction[10:-10, 10:-10]) > 0.95


def test_the_parts_are_the_whole():
    data = 50 * np.random.default_rng(1).normal(size=SHAPE)
    values = np.random.default_rng(2).normal(size=[2 * n for n in SHAPE])
    parts = split_image(plane(data), values, 2)
    np.testing.assert_allclose(parts.data_part + parts.prior_part, values, rtol=1e-12)
    assert 0 <= parts.prior_fraction.min() and parts.prior_fraction.max() <= 1


def blob(width=4.0, at=(15.5, 17.5), flux=1e5, scale=2):
    y, x = ((np.arange(scale * n) + 0.5) / scale - 0.5 - c for n, c in zip(SHAPE, at))
    return flux * np.exp(-(y[:, None] ** 2 + x**2) / 2 / width**2) / (2 * np.pi * width**2)


@pytest.fixture(scope="module")
def case():
    """A bright blob on an empty sky, with a hole as big as the PSF, and its result."""
    mask = np.zeros(SHAPE, bool)
    half = PSF.shape[0] // 2
    mask[15 - half:16 + half, 17 - half:18 + half] = True
    sharp = blob(6.0)
    data = DataResidual(plane(), 2).operator.forward(sharp)
    data += np.random.default_rng(3).normal(0, SIGMA, SHAPE)
    image = {"data": data * u.MJy / u.sr, "uncertainty": SIGMA, "psf": PSF}
    result = SuperResolvedImage(sharp, unit="MJy/sr", meta={
        "SRPSF": "target", "SRFLUX": "surface-brightness", "SRMETHOD": "exact"})
    return image, mask, result


def test_it_is_one_under_a_mask_as_big_as_the_psf(case):
    image, mask, result = case
    whole, holed = prior_map(result, **image), prior_map(result, **image, mask=mask)
    assert whole.shape == result.shape
    centre = np.s_[30:34, 34:38]
    assert whole[centre].max() < 0.05
    assert holed[centre].min() > 0.95
    rim = np.s_[6:58, 4]
    np.testing.assert_allclose(holed[rim], whole[rim], atol=0.1)


def test_empty_sky_is_not_measured():
    """No power above that of the noise: nothing that a method puts there is from the data."""
    rng = np.random.default_rng(4)
    image = plane(rng.normal(0, SIGMA, SHAPE))
    share = split_image(image, 0.1 * rng.normal(size=[2 * n for n in SHAPE]), 2).prior_fraction
    assert np.median(share) == 1 and share.mean() > 0.97


def test_more_noise_leaves_less_measured(case):
    image, _, result = case
    means = [prior_map(result, **{**image, "uncertainty": sigma})[16:-16, 16:-16].mean()
             for sigma in (1.0, 30.0, 300.0)]
    assert means[0] < means[1] < means[2]


@pytest.mark.parametrize("unit", ["nJy", "MJy/sr"])
def test_it_does_not_depend_on_the_unit(unit, case):
    image, _, result = case
    share = 0.25 if unit == "nJy" else 1
    other = SuperResolvedImage(share * result.data, unit=unit, meta={"SRPSF": "target"})
    found = prior_map(other, image["data"].value * u.Unit(unit), psf=PSF, uncertainty=SIGMA)
    np.testing.assert_allclose(found, prior_map(result, **image), atol=1e-6)


def test_cubes_and_pages(case, tmp_path):
    image, _, result = case
    cube = SuperResolvedImage(np.stack([result.data, result.data / 1e3]), unit=result.unit,
                              meta=result.meta)
    data = np.stack([image["data"].value, np.random.default_rng(5).normal(0, SIGMA, SHAPE)])
    data = data * result.unit
    found = prior_map(cube, data, psf=PSF, uncertainty=SIGMA)
    np.testing.assert_allclose(found[0], prior_map(result, **image), atol=1e-9)
    assert found[1].mean() > 0.9
    figure = prior_figure(result, **image, title="parts")
    assert [axis.get_title() for axis in figure.axes[:5]] == [
        "observed", "result, exact", "measured", "imagined", "prior map"]
    np.testing.assert_allclose(figure.axes[4].images[0].get_array(), found[0], atol=1e-9)
    pages = [tmp_path / f"{name}.html" for name in ("given", "made")]
    report(pages[0], result, **image, prior_map=found[0])
    report(pages[1], result, **image, prior_map=True)
    assert "Prior fraction" in pages[1].read_text()
    assert pages[0].read_text() == pages[1].read_text()


def test_of_a_method(case):
    image, _, _ = case
    image = {**image, "data": image["data"] / 50, "uncertainty": SIGMA}
    image["data"] += np.random.default_rng(6).normal(0, SIGMA, SHAPE) * image["data"].unit
    result = superresolve(image["data"], "richardson_lucy", psf=PSF, uncertainty=SIGMA, n_probes=1)
    found = prior_map(result, **image)
    assert found[24:40, 28:44].mean() < 0.2 < found.mean()


def test_bad_arguments(case):
    image, _, result = case
    with pytest.raises(ValueError, match="`psf` must be given for a prior map, got None"):
        prior_map(result, image["data"], uncertainty=SIGMA)
    bilinear = superresolve(image["data"], "bilinear", psf=PSF, uncertainty=SIGMA)
    with pytest.raises(ValueError, match="`subject` must be a result of the declared resolution"):
        prior_map(bilinear, **image)
    with pytest.raises(ValueError, match="`data` must be the image that was restored, got None"):
        prior_map(result, None)
    with pytest.raises(TypeError, match="`subject` must be a SuperResolvedImage or a file of one"):
        prior_map(result.data, **image)
    with pytest.raises(ValueError, match="`plane` must be below 1"):
        prior_figure(result, **image, plane=1)
    with pytest.warns(LensSRWarning, match="noise"):
        prior_map(result, image["data"], psf=PSF)
