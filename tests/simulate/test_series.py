"""Pairs in series: presets, engines, measured PSFs and skies, and what streams share out."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from photutils.centroids import centroid_com
from scipy import ndimage, stats
from scipy.special import erf

from lenssr.image import FWHM_PER_SIGMA, TARGET_FWHM, gaussian_psf
from lenssr.simulate import (
    PRESETS,
    SCENE_TYPES,
    Defects,
    Instrument,
    PairSeries,
    PairStream,
    Population,
    SceneModel,
    SceneSeries,
    Subhalos,
    find_preset,
    simulate_pair,
)

GEOMETRY = {  # side and pixel (arcsec) of the target
    "any-telescope": (96, 0.084), "arcs": (96, 0.084),
    "deeplense-1": (150, 0.05), "deeplense-2": (64, 0.101), "deeplense-clean": (150, 0.05),
    "deeplense-noisy": (150, 0.05), "classification": (64, 0.101),
    "classification-physical": (64, 0.101), "classification-unmatched": (64, 0.101),
    "hsc-hst": (96, 0.084), "observed-like": (128, 0.1315)}


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_have_the_published_geometry(preset):
    pair = simulate_pair(preset, seed=1, substructure="axion", engine="torch")
    side, pixel = GEOMETRY[preset]
    assert pair.hr.shape == (side, side) and pair.lr.shape == (side // 2, side // 2)
    scale = pair.hr.wcs.proj_plane_pixel_scales()[0].to_value("arcsec")
    assert scale == pytest.approx(pixel, rel=1e-6)
    assert np.isfinite(pair.lr.data).all() and pair.truth["preset"] == preset


def test_public_substructure_is_that_of_the_public_sets():
    series = PairSeries("classification", substructure="cdm")
    masses = []
    for model in series.models(range(300)):
        assert len(model.substructure.mass) == 25
        masses.append(model.substructure.mass)
    masses = np.concatenate(masses)
    assert masses.min() >= 1e6 and masses.max() <= 1e10
    # dN/dm ~ m^-0.9: m^0.1 is uniform.
    uniform = (masses**0.1 - 1e6**0.1) / (1e10**0.1 - 1e6**0.1)
    assert stats.kstest(uniform, "uniform").pvalue > 1e-3
    physical = PairSeries("classification-physical", substructure="cdm")
    few = np.concatenate([m.substructure.mass for m in physical.models(range(20))])
    uniform = (few**-0.9 - 1e7**-0.9) / (1e10**-0.9 - 1e7**-0.9)
    assert stats.kstest(uniform, "uniform").pvalue > 1e-3


def relative(one, other):
    return np.abs(one - other).max() / np.abs(other).max()


@pytest.mark.parametrize("kind", SCENE_TYPES)
def test_engines_give_the_same_pair(kind):
    population = Population(scene_fractions=tuple(float(k == kind) for k in SCENE_TYPES), real_sources=0.5)
    options = dict(population=population, substructure=("cdm", "axion"), size=24, seed=5)
    torch_batch, reference = (PairSeries(engine=engine, **options).batch(range(12))
                              for engine in ("torch", "lenstronomy"))
    for index in range(12):
        # Of the field with its margins: what is in the image may be the foot of what is not.
        peak = (reference.observation.hr[index].abs().max() * reference.electrons_per_flux[index]).item() or 1.0
        for name in ("lr", "hr", "sigma"):
            one, other = (getattr(b, name)[index].double().numpy()
                          for b in (torch_batch, reference))
            assert np.abs(one - other).max() < 1e-4 * max(peak, np.abs(other).max()), name


def test_pair_does_not_depend_on_its_batch():
    series = PairSeries(size=16, seed=3)
    whole = series.batch(range(40))
    for index in (0, 17, 39):
        alone = series.batch([index])
        for name in ("lr", "sigma", "hr", "psf"):
            np.testing.assert_allclose(getattr(whole, name)[index], getattr(alone, name)[0],
                                       rtol=1e-9, atol=1e-9)
    pair = simulate_pair(size=16, seed=3, index=17)
    np.testing.assert_allclose(pair.lr.data, whole.lr[17], rtol=1e-9)


def smooth(preset, scale, seeing=0.5):
    """A pair without noise through a Gaussian broader than that of the target."""
    instrument = replace(find_preset(preset).instrument, noiseless=True, seeing=(seeing, seeing))
    return simulate_pair(preset, instrument=instrument, scale=scale, size=40, seed=4)


INNER = (slice(6, -6),) * 2


@pytest.mark.parametrize(("preset", "scale"), [("deeplense-clean", 2), ("deeplense-clean", 3),
                                               ("deeplense-2", 2)])
def test_low_is_high_blurred_and_binned(preset, scale):
    """In closed form: from one Gaussian to another, by scipy, no code of lenssr in between."""
    pair = smooth(preset, scale)
    pixel = pair.truth["instrument"].pixel_scale / scale
    # Summing samples lacks the pixel of the target, a variance of a twelfth.
    variance = ((0.5 / pixel) ** 2 - TARGET_FWHM**2) / FWHM_PER_SIGMA**2 + 1 / 12
    blurred = ndimage.gaussian_filter(pair.hr.data, np.sqrt(variance), truncate=6)
    binned = blurred.reshape(40, scale, 40, scale).sum(axis=(1, 3))
    assert np.abs(binned - pair.lr.data)[INNER].max() < 1e-3 * pair.lr.data.max()


def test_effective_psf_is_that_of_a_gaussian_in_a_pixel():
    pair = smooth("deeplense-2", 2)
    psf, pixel = pair.lr.psf, pair.truth["instrument"].pixel_scale
    edges = (np.arange(-(len(psf) // 2), len(psf) // 2 + 2) - 0.5) * pixel
    line = np.diff(erf(edges / (0.5 / FWHM_PER_SIGMA) / np.sqrt(2))) / 2
    np.testing.assert_allclose(psf, np.outer(line, line) / line.sum() ** 2, atol=1e-3 * psf.max())


@pytest.mark.parametrize("name", ["hsc-hst", "HSC", "DES", "LSST", "measured"])
@pytest.mark.parametrize("index", range(4))
def test_low_is_high_observed_again_through_its_psf(name, index):
    """
    Where the pixels of the image sample the PSF.

    The PSFs of the presets of DeepLense are narrower than a pixel: the pair's PSF, on these
    pixels, does not hold all of it.
    """
    own = {"hsc-hst": Instrument(), "measured": Instrument(kernels=(gaussian_psf(4.2, 31),))}
    instrument = replace(own.get(name) or Instrument.named(name), noiseless=True)
    pair = simulate_pair(instrument=instrument, seed=8, index=index)
    # The scene that both images share, of the target: its Gaussian is undone where the PSF has
    # power, and it is blurred and binned by the PSF that the pair declares.
    scale, hr, psf = pair.scale, pair.hr.data, pair.lr.psf
    fine = np.pad(hr, 48, mode="symmetric")
    side = len(fine)
    f = np.fft.fftfreq(side)
    gauss = np.exp(-2 * (np.pi * TARGET_FWHM / FWHM_PER_SIGMA) ** 2 * (f**2 + f[:, None] ** 2))
    # lr.psf on the pixels of lr, by its Fourier series: nothing beyond their Nyquist frequency.
    place = np.arange(len(psf)) - len(psf) // 2
    wave = np.exp(-2j * np.pi * scale * np.outer(f, place)) * (np.abs(f * scale) <= 0.5)[:, None]
    transfer = wave @ psf @ wave.T
    seen = np.fft.ifft2(np.fft.fft2(fine) * transfer * gauss / (gauss**2 + 1e-6)).real
    # At the centres of the pixels of lr, half a pixel of hr from those of hr.
    ramp = np.exp(2j * np.pi * f * (scale - 1) / 2)
    seen = np.fft.ifft2(np.fft.fft2(seen) * ramp * ramp[:, None]).real
    seen = scale**2 * seen[48:-48:scale, 48:-48:scale]
    inner = (slice(10, -10),) * 2
    assert np.abs(seen - pair.lr.data)[inner].max() < 1e-3 * np.abs(pair.lr.data).max()


class Star(Population):
    """A star of flux one, off the middle of a pixel."""

    def draw(self, rng):
        return SceneModel("field", points=[(0.31, -0.57, 1.0)])


def test_measured_psf_is_the_effective_psf():
    # Kernels of another pixel, off their centre by a third of one.
    wide = np.array([[np.exp(-((x - 0.3) ** 2 / 6.5 + (y + 0.2) ** 2 / 4.5))
                      for x in range(-15, 16)] for y in range(-15, 16)])
    camera = Instrument(pixel_scale=0.263, kernels=(wide, wide), kernel_scale=0.168,
                        noiseless=True)
    pair = simulate_pair(instrument=camera, population=Star(), size=32)
    psf = pair.lr.psf
    np.testing.assert_allclose(centroid_com(psf), np.array(psf.shape[::-1]) // 2, atol=2e-3)
    x, y = pair.lr.wcs.world_to_pixel(pair.hr.wcs.pixel_to_world(*centroid_com(pair.hr.data)))
    np.testing.assert_allclose(centroid_com(pair.lr.data), (x, y), atol=2e-3)
    # Second moments: those of the kernel, less its pixel, with the new one.
    moments = []
    for image, pixel in ((wide / wide.sum(), 0.168), (psf, 0.263)):
        yy, xx = np.indices(image.shape)
        cx, cy = centroid_com(image)
        moments.append([((c - m) ** 2 * image).sum() * pixel**2 - pixel**2 / 12
                        for c, m in ((xx, cx), (yy, cy))])
    np.testing.assert_allclose(moments[1], moments[0], rtol=0.01)


def test_real_skies_are_kept():
    rng = np.random.default_rng(0)
    skies = ndimage.gaussian_filter(rng.normal(size=(5, 60, 60)), (0, 0.7, 0.7), mode="wrap")
    skies /= skies.std()
    empty = Population(scene_fractions=(0, 0, 0, 0, 0, 1))
    camera = Instrument(skies=skies, pedestal=(10.0, 10.0))
    batch = PairSeries(instrument=camera, population=empty, size=16).batch(range(200))
    noise = batch.lr / batch.observation.sky_electrons.reshape(-1, 1, 1)
    assert noise.mean().item() == pytest.approx(10, abs=0.05)
    noise = noise - 10
    assert noise.std().item() == pytest.approx(1, rel=0.03)
    lag = (noise[:, :, 1:] * noise[:, :, :-1]).mean() / noise.var()
    assert lag.item() == pytest.approx((skies[:, :, 1:] * skies[:, :, :-1]).mean(), abs=0.03)
    with pytest.raises(ValueError, match="of at most 60 pixels, the side of the skies, got 80"):
        PairSeries(instrument=camera, population=empty, size=64).batch([0])


@pytest.mark.parametrize("width", [0.5, 0.8])
def test_correlation_is_as_declared(width):
    camera = Instrument(p_correlated_noise=1.0, kernel_width=(width, width), depth=(2000, 2000))
    empty = Population(scene_fractions=(0, 0, 0, 0, 0, 1))
    batch = PairSeries(instrument=camera, population=empty, size=48).batch(range(150))
    noise = (batch.lr / batch.sigma).numpy()
    assert noise.std() == pytest.approx(1, rel=0.01)
    for lag in (1, 2):
        found = (noise[:, lag:] * noise[:, :-lag]).mean()
        # A Gaussian kernel with itself, sampled: by its transform, cut at the Nyquist frequency.
        f = np.fft.fftfreq(256)
        power = np.exp(-4 * (np.pi * width * f) ** 2)
        oracle = (power * np.cos(2 * np.pi * lag * f)).sum() / power.sum()
        assert found == pytest.approx(oracle, abs=0.01)


def test_defects_spoil_what_the_mask_says():
    lens = Population(scene_fractions=(1, 0, 0, 0, 0, 0))
    plain = PairSeries(population=lens, size=24, seed=2)
    spoilt = PairSeries(population=lens, size=24, seed=2, instrument=Instrument(
        defects=Defects(gaps=0.5, cosmic_rays=1.0, saturation=40.0)))
    before, after = (series.batch(range(60)) for series in (plain, spoilt))
    changed = (before.lr != after.lr) & ~(before.lr.isnan() & after.lr.isnan())
    assert not (changed & ~after.mask).any() and (changed & after.mask).any()
    assert (after.lr.isnan() <= after.mask).all()
    gaps = after.lr.isnan().any(dim=(1, 2)).double().mean().item()
    assert gaps == pytest.approx(0.5, abs=0.2)
    level = 40 * after.observation.sky_electrons.reshape(-1, 1, 1)
    kept = after.lr[~after.mask]
    assert (kept <= level.expand_as(after.lr)[~after.mask] * (1 + 1e-9)).all()
    # All else is as it was.
    assert torch.equal(before.hr, after.hr) and not before.mask.any()
    pair = simulate_pair(population=lens, size=24, seed=2, index=int(after.mask.any(
        dim=(1, 2)).nonzero()[0]), instrument=spoilt.instrument)
    assert pair.lr.mask.any() and pair.hr.mask is None


def test_missed_cosmic_rays_are_not_in_the_mask():
    rng = np.random.default_rng(3)
    image = np.zeros((30, 30))
    mask = Defects(gaps=0, cosmic_rays=20, missed=1.0).apply(image, 1.0, rng)
    assert not mask.any() and image.max() > 10


@pytest.mark.parametrize(("make", "words"), [
    (lambda: Defects(gaps=2), "`gaps` must be from 0 to 1, got 2"),
    (lambda: Defects(cosmic_rays=-1), "`cosmic_rays` must not be negative, got -1"),
    (lambda: Defects(saturation=0), "`saturation` must be positive, got 0"),
    (lambda: Instrument(seeing=(0.8, 0.5)), r"`seeing` must be two positive numbers, .*\(0.8, 0.5"),
    (lambda: Instrument(pedestal=(1, 0)), r"`pedestal` must be two numbers, .* got \(1, 0\)"),
    (lambda: Instrument(p_correlated_noise=1.5), "`p_correlated_noise` must be from 0 to 1, got 1.5"),
    (lambda: Instrument(kernels=(np.ones((4, 4)),)), "`kernels` must be arrays .* odd sides"),
    (lambda: Instrument(skies=np.ones((4, 4))), "`skies` must have three dimensions, got 2"),
    (lambda: Population(theta_e=(2, 1)), r"`theta_e` must be two positive numbers.*\(2, 1\)"),
    (lambda: Population(gamma=2.0), "`gamma` must be two positive numbers.* got 2.0"),
    (lambda: Population(real_sources=-0.1), "`real_sources` must be a number from 0 to 1, got -0.1"),
    (lambda: Population(subtraction_residuals=1.5), "`subtraction_residuals` must be a number from 0 to 1, got 1.5"),
    (lambda: Population(shear=-1), "`shear` must be a number that is not negative, got -1"),
    (lambda: Population(scene_fractions=(1, 1)), "`scene_fractions` must be 6 probabilities of sum one"),
    (lambda: Population(mass_model="NFW"), "`mass_model` must be one of EPL, SIE, got 'NFW'"),
    (lambda: Population(cosmology="Planck99"), "`cosmology` must be one of .*got 'Planck99'"),
    (lambda: Population(z_lens=(1, 2), z_source=(0.5, 0.9)), "`z_source` must reach beyond"),
    (lambda: Subhalos(mass_range=(-1e6, 1e9)), "`mass_range` must be two positive masses"),
    (lambda: Subhalos(counts="some"), "`counts` must be one of poisson, fixed, got 'some'"),
    (lambda: simulate_pair(population="many"), "`population` must be a Population, got str"),
])
def test_impossible_priors(make, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make()


def test_population_from_a_file(tmp_path):
    path = tmp_path / "population.toml"
    path.write_text('theta_e = [0.8, 1.2]\nmass_model = "SIE"\ncosmology = "WMAP9"\nreal_sources = 0.3\n')
    found = Population.read(path)
    assert found == Population(theta_e=(0.8, 1.2), mass_model="SIE", cosmology="WMAP9", real_sources=0.3)
    path.write_text("theta_E = [0.8, 1.2]\n")
    with pytest.raises(ValueError, match="unknown key `theta_E` in .* did you mean `theta_e`"):
        Population.read(path)
    path.write_text("theta_e = ")
    with pytest.raises(ValueError, match="`population`: .* is not TOML"):
        Population.read(path)


def test_cosmology_counts():
    radii = [simulate_pair(population=Population(
        scene_fractions=(1, 0, 0, 0, 0, 0), sigma_v=(250, 250), z_lens=(0.5, 0.5), z_source=(1.5, 1.5),
        cosmology=name), size=8).truth["theta_e"].value for name in ("Planck18", "WMAP5")]
    from astropy.cosmology import WMAP5, Planck18
    from lenstronomy.Cosmo.lens_cosmo import LensCosmo

    for radius, cosmology in zip(radii, (Planck18, WMAP5)):
        assert radius == pytest.approx(LensCosmo(0.5, 1.5, cosmology).sis_sigma_v2theta_E(250),
                                       rel=1e-4)
    assert radii[0] != radii[1]


def indices(stream, workers=0):
    loader = torch.utils.data.DataLoader(stream, batch_size=None, num_workers=workers)
    return [pair["index"] for pair in loader]


TINY = dict(size=8, population=Population(scene_fractions=(0, 0, 0, 0, 0, 1)))


def test_stream_gives_the_series():
    stream = PairStream("hsc-hst", seed=4, n=3, start=2, engine="lenstronomy", size=12,
                        substructure=("no_sub", "axion"))
    pairs = list(stream)
    assert [pair["index"] for pair in pairs] == [2, 3, 4]
    for pair in pairs:
        alone = simulate_pair(seed=4, index=pair["index"], size=12,
                              substructure=("no_sub", "axion")[pair["index"] % 2])
        np.testing.assert_allclose(pair["lr"], alone.lr.data, rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(pair["hr"], alone.hr.data, rtol=1e-5, atol=1e-4)
        assert pair["lr"].dtype == torch.float32
    whole = iter(PairStream(**TINY))
    assert [next(whole)["index"] for _ in range(40)] == list(range(40))


def test_stream_is_shared_out_over_workers_and_ranks():
    found = []
    for rank in (0, 1):
        share = indices(PairStream(n=150, rank=rank, world_size=2, **TINY), workers=2)
        assert len(share) > 50
        found += share
    assert sorted(found) == list(range(150))


@pytest.mark.parametrize(("options", "words"), [
    (dict(n=0), "`n` must be a positive integer, got 0"),
    (dict(start=-1), "`start` must be a non-negative integer, got -1"),
    (dict(rank=1), "`rank` and `world_size` must be given together, got 1 and None"),
    (dict(rank=2, world_size=2), "`rank` must be below `world_size` 2, got 2"),
    (dict(engine="cpu"), "`engine` must be one of lenstronomy, torch, got 'cpu'"),
])
def test_bad_streams(options, words):
    with pytest.raises(ValueError, match=words):
        PairStream(**options)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_stream_on_cuda():
    options = dict(n=40, size=16, seed=1, substructure=("cdm", "axion"))
    for here, there in zip(PairStream(**options), PairStream(device="cuda", **options)):
        assert there["lr"].is_cuda
        assert relative(there["hr"].cpu().numpy(), here["hr"].numpy()) < 1e-4


def test_target_kernel_is_declared():
    pair = simulate_pair("deeplense-1", size=16)
    np.testing.assert_allclose(pair.hr.psf, gaussian_psf(TARGET_FWHM, pair.hr.psf.shape[0]))


def test_given_scenes_are_observed_as_drawn_ones():
    instrument = Instrument(snr=(200, 200), depth=(1e4, 1e4))
    star = SceneModel("field", points=[(0.2, -0.4, 1.0)])
    series = SceneSeries([star, star, SceneModel("empty")], instrument, 32, scale=3, seed=5)
    one, two, empty = series
    assert len(series) == 3 and one.scale == 3
    assert np.abs(one.lr.data - two.lr.data).max() > one.truth["sky"].value
    centre = np.array(centroid_com(one.hr.data)) - (96 - 1) / 2
    assert centre == pytest.approx(np.array([0.2, -0.4]) / (0.168 / 3), abs=1e-3)
    assert not empty.hr.data.any()
    assert empty.lr.data.std() == pytest.approx(empty.lr.uncertainty.array[0, 0], rel=0.1)
    # The conditions are those of the seed and the index, whatever the scene.
    other = SceneSeries([SceneModel("empty"), star], instrument, 32, scale=3, seed=5)
    assert np.array_equal(next(iter(other)).lr.psf, one.lr.psf)
