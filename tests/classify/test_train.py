"""Training of classifiers: resumed to the bit, kept in half precision, and wrong recipes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lenssr.classify import (
    ClassifierInputs,
    ClassifierRecipe,
    InputConfig,
    Labels,
    evaluate_classifier,
    restorer_from_weights,
    train_classifier,
)
from lenssr.cli import main
from lenssr.image import LensImage, gaussian_psf
from lenssr.networks import asinh_scale, sinh_scale
from lenssr.simulate import draw_model, find_preset, simulate_catalog
from lenssr.train import Recipe, fit, open_pairs
from lenssr.weights import load_network, read_card


def test_weights_and_card(tiny, tiny_recipe):
    card = read_card(tiny)
    assert {t.dtype for t in load_file(tiny).values() if t.is_floating_point()} == {torch.float16}
    assert card.network["classes"] == 3 and card.steps == 6
    assert ClassifierRecipe.from_dict(card.recipe) == tiny_recipe
    assert card.classifier["classes"] == ["no_sub", "cdm", "axion"]
    assert card.classifier["size"] == 32
    assert set(card.metrics) >= {"accuracy", "calibration_error", "auc_cdm"}


def test_a_run_that_was_stopped_goes_on(tiny, tiny_recipe, tmp_path):
    training = tiny_recipe.training
    folder = tmp_path / "run"
    stops = []

    def stop_once(self):
        if self.step == 3 and not stops:
            stops.append(self.step)
            self.save()
            raise KeyboardInterrupt
        return original(self)

    from lenssr.classify import ClassifierTrainer

    original = ClassifierTrainer.done.fget
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ClassifierTrainer, "done", property(stop_once))
        with pytest.raises(KeyboardInterrupt):
            train_classifier(tiny_recipe, folder, progress=False)
    path = train_classifier(tiny_recipe, folder, progress=False)
    assert training.steps == 6 and stops == [3]
    for name, tensor in load_file(tiny).items():
        assert torch.equal(tensor, load_file(path)[name]), name


def test_classes_are_those_of_the_scenes(tiny_recipe):
    preset = find_preset("classification")
    labels = Labels(tiny_recipe.classes)(range(6))
    for index, label in enumerate(labels):
        name = tiny_recipe.classes[label]
        prior = preset.substructure[name]
        scene = draw_model(preset.population, 1, index, prior)
        assert scene.substructure.name == name


def test_views_lie_on_each_other(tiny_recipe):
    """Sharp and interpolated images have their light at one place, and about the same."""
    batch = open_pairs(tiny_recipe.pairs(), True).batch(0, 8)
    sharp, seen = (ClassifierInputs(InputConfig(name), torch.device("cpu"))(batch).double()
                   for name in
                   ("hr", "lr"))
    assert sharp.shape == seen.shape == (8, 1, 32, 32)
    x = torch.arange(32, dtype=torch.float64)
    for axis in (-1, -2):
        weight = seen.clamp(min=3.0), sharp.clamp(min=3.0)
        centres = [(w.sum(dim=axis) * x).sum(-1) / w.sum(dim=(-2, -1)) for w in weight]
        assert (centres[0] - centres[1]).abs().max() < 0.5


def test_noise_that_is_added_is_relative_to_the_peak(tiny_recipe):
    batch = open_pairs(tiny_recipe.pairs(), True).batch(0, 8)
    viewer = ClassifierInputs(InputConfig(noise=0.1), torch.device("cpu"))
    clean = viewer(batch)
    torch.manual_seed(0)
    noise = (viewer(batch, noisy=True) - clean).std(dim=(1, 2, 3)) / clean.amax(dim=(1, 2, 3))
    assert (noise < 0.11).all() and (noise > 0.0009).all()
    assert torch.equal(viewer(batch), clean)


@pytest.mark.parametrize(("options", "message"), [
    (dict(input="dirty"), "`input` must be one of hr, lr, sr"),
    (dict(input="sr"), "`weights` must be given for the input 'sr'"),
    (dict(weights="rcan-x2"), "`weights` must be given for the input 'sr'"),
    (dict(class_weights=[0.5, 0.3, 0.3]), r"`class_weights` must have a sum of 1, got .* 1.1"),
    (dict(class_weights=[0.5, -0.5, 1]), "`class_weights` must be numbers that are not negative"),
    (dict(class_weights=[0.5, 0.5]), "`class_weights` must have a number for each of the 3"),
    (dict(noise=-1), "`noise` must be a number from 0 to 1"),
])
def test_wrong_looks(tiny_recipe, options, message):
    with pytest.raises(ValueError, match=message):
        replace(tiny_recipe, inputs=InputConfig(**options))


@pytest.mark.parametrize("classes", [None, ["cdm"], ["cdm", "cdm"]])
def test_no_classes_to_tell_apart(tiny_recipe, classes):
    with pytest.raises(ValueError, match="`substructure` must name at least two classes"):
        replace(tiny_recipe, data=replace(tiny_recipe.data, substructure=classes))


def test_restorer_of_another_scale(tiny_recipe, tmp_path):
    recipe = replace(tiny_recipe, inputs=InputConfig("sr", 2, "rcan-x4"))
    with pytest.raises(ValueError, match="`weights` must be of scale 2, 'rcan-x4' is of 4"):
        train_classifier(recipe, tmp_path, progress=False)


def test_catalogue_without_labels(tiny_recipe, tmp_path):
    for side in ("HR", "LR"):
        (tmp_path / side).mkdir()
        for k in range(12):
            n = 32 if side == "HR" else 16
            np.save(tmp_path / side / f"sample_{k}.npy", np.ones((1, n, n)))
    recipe = replace(tiny_recipe, data=replace(tiny_recipe.data, catalog=str(tmp_path),
                                               flux="per-pixel"))
    with pytest.raises(ValueError, match="`catalog` must have labels, a column `substructure`"):
        train_classifier(recipe, tmp_path / "run", progress=False)


def test_catalogue_tells_its_classes(tmp_path):
    pairs = simulate_catalog(tmp_path / "pairs", 5, "classification", engine="torch",
                             substructure=("axion", "no_sub"), progress=False)
    labels = Labels(("no_sub", "cdm", "axion"), str(pairs.path))
    assert labels([0, 1, 4]).tolist() == [2, 0, 2]
    with pytest.raises(ValueError, match="`catalog` must hold the classes no_sub, cdm only"):
        Labels(("no_sub", "cdm"), str(pairs.path))


def test_begun_with_trained_weights(tiny, tiny_recipe, tmp_path):
    training = replace(tiny_recipe.training, steps=1, learning_rate=1e-12, warmup=1,
                       validate_every=1, init=str(tiny))
    path = train_classifier(replace(tiny_recipe, training=training), tmp_path, progress=False)
    for name, tensor in load_file(tiny).items():
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(load_file(path)[name], tensor, rtol=1e-3, atol=1e-4)


def test_figures_of_a_card_are_found_again(tiny, capsys):
    found = evaluate_classifier(tiny, device="cpu", progress=False)
    assert set(found["metric"]) >= {"accuracy", "entropy", "auc_cdm", "calibration_error"}
    # Some were measured before the weights were rounded to half precision: of 24 images, two of
    # which another one may come first.
    np.testing.assert_allclose(found["difference"], 0, atol=0.02)
    assert main(["evaluate", str(tiny), "--device", "cpu"]) == 0
    assert "calibration_error" in capsys.readouterr().out


def test_only_classifiers_are_evaluated_as_such():
    with pytest.raises(ValueError, match="must be weights of a classifier, got 'srcnn-x2'"):
        evaluate_classifier("srcnn-x2")


def test_restored_as_the_methods_restore(tiny_recipe, tmp_path):
    """A classifier is trained on what the methods give, however narrow the PSF is."""
    sizes = dict(architecture="rcan", channels=1, scale=2, groups=1, blocks=1, features=4,
                 reduction=2, window=8, conditions=5)
    weights = fit(Recipe("tiny-rcan", sizes, tiny_recipe.data, replace(
        tiny_recipe.training, learning_rate=1e-2)), tmp_path, progress=False)
    network, card = load_network(weights)
    # 1.2 pixels: far below what the networks of the ground were told.
    assert card.psf["high"][0] < -3
    batch = next(iter(open_pairs(tiny_recipe.pairs(sizes), True).batches()))
    viewer = ClassifierInputs(InputConfig("sr", weights=str(weights)), torch.device("cpu"))
    way, psf = restorer_from_weights(weights, device="cpu"), gaussian_psf(1.2)
    for data, shown in zip(batch.lr[:3, 0].double().numpy(), viewer(batch)[:3, 0].numpy()):
        image = LensImage(data, np.ones_like(data), np.zeros(data.shape, bool), psf, 1.0)
        # It warns of nothing: warnings are errors.
        np.testing.assert_allclose(way(image), shown, atol=2e-3 * shown.max())
    # One that was told of a wider PSF would give something else.
    told = torch.tensor([[1.0, -3, -3, 0, 0]]).expand(3, -1)
    other = sinh_scale(network(asinh_scale(batch.lr[:3]), told)).detach()
    assert (other - viewer(batch)[:3]).abs().max() > 5e-3 * other.max()
