"""Training by the data alone, of networks that can say how far they are from them."""

import dataclasses

import torch

from ._losses import MISFIT, training_loss
from ._trainer import Trainer

__all__ = ["MisfitTrainer"]


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
        training = dataclasses.replace(self.training, loss=losses)
        return total + training_loss(output.float(), batch.hr.to(self.device), batch.scale,
                                     training, self.step, self.team.mean)
