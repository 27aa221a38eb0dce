"""RCAN: residual channel attention network (Zhang et al. 2018, arXiv:1807.02758)."""

import torch
from torch import nn

from lenssr.networks._architecture import Architecture
from lenssr.networks._layers import LocalMean, Upsampler, concat_conditions, conv3


class ChannelAttention(nn.Module):
    """Scale each channel by a gate made from the means of all of them."""

    def __init__(self, features: int, reduction: int, window: int):
        super().__init__()
        self.mean = LocalMean(window)
        self.gate = nn.Sequential(
            nn.Conv2d(features, features // reduction, 1), nn.ReLU(),
            nn.Conv2d(features // reduction, features, 1), nn.Sigmoid())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gate(self.mean(x))


class Block(nn.Module):
    """Residual channel attention block: two convolutions and the attention."""

    def __init__(self, features: int, reduction: int, window: int):
        super().__init__()
        self.body = nn.Sequential(
            conv3(features, features), nn.ReLU(), conv3(features, features),
            ChannelAttention(features, reduction, window))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x)


class Group(nn.Module):
    """Residual group: blocks, a convolution, and a long skip."""

    def __init__(self, blocks: int, features: int, reduction: int, window: int):
        super().__init__()
        self.body = nn.Sequential(
            *(Block(features, reduction, window) for _ in range(blocks)),
            conv3(features, features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x)


class RCAN(nn.Module):
    """
    Residual channel attention network.

    Parameters
    ----------
    channels : int
        Channels of the image, in and out.
    scale : int
        Output pixels per input pixel: 2, 3 or 4.
    groups, blocks, features, reduction : int
        Residual groups, blocks in each, feature channels, and the reduction of the
        attention's bottleneck. Published: 10, 20, 64, 16.
    window : int
        Side of the window of the attention's means outside training, in pixels.
    conditions : int
        Numbers that the network is told of each image; they enter the first
        convolution as constant channels. Published: none.
    """

    def __init__(self, channels: int = 1, scale: int = 2, groups: int = 10, blocks: int = 20,
                 features: int = 64, reduction: int = 16, window: int = 32, conditions: int = 0):
        super().__init__()
        self.groups, self.blocks, self.window, self.scale = groups, blocks, window, scale
        self.conditions = conditions
        self.head = conv3(channels + conditions, features)
        self.body = nn.Sequential(
            *(Group(blocks, features, reduction, window) for _ in range(groups)),
            conv3(features, features))
        self.tail = nn.Sequential(Upsampler(features, scale), conv3(features, channels))

    def forward(self, x: torch.Tensor, conditions: torch.Tensor | None = None) -> torch.Tensor:
        shallow = self.head(concat_conditions(x, conditions, self.conditions))
        return self.tail(shallow + self.body(shallow))

    @property
    def halo(self) -> int:
        """Input pixels beyond which nothing influences an output pixel."""
        convolutions = 2 + self.groups * (2 * self.blocks + 1) + self.tail[0].reach(1)
        return convolutions + self.groups * self.blocks * (self.window // 2)


ARCHITECTURE = Architecture("rcan", RCAN, reference="arXiv:1807.02758")
