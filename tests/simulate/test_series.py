"""Series of pairs: presets, engines, measured PSFs and skies, defects, and streams."""

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


def test_substructure_agrees_with_the_public_sets():
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


def relative_difference(image, reference):
    return np.abs(image - reference).max() / np.abs(reference).max()


@pytest.mark.parametrize("scene_type", SCENE_TYPES)
def test_engines_give_the_same_pair(scene_type):
    fractions = tuple(float(name == scene_type) for name in SCENE_TYPES)
    population = Population(scene_fractions=fractions, real_sources=0.5)
    options = dict(population=population, substructure=("cdm", "axion"), size=24, seed=5)
    torch_batch, reference = (PairSeries(engine=engine, **options).batch(range(12))
                              for engine in ("torch", "lenstronomy"))
    for index in range(12):
        # The peak of the field with margins: the image may contain only the wings of a source.
        peak = reference.observation.hr[index].abs().max() * reference.electrons_per_flux[index]
        peak = peak.item() or 1.0
        for name in ("lr", "hr", "sigma"):
            image, expected = (getattr(batch, name)[index].double().numpy()
                               for batch in (torch_batch, reference))
            assert np.abs(image - expected).max() < 1e-4 * max(peak, np.abs(expected).max()), name


def test_pair_does_not_depend_on_its_batch():
    series = PairSeries(size=16, seed=3)
    batch = series.batch(range(40))
    for index in (0, 17, 39):
        alone = series.batch([index])
        for name in ("lr", "sigma", "hr", "psf"):
            np.testing.assert_allclose(getattr(batch, name)[index], getattr(alone, name)[0],
                                       rtol=1e-9, atol=1e-9)
    pair = simulate_pair(size=16, seed=3, index=17)
    np.testing.assert_allclose(pair.lr.data, batch.lr[17], rtol=1e-9)


def smooth(preset, scale, seeing=0.5):
    """Return a pair without noise whose Gaussian PSF is broader than the target PSF."""
    instrument = replace(find_preset(preset).instrument, noiseless=True, seeing=(seeing, seeing))
    return simulate_pair(preset, instrument=instrument, scale=scale, size=40, seed=4)


INNER = (slice(6, -6),) * 2


@pytest.mark.parametrize(("preset", "scale"), [("deeplense-clean", 2), ("deeplense-clean", 3),
                                               ("deeplense-2", 2)])
def test_observed_image_is_the_target_convolved_and_binned(preset, scale):
    """The observed image is the target convolved by scipy with the difference of Gaussians."""
    pair = smooth(preset, scale)
    pixel = pair.truth["instrument"].pixel_scale / scale
    # The pixel of the target, a variance of 1/12, is absent from sums of samples.
    variance = ((0.5 / pixel) ** 2 - TARGET_FWHM**2) / FWHM_PER_SIGMA**2 + 1 / 12
    blurred = ndimage.gaussian_filter(pair.hr.data, np.sqrt(variance), truncate=6)
    binned = blurred.reshape(40, scale, 40, scale).sum(axis=(1, 3))
    assert np.abs(binned - pair.lr.data)[INNER].max() < 1e-3 * pair.lr.data.max()


