"""EDSR: residual blocks without normalisation (Lim et al. 2017, arXiv:1707.02921)."""

import torch
from torch import nn

from lenssr.networks._architecture import Architecture
from lenssr.networks._layers import ResidualBlock, Upsampler, concat_conditions, conv3


class EDSR(nn.Module):
    """
    Enhanced deep residual network.

    Published ``blocks``, ``features`` and ``res_scale``, the factor of the residuals, are 16, 64
    and 1 for the baseline, 32, 256 and 0.1 for EDSR.
    """

    def __init__(self, channels: int = 1, scale: int = 2, blocks: int = 16, features: int = 64,
                 res_scale: float = 1.0, conditions: int = 0):
        super().__init__()
        self.scale, self.blocks, self.conditions = scale, blocks, conditions
        self.head = conv3(channels + conditions, features)
        self.body = nn.Sequential(
            *(ResidualBlock(conv3(features, features), nn.ReLU(), conv3(features, features),
                            res_scale=res_scale) for _ in range(blocks)),
            conv3(features, features))
        self.tail = nn.Sequential(Upsampler(features, scale), conv3(features, channels))

    def forward(self, x: torch.Tensor, conditions: torch.Tensor | None = None) -> torch.Tensor:
        shallow = self.head(concat_conditions(x, conditions, self.conditions))
        return self.tail(shallow + self.body(shallow))

    @property
    def halo(self) -> int:
        """Input pixels around an output pixel that influence it."""
        return 2 + 2 * self.blocks + self.tail[0].halo(1)


ARCHITECTURE = Architecture("edsr", EDSR, reference="arXiv:1707.02921")
