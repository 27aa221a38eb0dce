"""RDN: residual dense network (Zhang et al. 2018, arXiv:1802.08797)."""

import torch
from torch import nn

from lenssr.networks._architecture import Architecture
from lenssr.networks._layers import Upsampler, concat_conditions, conv3


class DenseBlock(nn.Module):
    """Residual dense block: layers on all previous features, fused by a 1x1 convolution."""

    def __init__(self, features: int, growth: int, layers: int):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(conv3(features + i * growth, growth), nn.ReLU()) for i in range(layers))
        self.fusion = nn.Conv2d(features + layers * growth, features, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = x
        for layer in self.layers:
            features = torch.cat([features, layer(features)], dim=1)
        return x + self.fusion(features)


class RDN(nn.Module):
    """
    Residual dense network.

    ``blocks``, ``layers`` in each, ``growth`` (channels that a layer adds) and ``features``
    between blocks are D, C, G and G0 of the paper (published: 16, 8, 64, 64).
    """

    def __init__(self, channels: int = 1, scale: int = 2, blocks: int = 16, layers: int = 8,
                 growth: int = 64, features: int = 64, conditions: int = 0):
        super().__init__()
        self.scale, self.layers, self.conditions = scale, layers, conditions
        self.head = conv3(channels + conditions, features)
        self.second = conv3(features, features)
        self.body = nn.ModuleList(DenseBlock(features, growth, layers) for _ in range(blocks))
        self.fusion = nn.Sequential(
            nn.Conv2d(blocks * features, features, 1), conv3(features, features))
        self.tail = nn.Sequential(Upsampler(features, scale), conv3(features, channels))

    def forward(self, x: torch.Tensor, conditions: torch.Tensor | None = None) -> torch.Tensor:
        shallow = self.head(concat_conditions(x, conditions, self.conditions))
        x, outputs = self.second(shallow), []
        for block in self.body:
            x = block(x)
            outputs.append(x)
        return self.tail(shallow + self.fusion(torch.cat(outputs, dim=1)))

    @property
    def halo(self) -> int:
        """Input pixels around an output pixel that influence it."""
        return 3 + len(self.body) * self.layers + self.tail[0].halo(1)


ARCHITECTURE = Architecture("rdn", RDN, reference="arXiv:1802.08797")
