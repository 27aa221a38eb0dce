"""Training: resumed to the bit, stopped in time, and never a half-written file."""

import csv
import dataclasses
import os
import resource
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from lenssr.train import (
    Curves,
    Distributed,
    Recipe,
    Trainer,
    Training,
    find_learning_rate,
    fit,
    open_pairs,
)
from lenssr.weights import load_network


def changed(recipe, **training):
    return dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, **training))


def begun(recipe, folder):
    return Trainer(recipe, folder, Distributed("cpu"))


def table(folder):
    with open(folder / "curve.csv") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def whole(recipe, tmp_path_factory):
    """A run in one go: its folder and weights."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, fit(recipe, folder, device="cpu", progress=False)


def test_fit_makes_weights_with_a_card(whole, recipe):
    folder, path = whole
    _, card = load_network(path)
    assert card.steps == 6
    assert Recipe.from_dict(card.recipe) == recipe
    assert np.isfinite(card.metrics["psnr"])
    assert [row["step"] for row in table(folder)] == ["3", "6"]
    assert (folder / "curve.png").read_bytes()[:4] == b"\x89PNG"
    assert {p.name for p in folder.iterdir()} >= {
        "checkpoint.pt", "curve.csv", "curve.png", "tiny.json", "tiny.safetensors"}
    assert not list(folder.glob(".*"))


def test_resumed_run_equals_one_in_one_go(whole, recipe, values, tmp_path):
    folder, path = whole
    pairs = open_pairs(recipe)
    for stop in (2, 4):
        trainer = begun(recipe, tmp_path)
        trainer.resume()
        while trainer.step < stop:
            trainer.losses.append(trainer.advance(pairs))
        trainer.save()
    assert torch.equal(values(path), values(fit(recipe, tmp_path, device="cpu", progress=False)))


@pytest.mark.slow
def test_killed_run_equals_one_in_one_go(recipe, toml, values, tmp_path):
    """SIGKILL at whatever step it is at, and the same command once more."""
    long = changed(recipe, steps=120, validate_every=40, checkpoint_minutes=1e-4)
    folders = [tmp_path / name for name in ("whole", "killed")]
    whole = fit(long, folders[0], device="cpu", progress=False)
    (tmp_path / "recipe.toml").write_text(toml(long))
    run = subprocess.Popen(
        [sys.executable, "-m", "lenssr", "train", str(tmp_path / "recipe.toml"), "--device", "cpu",
         "--out", str(folders[1])], stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())})
    checkpoint = folders[1] / "checkpoint.pt"
    while not checkpoint.exists() and run.poll() is None:
        time.sleep(0.01)
    time.sleep(np.random.default_rng().uniform(0, 0.2))
    run.kill()
    assert run.wait() == -9
    assert 0 < torch.load(checkpoint, weights_only=True)["step"] < 120
    assert torch.equal(values(fit(long, folders[1], device="cpu", progress=False)), values(whole))
    assert table(folders[1]) == table(folders[0])
    assert not list(folders[1].glob(".*"))


def test_checkpoint_of_an_earlier_version(recipe, values, whole, tmp_path):
    """It lacks the keys that came later, and has a generator that nothing needs any more."""
    trainer = begun(recipe, tmp_path)
    pairs = open_pairs(recipe)
    for _ in range(3):
        trainer.losses.append(trainer.advance(pairs))
    trainer.validate(open_pairs(recipe, validation=True))
    trainer.save()
    state = torch.load(trainer.checkpoint, weights_only=True)
    new = {"data": ("substructure", "catalog", "validation_fraction", "flux"),
           "training": ("epochs", "schedule", "cycles", "last_cycle", "loss", "patience", "init",
                        "freeze")}
    for part, names in new.items():
        for name in names:
            del state["recipe"][part][name]
    state = {k: v for k, v in state.items() if k not in ("losses", "best", "world")}
    torch.save({**state, "generator": torch.Generator().get_state()}, trainer.checkpoint)
    path = fit(recipe, tmp_path, device="cpu", progress=False)
    assert torch.equal(values(path), values(whole[1]))


def test_folders_that_do_not_fit(recipe, tmp_path):
    begun(recipe, tmp_path).save()
    with pytest.raises(ValueError, match="`folder` must be new .* its name is 'tiny', not 'other'"):
        fit(dataclasses.replace(recipe, name="other"), tmp_path, progress=False)
    wider = dataclasses.replace(recipe, network={**recipe.network, "features": 8})
    with pytest.raises(ValueError, match=r"its \[network\] features is 4, not 8"):
        fit(wider, tmp_path, progress=False)
    with pytest.raises(ValueError, match=r"its \[training\] seed is 1, not 2"):
        fit(changed(recipe, seed=2), tmp_path, progress=False)
    (tmp_path / "checkpoint.pt").write_bytes(b"half of it")
    with pytest.raises(ValueError, match="`folder` holds a checkpoint that cannot be read"):
        fit(recipe, tmp_path, progress=False)


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_what_is_not_finite_stops_the_run(recipe, tmp_path, monkeypatch, what):
    trainer = begun(recipe, tmp_path)
    trainer.save()
    before = trainer.checkpoint.read_bytes()
    # The root of zero has no gradient, and is finite itself.
    bad = {"loss": lambda trainer, output, batch: output.sum() * np.nan,
           "gradient": lambda trainer, output, batch: (output * 0).abs().sum().sqrt()}[what]
    monkeypatch.setattr(Trainer, "content", bad)
    pairs = open_pairs(recipe).batch(0, 4).indices
    with pytest.raises(FloatingPointError, match=f"{what} is nan at step 0, on the pairs") as err:
        fit(recipe, tmp_path, device="cpu", progress=False)
    assert str(pairs) in str(err.value)
    assert trainer.checkpoint.read_bytes() == before


def test_full_disk_keeps_the_last_checkpoint(recipe, tmp_path):
    """A limit to the size of files is refused by the system as a full disk is."""
    trainer = begun(recipe, tmp_path)
    trainer.save()
    before = trainer.checkpoint.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
    try:
        with pytest.raises(OSError, match="no checkpoint could be written .* the last one is kept"):
            trainer.save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert trainer.checkpoint.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]
    trainer.save()


def test_early_stop_keeps_the_best(recipe, tmp_path, monkeypatch, values):
    metrics = iter([30.0, 32.0, 31.0, 31.5, 29.0, 40.0])
    kept = []

    def validate(network, pairs, device):
        kept.append(torch.cat([v.flatten() for v in network.state_dict().values()]).clone())
        return {"psnr": next(metrics), "flux_ratio": 1.0}

    monkeypatch.setattr(Trainer, "measure", staticmethod(validate))
    patient = changed(recipe, steps=12, validate_every=2, patience=3)
    path = fit(patient, tmp_path, device="cpu", progress=False)
    assert [row["psnr"] for row in table(tmp_path)] == ["30.0", "32.0", "31.0", "31.5", "29.0"]
    _, card = load_network(path)
    assert (card.steps, card.metrics["psnr"]) == (4, 32.0)
    assert torch.equal(values(path), kept[1])
    # Once more: it has ended.
    assert torch.equal(values(fit(patient, tmp_path, device="cpu", progress=False)), kept[1])


def test_epochs(recipe, tmp_path):
    path = fit(dataclasses.replace(recipe, training=Training(
        epochs=2, batch=8, warmup=0, loss="mse")), tmp_path, device="cpu", progress=False)
    assert load_network(path)[1].steps == 4


def test_bfloat16_and_one_cycle_and_fresh_pairs(recipe, tmp_path):
    other = dataclasses.replace(
        changed(recipe, steps=3, precision="bfloat16", schedule="one-cycle",
                loss={"charbonnier": 1.0, "ssim": 0.2}),
        data=dataclasses.replace(recipe.data, scenes=0))
    path = fit(other, tmp_path, device="cpu", progress=False)
    assert np.isfinite(load_network(path)[1].metrics["psnr"])


def test_tensorboard_where_it_is_installed(recipe, tmp_path, monkeypatch):
    written = []

    class Writer:
        def __init__(self, folder, purge_step):
            written.append((folder.name, purge_step))

        def add_scalar(self, name, value, step):
            written.append((name, step))

        def flush(self):
            pass

        close = flush

    fake = type(sys)("torch.utils.tensorboard")
    fake.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", fake)
    fit(recipe, tmp_path, device="cpu", progress=False)
    assert written[0] == ("tensorboard", 1)
    assert ("psnr", 6) in written
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert Curves(tmp_path).board is None


def test_find_learning_rate(recipe, tmp_path):
    found = find_learning_rate(changed(recipe, batch=20, loss="mse"), tmp_path, device="cpu",
                               progress=False)
    assert (np.diff(np.log(found.rates)) > 0).all() and found.rates[0] == pytest.approx(1e-6)
    assert 1e-5 < found.suggestion < 0.1
    with open(tmp_path / "lr.csv") as file:
        rows = list(csv.DictReader(file))
    np.testing.assert_allclose([float(row["loss"]) for row in rows], found.losses)
    assert (tmp_path / "lr.png").read_bytes()[:4] == b"\x89PNG"
    assert {p.name for p in tmp_path.iterdir()} == {"lr.csv", "lr.png"}


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:This DataLoader will create 2 worker processes:UserWarning")
def test_batches_made_ahead_are_the_same(whole, recipe, values, tmp_path):
    _, path = whole
    trainer, pairs = begun(recipe, tmp_path), open_pairs(recipe)
    for _ in range(2):
        trainer.advance(pairs)
    trainer.losses.append(0.0)
    trainer.save()
    # Taken up in the middle, too.
    ahead = fit(recipe, tmp_path, device="cpu", workers=2, progress=False)
    assert torch.equal(values(path), values(ahead))


@pytest.mark.parametrize("workers", [-1, 1.5])
def test_workers_must_be_a_number(recipe, tmp_path, workers):
    with pytest.raises((TypeError, ValueError), match="`workers` must be a non-negative integer"):
        fit(recipe, tmp_path / "run", workers=workers)
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_on_cuda(whole, recipe, tmp_path):
    _, path = whole
    metrics = [load_network(p)[1].metrics["psnr"] for p in (
        path, fit(recipe, tmp_path, device="cuda", progress=False))]
    assert metrics[1] == pytest.approx(metrics[0], abs=0.1)
