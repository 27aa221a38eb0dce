"""Trained weights to begin with, parts left as they are, and metrics measured again."""

import dataclasses

import numpy as np
import pytest
import torch

from lenssr.networks import build_network
from lenssr.train import (
    Data,
    Recipe,
    Training,
    evaluate_weights,
    fit,
    freeze,
    freeze_batchnorm,
    warm_start,
)
from lenssr.weights import load_network, save_network

SIZES = dict(architecture="srresnet", channels=1, scale=2, blocks=2, features=8, conditions=5)


@pytest.fixture(scope="module")
def base():
    """A recipe for a network that normalises over batches."""
    return Recipe("base", SIZES, Data(scenes=20, validation_scenes=8, size=8),
                  Training(steps=3, batch=4, warmup=0, validate_every=3, precision="float32"))


@pytest.fixture(scope="module")
def trained(base, tmp_path_factory):
    """Weights of it."""
    return fit(base, tmp_path_factory.mktemp("base"), device="cpu", progress=False)


def test_fine_tuning_in_two_stages(base, trained, tmp_path):
    """The first stage leaves all but the tail, statistics of batches included."""
    first = dataclasses.replace(base, name="first", training=dataclasses.replace(
        base.training, freeze=["head", "body.*"]))
    path = fit(first, tmp_path / "first", init=trained, device="cpu", progress=False)
    old, new = (load_network(p)[0].state_dict() for p in (trained, path))
    for name in old:
        assert torch.equal(old[name], new[name]) == name.startswith(("head", "body")), name
    assert load_network(path)[1].recipe["training"]["init"] == str(trained)
    second = dataclasses.replace(base, name="second", training=dataclasses.replace(
        base.training, init=str(path), learning_rate=1e-5))
    last = load_network(fit(second, tmp_path / "second", device="cpu", progress=False))[0]
    last = last.state_dict()
    assert not any(torch.equal(new[name], last[name]) for name in new if "weight" in name)
    assert all((new[name] - last[name]).abs().max() < 1e-3 for name in new if "weight" in name)


def test_statistics_of_frozen_parts_stay():
    network = build_network(**SIZES).train()
    freeze(network, ["body.0"])
    freeze_batchnorm(network, ["body.0"])
    before = {k: v.clone() for k, v in network.named_buffers()}
    network(torch.randn(4, 1, 8, 8), torch.zeros(4, 5))
    same = {k: torch.equal(v, before[k]) for k, v in network.named_buffers()}
    assert all(kept == k.startswith("body.0.") for k, kept in same.items())
    assert set(same.values()) == {True, False}


@pytest.mark.parametrize(("patterns", "words"), [
    (["haed"], "'haed' names none; did you mean 'head'"),
    (["zzzzzzz"], "names none; there are body, head, tail"),
    (["*"], "must leave something to train"),
])
def test_bad_freezing(patterns, words):
    with pytest.raises(ValueError, match=words):
        freeze(build_network(**SIZES), patterns)


def test_a_prefix_ends_at_a_dot():
    network = build_network(**{**SIZES, "blocks": 11})
    freeze(network, ["body.1"])
    frozen = {name for name, p in network.named_parameters() if not p.requires_grad}
    assert frozen and all(name.startswith("body.1.") for name in frozen)


@pytest.mark.parametrize(("change", "words"), [
    (dict(features=12), "`init` must be weights of the recipe's network, .* features 8, not 12"),
    (dict(scale=4), "`init` must be weights of scale 4, .* of scale 2"),
])
def test_weights_that_do_not_fit(trained, change, words):
    sizes = {**SIZES, **change}
    with pytest.raises(ValueError, match=words):
        warm_start(build_network(**sizes), str(trained), sizes)
    other = dict(architecture="edsr", scale=2, blocks=1, features=8)
    with pytest.raises(ValueError, match="must be weights of architecture 'edsr', .* 'srresnet'"):
        warm_start(build_network(**other), str(trained), other)
    # SRGAN's generator is SRResNet.
    generator = build_network(**{**SIZES, "architecture": "srgan"})
    warm_start(generator, str(trained), {**SIZES, "architecture": "srgan"})
    assert all(map(torch.equal, generator.state_dict().values(),
                   load_network(str(trained))[0].state_dict().values()))


def test_card_is_measured_again(trained):
    found = evaluate_weights(trained, device="cpu", progress=False)
    assert list(found["metric"]) == ["psnr", "flux_ratio"]
    np.testing.assert_allclose(found["difference"], 0, atol=1e-4)


def test_card_without_a_recipe(tmp_path):
    save_network(tmp_path / "bare.safetensors", build_network(**SIZES), name="bare", network=SIZES)
    with pytest.raises(ValueError, match="must have a recipe in their card, 'bare' has none"):
        evaluate_weights(tmp_path / "bare.safetensors")


@pytest.mark.slow
def test_shipped_weights_are_as_good_as_their_card():
    found = evaluate_weights("rcan-x2", device="cpu", progress=False)
    assert abs(found["difference"][list(found["metric"]).index("psnr")]) < 0.01
