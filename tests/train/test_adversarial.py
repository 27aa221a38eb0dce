"""Training against a discriminator: what it is shown, how it weighs, and that it goes on."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn import functional

from lenssr.networks import Discriminator, asinh_scale, build_network
from lenssr.train import (
    Adversarial,
    Distributed,
    Recipe,
    SRGANTrainer,
    balanced_adversarial_loss,
    discriminator_inputs,
    fit,
    open_pairs,
    power_error,
    relativistic_loss,
    wavelet_details,
)
from lenssr.weights import load_network


@pytest.fixture(scope="module")
def game(recipe):
    """A recipe of six steps of SRGAN."""
    return Recipe("game", dict(architecture="srgan", scale=2, blocks=1, features=4, norm=False,
                               conditions=5), recipe.data, recipe.training,
                  Adversarial(weight=0.5, features=4, stages=2, hidden=8))


def test_discriminator_is_the_published_one():
    """Eight convolutions, of every other one stride two; features as in figure 4 of the paper."""
    network = Discriminator(96, 3)
    layers = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [(m.out_channels, m.stride[0]) for m in layers] == [
        (64, 1), (64, 2), (128, 1), (128, 2), (256, 1), (256, 2), (512, 1), (512, 2)]
    dense = [m for m in network.modules() if isinstance(m, torch.nn.Linear)]
    assert [(m.in_features, m.out_features) for m in dense] == [(512 * 36, 1024), (1024, 1)]
    with pytest.raises(ValueError, match="`stages` must be such that .* 100 pixels"):
        Discriminator(100)


def test_penalty_is_the_squared_gradient(game, tmp_path):
    """By a judge that is a sum times a number: its gradient is that number in all pixels."""
    class Sum(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.gain = torch.nn.Parameter(torch.tensor(0.5))

        def forward(self, x):
            return self.gain * x.sum(dim=(1, 2, 3))

    class Simple(SRGANTrainer):
        def make_discriminator(self):
            return Sum()

    trainer = Simple(dataclasses.replace(game, training=dataclasses.replace(
        game.training, clip=100.0)), tmp_path, Distributed("cpu"))
    trainer.judge_optimizer = torch.optim.SGD(trainer.judge.parameters(), 1e-3)
    real, fake = torch.zeros(2, 1, 4, 4), torch.full((2, 1, 4, 4), -0.5)
    loss = trainer.update_discriminator(real, fake)
    assert loss == pytest.approx(np.log(1 + np.exp(-0.5 * 8)))
    # d/dg [log(1 + exp(-8 g)) + 0.5 * 16 g^2]
    by_hand = -8 / (1 + np.exp(4)) + 16 * 0.5
    assert trainer.judge.gain.item() == pytest.approx(0.5 - 1e-3 * by_hand, abs=1e-6)


def test_details_are_what_smoothing_takes_away():
    """By the cubic spline as a matrix, in the middle of an image."""
    torch.manual_seed(0)
    image = torch.rand(1, 1, 33, 33, dtype=torch.float64)
    kernel = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256
    around = image[0, 0, 14:19, 14:19].numpy()
    found = wavelet_details(image)
    assert found[0, 0, 16, 16].item() == pytest.approx(
        image[0, 0, 16, 16].item() - (kernel * around).sum(), abs=1e-12)
    wide = wavelet_details(torch.nn.functional.pad(torch.ones(1, 1, 1, 1), [40] * 4).double())
    # All that is taken away of a point sums up to nothing, at every scale.
    assert wide.sum(dim=(-2, -1)).abs().max() < 1e-12
    assert wavelet_details(torch.full((1, 1, 33, 33), 7.0)).abs().max() < 1e-5


def test_views_show_what_is_too_smooth():
    torch.manual_seed(0)
    truth = 1000 * torch.rand(2, 1, 32, 32)
    true = discriminator_inputs(truth, truth)
    smooth = discriminator_inputs(functional.avg_pool2d(truth, 3, 1, 1), truth)
    torch.testing.assert_close(true[:, :1], asinh_scale(truth))
    sizes = torch.sinh(true[:, 1:]).square().mean(dim=(-2, -1)).sqrt()
    torch.testing.assert_close(sizes, torch.ones_like(sizes), rtol=0.02, atol=0)
    assert smooth[:, 1].square().mean() < 0.3 * true[:, 1].square().mean()


def test_relativistic_by_hand():
    real, fake = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0])
    by_hand = [np.log(1 + np.exp(-1)), np.log(1 + np.exp(2))]
    np.testing.assert_allclose(relativistic_loss(real, fake), by_hand, rtol=1e-6)


def test_adversarial_gradient_is_as_large_as_it_should_be():
    torch.manual_seed(0)
    output = torch.randn(3, 1, 4, 4, requires_grad=True)
    push = torch.randn(3, 1, 4, 4) * torch.tensor([1e-3, 1.0, 1e3]).reshape(3, 1, 1, 1)

    def content():
        return output.square().mean()

    content().backward()
    ours, output.grad = output.grad.clone(), None
    sure = torch.tensor([0.0, 3.0, -30.0])
    margin = (push * (output - output.detach())).sum(dim=(1, 2, 3)) + sure
    loss = balanced_adversarial_loss(content(), margin, output, 0.5)
    loss.backward()
    added = output.grad - ours
    assert loss.item() == pytest.approx(content().item())
    norms = [g.flatten(1).norm(dim=1) for g in (added, ours)]
    torch.testing.assert_close(norms[0], sure.sigmoid() * norms[1], rtol=1e-3, atol=1e-9)
    cosine = functional.cosine_similarity(added.flatten(1), push.flatten(1))
    torch.testing.assert_close(cosine[:2], torch.ones(2), rtol=1e-4, atol=0)


def test_power_error_by_hand(recipe):
    """A network that returns the truth less a factor has that much too little power."""
    pairs = open_pairs(recipe, validation=True)

    class Known(torch.nn.Module):
        def forward(self, *inputs):
            return asinh_scale(0.9 * self.truth)

    network = Known()
    batches = list(pairs.batches())

    class One:
        def batches(self):
            for batch in batches:
                network.truth = batch.truth
                yield batch

    assert power_error(network, One(), "cpu") == pytest.approx(0.1, abs=1e-5)


@pytest.mark.slow
def test_resumed_run_equals_one_in_one_go(game, values, tmp_path):
    whole = fit(game, tmp_path / "whole", device="cpu", progress=False)
    pairs = open_pairs(game)
    for stop in (2, 4):
        (tmp_path / "parts").mkdir(exist_ok=True)
        trainer = SRGANTrainer(game, tmp_path / "parts", Distributed("cpu"))
        trainer.resume()
        while trainer.step < stop:
            trainer.losses.append(trainer.advance(pairs))
        trainer.save()
    parts = fit(game, tmp_path / "parts", device="cpu", progress=False)
    assert torch.equal(values(whole), values(parts))
    card = load_network(whole)[1]
    assert Recipe.from_dict(card.recipe) == game
    assert np.isfinite(card.metrics["power_error"])


def test_both_sides_learn(game, tmp_path):
    """All parameters of both move, and the judge gets better at telling images apart."""
    trainer = SRGANTrainer(game, tmp_path, Distributed("cpu"))
    pairs, told = open_pairs(game), []
    update_discriminator = trainer.update_discriminator
    trainer.update_discriminator = lambda *images: told.append(update_discriminator(*images))
    before = [p.clone() for p in (*trainer.network.parameters(), *trainer.judge.parameters())]
    for _ in range(30):
        trainer.advance(pairs)
    after = [*trainer.network.parameters(), *trainer.judge.parameters()]
    assert sum(not torch.equal(a, b) for a, b in zip(before, after)) == len(after)
    assert np.mean(told[-5:]) < np.mean(told[:5])


def test_recipes_that_do_not_fit(game, recipe):
    with pytest.raises(ValueError, match=r"\[adversarial\] must be given for arcs and srgan alone"):
        dataclasses.replace(game, adversarial=None)
    with pytest.raises(ValueError, match="the architecture is 'rcan'"):
        dataclasses.replace(recipe, adversarial=game.adversarial)
    with pytest.raises(ValueError, match="recipe key `weight` must be a number above 0"):
        Adversarial(weight=0.0)
    with pytest.raises(ValueError, match=r"\[adversarial\].*did you mean `?'?stages"):
        Recipe.from_dict({**game.as_dict(), "adversarial": {"stage": 3}})


def test_recipes_without_are_as_they_were(recipe):
    assert "adversarial" not in recipe.as_dict()
    assert isinstance(build_network("srgan", scale=2), type(build_network("srresnet", scale=2)))
