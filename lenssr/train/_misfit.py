"""Training by the data, alone or beside the targets."""

import dataclasses

import torch

from lenssr.train._losses import CONSISTENCY, MISFIT, inconsistency, training_loss
from lenssr.train._trainer import Trainer

__all__ = ["ConsistentTrainer", "MisfitTrainer"]


class ConsistentTrainer(Trainer):
    """A `Trainer` whose loss may hold images against their data, beside the target."""

    def content(self, output, batch):
        losses = dict(self.training.loss)
        weight = losses.pop(CONSISTENCY, 0.0)
        total = weight * inconsistency(output, batch) if weight else 0.0
        return total + _beside_the_target(self, losses, output, batch)


class MisfitTrainer(Trainer):
    """A `Trainer` whose loss may compare with the data in place of the target, or beside it."""

    def loss(self, batch):
        losses, inputs = dict(self.training.loss), batch.inputs(self.device)
        weight, total = losses.pop(MISFIT, 0.0), 0.0
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            if weight:
                total = weight * self.model(*inputs, misfit=True)
            if losses:
                output = self.model(*inputs)
        if not losses:  # no target is looked at
            return total
        return total + _beside_the_target(self, losses, output.float(), batch)


def _beside_the_target(trainer, losses, output, batch):
    """The loss of a recipe of which the terms of the data are taken out."""
    training = dataclasses.replace(trainer.training, loss=losses)
    return training_loss(output, batch.hr.to(trainer.device), batch.scale, training, trainer.step,
                         trainer.team.mean)
