"""EDSR: residual blocks without normalisation (Lim et al. 2017, arXiv:1707.02921)."""

import torch
from torch import nn

from lenssr.networks._architecture import Architecture
from lenssr.networks._layers import Upsampler, concat_conditions, conv3


class Block(nn.Module):
    """Residual block: two convolutions, their sum scaled."""

    def __init__(self, features: int, res_scale: float):
        super().__init__()
        self.res_scale = res_scale
        self.body = nn.Sequential(
            conv3(features, features), nn.ReLU(), conv3(features, features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.res_scale * self.body(x)


class EDSR(nn.Module):
    """
    Enhanced deep residual network.

    Parameters
    ----------
    channels : int
        Channels of the image, in and out.
    scale : int
        Output pixels per input pixel: 2, 3 or 4.
    blocks, features : int
        Residual blocks and feature channels. Published: 16, 64 for the baseline;
        32, 256 for EDSR.
    res_scale : float
        Factor of the residuals. Published: 1 for the baseline, 0.1 for EDSR.
    conditions : int
        Numbers that the network is told of each image, as in `RCAN`.
    """

    def __init__(self, channels: int = 1, scale: int = 2, blocks: int = 16, features: int = 64,
                 res_scale: float = 1.0, conditions: int = 0):
        super().__init__()
        self.scale, self.blocks, self.conditions = scale, blocks, conditions
        self.head = conv3(channels + conditions, features)
        self.body = nn.Sequential(
            *(Block(features, res_scale) for _ in range(blocks)), conv3(features, features))
        self.tail = nn.Sequential(Upsampler(features, scale), conv3(features, channels))

    def forward(self, x: torch.Tensor, conditions: torch.Tensor | None = None) -> torch.Tensor:
        shallow = self.head(concat_conditions(x, conditions, self.conditions))
        return self.tail(shallow + self.body(shallow))

    @property
    def halo(self) -> int:
        """Input pixels beyond which nothing influences an output pixel."""
        return 2 + 2 * self.blocks + self.tail[0].reach(1)


ARCHITECTURE = Architecture("edsr", EDSR, reference="arXiv:1707.02921")
