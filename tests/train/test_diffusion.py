"""Training of the diffusion, on a problem whose posterior is known and on a bank."""

import dataclasses

import numpy as np
import pytest
import torch

from lenssr import superresolve
from lenssr.image import gaussian_psf
from lenssr.methods import draw
from lenssr.networks import METADATA
from lenssr.train import (
    DiffusionTrainer,
    Distributed,
    Recipe,
    ResidualCache,
    ResidualPairs,
    Training,
    evaluate_weights,
    fit,
    noise_levels,
    run_steps,
)
from lenssr.weights import find_weights, read_card

SIZES = dict(architecture="diffusion", base="fsrcnn-x2", scale=2, features=24, blocks=2, depth=1)
BASE = "fsrcnn-x2"
BLOCKS, PIXELS = 25.0, 0.25  # variances of blocks of 2x2 pixels, and of the pixels about them


class Toy:
    """Skies of blocks of 2x2 pixels with their posterior means, in the place of a bank."""

    scale, sha256 = 2, ""

    def __init__(self, n, seed, side=12):
        rng = np.random.default_rng(seed)
        truth = np.repeat(np.repeat(rng.normal(0, BLOCKS**0.5, (n, side, side)), 2, 1), 2, 2)
        truth += rng.normal(0, PIXELS**0.5, truth.shape)
        # Little noise in the left half, much in the right.
        sigma = np.where(np.arange(side) < side // 2, 1.0, 4.0) * np.ones((n, side, side))
        data = truth.reshape(n, side, 2, side, 2).mean((2, 4)) + sigma * rng.normal(
            size=sigma.shape)
        seen = BLOCKS + PIXELS / 4
        share = seen / (seen + sigma**2)
        mean, self.variance = (np.repeat(np.repeat(each, 2, 1), 2, 2) for each in (
            share * data, BLOCKS + PIXELS - share * seen))
        numbers = np.full((n, 5 + len(METADATA)), np.nan)
        numbers[:, :5] = 0
        self.n, self.arrays = n, {
            "data": data, "weight": 1 / sigma, "residual": (1 - share) * data / sigma,
            "mean": mean, "error": truth - mean, "numbers": numbers}

    def read(self):
        return {name: torch.from_numpy(array).float() for name, array in self.arrays.items()}


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A network that was trained on them."""
    recipe = Recipe("toy", SIZES, training=Training(
        steps=400, batch=16, learning_rate=1e-2, warmup=40, ema=0.98, optimizer="muon",
        precision="float32", validate_every=200, loss={"mse": 0.1}))
    trainer = DiffusionTrainer(recipe, tmp_path_factory.mktemp("toy"), Distributed("cpu"))
    pairs, unseen = (ResidualPairs(Toy(n, seed), 1, seed == 1) for n, seed in ((1500, 0), (32, 1)))
    trainer.resume()
    trainer.set_schedule(pairs)
    run_steps(trainer, pairs, unseen, progress=False)
    return trainer


@pytest.mark.slow
def test_samples_have_the_posterior_of_the_sky(toy):
    network, bank = toy.average, Toy(4, 2)
    batch = ResidualPairs(bank, validation=True).take(range(4), None)
    with torch.no_grad():
        features = network.encode(*batch[:5])
        generator = torch.Generator().manual_seed(0)
        many = features.repeated(150)
        start = torch.randn(many.log_variance.shape, generator=generator)
        latent = draw("dpm", np.geomspace(20, 0.02, 12),
                      lambda x, level: network.denoise(x, torch.tensor([level]), many), start, None)
        error = network.decode_latent(latent, many)[:, 0].numpy().reshape(4, 150, 24, 24)
    variance = error.var(1)
    for half in (np.s_[:, 4:-4, :8], np.s_[:, 4:-4, 16:]):  # of low and of high noise
        assert np.mean(variance[half]) == pytest.approx(np.mean(bank.variance[half]), rel=0.15)
    # Pixels of a block have its error in common, those of different blocks nothing.
    block = (error[..., ::2] * error[..., 1::2]).mean(1)[:, 4:-4, 8:]
    assert block.mean() == pytest.approx(bank.variance[:, 4:-4, 16:].mean() - PIXELS, rel=0.15)
    apart = (error[..., 1:-1:2] * error[..., 2::2]).mean(1)[:, 4:-4, 8:]
    assert abs(apart.mean()) < 0.1 * block.mean()
    assert abs(error.mean()) < 0.1 * variance.mean()**0.5


def test_figures(toy):
    first, last = toy.curve
    assert last["likelihood"] <= first["likelihood"] + 0.02
    assert last["variance"] == pytest.approx(1, abs=0.1)
    # There is nothing to gain over the posterior mean.
    assert last["psnr"] == pytest.approx(last["psnr_base"], abs=0.1)
    # Nor over the denoiser that knows the variances, since cells have nothing in common.
    assert last["matching"] < 1.05


def test_levels_are_spread_over_the_draws():
    torch.manual_seed(1)
    sigma = noise_levels(500)
    assert (sigma.diff(dim=1) >= 0).all()
    assert sigma.log().median().item() == pytest.approx(-0.7, abs=0.05)


@pytest.fixture(scope="module")
def tiny(recipe):
    """A recipe on the bank of a real network."""
    return dataclasses.replace(
        recipe, name="tiny-diffusion", network={**SIZES, "features": 8},
        data=dataclasses.replace(recipe.data, p_masked=0.5, size=12),
        training=dataclasses.replace(recipe.training, loss={"mse": 1.0, "ssim": 0.1}))


def test_bank_holds_what_the_base_leaves(tiny):
    bank = ResidualCache(tiny.data, BASE)
    arrays = bank.read()
    assert bank.sha256 == read_card(find_weights(BASE)).sha256
    assert {name: tuple(array.shape) for name, array in arrays.items()} == {
        "data": (20, 12, 12), "weight": (20, 12, 12), "residual": (20, 12, 12),
        "mean": (20, 24, 24), "error": (20, 24, 24), "numbers": (20, 5 + len(METADATA))}
    assert (arrays["weight"] == 0).any() and (arrays["residual"][arrays["weight"] == 0] == 0).all()
    truth = arrays["mean"].float() + arrays["error"].float()
    assert (truth.amax((1, 2)) > 3).any()
    # Pixel by pixel, a restored image is nearer to the truth than nothing is.
    assert arrays["error"].float().square().median() < truth.square().median() + 1
    again = ResidualCache(tiny.data, BASE).observe(range(5, 9))
    assert torch.allclose(again["error"].float(), arrays["error"][5:9].float(), atol=0.01)


def test_trained_kept_and_used(tiny, tmp_path):
    path = fit(tiny, tmp_path, device="cpu", progress=False)
    card = read_card(path)
    assert card.network["base_sha256"] == read_card(find_weights(BASE)).sha256
    assert set(card.network["ranges"]) == {"correlation", "pixel_scale"}
    found = superresolve(np.random.default_rng(1).normal(size=(16, 16)), "diffusion",
                         psf=gaussian_psf(4.0), uncertainty=1.0, unit="nJy", weights=path,
                         n_samples=3, n_probes=1, steps=3)
    assert found.samples.shape == (3, 32, 32) and np.isfinite(found.samples).all()
    table = evaluate_weights(path, device="cpu", progress=False)
    assert np.abs(table["difference"][table["metric"] != "loss"]).max() < 1e-4


def test_resumed_to_the_bit(tiny, tmp_path, values):
    straight = fit(tiny, tmp_path / "straight", device="cpu", progress=False)
    half = dataclasses.replace(tiny, training=dataclasses.replace(tiny.training))
    trainer = DiffusionTrainer(half, tmp_path / "resumed", Distributed("cpu"))
    (tmp_path / "resumed").mkdir()
    pairs = ResidualPairs(ResidualCache(tiny.data, BASE), tiny.training.seed)
    trainer.resume()
    trainer.set_schedule(pairs)
    for _ in range(3):
        trainer.losses.append(trainer.advance(pairs))
    trainer.save()
    resumed = fit(tiny, tmp_path / "resumed", device="cpu", progress=False)
    assert torch.equal(values(straight), values(resumed))


@pytest.mark.parametrize("change,message", [
    ({"network": {"base": "unrolled"}}, "recipe key `base` must be weights of one scale"),
    ({"network": {"scale": 3}}, "recipe key `scale` must be the scale of `base`, 2, got 3"),
    ({"data": {"scenes": 0}}, "recipe keys `catalog` and `scenes`"),
])
def test_bad_recipes(tiny, tmp_path, change, message):
    network = {**tiny.network, **change.get("network", {})}
    data = dataclasses.replace(tiny.data, **change.get("data", {}))
    with pytest.raises(ValueError, match=message):
        fit(dataclasses.replace(tiny, network=network, data=data), tmp_path, device="cpu",
            progress=False)
