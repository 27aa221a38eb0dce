"""Pairs to train on: in noise units, in order, turned together, from wherever they come."""

import dataclasses

import numpy as np
import pytest
import torch

from lenssr import LensSRWarning
from lenssr.methods import BatchForwardModel
from lenssr.networks import apply_symmetry, psf_features
from lenssr.simulate import (
    BatchRandom,
    correlate_noise,
    find_preset,
    kernel_neighbour_correlation,
    simulate_catalog,
    simulate_pair,
)
from lenssr.train import (
    CachedPairs,
    CatalogPairs,
    Data,
    OnlinePairs,
    epoch_order,
    fit,
    open_pairs,
    sample_indices,
)
from lenssr.uncertainty import estimate_sky
from lenssr.uncertainty import neighbour_correlation as in_the_sky

KNOWN = dict(noise_error=0.0, p_psf_known=1.0, p_correlated_noise=0.0)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    """A small catalogue of simulated pairs."""
    pytest.importorskip("zarr")
    return simulate_catalog(tmp_path_factory.mktemp("pairs") / "pairs", 12, "deeplense-noisy",
                            substructure=("no_sub", "cdm"), size=12, engine="torch", progress=False)


@pytest.fixture(scope="module")
def folder(catalog, tmp_path_factory):
    """The same in the layout of DeepLense."""
    path = tmp_path_factory.mktemp("layout") / "deeplense"
    catalog.export(path, "deeplense", scaled=False)
    return path


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one[:4], other[:4]))


def test_every_scene_once_before_any_again():
    for window in (None, 7):
        orders = [epoch_order(sample_indices(step, 4, 0, 1), 22, 4, 1, window)
                  for step in range(10)]
        for epoch in (orders[:5], orders[5:]):
            assert len(set(np.concatenate(epoch))) == 20
        assert not np.array_equal(orders[5], orders[0])


