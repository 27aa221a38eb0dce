"""From simulated to observed pairs: what is trained, what stays, and when adaptation ends."""

import dataclasses

import numpy as np
import pytest
import torch

from lenssr.networks import asinh_scale
from lenssr.simulate import open_catalog, simulate_pair, write_pairs
from lenssr.train import (
    CatalogPairs,
    Data,
    DomainDiscriminator,
    adapt,
    consistency_chi2,
    encode_features,
    finetune,
    fit,
)
from lenssr.weights import load_network, read_card


@pytest.fixture(scope="module")
def source(recipe, tmp_path_factory):
    """Weights of a network of a few steps."""
    return fit(recipe, tmp_path_factory.mktemp("source"), progress=False)


@pytest.fixture(scope="module")
def pairs():
    """Pairs of a domain with another gain, as no simulated pair has it."""
    found = [simulate_pair(size=16, seed=4, index=index) for index in range(12)]
    for pair in found:
        pair.hr.data *= 0.5
    return found


def parts(path):
    """Values of the up-sampling part, and of all before it."""
    state = load_network(path)[0].state_dict()
    return tuple(torch.cat([v.flatten() for k, v in state.items()
                            if k.startswith("tail.") is last]) for last in (True, False))


def test_stages_of_finetuning(source, pairs, tmp_path):
    made = finetune(source, pairs, tmp_path, steps=(30, 10), learning_rates=(1e-2, 1e-3), batch=4,
                    size=8, progress=False)
    first = tmp_path / "upsampler" / made.name
    before, middle, after = (parts(path) for path in (source, first, made))
    assert not torch.equal(before[0], middle[0])
    assert torch.equal(before[1], middle[1])
    assert not torch.equal(middle[1], after[1])
    card = read_card(made)
    assert card.name == "tiny-tuned" and card.recipe["training"]["init"] == str(first)
    # The fluxes of the other domain are half of those that the network had learnt.
    unseen = CatalogPairs(Data(catalog=str(tmp_path / "pairs"), size=8, validation_seed=0), 2, True)
    from lenssr.train import validate

    old, new = (validate(load_network(path)[0], unseen, "cpu")["psnr"] for path in (source, made))
    assert new > old
    assert card.metrics["psnr"] == pytest.approx(new, abs=1e-3)
    # What was written is a catalogue.
    assert len(open_catalog(tmp_path / "pairs")) == 12


def test_each_stage_can_be_left_out(source, pairs, tmp_path):
    made = finetune(source, pairs, tmp_path, steps=(0, 2), batch=2, size=8, progress=False)
    assert made.parent.name == "all" and not (tmp_path / "upsampler").exists()
    with pytest.raises(ValueError,
                       match=r"`steps` must be positive for at least one stage, got \(0, 0\)"):
        finetune(source, pairs, tmp_path, steps=(0, 0))
    with pytest.raises(ValueError, match="`steps` must be two numbers, one for each stage, got 5"):
        finetune(source, pairs, tmp_path, steps=5)


def test_folds_hold_out_each_pair_once(pairs, tmp_path):
    from lenssr.simulate import write_pairs

    write_pairs(pairs, tmp_path / "pairs")
    data = Data(catalog=str(tmp_path / "pairs"), size=8, validation_fraction=0.25)
    held = [CatalogPairs(dataclasses.replace(data, fold=k), 2, True).chosen for k in range(4)]
    assert sorted(np.concatenate(held)) == list(range(12))
    rest = CatalogPairs(dataclasses.replace(data, fold=2), 2).chosen
    assert set(rest) == set(range(12)) - set(held[2])
    with pytest.raises(ValueError, match="recipe key `fold` must be below 4"):
        CatalogPairs(dataclasses.replace(data, fold=4), 2)


def test_adaptation_leaves_the_upsampler_and_sees_no_target(source, pairs, tmp_path):
    options = dict(steps=5, min_steps=5, batch=4, size=8, learning_rate=1e-3, progress=False)
    made = adapt(source, pairs, tmp_path / "one", **options)
    before, after = parts(source), parts(made)
    assert torch.equal(before[0], after[0])
    assert not torch.equal(before[1], after[1])
    card = read_card(made)
    assert card.adapted["steps"] == 5 and card.steps == 5
    assert {"psnr", "psnr_before"} <= card.metrics.keys()
    assert len((tmp_path / "one" / "adapt.csv").read_text().splitlines()) == 6
    # Other targets, the same weights.
    blind = [dataclasses.replace(pair, hr=pair.hr.copy()) for pair in pairs]
    for pair in blind:
        pair.hr.data[:] = 7.0
    again = adapt(source, blind, tmp_path / "two", **options)
    assert torch.equal(after[1], parts(again)[1])


