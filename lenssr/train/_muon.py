"""Optimisers of a training: AdamW, and Muon, which takes a fraction of its steps."""

import math
from collections import defaultdict

import torch

__all__ = ["OPTIMIZERS", "Muon"]

MOMENTUM, STEPS = 0.95, 5
QUINTIC = (3.4445, -4.7750, 2.0315)  # coefficients of the iteration, from the first reference
RMS = 0.2  # of the elements of an update, about that of AdamW's
NARROW = 8  # channels up to which a convolution's kernels are no matrix worth the name


def orthogonalized(matrices):
    """The nearest matrices with singular values of about one, by Newton and Schulz's iteration."""
    a, b, c = QUINTIC
    wide = matrices / (torch.linalg.matrix_norm(matrices, keepdim=True) + 1e-7)
    tall = wide.shape[-2] > wide.shape[-1]
    wide = wide.mT if tall else wide
    for _ in range(STEPS):
        square = wide @ wide.mT
        wide = a * wide + (b * square + c * square @ square) @ wide
    return wide.mT if tall else wide


class Muon(torch.optim.AdamW):
    """
    Momentum whose matrices are made orthogonal; AdamW for what is no matrix.

    Adam's steps follow the few directions in which the gradient of a layer is largest; these
    are of equal length in all (Jordan et al. 2024, kellerjordan.github.io/posts/muon), and of the
    size of AdamW's, so that rates mean the same (Liu et al. 2025, arXiv:2502.16982). The
    matrix of a convolution has a row for each of its outputs. Convolutions with few channels on
    either side, the first and last of a network, and all vectors are AdamW's.
    """

    def __init__(self, parameters, lr, weight_decay):
        parameters = list(parameters)
        matrices = [p for p in parameters if p.dim() == 4 and min(p.shape[:2]) > NARROW]
        known = {id(p) for p in matrices}
        super().__init__([{"params": [p for p in parameters if id(p) not in known]},
                          {"params": matrices}], lr, weight_decay=weight_decay)

    @torch.no_grad()
    def step(self, closure=None):
        """Take a step."""
        vectors, matrices = self.param_groups
        self.param_groups = [vectors]
        try:
            loss = super().step(closure)
        finally:
            self.param_groups = [vectors, matrices]
        alike = defaultdict(list)  # a GPU turns those of one shape together in the time of one
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
                state["step"] = torch.zeros(())  # which AdamW looks for when a state is loaded
                state["momentum"] = torch.zeros_like(parameter)
            momentum = state["momentum"].mul_(MOMENTUM).add_(parameter.grad)
            ahead.append(parameter.grad.add(momentum, alpha=MOMENTUM).flatten(1))
        updates = orthogonalized(torch.stack(ahead)) * (RMS * math.sqrt(max(ahead[0].shape)))
        for parameter, update in zip(parameters, updates):
            parameter.mul_(1 - lr * weight_decay).sub_(update.reshape(parameter.shape), alpha=lr)


OPTIMIZERS = {"adamw": torch.optim.AdamW, "muon": Muon}
"""By the names that recipes know."""
