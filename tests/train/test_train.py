"""Training: recipes, resume to the bit, and a loss that keeps the flux."""

import dataclasses

import numpy as np
import pytest
import torch

from lenssr.networks import compress
from lenssr.train import Data, Recipe, Training, fit
from lenssr.train._data import Pairs
from lenssr.train._loop import Trainer, flux_weight, learning_rate
from lenssr.train._losses import flux_error, log_relative_error, restoration_loss
from lenssr.weights import load_network

RECIPE = Recipe(
    "tiny", dict(architecture="rcan", channels=1, scale=2, groups=1, blocks=1, features=4,
                 reduction=2, window=8, conditions=5),
    Data(scenes=20, validation_scenes=8, size=8),
    Training(steps=6, batch=4, warmup=2, validate_every=3, precision="float32"))


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """Scenes are rendered once for all tests here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LENSSR_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def values(path):
    return torch.cat([v.flatten() for v in load_network(path)[0].state_dict().values()])


def test_fit_makes_weights_with_a_card(tmp_path):
    path = fit(RECIPE, tmp_path, progress=False)
    _, card = load_network(path)
    assert card.steps == 6
    assert card.recipe["training"]["batch"] == 4
    assert np.isfinite(card.figures["psnr"])
    assert len((tmp_path / "curve.csv").read_text().splitlines()) == 3


def test_resumed_run_equals_one_in_one_go(tmp_path):
    whole = fit(RECIPE, tmp_path / "whole", progress=False)
    pairs = Pairs(RECIPE.data, 2)
    trainer = Trainer(RECIPE, tmp_path)
    for _ in range(4):
        trainer.advance(pairs)
    trainer.save()
    resumed = fit(RECIPE, tmp_path, progress=False)
    assert torch.equal(values(whole), values(resumed))


def test_folder_of_another_recipe(tmp_path):
    Trainer(RECIPE, tmp_path).save()
    other = dataclasses.replace(RECIPE, name="other")
    with pytest.raises(ValueError, match="`folder` must be new or of the same recipe"):
        fit(other, tmp_path, progress=False)


def test_loss_that_is_not_finite_stops(tmp_path, monkeypatch):
    trainer = Trainer(RECIPE, tmp_path)
    trainer.save()
    before = trainer.checkpoint.read_bytes()
    monkeypatch.setattr("lenssr.train._loop.restoration_loss", lambda *a: a[0].sum() * np.nan)
    with pytest.raises(FloatingPointError, match="loss is nan at step 0"):
        fit(RECIPE, tmp_path, progress=False)
    assert trainer.checkpoint.read_bytes() == before


def test_failed_checkpoint_keeps_the_last(tmp_path, monkeypatch):
    trainer = Trainer(RECIPE, tmp_path)
    trainer.save()
    before = trainer.checkpoint.read_bytes()

    def full(state, path):
        path.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="no space"):
        trainer.save()
    assert trainer.checkpoint.read_bytes() == before


def test_learning_rate_warms_up_and_falls_to_zero():
    training = Training(steps=100, warmup=10, learning_rate=1.0)
    rates = [learning_rate(step, training) for step in range(101)]
    assert rates[:10] == pytest.approx(np.arange(1, 11) / 10)
    assert (np.diff(rates[10:]) < 0).all()
    assert rates[100] == pytest.approx(0)
    assert rates[55] == pytest.approx(0.5)


def test_flux_counts_for_more_in_the_end():
    training = Training(steps=100, flux_weight=0.1, flux_weight_end=0.4)
    assert [flux_weight(step, training) for step in (0, 50, 75, 100)] == pytest.approx(
        [0.1, 0.1, 0.2, 0.4])


def test_every_scene_once_before_any_again():
    pairs = Pairs(RECIPE.data, 2)
    epoch = np.concatenate([pairs.order(step, 4, 1) for step in range(5)])
    assert sorted(epoch) == list(range(20))
    assert not np.array_equal(pairs.order(5, 4, 1), pairs.order(0, 4, 1))


def test_patches_are_turned_together():
    # A star where the observed patch has its maximum: no turn, flip or shift separates them.
    pairs = Pairs(dataclasses.replace(RECIPE.data, size=16, noise_error=0.0), 2)
    pairs.instrument = dataclasses.replace(pairs.instrument, snr=(1e6, 1e6))
    star = np.zeros((8, pairs.optics.n, pairs.optics.n), np.float32)
    points = np.zeros((8, 1, 3), np.float32)
    points[:, 0] = pairs.optics.n / 2 + 9.5, pairs.optics.n / 2 - 6.5, 1.0
    pairs.bank.take = lambda opened, indices: (star, points)
    lr, hr, _ = pairs.batch(np.arange(8), torch.Generator().manual_seed(0))
    for low, high in zip(lr[:, 0].numpy(), hr[:, 0].numpy(), strict=True):
        places = [np.array(np.unravel_index(image.argmax(), image.shape)) for image in (low, high)]
        assert (places[1] // 2 == places[0]).all()


def test_ellipticity_turns_with_the_patch():
    pairs = Pairs(RECIPE.data, 2)
    pairs.instrument = dataclasses.replace(pairs.instrument, ellipticity=0.1)
    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)
        _, _, told = pairs.batch(np.arange(20), generator)
        assert told.shape == (20, 5)
    square = torch.zeros(1, 5, 5)
    square[0, 2] = torch.tensor([1.0, 2, 3, 2, 1])
    from lenssr.networks import describe_psf
    from lenssr.train._data import _turn

    upright = describe_psf(square / square.sum())[0]
    turned = describe_psf(_turn(square[0], 1)[None] / square.sum())[0]
    assert upright[3] > 0
    torch.testing.assert_close(turned[3], -upright[3])


def test_flux_error_by_hand():
    truth = torch.full((1, 1, 64, 64), 2.0)
    found = flux_error(truth + 0.1, truth, 2).item()
    by_hand = sum(np.sqrt(0.1**2 / ((2 / side) ** 2 + 0.02**2) + 1) - 1 for side in (16, 64))
    assert found == pytest.approx(by_hand, rel=2e-3)
    assert flux_error(truth, truth, 2).item() == 0


def test_log_relative_error_is_the_psnr():
    from skimage.metrics import peak_signal_noise_ratio

    rng = np.random.default_rng(0)
    truth = rng.random((3, 1, 16, 16))
    truth[2] = 0
    image = truth + rng.normal(0, 0.1, truth.shape)
    found = log_relative_error(torch.from_numpy(image), torch.from_numpy(truth)).item()
    psnr = [peak_signal_noise_ratio(t, i, data_range=t.max())
            for t, i in zip(truth[:2], image[:2], strict=True)]
    assert -10 / np.log(10) * found == pytest.approx(np.mean(psnr), abs=1e-2)


def test_loss_of_an_empty_image_is_finite():
    truth = torch.zeros(2, 1, 16, 16)
    output = torch.full_like(truth, 0.1, requires_grad=True)
    loss = restoration_loss(output, truth, 2, 0.015, 0.002)
    loss.backward()
    assert torch.isfinite(output.grad).all()
    np.testing.assert_allclose(compress(truth).numpy(), 0)


WHOLE = 'name = "x"\n[network]\narchitecture = "rcan"\nscale = 2\n'


@pytest.mark.parametrize(("text", "words"), [
    ("name = ", "is not TOML"),
    ("[network]\n", "lacks the key `name`"),
    ('name = "x"\n[netwrok]\n', "unknown key `netwrok`.*did you mean `network`"),
    ('name = "x"\n[network]\nscale = 2\n', "lacks the key `architecture`"),
    ('name = "x"\n[network]\narchitecture = "rcan"\n', "lacks the key `scale`"),
    ('name = "x"\n[network]\n[data]\nsise = 3\n', r"unknown key `sise` in .*\[data\].*`size`"),
    (WHOLE + '[training]\nbatch = 0\n', "`batch` must be positive, got 0"),
    (WHOLE + '[training]\nema = 1\n', "`ema` must be in"),
    (WHOLE + '[training]\nprecision = "int8"\n', "`precision` must be"),
])
def test_bad_recipes(tmp_path, text, words):
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=words):
        Recipe.read(path)


def test_no_such_recipe():
    with pytest.raises(FileNotFoundError, match="`recipe` must be a TOML file or the name"):
        Recipe.read("nowhere")


def test_shipped_recipe_is_that_of_the_shipped_weights():
    _, card = load_network("rcan-x2", "rcan")
    assert card.recipe == Recipe.read("rcan_x2").as_dict()
