"""What changes along a training: learning rate, weight of the flux, memory of the average."""

import dataclasses
import math

__all__ = ["average_weight", "flux_weight", "learning_rate", "scheduled"]

START, END = 25.0, 1e4  # one-cycle: top over first rate, first over last


def scheduled(training, n_pairs, world=1):
    """The training with its epochs turned into steps."""
    if training.epochs is None:
        return training
    steps = max(1, round(training.epochs * (n_pairs // (training.batch * world))))
    return dataclasses.replace(training, steps=steps, epochs=None)


def learning_rate(step, training):
    """
    The learning rate of a step.

    ``cosine``: linear warm-up, then half a cosine to zero (Loshchilov & Hutter 2017,
    arXiv:1608.03983). ``one-cycle``: up from 1/25 of the rate within the warm-up, then down
    to 1e-4 of that, both by half a cosine (Smith & Topin 2018, arXiv:1708.07120). Several
    cycles are warm restarts (Loshchilov & Hutter 2017), the last with ``last_cycle`` times the
    rate of the others.
    """
    cycle, step, steps = _in_cycle(step, training)
    gentle = 0 < cycle == training.cycles - 1
    rate = training.learning_rate * (training.last_cycle if gentle else 1.0)
    if training.schedule == "one-cycle":
        low, top, last = rate / START, training.warmup - 1, steps - 1
        if step < top:
            return _cosine(low, rate, step / top)
        return _cosine(rate, low / END, (step - top) / max(last - top, 1))
    if step < training.warmup:
        return rate * (step + 1) / training.warmup
    return _cosine(rate, 0.0, (step - training.warmup) / max(steps - training.warmup, 1))


def _in_cycle(step, training):
    """The present cycle, how many steps of it were taken, and how many it has."""
    steps = -(-training.steps // training.cycles)
    cycle = min(step // steps, training.cycles - 1)
    return cycle, step - steps * cycle, steps


def _cosine(first, last, progress):
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def flux_weight(step, training):
    """Weight of the flux term: constant for half of a cycle, then rising geometrically."""
    _, step, steps = _in_cycle(step, training)
    late = max(2 * step / steps - 1, 0.0)
    return training.flux_weight * (training.flux_weight_end / training.flux_weight) ** late


def average_weight(step, training):
    """Share of the moving average of the weights that stays, less at first."""
    return min(training.ema, (1 + step) / (10 + step))
