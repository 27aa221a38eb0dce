"""The head of errors, on a problem whose posterior variance is known."""

import dataclasses

import numpy as np
import pytest
import torch

from lenssr.networks import ErrorHead, apply_symmetry, asinh_scale, psf_features
from lenssr.train import (
    Distributed,
    ErrorPairs,
    ErrorTrainer,
    MultiScalePairs,
    Recipe,
    Training,
    coverage,
    rotate_psf_features,
    run_steps,
)
from lenssr.uncertainty import NORMAL_COVERAGE

BLOCKS, PIXELS = 25.0, 0.25  # variances of blocks of 2x2 pixels, and of the pixels about them
SIZES = dict(scale=2, conditions=5, features=8, blocks=1)


def posterior(sigma):
    """Share of the datum in the mean, and variance, of a Gaussian sky (closed form)."""
    seen = BLOCKS + PIXELS / 4
    return seen / (seen + sigma**2), BLOCKS + PIXELS - seen**2 / (seen + sigma**2)


def sky(n, side=12, seed=0):
    """Pixels, means of 2x2 of them with noise of two depths, and what is best said of them."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.repeat(rng.normal(0, BLOCKS**0.5, (n, side, side)), 2, 1), 2, 2)
    truth += rng.normal(0, PIXELS**0.5, truth.shape)
    sigma = np.where(np.arange(side) < side // 2, 1.0, 4.0) * np.ones((n, side, side))
    data = truth.reshape(n, side, 2, side, 2).mean((2, 4)) + sigma * rng.normal(size=sigma.shape)
    share, variance = posterior(sigma)
    mean, variance = (np.repeat(np.repeat(each, 2, 1), 2, 2) for each in (share * data, variance))
    arrays = dict(data=data, weight=1 / sigma, conditions=np.zeros((n, 5)), mean=mean, truth=truth,
                  residual=np.zeros_like(data))
    return {name: value.astype(np.float32) for name, value in arrays.items()}, variance


@pytest.fixture(scope="module")
def recipe():
    return Recipe("toy-error", dict(architecture="error", **SIZES), training=Training(
        steps=400, batch=32, learning_rate=1e-2, warmup=40, ema=0.98, precision="float32",
        validate_every=200))


@pytest.fixture(scope="module")
def head(recipe, tmp_path_factory):
    trainer = ErrorTrainer(recipe, tmp_path_factory.mktemp("toy"), Distributed("cpu"))
    trainer.resume()
    pairs = [ErrorPairs(sky(n, seed=seed)[0], slice(None), 12, 1)
             for n, seed in ((1500, 0), (40, 1))]
    run_steps(trainer, *pairs, progress=False)
    assert trainer.curve[-1]["likelihood"] < trainer.curve[0]["loss"]
    return trainer.average


def test_head_finds_the_posterior_variance(head):
    arrays, variance = sky(200, seed=7)
    tensors = [torch.from_numpy(arrays[name])[:, None] for name in ("mean", "data", "weight")]
    with torch.no_grad():
        found = head(asinh_scale(tensors[0]), asinh_scale(tensors[1]), tensors[2],
                     torch.zeros(200, 5), torch.zeros_like(tensors[1])).exp()[:, 0].numpy()
    inner = np.s_[:, 4:-4, 4:-4]
    ratio = found[inner] / variance[inner]
    assert np.abs(np.log(ratio)).mean() < 0.1
    for k in (np.s_[:, 4:-4, 4:10], np.s_[:, 4:-4, 14:20]):
        assert found[k].mean() == pytest.approx(variance[k].mean(), rel=0.06)
    shares = coverage((arrays["mean"] - arrays["truth"])[inner], np.sqrt(found[inner]),
                      np.ones_like(ratio))["all"]
    np.testing.assert_allclose(shares, NORMAL_COVERAGE, atol=0.015)


def test_residuals_show_which_errors_are_large(recipe, tmp_path):
    """Errors of one image in three are four times as large, which only the residual shows."""
    def seen(n, seed):
        rng = np.random.default_rng(seed)
        wrong = np.arange(n) % 3 == 0
        size = np.where(wrong, 4.0, 1.0)[:, None, None]
        arrays = sky(n, seed=seed)[0]
        arrays["truth"] = arrays["mean"] + size * rng.normal(size=arrays["mean"].shape)
        arrays["residual"] = size * rng.normal(size=arrays["data"].shape)
        return {name: value.astype(np.float32) for name, value in arrays.items()}, wrong

    own = dataclasses.replace(recipe, network={**recipe.network, "residual": True})
    trainer = ErrorTrainer(own, tmp_path, Distributed("cpu"))
    trainer.resume()
    run_steps(trainer, *(ErrorPairs(seen(n, seed)[0], slice(None), 12, 1)
                         for n, seed in ((600, 0), (40, 1))), progress=False)
    arrays, wrong = seen(60, 7)
    batch = next(ErrorPairs(arrays, slice(None), 12, 1).batches())
    with torch.no_grad():
        found = trainer.average(*batch.inputs("cpu")).exp().mean(dim=(1, 2, 3)).numpy()
    wrong = wrong[batch.indices]
    assert np.median(found[wrong]) == pytest.approx(16.0, rel=0.1)
    assert np.median(found[~wrong]) == pytest.approx(1.0, rel=0.1)


def test_resumed_training_equals_one_in_one_go(recipe, tmp_path):
    short = dataclasses.replace(recipe, training=dataclasses.replace(
        recipe.training, steps=8, batch=4, validate_every=4))
    pairs = ErrorPairs(sky(20)[0], slice(None), 8, 1)
    values = []
    for stops in ([8], [3, 8]):
        folder = tmp_path / str(len(stops))
        folder.mkdir()
        for stop in stops:
            trainer = ErrorTrainer(short, folder, Distributed("cpu"))
            trainer.resume()
            while trainer.step < stop:
                trainer.losses.append(trainer.advance(pairs))
            trainer.save()
        values.append(torch.cat([v.flatten() for v in trainer.average.state_dict().values()]))
    assert torch.equal(*values)


def test_several_scales_take_turns():
    torch.manual_seed(0)
    head = ErrorHead(**{**SIZES, "scale": [2, 3]})
    twice = sky(8)[0]
    thrice = {**twice, **{name: np.zeros((8, 36, 36), np.float32) for name in ("mean", "truth")}}
    pairs = MultiScalePairs([ErrorPairs(each, slice(None), 12, 1) for each in (twice, thrice)])
    for step, scale in ((0, 2), (1, 3)):
        batch = pairs.batch(step, 4)
        assert head(*batch.inputs("cpu")).shape == batch.error.shape == (4, 1, 12 * scale,
                                                                         12 * scale)


def test_default_head_is_small():
    for scale, told in ((2, 5), (4, 5), ([2, 3, 4], 2)):
        assert sum(p.numel() for p in ErrorHead(scale, told, residual=True).parameters()) < 60000


@pytest.mark.parametrize("turn", range(8))
def test_numbers_of_the_psf_turn_with_the_image(turn):
    y, x = torch.meshgrid(torch.arange(-8.0, 9), torch.arange(-8.0, 9), indexing="ij")
    psf = torch.exp(-(x**2 + 1.2 * y**2 + 0.1 * x * y) / 6)
    psf /= psf.sum()
    told, expected = psf_features(psf[None])[0], psf_features(apply_symmetry(psf, turn)[None])[0]
    torch.testing.assert_close(rotate_psf_features(told, turn), expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(rotate_psf_features(told[:2], turn), told[:2])
