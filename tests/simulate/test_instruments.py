"""Named instruments: constants of lenstronomy, published depths, and the noise of both."""

import math

import numpy as np
import pytest
import torch
from lenstronomy.SimulationAPI.ObservationConfig import DES, HST, JWST, LSST, Euclid, Roman

from lenssr.simulate import (
    INSTRUMENTS,
    BatchRandom,
    Instrument,
    Optics,
    Population,
    SceneModel,
    moffat,
    observe_batch,
    simulate_pair,
)

PRESETS = {
    "DES": DES.DES(band="i"), "LSST": LSST.LSST(band="i"), "Euclid VIS": Euclid.Euclid(band="VIS"),
    "HST WFC3": HST.HST(band="WFC3_F160W"), "JWST NIRCam": JWST.JWST(band="F150W"),
    "Roman": Roman.Roman(band="F129"),
}
# Intended differences. lenstronomy's FWHM of WFC3 equals the pixel. Its sky of NIRCam is per pixel
# rather than per square arcsecond, its zero point refers to MJy/sr rather than to electrons, and
# its read noise to the difference of two reads.
KNOWN = {("HST WFC3", "seeing"): 0.08, ("JWST NIRCam", "sky_brightness"): 29.96,
         ("JWST NIRCam", "magnitude_zero_point"): 28.02, ("JWST NIRCam", "read_noise"): 15.77}


@pytest.mark.parametrize("name", PRESETS)
def test_against_lenstronomy(name):
    ours = Instrument.named(name)
    theirs = PRESETS[name].kwargs_single_band()
    pairs = {"pixel_scale": (ours.pixel_scale, 1e-3), "ccd_gain": (ours.gain, 1e-3),
             "read_noise": (ours.read_noise, 1e-3), "exposure_time": (ours.exposure_time, 1e-3),
             "num_exposures": (ours.exposures, 1e-3), "seeing": (np.mean(ours.seeing), 1e-3),
             "magnitude_zero_point": (ours.zero_point, 1e-3),
             "sky_brightness": (ours.sky_brightness, 1e-3)}
    for key, (value, tolerance) in pairs.items():
        assert theirs[key] == pytest.approx(KNOWN.get((name, key), value), rel=tolerance), key


@pytest.mark.parametrize(("name", "depth", "aperture"), [
    ("HSC", 26.2, None),     # Aihara et al. (2022), 5 sigma, point source
    ("LSST", 26.8, None),    # Ivezic et al. (2019), 5 sigma, point source
    ("DES", 23.8, 1.95),     # Abbott et al. (2021), 10 sigma in an aperture of 1.95 arcsec
    ("KiDS", 25.02, 2.0),    # Kuijken et al. (2019), 5 sigma in an aperture of 2 arcsec
])
def test_depth_agrees_with_the_survey(name, depth, aperture):
    survey = Instrument.named(name)
    if aperture is None:  # a Gaussian profile, weighted by itself
        area = 4 * np.pi * (np.mean(survey.seeing) / 2.3548) ** 2
    else:
        area = np.pi * aperture**2 / 4
    noise = survey.sky_electrons * np.sqrt(area) / survey.pixel_scale
    flux = (10 if name == "DES" else 5) * noise / (survey.exposures * survey.exposure_time)
    assert survey.zero_point - 2.5 * np.log10(flux) == pytest.approx(depth, abs=0.25)


class Star(Population):
    """A star of flux one."""

    def draw(self, rng):
        return SceneModel("field", points=[(0.01, 0.02, 1.0)])


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_star_has_its_electrons_and_the_sky_its_noise(name):
    camera = Instrument.named(name)
    assert camera.name == name and camera.band
    half = 2.0 * camera.seeing[1] / camera.pixel_scale
    pair = simulate_pair(instrument=name, population=Star(), size=int(16 + 4 * half), seed=2)
    assert pair.truth["instrument"] == camera
    time = camera.exposures * camera.exposure_time
    brightest, faintest = (time * 10 ** (0.4 * (camera.zero_point - m)) for m in (18, 22))
    # The Moffat wings of a star in ground-based images extend beyond the image.
    assert 0.99 * faintest < pair.hr.data.sum() < 1.01 * brightest
    sky = 10 ** (0.4 * (camera.zero_point - camera.sky_brightness)) * camera.pixel_scale**2 * time
    variance = sky + camera.exposures * camera.read_noise**2
    # The corner has no star; the peak has the photon noise of the star.
    assert pair.lr.uncertainty.array[0, 0] ** 2 == pytest.approx(variance, rel=0.02)
    peak = np.unravel_index(pair.lr.data.argmax(), pair.lr.shape)
    assert pair.lr.uncertainty.array[peak] ** 2 > 1.05 * variance
    assert pair.lr.wcs.proj_plane_pixel_scales()[0].to_value("arcsec") == pytest.approx(
        camera.pixel_scale)


