"""What SRGAN adds to SRResNet: the network that tells its images from true ones."""

import torch
from torch import nn

__all__ = ["Discriminator"]

SLOPE = 0.2  # of the leaky rectifiers


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
                layers += [nn.Conv2d(inputs, outputs, 3, stride, 1), nn.LeakyReLU(SLOPE)]
                inputs = outputs
        left = inputs * (side // 2**stages) ** 2
        self.layers = nn.Sequential(
            *layers, nn.Flatten(), nn.Linear(left, hidden), nn.LeakyReLU(SLOPE),
            nn.Linear(hidden, 1), nn.Flatten(0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """How true images look, without bounds, shape ``(batch,)``."""
        return self.layers(x)
