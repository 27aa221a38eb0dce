"""Training loop."""

import dataclasses
import time
from pathlib import Path

import torch
from tqdm import tqdm

from lenssr.networks import find_architecture
from lenssr.train._adversarial import ArcTrainer, SRGANTrainer
from lenssr.train._diffusion import DiffusionTrainer
from lenssr.train._distributed import Distributed, PrefetchLoader, check_workers, default_workers
from lenssr.train._losses import CONSISTENCY_LOSS, RESIDUAL_LOSS, consistency_loss, training_loss
from lenssr.train._recipe import Recipe
from lenssr.train._trainer import Trainer
from lenssr.train._validation import Curves
from lenssr.weights import save_network


class ConsistencyTrainer(Trainer):
    """Trainer with an optional data-consistency loss beside the target losses."""

    def content(self, output, batch):
        losses = dict(self.training.loss)
        weight = losses.pop(CONSISTENCY_LOSS, 0.0)
        total = weight * consistency_loss(output, batch) if weight else 0.0
        return total + _without_data_terms(self, losses, output, batch)


class ResidualTrainer(Trainer):
    """Trainer with an optional residual loss against the data."""

    def loss(self, batch):
        losses, inputs = dict(self.training.loss), batch.inputs(self.device)
        weight, total = losses.pop(RESIDUAL_LOSS, 0.0), 0.0
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            if weight:
                total = weight * self.model(*inputs, residual_loss=True)
            if losses:
                output = self.model(*inputs)
        if not losses:  # without target losses
            return total
        return total + _without_data_terms(self, losses, output.float(), batch)


def _without_data_terms(trainer, losses, output, batch):
    """Compute the loss of a recipe without its data terms."""
    training = dataclasses.replace(trainer.training, loss=losses)
    return training_loss(output, batch.hr.to(trainer.device), batch.scale, training, trainer.step,
                         trainer.distributed.mean)


# Trainers by the name in the descriptor of an architecture.
TRAINERS = {"restoration": Trainer, "consistency": ConsistencyTrainer, "residual": ResidualTrainer,
            "srgan": SRGANTrainer, "arcs": ArcTrainer, "diffusion": DiffusionTrainer}


def trainer_class(recipe):
    """Return the trainer class of a recipe."""
    return TRAINERS[find_architecture(recipe.network["architecture"]).trainer]


def fit(recipe, folder, *, init=None, device=None, workers=None, progress=True):
    """
    Train a network by a recipe, or resume an interrupted training.

    A resumed run gives the same weights as an uninterrupted run, on CPUs bit by bit for equal
    numbers of threads. Under ``torchrun``, each process takes a part of every batch.

    Parameters
    ----------
    recipe : path-like, str or `Recipe`
        TOML file, name of a shipped recipe, or recipe.
    folder : path-like
        Folder of checkpoint, validation curve, weights and card.
    init : str or path-like, optional
        Initial weights in place of those of the recipe: name of shipped weights, or a
        ``.safetensors`` file with its card.
    device : str, optional
        Torch device; CUDA by default if there is a GPU.
    workers : int, optional
        Worker processes that prepare batches, without effect on the batches. By default up to
        eight for a GPU, and none for a CPU.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    weights : `~pathlib.Path`
        Weights, with their card in the same folder.

    Raises
    ------
    ValueError
        If the recipe is invalid, ``folder`` holds the run of another recipe, pairs or weights of
        the recipe do not fit the network, or ``workers`` is negative.
    FloatingPointError
        If the loss or its gradient is not finite; the last checkpoint is kept.
    OSError
        If a file cannot be written; the last checkpoint is kept.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from lenssr.train import Data, Recipe, Training, fit
    >>> recipe = Recipe("tiny", {"architecture": "srcnn", "scale": 2},
    ...                 Data(scenes=2, validation_scenes=2, size=8),
    ...                 Training(steps=2, batch=2, warmup=1))
    >>> with TemporaryDirectory() as folder:
    ...     weights = fit(recipe, folder, progress=False)
    >>> weights.name
    'tiny.safetensors'
    """
    workers = check_workers(workers)
    recipe = Recipe.read(recipe)
    if init is not None:
        recipe = dataclasses.replace(
            recipe, training=dataclasses.replace(recipe.training, init=str(init)))
    with Distributed(device) as distributed:
        progress = progress and distributed.first
        Path(folder).mkdir(parents=True, exist_ok=True)
        trainer = trainer_class(recipe)(recipe, folder, distributed)
        trainer.resume()
        pairs, validation_pairs = distributed.rank_zero_first(lambda: [
            trainer.open_pairs(recipe, validation, progress) for validation in (False, True)])
        trainer.set_schedule(pairs)
        run_steps(trainer, pairs, validation_pairs, progress, workers)
        path = trainer.folder / f"{recipe.name}.safetensors"
        if distributed.first:
            _finish(trainer, validation_pairs, path)
        return path


def run_steps(trainer, pairs, validation_pairs, progress, workers=None):
    """Take the remaining steps, with validation, curves and checkpoints."""
    training, distributed = trainer.training, trainer.distributed
    pairs = PrefetchLoader(pairs, range(trainer.step, training.steps), training.batch,
                           distributed.rank, distributed.world,
                           default_workers(distributed.device) if workers is None else workers)
    curves = Curves(trainer.folder, trainer.step) if distributed.first else None
    started, saved = time.monotonic() - trainer.seconds, trainer.seconds
    bar = tqdm(total=training.steps, initial=trainer.step, disable=not progress, delay=2,
               desc=f"training {trainer.recipe.name}")
    while not trainer.done:
        trainer.losses.append(trainer.advance(pairs))
        bar.update()
        trainer.seconds = time.monotonic() - started
        if trainer.step % training.validate_every == 0 or trainer.done:
            metrics = trainer.validate(validation_pairs)
            bar.set_postfix({name: f"{value:.3f}" for name, value in metrics.items()})
            if distributed.first:
                curves.write(trainer.curve)
        late = trainer.seconds - saved > 60 * training.checkpoint_minutes
        if distributed.first and (late or trainer.done):
            trainer.save()
            saved = trainer.seconds
    bar.close()
    if distributed.first:
        curves.close()


def _finish(trainer, validation_pairs, path):
    """Write the selected weights and their card."""
    network, (trained, row) = {**trainer.recipe.network,
                               **trainer.card_fields}, trainer.select_best()
    if hasattr(trained, "collapse") and not network.get("collapsed"):
        trained, network = trained.collapse(), {**network, "collapsed": True}
    metrics = {k: v for k, v in row.items() if k != "step"}
    save_network(path, trained, name=trainer.recipe.name, network=network,
                 recipe=trainer.recipe.as_dict(), metrics=metrics,
                 steps=row["step"], psf=validation_pairs.psfs(),
                 hours=round(trainer.seconds / 3600, 2))
