"""A generator of arcs: light that is positive, pairs that are valid, runs that go on."""

import dataclasses

import numpy as np
import pytest
import torch

from lenssr.image import TARGET_FWHM, gaussian_psf
from lenssr.networks import ArcGenerator, from_asinh, to_asinh
from lenssr.train import (
    Adversarial,
    ArcImages,
    ArcTrainer,
    Data,
    Distributed,
    Recipe,
    draw_arcs,
    evaluate_weights,
    fit,
    open_pairs,
)


@pytest.fixture(scope="module")
def arcs(recipe):
    """A recipe of a generator that takes no time."""
    return Recipe("tiny-arcs", dict(architecture="arcs", side=48, scale=2, latent=4, features=4),
                  Data(preset="arcs", scenes=20, validation_scenes=8, size=8), recipe.training,
                  Adversarial(weight=1.0, features=4, stages=2, hidden=8))


@pytest.fixture(scope="module")
def weights(arcs, tmp_path_factory):
    return str(fit(arcs, tmp_path_factory.mktemp("arcs"), device="cpu", progress=False))


def test_light_is_positive_and_dim_has_an_inverse():
    torch.manual_seed(0)
    images = ArcGenerator(side=32, latent=4, features=4)(torch.randn(5, 4))
    assert images.shape == (5, 1, 32, 32) and (images > 0).all()
    light = torch.rand(3, 8, 8, dtype=torch.float64) * 40
    peak = light.amax(dim=(1, 2), keepdim=True)
    torch.testing.assert_close(from_asinh(to_asinh(light)), light / peak)
    assert to_asinh(torch.zeros(1, 4, 4)).abs().max() == 0
    with pytest.raises(ValueError, match="`side` must be a multiple of 16, got 40"):
        ArcGenerator(side=40)


def test_images_are_the_scenes(arcs):
    """Of the bank, binned to output pixels: the same but for the eight symmetries."""
    pairs = ArcImages(arcs)
    batch = pairs.batch(0, 4)
    scenes, points = pairs.bank.take(pairs.opened, batch.indices)
    assert batch.images.shape == (4, 1, 48, 48) and not points[..., 2].any()
    binned = scenes.reshape(4, 48, 2, 48, 2).sum(axis=(2, 4))
    for image, true in zip(batch.images[:, 0], binned):
        light = np.sort(from_asinh(image.double()).numpy().ravel())
        np.testing.assert_allclose(light, np.sort(true.ravel()) / true.max(), atol=1e-5)
    again = ArcImages(arcs).batch(0, 4)
    assert torch.equal(batch.images, again.images)


def test_resumed_run_equals_one_in_one_go(arcs, weights, values, tmp_path):
    trainer, pairs = ArcTrainer(arcs, tmp_path, Distributed("cpu")), ArcImages(arcs)
    trainer.resume()
    for _ in range(4):
        trainer.losses.append(trainer.advance(pairs))
    trainer.save()
    assert torch.equal(values(fit(arcs, tmp_path, device="cpu", progress=False)), values(weights))


def test_card_is_measured_again(weights):
    found = evaluate_weights(weights, device="cpu", progress=False)
    assert list(found["metric"]) == ["power_error", "spread"]
    np.testing.assert_allclose(found["difference"], 0, atol=1e-4)


def test_arcs_depend_on_seed_and_index_alone(weights):
    arcs = draw_arcs(3, seed=5, weights=weights)
    assert arcs.shape == (3, 48, 48) and (arcs > 0).all() and np.ptp(arcs, axis=0).max() > 0
    np.testing.assert_allclose(draw_arcs(2, seed=5, weights=weights), arcs[:2], rtol=1e-5)
    with pytest.raises(ValueError, match="`n` must be a positive integer"):
        draw_arcs(0, weights=weights)
    with pytest.raises(ValueError, match="of architecture 'arcs'"):
        draw_arcs(1, weights="fast-x2")


@pytest.fixture(scope="module")
def mixed(recipe, weights):
    """A recipe half of whose scenes are generated."""
    return dataclasses.replace(recipe, data=dataclasses.replace(
        recipe.data, preset="arcs", gan_fraction=0.5, gan_weights=weights))


def test_a_generated_pair_is_one_sky_seen_twice(mixed):
    """Both images have the flux of the scene, and the target is the light at its resolution."""
    from scipy.signal import fftconvolve

    pairs = open_pairs(dataclasses.replace(mixed, data=dataclasses.replace(
        mixed.data, gan_fraction=1.0)))
    draws = _draws(6)
    seen = pairs.observe(range(6), draws)
    scenes, points = pairs.generated_scenes.mix(
        *map(torch.from_numpy, pairs.bank.take(pairs.opened, range(6))), _draws(6))
    flux = scenes.sum(dim=(1, 2))
    assert not points[..., 2].any()
    torch.testing.assert_close(seen.clean.sum(dim=(1, 2)), flux, rtol=1e-4, atol=0)
    # Targets are in flux per input pixel.
    torch.testing.assert_close(seen.hr.sum(dim=(1, 2)) / 4, flux, rtol=1e-4, atol=0)
    light = scenes.double().reshape(6, 48, 2, 48, 2).sum(dim=(2, 4)).numpy()
    kernel = gaussian_psf(TARGET_FWHM)
    for image, target in zip(light, seen.hr.numpy()):
        sharp = 4 * fftconvolve(np.pad(image, 12, mode="wrap"), kernel, mode="same")[12:-12, 12:-12]
        # The light of an output pixel lies on its four fine ones: a slightly wider Gaussian.
        assert np.abs(sharp - target).max() < 0.06 * target.max()


def _draws(n):
    from lenssr.train import sample_rng

    return sample_rng(1, range(n))


def test_share_of_generated_pairs(mixed):
    pairs, plain = open_pairs(mixed), open_pairs(dataclasses.replace(
        mixed, data=dataclasses.replace(mixed.data, gan_fraction=0.0)))
    truth = torch.ones(400, 1, 1).expand(-1, pairs.optics.n, pairs.optics.n)
    _, points = pairs.generated_scenes.mix(truth, torch.ones(400, 2, 3), _draws(400))
    assert 160 < (points == 0).all(dim=(1, 2)).sum() < 240
    assert open_pairs(mixed,
                      validation=True).generated_scenes is None and plain.generated_scenes is None


def test_training_with_generated_pairs(mixed, tmp_path):
    assert fit(mixed, tmp_path, device="cpu", progress=False).is_file()


@pytest.mark.parametrize(("change", "words"), [
    (dict(size=16), "generate images of 64 pixels, margins included, .* of 48"),
    (dict(gan_weights="fast-x2"), "of architecture 'arcs'"),
    (dict(scenes=0), "`gan_fraction` must be 0 for pairs of a catalogue or pairs without end"),
    (dict(gan_fraction=2.0), "`gan_fraction` must be a number from 0 to 1"),
    (dict(gan_weights=""), "`gan_weights` must be a name or file of weights")])
def test_pairs_that_cannot_be_generated(mixed, change, words):
    with pytest.raises(ValueError, match=words):
        open_pairs(dataclasses.replace(mixed, data=dataclasses.replace(mixed.data, **change)))


def test_scenes_that_do_not_fit_the_generator(arcs):
    with pytest.raises(ValueError, match="`side` must be 48, the side of the scenes"):
        ArcImages(dataclasses.replace(arcs, network={**arcs.network, "side": 64}))
