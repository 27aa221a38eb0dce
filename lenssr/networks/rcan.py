"""RCAN: residual channel attention network (Zhang et al. 2018, arXiv:1807.02758)."""

import torch
from torch import nn

from lenssr.networks._architecture import Architecture
from lenssr.networks._layers import LocalMean, ResidualBlock, Upsampler, concat_conditions, conv3


class ChannelAttention(nn.Module):
    """Scale each channel by a gate computed from the means of all channels."""

    def __init__(self, features: int, reduction: int, window: int):
        super().__init__()
        self.mean = LocalMean(window)
        self.gate = nn.Sequential(
            nn.Conv2d(features, features // reduction, 1), nn.ReLU(),
            nn.Conv2d(features // reduction, features, 1), nn.Sigmoid())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gate(self.mean(x))


class RCAN(nn.Module):
    """
    Residual channel attention network.

    ``groups`` of ``blocks`` with ``features`` channels, and the ``reduction`` of the attention's
    bottleneck (published: 10, 20, 64, 16); ``window`` is the side in pixels of the attention's
    means in inference. ``conditions`` numbers enter the first convolution as constant channels
    (published: none).
    """

    def __init__(self, channels: int = 1, scale: int = 2, groups: int = 10, blocks: int = 20,
                 features: int = 64, reduction: int = 16, window: int = 32, conditions: int = 0):
        super().__init__()
        self.groups, self.blocks, self.window, self.scale = groups, blocks, window, scale
        self.conditions = conditions

        def block():
            return ResidualBlock(conv3(features, features), nn.ReLU(), conv3(features, features),
                                 ChannelAttention(features, reduction, window))

        self.head = conv3(channels + conditions, features)
        self.body = nn.Sequential(
            *(ResidualBlock(*(block() for _ in range(blocks)), conv3(features, features))
              for _ in range(groups)), conv3(features, features))
        self.tail = nn.Sequential(Upsampler(features, scale), conv3(features, channels))

    def forward(self, x: torch.Tensor, conditions: torch.Tensor | None = None) -> torch.Tensor:
        shallow = self.head(concat_conditions(x, conditions, self.conditions))
        return self.tail(shallow + self.body(shallow))

    @property
    def halo(self) -> int:
        """Input pixels around an output pixel that influence it."""
        convolutions = 2 + self.groups * (2 * self.blocks + 1) + self.tail[0].halo(1)
        return convolutions + self.groups * self.blocks * (self.window // 2)


ARCHITECTURE = Architecture("rcan", RCAN, reference="arXiv:1807.02758")
