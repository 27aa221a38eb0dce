"""Learning-rate range test."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from lenssr.train._distributed import Distributed
from lenssr.train._loop import trainer_class
from lenssr.train._recipe import Recipe
from lenssr.train._validation import write_figure, write_table

MIN_RATE, MAX_RATE, SWEEP_STEPS = 1e-6, 1.0, 120
LOSS_MEMORY = 0.6  # of the running mean of the losses, per step
WARMUP_STEPS = 10  # first steps, which the running mean needs
PROBE_BATCHES = 4  # batches on which the loss is measured
MAX_LOSS_RISE = 2.0  # rise above the first losses, over the fall below them, that ends the sweep


@dataclass(frozen=True)
class LearningRateSweep:
    """
    Result of a learning-rate range test.

    Parameters
    ----------
    rates : `~numpy.ndarray`
        Learning rate of each step.
    losses, smoothed : `~numpy.ndarray`
        Loss after each step on fixed pairs, and its running mean.
    steepest : float
        Rate at which the smoothed loss falls fastest per logarithmic rate.
    tenth : float
        Tenth of the rate with the lowest smoothed loss.

    Examples
    --------
    >>> import numpy as np
    >>> from lenssr.train import LearningRateSweep
    >>> rates = np.geomspace(1e-4, 1, 50)
    >>> sweep = LearningRateSweep.of(rates, (np.log10(rates) + 2) ** 2)
    >>> sweep.suggestion == sweep.tenth
    True
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    steepest: float
    tenth: float

    @property
    def suggestion(self):
        """Suggested peak rate of a schedule: a tenth of the rate with the lowest loss."""
        return self.tenth

    @classmethod
    def of(cls, rates, losses):
        """Make a sweep from rates and losses, arrays of one length of at least two."""
        rates, losses = np.asarray(rates, float), np.asarray(losses, float)
        smoothed = smooth(losses)
        # After the first steps, and before the minimum of the loss if possible.
        first = min(WARMUP_STEPS, len(rates) // 2)
        lowest = first + int(np.argmin(smoothed[first:]))
        slope = np.gradient(smoothed, np.log(rates))
        steepest = first + int(np.argmin(slope[first: lowest + 1]))
        return cls(rates, losses, smoothed, float(rates[steepest]), float(rates[lowest] / 10))


def smooth(losses):
    """Compute the bias-corrected running mean of losses."""
    mean, means = 0.0, []
    for k, loss in enumerate(losses):
        mean = LOSS_MEMORY * mean + (1 - LOSS_MEMORY) * loss
        means.append(mean / (1 - LOSS_MEMORY ** (k + 1)))
    return np.array(means)


def find_learning_rate(recipe, folder=None, *, device=None, progress=True):
    """
    Run a learning-rate range test (Smith 2017, arXiv:1506.01186).

    The network takes 120 steps with rates that rise geometrically from 1e-6 to 1. The sweep ends
    early if the loss diverges.

    Parameters
    ----------
    recipe : path-like, str or `Recipe`
        Recipe as in `fit`; its learning rate and schedule are ignored.
    folder : path-like, optional
        Folder of ``lr.csv`` and ``lr.png``, which are not written by default.
    device : str, optional
        Torch device; CUDA by default if there is a GPU.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    sweep : `LearningRateSweep`
        The sweep, with its ``suggestion``.

    Raises
    ------
    ValueError
        If the recipe is invalid, or the first loss is not finite.

    Examples
    --------
    The sweep renders the scenes of the recipe first.

    >>> from lenssr.train import find_learning_rate
    >>> rate = find_learning_rate("rcan_x2").suggestion  # doctest: +SKIP
    """
    recipe = Recipe.read(recipe)
    if folder is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)
    with Distributed(device) as distributed:
        trainer = trainer_class(recipe)(recipe, ".", distributed)
        pairs = distributed.rank_zero_first(
            lambda: trainer.open_pairs(recipe, progress=progress and distributed.first))
        trainer.initialize()
        trainer.set_schedule(pairs)
        sweep = LearningRateSweep.of(*_sweep(trainer, pairs, progress and distributed.first))
        if folder is not None and distributed.first:
            write_table(Path(folder) / "lr.csv", [
                {"learning_rate": r, "loss": loss, "smoothed": s}
                for r, loss, s in zip(sweep.rates, sweep.losses, sweep.smoothed)])
            write_figure(Path(folder) / "lr.png", _figure(sweep))
    return sweep


def _sweep(trainer, pairs, progress):
    rates, losses = [], []
    # Losses of different batches differ more than losses of different rates, so that the same
    # batches are measured after each step.
    size = PROBE_BATCHES * trainer.training.batch
    probe = pairs.batch(0, size if pairs.n is None
                        else min(size, pairs.n // trainer.distributed.world),
                        trainer.distributed.rank, trainer.distributed.world)
    for rate in tqdm(np.geomspace(MIN_RATE, MAX_RATE, SWEEP_STEPS).tolist(), disable=not progress,
                     delay=2,
                     desc="learning rates"):
        try:
            trainer.advance(pairs, rate)
            with torch.no_grad():
                loss = trainer.distributed.mean(trainer.loss(probe)).item()
            if not math.isfinite(loss):
                raise FloatingPointError(f"loss is {loss}")
            losses.append(loss)
        except FloatingPointError as err:
            if len(losses) < 2:
                raise ValueError(f"the loss of recipe {trainer.recipe.name!r} is not finite from "
                                 f"the beginning: {err}") from err
            break
        rates.append(rate)
        mean, top = smooth(losses), max(losses[:WARMUP_STEPS])
        if len(losses) > WARMUP_STEPS and mean[-1] - top > MAX_LOSS_RISE * (top - mean.min()):
            break
    return rates, losses


def _figure(sweep):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axis = figure.subplots()
    axis.semilogx(sweep.rates, sweep.losses, color="0.8", label="loss")
    axis.semilogx(sweep.rates, sweep.smoothed, color="C0", label="running mean")
    axis.axvline(sweep.steepest, color="C1", ls="--", label=f"steepest: {sweep.steepest:.1e}")
    axis.axvline(sweep.tenth, color="C2", ls=":", label=f"tenth of lowest: {sweep.tenth:.1e}")
    span = np.ptp(sweep.smoothed) or 1.0
    axis.set_ylim(sweep.smoothed.min() - 0.2 * span, sweep.smoothed.max() + 0.2 * span)
    axis.set_xlabel("learning rate")
    axis.set_ylabel("loss")
    axis.legend()
    return figure