def test_number_of_scenes_of_an_adaptation(source, pairs, tmp_path, monkeypatch):
    monkeypatch.setenv("LENSSR_CACHE", str(tmp_path / "cache"))
    options = dict(steps=2, min_steps=2, batch=4, size=8, progress=False)
    made = adapt(source, pairs, tmp_path / "stream", scenes=0, **options)
    assert not (tmp_path / "cache").exists()
    assert read_card(made).adapted["scenes"] == 0
    # The recipe has 20 scenes.
    adapt(source, pairs, tmp_path / "bank", scenes=30, **options)
    scenes, = (tmp_path / "cache").rglob("scenes-*.npy")
    assert len(np.load(scenes)) == 30


def test_restored_images_have_to_agree_with_their_data(source, tmp_path):
    bright = [simulate_pair(size=24, seed=4, index=index) for index in range(6)]
    write_pairs(bright, tmp_path / "pairs")
    data = Data(catalog=str(tmp_path / "pairs"), size=24, noise_error=0.0, validation_fraction=0.2)
    batch = CatalogPairs(data, 2, telescope=True).batch(0, 4)
    truth = asinh_scale(batch.truth)
    right = consistency_chi2(truth, batch).item()
    # Of normal residuals the mean of sqrt(1 + r^2) - 1 is 0.355.
    assert right == pytest.approx(0.355, abs=0.06)
    for wrong in (asinh_scale(0.8 * batch.truth), truth.roll(2, -1)):
        assert consistency_chi2(wrong, batch).item() > 1.5 * right
    # Where there is no datum nothing is compared.
    sigma, *others = batch.telescope
    empty = batch._replace(telescope=(torch.full_like(sigma, torch.inf), *others))
    assert consistency_chi2(truth, empty).item() == 0
    # Without PSFs there is nothing to compare with.
    for pair in bright:
        pair.lr.psf = None
    made = adapt(source, bright, tmp_path / "blind", steps=2, batch=2, size=8, scenes=0,
                 progress=False)
    assert read_card(made).adapted["consistency_weight"] == 0
    assert "disagreement" not in (tmp_path / "blind" / "adapt.csv").read_text()


def test_adaptation_ends_when_domains_are_one(source, tmp_path):
    # The target domain is the source domain: nobody can tell them apart.
    same = [simulate_pair(size=16, seed=1, index=index) for index in range(40)]
    made = adapt(source, same, tmp_path, steps=400, min_steps=60, batch=8, size=8,
                 stop_accuracy=0.7,
                 progress=False)
    assert read_card(made).steps < 400


def test_adaptation_needs_a_batch_of_pairs(source, pairs, tmp_path):
    # Of twelve, one is held out.
    with pytest.raises(ValueError, match="`batch` must be at most the number of pairs to train "
                                         "with, 11, got 12"):
        adapt(source, pairs, tmp_path, batch=12, size=8, progress=False)


def test_discriminator_is_bounded():
    torch.manual_seed(0)
    features = 5 + 3 * torch.randn(8, 6, 16, 16)
    judge = DomainDiscriminator(features)
    for _ in range(30):
        judge(features)  # the power iteration converges
    judge.eval()
    for layer in judge.layers:
        if isinstance(layer, torch.nn.Conv2d):
            values = torch.linalg.svdvals(layer.weight.flatten(1))
            assert values[0].item() == pytest.approx(1, abs=0.02)
    # Features in other units are the same features.
    other = DomainDiscriminator(10 * features)
    other.load_state_dict({**judge.state_dict(), "mean": other.mean, "spread": other.spread})
    torch.testing.assert_close(other.eval()(10 * features), judge(features), rtol=1e-4, atol=1e-5)


def test_features_are_what_enters_the_last_part(source):
    network, _ = load_network(source)
    x, told = torch.randn(2, 1, 9, 7), torch.zeros(2, 5)
    features, output = encode_features(network, x, told)
    torch.testing.assert_close(network.tail(features), output)
    torch.testing.assert_close(network(x, told), output)
    from lenssr.networks import build_network

    with pytest.raises(ValueError, match="`weights` must be of a network with an up-sampling part"):
        encode_features(build_network("srcnn"))


@pytest.mark.parametrize(("options", "words"), [
    (dict(steps=0), "`steps` must be positive, got 0"),
    (dict(adversarial=-1), "`adversarial` must not be negative, got -1"),
    (dict(stop_accuracy=0.3), "`stop_accuracy` must be from 0.5 to 1, got 0.3"),
    (dict(scenes=-1), "`scenes` must be a non-negative integer, got -1"),
    (dict(scenes=3, batch=4), "`scenes` must be zero or at least `batch`, 4, got 3"),
])
def test_bad_options_of_adaptation(source, pairs, tmp_path, options, words):
    with pytest.raises(ValueError, match=words):
        adapt(source, pairs, tmp_path / "new", **options)
    assert not (tmp_path / "new").exists()
