"""Training of the error head of a frozen network."""

from typing import NamedTuple

import numpy as np
import torch

from lenssr.networks import (
    FLIP_SIGNS,
    N_PSF_FEATURES,
    ROTATION_SIGNS,
    ErrorHead,
    apply_symmetry,
    asinh_scale,
    negative_log_likelihood,
)
from lenssr.train._batch import EVALUATION_BATCH, Pairs, sample_rng
from lenssr.train._trainer import Trainer


class ErrorBatch(NamedTuple):
    """Restored images in noise units, with their errors."""

    restored: torch.Tensor
    data: torch.Tensor
    weight: torch.Tensor
    conditions: torch.Tensor
    residual: torch.Tensor
    error: torch.Tensor
    indices: list

    def inputs(self, device):
        """Return the inputs of the error head on a device."""
        return tuple(part.to(device) for part in self[:5])


class ErrorPairs(Pairs):
    """Restored images as a source of batches."""

    def __init__(self, arrays, chosen, size, seed):
        self.arrays = {name: torch.from_numpy(array[chosen]) for name, array in arrays.items()
                       if name in ("data", "weight", "conditions", "residual", "mean", "truth")}
        self.n, self.seed = len(self.arrays["data"]), seed
        self.sides = self.arrays["data"].shape[1:]
        self.size = min(size, *self.sides)
        self.scale = self.arrays["mean"].shape[-1] // self.sides[-1]

    def take(self, indices, draws):
        """Return the `ErrorBatch` of images, with random crops and symmetries."""
        turns = draws.integers(8).tolist()
        corners = torch.stack([draws.integers(n - self.size + 1) for n in self.sides], 1).tolist()
        conditions = torch.stack([rotate_psf_features(self.arrays["conditions"][i], turn)
                                  for i, turn in zip(indices, turns)])

        def patches(name, factor=1):
            side = self.size * factor
            return torch.stack([
                apply_symmetry(self.arrays[name][i, y * factor: y * factor + side,
                                                 x * factor: x * factor + side], turn)
                for i, (y, x), turn in zip(indices, corners, turns)])[:, None]

        mean, truth = (patches(name, self.scale) for name in ("mean", "truth"))
        return ErrorBatch(asinh_scale(mean), asinh_scale(patches("data")), patches("weight"),
                          conditions,
                          patches("residual"), mean - truth, [int(i) for i in indices])

    def batches(self):
        for start in range(0, self.n, EVALUATION_BATCH):
            indices = np.arange(start, min(start + EVALUATION_BATCH, self.n))
            yield self.take(indices, sample_rng(self.seed, indices))


def rotate_psf_features(conditions, turn):
    """Apply a symmetry to PSF features; only ellipticities change."""
    if len(conditions) != N_PSF_FEATURES:
        return conditions
    signs = torch.tensor(ROTATION_SIGNS, dtype=conditions.dtype) ** (turn % 4)
    return conditions * signs * torch.tensor(
        FLIP_SIGNS, dtype=conditions.dtype) if turn >= 4 else conditions * signs


class ErrorTrainer(Trainer):
    """Trainer of an error head, with the likelihood of the errors."""

    def build(self, config):
        return ErrorHead(**{name: value for name, value in config.items()
                            if name in ("scale", "conditions", "features", "blocks", "residual")})

    def loss(self, batch):
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            output = self.model(*batch.inputs(self.device))
        return negative_log_likelihood(output.float(), batch.error.to(self.device))

    @torch.no_grad()
    def metrics(self, pairs):
        """Measure the mean negative log likelihood over the images, in float32."""
        rows = [(negative_log_likelihood(self.average(*batch.inputs(self.device)).cpu(),
                                         batch.error).item(), len(batch.indices))
                for batch in pairs.batches()]
        values, counts = zip(*rows)
        return {"likelihood": float(np.average(values, weights=counts))}
