"""The training loop: one network, one recipe, resumable to the bit."""

import copy
import csv
import math
import os
import time
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from lenssr.networks import build, compress, expand
from lenssr.weights import save_network

from ._data import Pairs
from ._losses import restoration_loss
from ._recipe import Recipe

__all__ = ["fit"]


def learning_rate(step, training):
    """Linear warm-up, then half a cosine to zero."""
    if step < training.warmup:
        return training.learning_rate * (step + 1) / training.warmup
    progress = (step - training.warmup) / max(training.steps - training.warmup, 1)
    return training.learning_rate * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def flux_weight(step, training):
    """Weight of the flux term: constant for half of the steps, then rising geometrically."""
    late = max(2 * step / training.steps - 1, 0.0)
    return training.flux_weight * (training.flux_weight_end / training.flux_weight) ** late


def has_fast_bfloat16(device):
    """Whether bfloat16 is faster than float32 there, and not emulated."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported()
    return bool(torch.backends.mkldnn.is_available()
                and torch.ops.mkldnn._is_mkldnn_bf16_supported())


class Trainer:
    """State of a run: network, its moving average, optimiser, and where it stands."""

    def __init__(self, recipe, folder, device=None):
        self.recipe, self.folder = recipe, Path(folder)
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        training = recipe.training
        torch.manual_seed(training.seed)
        self.network = build(**recipe.network).to(self.device)
        self.network.to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.network).eval()
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), training.learning_rate, weight_decay=training.weight_decay)
        self.generator = torch.Generator().manual_seed(training.seed)
        self.bfloat16 = training.precision == "bfloat16" or (
            training.precision == "auto" and has_fast_bfloat16(self.device))
        self.step, self.seconds, self.curve = 0, 0.0, []

    @property
    def checkpoint(self):
        """File that holds the state."""
        return self.folder / "checkpoint.pt"

    def save(self):
        """Write the state beside its file, then rename: a full disk keeps the last one."""
        state = dict(network=self.network.state_dict(), average=self.average.state_dict(),
                     optimizer=self.optimizer.state_dict(), recipe=self.recipe.as_dict(),
                     generator=self.generator.get_state(), step=self.step,
                     seconds=self.seconds, curve=self.curve)
        beside = self.folder / ".checkpoint.part"
        torch.save(state, beside)
        os.replace(beside, self.checkpoint)

    def resume(self):
        """Take up the state, if there is one of this recipe."""
        if not self.checkpoint.exists():
            return
        state = torch.load(self.checkpoint, weights_only=True, map_location=self.device)
        if state["recipe"] != self.recipe.as_dict():
            raise ValueError(f"`folder` must be new or of the same recipe; {self.checkpoint} "
                             "was made by another one")
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"].cpu())
        self.step, self.seconds, self.curve = state["step"], state["seconds"], state["curve"]

    def advance(self, pairs):
        """One optimisation step; returns the loss."""
        training = self.recipe.training
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, training)
        lr, hr, conditions = pairs.batch(
            pairs.order(self.step, training.batch, training.seed), self.generator)
        with torch.autocast(self.device, torch.bfloat16, enabled=self.bfloat16):
            output = self.network(
                compress(lr).to(self.device, memory_format=torch.channels_last),
                conditions.to(self.device))
        loss = restoration_loss(output.float(), hr.to(self.device), pairs.scale,
                                training.peak_weight, flux_weight(self.step, training))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), training.clip)
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"loss is {loss.item()} at step {self.step}; the last checkpoint is kept")
        self.optimizer.step()
        keep = min(training.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mean, new in zip(self.average.parameters(), self.network.parameters()):
                mean.lerp_(new, 1 - keep)
            # Statistics of batches are means already.
            for mean, new in zip(self.average.buffers(), self.network.buffers()):
                mean.copy_(new)
        self.step += 1
        return loss.item()

    @torch.no_grad()
    def validate(self, pairs):
        """Figures of the averaged network on the validation scenes, in float32."""
        # The same noise each time, whatever the training has drawn.
        generator = torch.Generator().manual_seed(self.recipe.data.validation_seed)
        ratios, flux = [], []
        for start in range(0, pairs.n_scenes, 64):
            indices = np.arange(start, min(start + 64, pairs.n_scenes))
            lr, hr, conditions = pairs.batch(indices, generator)
            output = expand(self.average(
                compress(lr).to(self.device), conditions.to(self.device))).cpu()
            peak = hr.amax(dim=(1, 2, 3))
            seen = peak > 0
            mse = (output - hr).square().mean(dim=(1, 2, 3))
            ratios.append((peak[seen] ** 2 / mse[seen]).log10() * 10)
            bright = seen & (lr.amax(dim=(1, 2, 3)) > 20) & (hr.mean(dim=(1, 2, 3)) > 0.5)
            flux.append(output.sum((1, 2, 3))[bright] / hr.sum((1, 2, 3))[bright])
        return {"psnr": torch.cat(ratios).mean().item(),
                "flux_ratio": torch.cat(flux).median().item()}

    def write_curve(self):
        """Validation curve as CSV."""
        with open(self.folder / "curve.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, ["step", "loss", "psnr", "flux_ratio"])
            writer.writeheader()
            writer.writerows(self.curve)


def fit(recipe, folder, *, device=None, progress=True):
    """
    Train a network by a recipe, or go on where an earlier run of it stopped.

    Parameters
    ----------
    recipe : path-like, str or `Recipe`
        A TOML file, the name of a shipped recipe, or the recipe itself.
    folder : path-like
        Where checkpoint, validation curve, weights and card go.
    device : str, optional
        Torch device; CUDA where there is one by default.
    progress : bool
        Show a progress bar.

    Returns
    -------
    weights : `~pathlib.Path`
        The weights, with their card beside them.

    Raises
    ------
    ValueError
        If the recipe is wrong or ``folder`` holds a run of another recipe.
    FloatingPointError
        If the loss is not finite; the last checkpoint is kept.
    """
    recipe = recipe if isinstance(recipe, Recipe) else Recipe.read(recipe)
    trainer = Trainer(recipe, folder, device)
    trainer.folder.mkdir(parents=True, exist_ok=True)
    trainer.resume()
    training, scale = recipe.training, recipe.network["scale"]
    pairs = Pairs(recipe.data, scale, progress=progress)
    unseen = Pairs(recipe.data, scale, validation=True, progress=progress)
    started, saved = time.monotonic() - trainer.seconds, trainer.seconds
    losses = []
    bar = tqdm(total=training.steps, initial=trainer.step, disable=not progress, delay=2,
               desc=f"training {recipe.name}")
    while trainer.step < training.steps:
        losses.append(trainer.advance(pairs))
        bar.update()
        trainer.seconds = time.monotonic() - started
        done = trainer.step == training.steps
        if trainer.step % training.validate_every == 0 or done:
            figures = trainer.validate(unseen)
            trainer.curve.append({"step": trainer.step, "loss": float(np.mean(losses)), **figures})
            losses.clear()
            trainer.write_curve()
            bar.set_postfix(psnr=f"{figures['psnr']:.2f} dB")
        if done or trainer.seconds - saved > 60 * training.checkpoint_minutes:
            trainer.save()
            saved = trainer.seconds
    bar.close()
    path = trainer.folder / f"{recipe.name}.safetensors"
    figures = {k: v for k, v in trainer.curve[-1].items() if k != "step"}
    trained, network = trainer.average, recipe.network
    if hasattr(trained, "collapse"):
        trained, network = trained.collapse(), {**network, "collapsed": True}
    save_network(path, trained, name=recipe.name, network=network,
                 recipe=recipe.as_dict(), figures=figures, steps=trainer.step,
                 hours=round(trainer.seconds / 3600, 2))
    return path
