"""What classifiers have in common: how an image is seen, and its features on the way."""

import math

import torch
from torch import nn
from torch.nn import functional

from lenssr.networks._starlet import starlet

__all__ = ["MAX_IMAGE_SIDE", "MIN_IMAGE_SIDE", "Classifier", "check_stem"]

MIN_IMAGE_SIDE, MAX_IMAGE_SIDE = 32, 150  # sides of images, pixels
STEMS = ("fine", "published")


def check_stem(stem: str) -> str:
    """The stem, if it is one that there is; `ValueError` otherwise."""
    if stem not in STEMS:
        raise ValueError(f"`stem` must be one of {', '.join(STEMS)}, got {stem!r}")
    return stem


class Classifier(nn.Module):
    """A network that gives a number for each class, whose softmax are probabilities."""

    def __init__(self, channels: int = 1, softening: tuple = (0.05, 0.002), scales: int = 3):
        super().__init__()
        self.softening, self.scales = tuple(softening), scales
        self.planes = channels * len(self.softening) * (scales + 1)
        self.gain = [4.0 * 2.0 ** (scales - k) for k in range(scales)] + [1.0]

    def see(self, image: torch.Tensor) -> torch.Tensor:
        """The planes that the first layer takes, ``(batch, planes, ny, nx)``."""
        # The brightest mean of 3x3 pixels, to which noise adds little.
        peak = functional.avg_pool2d(image, 3, 1, 1).amax(dim=(1, 2, 3), keepdim=True)
        image = image / peak.clamp(min=torch.finfo(image.dtype).tiny)
        seen = torch.cat([(image / s).asinh() / math.asinh(1 / s) for s in self.softening], dim=1)
        gain = torch.tensor(self.gain).repeat(seen.shape[1]).reshape(1, -1, 1, 1)
        return starlet(seen, self.scales) * gain.to(seen)

    def features(self, image: torch.Tensor) -> list:
        """Maps of features on the way to the classes, the finest first."""
        maps, x = [], self.see(image).contiguous(memory_format=torch.channels_last)
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    def classify(self, features: torch.Tensor) -> torch.Tensor:
        """Logits ``(batch, classes)`` of the last of the maps."""
        return self.head(features)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.classify(self.features(image)[-1])