def test_effective_psf_of_a_gaussian_in_a_pixel():
    pair = smooth("deeplense-2", 2)
    psf, pixel = pair.lr.psf, pair.truth["instrument"].pixel_scale
    edges = (np.arange(-(len(psf) // 2), len(psf) // 2 + 2) - 0.5) * pixel
    line = np.diff(erf(edges / (0.5 / FWHM_PER_SIGMA) / np.sqrt(2))) / 2
    np.testing.assert_allclose(psf, np.outer(line, line) / line.sum() ** 2, atol=1e-3 * psf.max())


@pytest.mark.parametrize("name", ["hsc-hst", "HSC", "DES", "LSST", "measured"])
@pytest.mark.parametrize("index", range(4))
def test_observed_image_is_the_target_through_its_psf(name, index):
    """
    The effective PSF reproduces the observed image, for PSFs that the pixels sample.

    The PSFs of the DeepLense presets are narrower than a pixel, which cannot represent them.
    """
    instruments = {"hsc-hst": Instrument(),
                   "measured": Instrument(kernels=(gaussian_psf(4.2, 31),))}
    instrument = replace(instruments.get(name) or Instrument.named(name), noiseless=True)
    pair = simulate_pair(instrument=instrument, seed=8, index=index)
    # The target PSF is deconvolved where the effective PSF has power; the scene is then
    # convolved with the effective PSF and binned.
    scale, hr, psf = pair.scale, pair.hr.data, pair.lr.psf
    fine = np.pad(hr, 48, mode="symmetric")
    side = len(fine)
    f = np.fft.fftfreq(side)
    gauss = np.exp(-2 * (np.pi * TARGET_FWHM / FWHM_PER_SIGMA) ** 2 * (f**2 + f[:, None] ** 2))
    # Fourier series of lr.psf on the pixels of lr, without power beyond their Nyquist frequency.
    position = np.arange(len(psf)) - len(psf) // 2
    wave = np.exp(-2j * np.pi * scale * np.outer(f, position)) * (np.abs(f * scale) <= 0.5)[:, None]
    transfer = wave @ psf @ wave.T
    observed = np.fft.ifft2(np.fft.fft2(fine) * transfer * gauss / (gauss**2 + 1e-6)).real
    # Pixel centres of lr are offset from pixel centres of hr.
    ramp = np.exp(2j * np.pi * f * (scale - 1) / 2)
    observed = np.fft.ifft2(np.fft.fft2(observed) * ramp * ramp[:, None]).real
    observed = scale**2 * observed[48:-48:scale, 48:-48:scale]
    inner = (slice(10, -10),) * 2
    assert np.abs(observed - pair.lr.data)[inner].max() < 1e-3 * np.abs(pair.lr.data).max()


class Star(Population):
    """A star of flux one, off the centre of a pixel."""

    def draw(self, rng):
        return SceneModel("field", points=[(0.31, -0.57, 1.0)])


def test_measured_psf_becomes_the_effective_psf():
    # Kernels on other pixels, off centre by a third of a pixel.
    wide = np.array([[np.exp(-((x - 0.3) ** 2 / 6.5 + (y + 0.2) ** 2 / 4.5))
                      for x in range(-15, 16)] for y in range(-15, 16)])
    camera = Instrument(pixel_scale=0.263, kernels=(wide, wide), kernel_scale=0.168,
                        noiseless=True)
    pair = simulate_pair(instrument=camera, population=Star(), size=32)
    psf = pair.lr.psf
    np.testing.assert_allclose(centroid_com(psf), np.array(psf.shape[::-1]) // 2, atol=2e-3)
    x, y = pair.lr.wcs.world_to_pixel(pair.hr.wcs.pixel_to_world(*centroid_com(pair.hr.data)))
    np.testing.assert_allclose(centroid_com(pair.lr.data), (x, y), atol=2e-3)
    # Second moments without the response of the pixel are equal.
    moments = []
    for image, pixel in ((wide / wide.sum(), 0.168), (psf, 0.263)):
        yy, xx = np.indices(image.shape)
        cx, cy = centroid_com(image)
        moments.append([((c - m) ** 2 * image).sum() * pixel**2 - pixel**2 / 12
                        for c, m in ((xx, cx), (yy, cy))])
    np.testing.assert_allclose(moments[1], moments[0], rtol=0.01)


def test_real_skies_keep_their_noise():
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
def test_noise_correlation_is_as_declared(width):
    camera = Instrument(p_correlated_noise=1.0, kernel_width=(width, width), depth=(2000, 2000))
    empty = Population(scene_fractions=(0, 0, 0, 0, 0, 1))
    batch = PairSeries(instrument=camera, population=empty, size=48).batch(range(150))
    noise = (batch.lr / batch.sigma).numpy()
    assert noise.std() == pytest.approx(1, rel=0.01)
    for lag in (1, 2):
        correlation = (noise[:, lag:] * noise[:, :-lag]).mean()
        # Oracle: power spectrum of the Gaussian kernel, cut at the Nyquist frequency.
        f = np.fft.fftfreq(256)
        power = np.exp(-4 * (np.pi * width * f) ** 2)
        oracle = (power * np.cos(2 * np.pi * lag * f)).sum() / power.sum()
        assert correlation == pytest.approx(oracle, abs=0.01)


def test_defects_change_masked_pixels_only():
    lens = Population(scene_fractions=(1, 0, 0, 0, 0, 0))
    plain = PairSeries(population=lens, size=24, seed=2)
    defective = PairSeries(population=lens, size=24, seed=2, instrument=Instrument(
        defects=Defects(gaps=0.5, cosmic_rays=1.0, saturation=40.0)))
    before, after = (series.batch(range(60)) for series in (plain, defective))
    changed = (before.lr != after.lr) & ~(before.lr.isnan() & after.lr.isnan())
    assert not (changed & ~after.mask).any() and (changed & after.mask).any()
    assert (after.lr.isnan() <= after.mask).all()
    gaps = after.lr.isnan().any(dim=(1, 2)).double().mean().item()
    assert gaps == pytest.approx(0.5, abs=0.2)
    limit = 40 * after.observation.sky_electrons.reshape(-1, 1, 1)
    kept = after.lr[~after.mask]
    assert (kept <= limit.expand_as(after.lr)[~after.mask] * (1 + 1e-9)).all()
    # The target has no defects.
    assert torch.equal(before.hr, after.hr) and not before.mask.any()
    pair = simulate_pair(population=lens, size=24, seed=2, index=int(after.mask.any(
        dim=(1, 2)).nonzero()[0]), instrument=defective.instrument)
    assert pair.lr.mask.any() and pair.hr.mask is None


def test_missed_cosmic_rays_are_not_in_the_mask():
    rng = np.random.default_rng(3)
    image = np.zeros((30, 30))
    mask = Defects(gaps=0, cosmic_rays=20, missed=1.0).apply(image, 1.0, rng)
    assert not mask.any() and image.max() > 10


@pytest.mark.parametrize(("make", "message"), [
    (lambda: Defects(gaps=2), "`gaps` must be from 0 to 1, got 2"),
    (lambda: Defects(cosmic_rays=-1), "`cosmic_rays` must not be negative, got -1"),
    (lambda: Defects(saturation=0), "`saturation` must be positive, got 0"),
    (lambda: Instrument(seeing=(0.8, 0.5)), r"`seeing` must be two positive numbers, .*\(0.8, 0.5"),
    (lambda: Instrument(pedestal=(1, 0)), r"`pedestal` must be two numbers, .* got \(1, 0\)"),
    (lambda: Instrument(p_correlated_noise=1.5), "`p_correlated_noise` must be from 0"),
    (lambda: Instrument(kernels=(np.ones((4, 4)),)), "`kernels` must be arrays .* odd sides"),
    (lambda: Instrument(skies=np.ones((4, 4))), "`skies` must have three dimensions, got 2"),
    (lambda: Population(theta_e=(2, 1)), r"`theta_e` must be two positive numbers.*\(2, 1\)"),
    (lambda: Population(gamma=2.0), "`gamma` must be two positive numbers.* got 2.0"),
    (lambda: Population(real_sources=-0.1),
     "`real_sources` must be a number from 0 to 1, got -0.1"),
    (lambda: Population(subtraction_residuals=1.5),
     "`subtraction_residuals` must be a number from 0 to 1, got 1.5"),
    (lambda: Population(shear=-1), "`shear` must be a number that is not negative, got -1"),
    (lambda: Population(scene_fractions=(1, 1)),
     "`scene_fractions` must be 6 probabilities of sum one"),
    (lambda: Population(mass_model="NFW"), "`mass_model` must be one of EPL, SIE, got 'NFW'"),
    (lambda: Population(cosmology="Planck99"), "`cosmology` must be one of .*got 'Planck99'"),
    (lambda: Population(z_lens=(1, 2), z_source=(0.5, 0.9)), "`z_source` must reach beyond"),
    (lambda: Subhalos(mass_range=(-1e6, 1e9)), "`mass_range` must be two positive masses"),
    (lambda: Subhalos(counts="some"), "`counts` must be one of poisson, fixed, got 'some'"),
    (lambda: simulate_pair(population="many"), "`population` must be a Population, got str"),
])
def test_impossible_priors(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_population_from_a_file(tmp_path):
    path = tmp_path / "population.toml"
    path.write_text('theta_e = [0.8, 1.2]\nmass_model = "SIE"\ncosmology = "WMAP9"\n'
                    "real_sources = 0.3\n")
    assert Population.read(path) == Population(theta_e=(0.8, 1.2), mass_model="SIE",
                                               cosmology="WMAP9", real_sources=0.3)
    path.write_text("theta_E = [0.8, 1.2]\n")
    with pytest.raises(ValueError, match="unknown key `theta_E` in .* did you mean `theta_e`"):
        Population.read(path)
    path.write_text("theta_e = ")
    with pytest.raises(ValueError, match="`population`: .* is not TOML"):
        Population.read(path)


def test_cosmology_changes_the_einstein_radius():
    radii = [simulate_pair(size=8, population=Population(
        scene_fractions=(1, 0, 0, 0, 0, 0), sigma_v=(250, 250), z_lens=(0.5, 0.5),
        z_source=(1.5, 1.5), cosmology=name)).truth["theta_e"].value
        for name in ("Planck18", "WMAP5")]
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


def test_stream_yields_the_series():
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
    stream = iter(PairStream(**TINY))
    assert [next(stream)["index"] for _ in range(40)] == list(range(40))


def test_stream_is_distributed_over_workers_and_ranks():
    all_indices = []
    for rank in (0, 1):
        of_rank = indices(PairStream(n=150, rank=rank, world_size=2, **TINY), workers=2)
        assert len(of_rank) > 50
        all_indices += of_rank
    assert sorted(all_indices) == list(range(150))


@pytest.mark.parametrize(("options", "message"), [
    (dict(n=0), "`n` must be a positive integer, got 0"),
    (dict(start=-1), "`start` must be a non-negative integer, got -1"),
    (dict(rank=1), "`rank` and `world_size` must be given together, got 1 and None"),
    (dict(rank=2, world_size=2), "`rank` must be below `world_size` 2, got 2"),
    (dict(engine="cpu"), "`engine` must be one of lenstronomy, torch, got 'cpu'"),
])
def test_bad_streams(options, message):
    with pytest.raises(ValueError, match=message):
        PairStream(**options)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_stream_on_cuda():
    options = dict(n=40, size=16, seed=1, substructure=("cdm", "axion"))
    for on_cpu, on_gpu in zip(PairStream(**options), PairStream(device="cuda", **options)):
        assert on_gpu["lr"].is_cuda
        assert relative_difference(on_gpu["hr"].cpu().numpy(), on_cpu["hr"].numpy()) < 1e-4


def test_target_psf_is_declared():
    pair = simulate_pair("deeplense-1", size=16)
    np.testing.assert_allclose(pair.hr.psf, gaussian_psf(TARGET_FWHM, pair.hr.psf.shape[0]))


def test_series_of_user_scenes():
    instrument = Instrument(snr=(200, 200), depth=(1e4, 1e4))
    star = SceneModel("field", points=[(0.2, -0.4, 1.0)])
    series = SceneSeries([star, star, SceneModel("empty")], instrument, 32, scale=3, seed=5)
    first, second, empty = series
    assert len(series) == 3 and first.scale == 3
    assert np.abs(first.lr.data - second.lr.data).max() > first.truth["sky"].value
    centre = np.array(centroid_com(first.hr.data)) - (96 - 1) / 2
    assert centre == pytest.approx(np.array([0.2, -0.4]) / (0.168 / 3), abs=1e-3)
    assert not empty.hr.data.any()
    assert empty.lr.data.std() == pytest.approx(empty.lr.uncertainty.array[0, 0], rel=0.1)
    # The observing conditions depend on seed and index, not on the scene.
    reordered = SceneSeries([SceneModel("empty"), star], instrument, 32, scale=3, seed=5)
    assert np.array_equal(next(iter(reordered)).lr.psf, first.lr.psf)
