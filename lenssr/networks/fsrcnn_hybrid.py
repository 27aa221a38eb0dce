"""FSRCNN with equivariant features and an ordinary up-sampling."""

import torch
from torch import nn

from lenssr.networks._group import ORDER
from lenssr.networks._layers import Deconvolution, concat_conditions, enlarge
from lenssr.networks.fsrcnn_equivariant import equivariant_body

__all__ = ["HybridFSRCNN"]


class HybridFSRCNN(nn.Module):
    """
    The features of `EquivariantFSRCNN` and the transposed convolution of `FSRCNN`.

    The features turn with the image; what is made of them need not.

    Parameters
    ----------
    channels, scale, d, s, m, conditions, skip
        As for `EquivariantFSRCNN`.
    """

    def __init__(self, channels: int = 1, scale: int = 2, d: int = 56, s: int = 12, m: int = 4,
                 conditions: int = 0, skip: bool = False):
        super().__init__()
        self.scale, self.m, self.conditions, self.skip = scale, m, conditions, skip
        self.body = equivariant_body(channels, d, s, m, conditions)
        self.tail = Deconvolution(d * ORDER, channels, scale)
        nn.init.normal_(self.tail.weight, std=0.001)
        nn.init.zeros_(self.tail.bias)

    def forward(self, x: torch.Tensor, conditions: torch.Tensor | None = None) -> torch.Tensor:
        y = self.tail(self.body(concat_conditions(x, conditions, self.conditions)))
        return y + enlarge(x, self.scale) if self.skip else y

    @property
    def halo(self) -> int:
        """Input pixels beyond which nothing influences an output pixel."""
        return 2 + self.m + self.tail.reach
