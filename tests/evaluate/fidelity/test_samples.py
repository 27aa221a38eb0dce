"""Pairs made ready to be measured on."""

import numpy as np
import pytest
from astropy.nddata import CCDData, StdDevUncertainty

from lenssr.evaluate import FidelityPair
from lenssr.image import gaussian_psf, target_psf
from lenssr.simulate import Instrument, LensPair, SceneModel, SceneSeries


def star(snr=200, scale=2):
    instrument = Instrument(snr=(snr, snr), depth=(1e6, 1e6), beta=(np.inf, np.inf),
                            ellipticity=0.0)
    series = SceneSeries([SceneModel("field", points=[(0.1, -0.2, 1.0)])], instrument, 40,
                         scale=scale, seed=1)
    return FidelityPair(next(iter(series)))


@pytest.mark.parametrize("scale", [2, 3])
def test_signal_to_noise_of_a_star_is_that_of_its_psf(scale):
    sample = star(scale=scale)
    psf = sample.pair.lr.psf
    # Peak over noise is 200; the matched filter has the root of the squares of the profile.
    flux = sample.truth.sum() / sample.ready.plane.sigma.mean()
    assert sample.snr == pytest.approx(flux * np.sqrt((psf**2).sum()), rel=0.01)
    assert sample.snr > 200
    y, x = np.indices(sample.truth.shape)
    assert sample.signal_to_noise(x < 0) == 0
    assert sample.brightest == pytest.approx(
        np.array([0.1, -0.2]) / (0.168 / scale) + (40 * scale - 1) / 2, abs=0.51)
    assert sample.moments.e == pytest.approx(0, abs=2e-3)


def test_without_a_psf_pixels_are_averaged():
    rng = np.random.default_rng(0)
    lr = rng.uniform(1, 2, (12, 12))
    pair = LensPair(CCDData(lr, unit="nJy", uncertainty=StdDevUncertainty(0.5 * np.ones((12, 12)))),
                    CCDData(np.kron(lr, np.ones((3, 3))) / 9, unit="nJy"))
    sample = FidelityPair(pair)
    assert sample.snr == pytest.approx(np.linalg.norm(lr) / 0.5)
    assert sample.noise == pytest.approx(0.5 / 9)
    with_psf = FidelityPair(pair, psf=gaussian_psf(3.0))
    assert with_psf.snr < sample.snr


def test_surface_brightness_is_not_divided():
    lr = np.full((12, 12), 3.0)
    lr[5, 5] = 9.0
    pair = LensPair(CCDData(lr, unit="MJy/sr", psf=target_psf(), mask=lr > 8,
                            uncertainty=StdDevUncertainty(0.5 * np.ones((12, 12)))),
                    CCDData(np.full((24, 24), 3.0), unit="MJy/sr"))
    sample = FidelityPair(pair)
    assert sample.noise == pytest.approx(0.5)
    assert sample.mask.sum() == 4 and sample.mask[10, 11]
    assert sample.truth_noise == 0
    pair.hr.uncertainty = StdDevUncertainty(0.2 * np.ones((24, 24)))
    assert FidelityPair(pair).truth_noise == pytest.approx(0.2)
    pair.truth["hr"] = pair.hr
    assert FidelityPair(pair).truth_noise == 0


def test_a_pair_without_valid_pixels_is_none():
    lr = CCDData(np.ones((4, 4)), unit="nJy", uncertainty=StdDevUncertainty(np.ones((4, 4))))
    pair = LensPair(lr, CCDData(np.full((8, 8), np.nan), unit="nJy"))
    with pytest.raises(ValueError, match="`pairs` must have a pixel that is not masked"):
        FidelityPair(pair)
