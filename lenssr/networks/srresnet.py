"""SRResNet, and the discriminator of SRGAN (Ledig et al. 2017, arXiv:1609.04802)."""

import torch
from torch import nn

from lenssr.networks._architecture import Architecture
from lenssr.networks._layers import ResidualBlock, Upsampler, concat_conditions, conv3

LEAKY_SLOPE = 0.2  # of the rectifiers of the discriminator


def _normalized(features: int, norm: bool) -> list:
    """Make a convolution, with batch normalisation if ``norm`` is set."""
    if not norm:
        return [conv3(features, features)]
    return [nn.Conv2d(features, features, 3, padding=1, bias=False), nn.BatchNorm2d(features)]


class SRResNet(nn.Module):
    """
    Super-resolution residual network, the generator of SRGAN.

    Published ``blocks`` and ``features`` are 16 and 64, with batch normalisation (``norm``).
    Without it the brightness of an image does not depend on the training batches.
    """

    def __init__(self, channels: int = 1, scale: int = 2, blocks: int = 16, features: int = 64,
                 norm: bool = True, conditions: int = 0):
        super().__init__()
        self.scale, self.blocks, self.conditions = scale, blocks, conditions
        self.head = nn.Sequential(
            nn.Conv2d(channels + conditions, features, 9, padding=4), nn.PReLU(features))
        self.body = nn.Sequential(
            *(ResidualBlock(*_normalized(features, norm), nn.PReLU(features),
                            *_normalized(features, norm)) for _ in range(blocks)),
            *_normalized(features, norm))
        self.tail = nn.Sequential(
            Upsampler(features, scale, prelu=True), nn.Conv2d(features, channels, 9, padding=4))

    def forward(self, x: torch.Tensor, conditions: torch.Tensor | None = None) -> torch.Tensor:
        shallow = self.head(concat_conditions(x, conditions, self.conditions))
        return self.tail(shallow + self.body(shallow))

    @property
    def halo(self) -> int:
        """Input pixels around an output pixel that influence it."""
        return 4 + 2 * self.blocks + 1 + self.tail[0].halo(4)


class Discriminator(nn.Module):
    """
    Discriminator of SRGAN, returning one unbounded score per image.

    ``stages`` of two 3x3 convolutions, the second of stride 2; ``features`` channels in the first
    stage, doubled by each later one; ``hidden`` units of the first dense layer (published: 4, 64,
    1024). Batch normalisation is left out, so that a score does not depend on the batch. ``side``
    in pixels must be a multiple of ``2**stages``; ``channels`` are the planes of an image.
    """

    def __init__(self, side: int, channels: int = 1, features: int = 64, stages: int = 4,
                 hidden: int = 1024):
        super().__init__()
        if side % 2**stages:
            raise ValueError(f"`stages` must be such that the side of the images, {side} pixels, "
                             f"can be halved as often, got {stages}")
        layers, inputs = [], channels
        for k in range(stages):
            outputs = features * 2**k
            for stride in (1, 2):
                layers += [nn.Conv2d(inputs, outputs, 3, stride, 1), nn.LeakyReLU(LEAKY_SLOPE)]
                inputs = outputs
        count = inputs * (side // 2**stages) ** 2
        self.layers = nn.Sequential(
            *layers, nn.Flatten(), nn.Linear(count, hidden), nn.LeakyReLU(LEAKY_SLOPE),
            nn.Linear(hidden, 1), nn.Flatten(0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


ARCHITECTURE = Architecture("srresnet", SRResNet, reference="arXiv:1609.04802")
SRGAN = Architecture("srgan", SRResNet, trainer="srgan", reference="arXiv:1609.04802")
