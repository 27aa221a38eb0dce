"""SRResNet: the generator of SRGAN (Ledig et al. 2017, arXiv:1609.04802)."""

import torch
from torch import nn

from lenssr.networks._architecture import Architecture
from lenssr.networks._layers import Upsampler, concat_conditions, conv3


def normalised(features: int, norm: bool) -> list:
    """A convolution, with batch normalisation after it or without."""
    if not norm:
        return [conv3(features, features)]
    return [nn.Conv2d(features, features, 3, padding=1, bias=False), nn.BatchNorm2d(features)]


class Block(nn.Module):
    """Residual block: two convolutions and a parametric rectifier between them."""

    def __init__(self, features: int, norm: bool):
        super().__init__()
        self.body = nn.Sequential(
            *normalised(features, norm), nn.PReLU(features), *normalised(features, norm))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x)


class SRResNet(nn.Module):
    """
    Super-resolution residual network.

    Parameters
    ----------
    channels : int
        Channels of the image, in and out.
    scale : int
        Output pixels per input pixel: 2, 3 or 4.
    blocks, features : int
        Residual blocks and feature channels. Published: 16, 64.
    norm : bool
        Normalise over batches, as published. Without, the brightness of an image
        is not lost in the mean over those it is trained with.
    conditions : int
        Numbers that the network is told of each image, as in `RCAN`.
    """

    def __init__(self, channels: int = 1, scale: int = 2, blocks: int = 16, features: int = 64,
                 norm: bool = True, conditions: int = 0):
        super().__init__()
        self.scale, self.blocks, self.conditions = scale, blocks, conditions
        self.head = nn.Sequential(
            nn.Conv2d(channels + conditions, features, 9, padding=4), nn.PReLU(features))
        self.body = nn.Sequential(
            *(Block(features, norm) for _ in range(blocks)), *normalised(features, norm))
        self.tail = nn.Sequential(
            Upsampler(features, scale, prelu=True), nn.Conv2d(features, channels, 9, padding=4))

    def forward(self, x: torch.Tensor, conditions: torch.Tensor | None = None) -> torch.Tensor:
        shallow = self.head(concat_conditions(x, conditions, self.conditions))
        return self.tail(shallow + self.body(shallow))

    @property
    def halo(self) -> int:
        """Input pixels beyond which nothing influences an output pixel."""
        return 4 + 2 * self.blocks + 1 + self.tail[0].reach(4)


LEAK = 0.2  # slope of the leaky rectifiers


class Discriminator(nn.Module):
    """
    Discriminator of SRGAN (Ledig et al. 2017, arXiv:1609.04802), of any depth and width.

    Each stage has two 3x3 convolutions, the second of which halves the image; a later stage has
    twice the features. Two dense layers make one number of what is left. Published: four stages of
    64 features and more, a dense layer of 1,024, and batch normalisation, which is left out here:
    what is said of an image does not depend on its batch.

    Parameters
    ----------
    side : int
        Side of the images in pixels, a multiple of ``2**stages``.
    channels : int
        Views of an image.
    features : int
        Channels of the first stage.
    stages : int
        How often the image is halved.
    hidden : int
        Numbers between the dense layers.

    Raises
    ------
    ValueError
        If the image cannot be halved so often.
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
                layers += [nn.Conv2d(inputs, outputs, 3, stride, 1), nn.LeakyReLU(LEAK)]
                inputs = outputs
        n_features = inputs * (side // 2**stages) ** 2
        self.layers = nn.Sequential(
            *layers, nn.Flatten(), nn.Linear(n_features, hidden), nn.LeakyReLU(LEAK),
            nn.Linear(hidden, 1), nn.Flatten(0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """How true images look, without bounds, shape ``(batch,)``."""
        return self.layers(x)


ARCHITECTURE = Architecture("srresnet", SRResNet, reference="arXiv:1609.04802")
SRGAN = Architecture("srgan", SRResNet, trainer="srgan", reference="arXiv:1609.04802")