def test_noise_is_as_declared():
    camera = Instrument.named("Euclid VIS")
    optics = Optics(96, 2, 2)
    scenes = torch.zeros(600, 96, 96, dtype=torch.float64)
    scenes[:, 40:56, 40:56] = 1 / 256
    observed = observe_batch(camera, optics, scenes, None,
                             BatchRandom(torch.Generator().manual_seed(1), len(scenes)))
    unit = (observed.sky_electrons / observed.sky_rms).reshape(-1, 1, 1)
    noise = (observed.lr - observed.clean) * unit
    variance = camera.sky_electrons**2 + (observed.clean * unit).clamp(min=0)
    assert (noise / variance.sqrt()).std().item() == pytest.approx(1, rel=0.005)
    empty = noise[:, :6, :6].std().item()
    assert empty == pytest.approx(camera.sky_electrons, rel=0.01)
    # At the centre of the source the photon noise of the source dominates.
    bright = unit.ravel() > unit.median()
    pull = (noise / (observed.clean * unit + camera.sky_electrons**2).sqrt())[bright, 11:13, 11:13]
    assert pull.std().item() == pytest.approx(1, abs=4 / math.sqrt(2 * pull.numel()))
    time = camera.exposures * camera.exposure_time
    magnitudes = camera.zero_point - 2.5 * np.log10(unit.ravel().numpy() / time)
    assert 18 <= magnitudes.min() < 18.2 and 21.8 < magnitudes.max() <= 22
    np.testing.assert_allclose(observed.snr, observed.clean.amax(dim=(1, 2)) / observed.sky_rms)


def test_empty_sky_has_the_noise_of_the_sky():
    camera = Instrument.named("HST ACS")
    empty = Population(scene_fractions=(0, 0, 0, 0, 0, 1))
    pair = simulate_pair(instrument="HST ACS", population=empty)
    assert np.allclose(pair.lr.uncertainty.array, camera.sky_electrons)
    assert pair.lr.data.std() == pytest.approx(camera.sky_electrons, rel=0.06)
    assert pair.truth["snr"] == 0


def test_infinite_exponent_is_a_gaussian():
    numbers = (torch.tensor([v], dtype=torch.float64) for v in (6.0, math.inf, 0.0, 0.0))
    profile = moffat(64, *numbers)[0].numpy()
    axis = np.fft.fftfreq(64, 1 / 64)
    gaussian = np.exp(-4 * np.log(2) * (axis**2 + axis[:, None] ** 2) / 36)
    np.testing.assert_allclose(profile, gaussian / gaussian.sum(), atol=1e-12)


@pytest.mark.parametrize(("keywords", "message"), [
    (dict(read_noise=-1), "`read_noise` must be finite and not negative, got -1"),
    (dict(exposure_time=0), "`exposure_time` must be a positive number, got 0"),
    (dict(pixel_scale=math.nan), "`pixel_scale` must be a positive number, got nan"),
    (dict(zero_point=25.0), "`sky_brightness` or `read_noise` must give noise"),
])
def test_impossible_instruments(keywords, message):
    with pytest.raises(ValueError, match=message):
        Instrument(**keywords)


def test_unknown_instrument():
    known = "`instrument` must be one of HSC, DES, KiDS, LSST, Euclid VIS, HST ACS, HST WFC3, "
    with pytest.raises(ValueError, match=known + "JWST NIRCam, Roman, got 'Hubble'"):
        simulate_pair(instrument="Hubble")
    with pytest.raises(ValueError, match="`instrument` must be one of .*, got 8.2"):
        simulate_pair(instrument=8.2)