def test_windows_are_read_two_at_a_time():
    order = np.concatenate([epoch_order(sample_indices(s, 8, 0, 1), 64, 8, 1, 8) for s in range(8)])
    assert all(len(np.unique(order[k:k + 16] // 8)) == 2 for k in (0, 16, 32, 48))


@pytest.mark.parametrize("source", ["bank", "stream", "catalog"])
def test_pairs_depend_on_their_number_alone(source, catalog):
    """Two processes meet the pairs that one with the doubled batch meets."""
    data = {"bank": Data(scenes=20, size=8), "stream": Data(scenes=0, size=8),
            "catalog": Data(catalog=str(catalog.path), size=8)}[source]
    pairs = {"bank": CachedPairs, "stream": OnlinePairs, "catalog": CatalogPairs}[source](data, 2)
    whole = pairs.batch(3, 4)
    parts = [pairs.batch(3, 2, rank, 2) for rank in (0, 1)]
    assert sum((part.indices for part in parts), []) == whole.indices
    for k in range(4):
        torch.testing.assert_close(torch.cat([part[k] for part in parts]), whole[k])
    assert same(pairs.batch(3, 4), whole)
    assert not torch.equal(pairs.batch(4, 4).lr, whole.lr)


def test_stream_is_the_series_in_noise_units():
    pairs = OnlinePairs(Data("deeplense-1", scenes=0, seed=5, size=16, **KNOWN), 2)
    batch = pairs.batch(2, 3)
    assert batch.indices == [6, 7, 8]
    pair = simulate_pair("deeplense-1", substructure="no_sub", size=16, seed=5, index=7,
                         engine="torch")
    sky = pair.truth["sky"].value
    found = batch.hr[1, 0].numpy()
    assert found.max() == pytest.approx(4 * pair.hr.data.max() / sky, rel=1e-4)
    # Turned or not: the same values.
    np.testing.assert_allclose(np.sort(batch.lr[1].ravel()), np.sort(pair.lr.data.ravel() / sky),
                               atol=1e-3)


def test_noiseless_preset_has_the_noise_that_was_left_out():
    for pairs in (OnlinePairs(Data("deeplense-clean", scenes=0, size=16, **KNOWN), 2),
                  CachedPairs(Data("deeplense-clean", scenes=20, size=16, **KNOWN), 2)):
        batch = pairs.batch(0, 4)
        assert torch.isfinite(batch.lr).all()
        # The preset's peak signal to noise is 22; patches of a bank may lie beside the peak.
        assert batch.lr.amax(dim=(1, 2, 3)).max().item() == pytest.approx(22, rel=0.02)


@pytest.mark.parametrize("scenes", [0, 20])
def test_targets_with_noise_are_trained_on_and_the_truth_is_known(scenes):
    data = Data("deeplense-noisy", scenes=scenes, validation_scenes=8, size=16, **KNOWN)
    batch = (CachedPairs if scenes else OnlinePairs)(data, 2).batch(0, 8)
    peak = batch.truth.amax(dim=(1, 2, 3))
    noise = (batch.hr - batch.truth).flatten(1).std(dim=1)
    np.testing.assert_allclose(noise / peak, 0.03, rtol=0.15)


def test_bank_with_substructure():
    """Scene k is that of the series with class k, and no other is in its way."""
    plain = CachedPairs(Data(scenes=20, size=8), 2)
    mixed = CachedPairs(Data(scenes=20, size=8, substructure=["no_sub", "cdm", "axion"]), 2)
    assert plain.bank.folder != mixed.bank.folder
    a, b = (pairs.bank.take(pairs.opened, range(20))[0] for pairs in (plain, mixed))
    changed = np.abs(a - b).max(axis=(1, 2)) / a.max(axis=(1, 2)).clip(1e-12) > 1e-5
    assert not changed[::3].any()
    assert changed[2::3].any()


def test_scenes_of_other_priors_are_not_taken_for_these(monkeypatch):
    """A preset whose priors changed renders its scenes anew."""
    old = CachedPairs(Data(scenes=20, size=8), 2)
    preset = find_preset("hsc-hst")
    changed = dataclasses.replace(preset, population=dataclasses.replace(
        preset.population, theta_e=(0.1, 0.2)))
    monkeypatch.setitem(find_preset.__globals__["_PRESETS"], "hsc-hst", changed)
    new = CachedPairs(Data(scenes=20, size=8), 2)
    a, b = (pairs.bank.take(pairs.opened, range(20))[0] for pairs in (old, new))
    assert not np.array_equal(a, b)


def star(pairs):
    """Make of all scenes a star, a little off the middle."""
    scenes = np.zeros((8, pairs.optics.n, pairs.optics.n), np.float32)
    points = np.zeros((8, 1, 3), np.float32)
    points[:, 0] = pairs.optics.n / 2 + 9.5, pairs.optics.n / 2 - 6.5, 1.0
    pairs.bank.take = lambda opened, indices: (scenes, points)


def test_patches_are_turned_together():
    # A star where the observed patch has its maximum: no turn, flip or shift separates them.
    pairs = CachedPairs(Data(scenes=20, size=16, noise_error=0.0), 2)
    pairs.instrument = dataclasses.replace(pairs.instrument, snr=(1e6, 1e6))
    star(pairs)
    batch = pairs.take(np.arange(8), BatchRandom(torch.Generator().manual_seed(0), 8))
    for low, high in zip(batch.lr[:, 0].numpy(), batch.hr[:, 0].numpy(), strict=True):
        places = [np.array(np.unravel_index(image.argmax(), image.shape)) for image in (low, high)]
        assert (places[1] // 2 == places[0]).all()


def test_ellipticity_turns_with_the_patch():
    assert CachedPairs(Data(scenes=20, size=8), 2).batch(0, 20).conditions.shape == (20, 5)
    square = torch.zeros(1, 5, 5)
    square[0, 2] = torch.tensor([1.0, 2, 3, 2, 1])
    upright = psf_features(square / square.sum())[0]
    right = psf_features(apply_symmetry(square[0], 1)[None] / square.sum())[0]
    assert upright[3] > 0
    torch.testing.assert_close(right[3], -upright[3])


def test_catalog_in_units_of_its_noise_maps(catalog):
    pairs = CatalogPairs(Data(catalog=str(catalog.path), size=12, **KNOWN), 2)
    assert pairs.n == 11
    batch = pairs.batch(0, 4)
    for k, i in enumerate(batch.indices):
        unit = np.percentile(catalog.arrays["sigma"][i], 25)
        for found, known, factor in ((batch.lr, "lr", 1), (batch.hr, "hr", 4),
                                     (batch.truth, "truth", 4)):
            np.testing.assert_allclose(np.sort(found[k].ravel()), factor / unit * np.sort(
                catalog.arrays[known][i].ravel()), rtol=1e-4, atol=1e-4)
    assert (batch.conditions[:, 0] == 1).all()


def test_held_out_pairs_are_never_trained_on(catalog):
    data = Data(catalog=str(catalog.path), size=8, validation_fraction=0.25)
    trained, held = CatalogPairs(data, 2), CatalogPairs(data, 2, validation=True)
    assert (trained.n, held.n) == (9, 3)
    assert sorted([*trained.chosen, *held.chosen]) == list(range(12))
    assert all(same(a, b) for a, b in zip(held.batches(), held.batches()))


def test_deeplense_layout_takes_the_noise_from_the_sky(catalog, folder):
    with pytest.warns(LensSRWarning, match="taken as flux per pixel"):
        pairs = CatalogPairs(Data(catalog=str(folder), size=12, **KNOWN), 2)
    batch = pairs.batch(0, 4)
    assert (batch.conditions == 0).all()
    for k, i in enumerate(batch.indices):
        image = catalog.arrays["lr"][i].astype(float)
        unit = max(estimate_sky(image, np.zeros(image.shape, bool)), np.abs(image).max() / 100)
        assert batch.lr[k].max().item() == pytest.approx(image.max() / unit, rel=1e-4)
        assert batch.hr[k].max().item() == pytest.approx(
            4 * catalog.arrays["hr"][i].max() / unit, rel=1e-4)
    bright = CatalogPairs(Data(catalog=str(folder), size=12, flux="surface-brightness", **KNOWN), 2)
    torch.testing.assert_close(4 * bright.batch(0, 4).hr, batch.hr)


def test_images_without_noise_have_a_hundredth_of_their_peak(tmp_path):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:16, :16] - 7.5
    for name, factor in (("LR", 1), ("HR", 2)):
        (tmp_path / name).mkdir()
        for k in range(4):
            image = (1 + rng.random()) * np.exp(-(x**2 + y**2) / 8)
            np.save(tmp_path / name / f"s_{k}.npy", np.kron(image, np.ones((factor, factor))))
    with pytest.warns(LensSRWarning, match="taken as surface brightness"):
        pairs = CatalogPairs(Data(catalog=str(tmp_path), size=16, **KNOWN), 2)
    torch.testing.assert_close(pairs.batch(0, 3).lr.amax(dim=(1, 2, 3)), torch.full((3,), 100.0))


def test_fit_on_a_catalog(catalog, recipe, tmp_path):
    data = dataclasses.replace(recipe.data, catalog=str(catalog.path))
    path = fit(dataclasses.replace(recipe, data=data), tmp_path, progress=False)
    rows = (tmp_path / "curve.csv").read_text().splitlines()
    assert rows[0] == "step,loss,psnr,flux_ratio,psnr_target"
    assert path.exists()


def test_psfs_that_are_known_are_those_of_training_and_validation(catalog, recipe):
    data = dataclasses.replace(recipe.data, catalog=str(catalog.path), p_psf_known=1.0)
    known = CatalogPairs(data, 2, True).psfs()
    told = CatalogPairs(data, 2).batch(0, 8).conditions[:, 1:]
    low, high = (torch.tensor(known[end]) for end in ("low", "high"))
    assert (told >= low - 1e-4).all() and (told <= high + 1e-4).all()
    assert CatalogPairs(data, 2, True).psfs() == known
    bank = open_pairs(recipe, True)
    conditions = torch.cat([batch.conditions for batch in bank.batches()])
    found = bank.psfs()
    assert found["low"][0] == conditions[:, 1].min() and found["high"][1] == conditions[:, 2].max()
    assert found["high"][2] == -found["low"][3] >= conditions[:, 3:].abs().max()


def test_catalogs_that_do_not_fit(catalog, recipe, tmp_path):
    def opened(scale=2, **options):
        data = dataclasses.replace(recipe.data, catalog=str(catalog.path), **options)
        network = {**recipe.network, "scale": scale}
        return open_pairs(dataclasses.replace(recipe, data=data, network=network))

    with pytest.raises(ValueError, match="`catalog` must hold pairs of scale 4, .* those of 2"):
        opened(scale=4)
    with pytest.raises(ValueError, match="`size` must be at most 12, .* got 16"):
        opened(size=16)
    with pytest.raises(ValueError, match="`path` must be the folder of a catalogue"):
        data = dataclasses.replace(recipe.data, catalog=str(tmp_path / "none"))
        open_pairs(dataclasses.replace(recipe, data=data))
    with pytest.raises(ValueError, match="`batch` must be at most the number of pairs, 20, got 32"):
        fit(dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, batch=32)),
            tmp_path, progress=False)


SOURCES = ["bank", "stream", "catalog"]


def through(source, catalog, size=12, **more):
    """Pairs of one source with what a network is told that looks through the telescope."""
    more = {"preset": "any-telescope", "scenes": 20, "size": size, **KNOWN, **more}
    if source == "catalog":
        return CatalogPairs(Data(**{**more, "catalog": str(catalog.path)}), 2, telescope=True)
    if source == "stream":
        return OnlinePairs(Data(**{**more, "scenes": 0}), 2, telescope=True)
    return CachedPairs(Data(**more), 2, telescope=True)


@pytest.mark.parametrize("source", SOURCES)
def test_telescope_is_the_one_that_looked(source, catalog):
    """Observed again through the kernel that is told, turned with it, the target is the image."""
    size, edge = (12, 3) if source == "catalog" else (32, 10)
    batch = through(source, catalog, size, preset="hsc-hst").batch(1, 6)
    sigma, kernel, correlation = batch.telescope

    def misfit(kernel):
        seen = BatchForwardModel(kernel, batch.scale, batch.lr.shape[-2:]).forward(batch.truth)
        # Beyond the edge of a patch there is light that its observation does not know of.
        return ((batch.lr - seen) / sigma)[..., edge:-edge, edge:-edge].square().mean()

    assert misfit(kernel) == pytest.approx(1, abs=0.2)
    assert misfit(kernel.roll(1, -1)) > 1.05 * misfit(kernel)
    assert (correlation < 0.3).all()


def test_holes_have_no_datum_and_are_filled(catalog):
    plain, holed = (through("bank", catalog, size=24, p_masked=share).batch(0, 8)
                    for share in (0.0, 1.0))
    hole = torch.isinf(holed.telescope[0])
    assert 0 < hole.float().mean() < 0.5
    assert torch.isfinite(holed.lr).all()
    assert torch.equal(holed.lr[~hole], plain.lr[~hole])
    assert not torch.equal(holed.lr[hole], plain.lr[hole])


def test_scales_take_turns(recipe):
    recipe = dataclasses.replace(
        recipe, network={"architecture": "unrolled", "scale": [2, 3, 4]},
        data=dataclasses.replace(recipe.data, preset="any-telescope"))
    pairs = open_pairs(recipe)
    assert [pairs.batch(step, 2).scale for step in range(5)] == [2, 3, 2, 4, 2]
    # Scenes of two and four times the resolution are the same.
    assert pairs.sources[0].bank.folder == pairs.sources[2].bank.folder


def test_correlation_that_is_told_is_that_of_the_noise():
    width = torch.tensor([0.0, 0.4, 0.8])
    noise = correlate_noise(torch.randn(3, 400, 400, generator=torch.Generator().manual_seed(1)),
                            width)
    found = (noise[..., 1:] * noise[..., :-1]).mean(dim=(-2, -1))
    np.testing.assert_allclose(found, kernel_neighbour_correlation(width), atol=0.02)
    sky = noise[2].numpy().astype(float)
    assert in_the_sky(sky, np.zeros(sky.shape, bool)) == pytest.approx(found[2].item(), abs=0.03)
