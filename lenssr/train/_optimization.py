"""Learning-rate schedules, loss weights, and the Muon optimiser."""

import dataclasses
import math
from collections import defaultdict

import torch

ONE_CYCLE_START, ONE_CYCLE_END = 25.0, 1e4  # highest over first rate, and first over last rate


def scheduled(training, n_pairs, world=1):
    """Return the training options with epochs converted to steps."""
    if training.epochs is None:
        return training
    steps = max(1, round(training.epochs * (n_pairs // (training.batch * world))))
    return dataclasses.replace(training, steps=steps, epochs=None)


def learning_rate(step, training):
    """
    Compute the learning rate of a step.

    ``cosine``: linear warm-up, then half a cosine to zero (Loshchilov & Hutter 2017,
    arXiv:1608.03983), with warm restarts. ``one-cycle``: from 1/25 to the full rate during the
    warm-up, then to 1e-4 of the first rate (Smith & Topin 2018, arXiv:1708.07120).
    """
    cycle, step, steps = _in_cycle(step, training)
    gentle = 0 < cycle == training.cycles - 1
    rate = training.learning_rate * (training.last_cycle if gentle else 1.0)
    if training.schedule == "one-cycle":
        low, top, last = rate / ONE_CYCLE_START, training.warmup - 1, steps - 1
        if step < top:
            return _cosine(low, rate, step / top)
        return _cosine(rate, low / ONE_CYCLE_END, (step - top) / max(last - top, 1))
    if step < training.warmup:
        return rate * (step + 1) / training.warmup
    return _cosine(rate, 0.0, (step - training.warmup) / max(steps - training.warmup, 1))


def _in_cycle(step, training):
    """Return the cycle number, the steps taken in the cycle, and its length."""
    steps = -(-training.steps // training.cycles)
    cycle = min(step // steps, training.cycles - 1)
    return cycle, step - steps * cycle, steps


def _cosine(first, last, progress):
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def flux_weight(step, training):
    """Compute the weight of the flux loss: constant, then geometrically rising."""
    _, step, steps = _in_cycle(step, training)
    late = max(2 * step / steps - 1, 0.0)
    return training.flux_weight * (training.flux_weight_end / training.flux_weight) ** late


def average_weight(step, training):
    """Compute the decay of the moving average of the weights at a step."""
    return min(training.ema, (1 + step) / (10 + step))


MUON_MOMENTUM, NEWTON_SCHULZ_STEPS = 0.95, 5
QUINTIC_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the Newton-Schulz iteration (Jordan 2024)
UPDATE_RMS = 0.2  # of the elements of an update, as for AdamW
MIN_MATRIX_SIDE = 8  # narrower convolutions are not treated as matrices


def orthogonalized(matrices):
    """Orthogonalise matrices by the Newton-Schulz iteration."""
    a, b, c = QUINTIC_COEFFICIENTS
    wide = matrices / (torch.linalg.matrix_norm(matrices, keepdim=True) + 1e-7)
    tall = wide.shape[-2] > wide.shape[-1]
    wide = wide.mT if tall else wide
    for _ in range(NEWTON_SCHULZ_STEPS):
        square = wide @ wide.mT
        wide = a * wide + (b * square + c * square @ square) @ wide
    return wide.mT if tall else wide


class Muon(torch.optim.AdamW):
    """
    Momentum optimiser with orthogonalised matrix updates, and AdamW for other parameters.

    Jordan et al. (2024, kellerjordan.github.io/posts/muon), with the update size of AdamW (Liu
    et al. 2025, arXiv:2502.16982). Convolution kernels are matrices with one row for each
    output channel.
    """

    def __init__(self, parameters, lr, weight_decay):
        parameters = list(parameters)
        matrices = [p for p in parameters if p.dim() == 4 and min(p.shape[:2]) > MIN_MATRIX_SIDE]
        known = {id(p) for p in matrices}
        super().__init__([{"params": [p for p in parameters if id(p) not in known]},
                          {"params": matrices}], lr, weight_decay=weight_decay)

    @torch.no_grad()
    def step(self, closure=None):
        """Take an optimisation step."""
        vectors, matrices = self.param_groups
        self.param_groups = [vectors]
        try:
            loss = super().step(closure)
        finally:
            self.param_groups = [vectors, matrices]
        alike = defaultdict(list)  # a GPU processes kernels of one shape together
        for parameter in matrices["params"]:
            if parameter.grad is not None:
                alike[parameter.shape].append(parameter)
        for parameters in alike.values():
            self._turn(parameters, matrices["lr"], matrices["weight_decay"])
        return loss

    def _turn(self, parameters, lr, weight_decay):
        ahead = []
        for parameter in parameters:
            state = self.state[parameter]
            if not state:
                state["step"] = torch.zeros(())  # AdamW expects this key when it loads a state
                state["momentum"] = torch.zeros_like(parameter)
            momentum = state["momentum"].mul_(MUON_MOMENTUM).add_(parameter.grad)
            ahead.append(parameter.grad.add(momentum, alpha=MUON_MOMENTUM).flatten(1))
        updates = orthogonalized(torch.stack(ahead)) * (UPDATE_RMS * math.sqrt(max(ahead[0].shape)))
        for parameter, update in zip(parameters, updates):
            parameter.mul_(1 - lr * weight_decay).sub_(update.reshape(parameter.shape), alpha=lr)


OPTIMIZERS = {"adamw": torch.optim.AdamW, "muon": Muon}
"""Optimisers by their names in recipes."""
