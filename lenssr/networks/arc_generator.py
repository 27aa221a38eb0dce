"""A generator of arcs: what a lens makes of a galaxy, out of nothing but random numbers."""

import math

import torch
from torch import nn
from torch.nn import functional

from lenssr.networks._architecture import Architecture
from lenssr.networks._layers import check_scale, conv3, enlarge

ARC_SOFTENING = 0.02  # of the peak, where the stretch turns logarithmic
SOFTPLUS_STEEPNESS = 20.0  # of the function that makes light positive
START_FACTOR = 16  # output side over the side of the first feature map
LEAK = 0.2  # slope of the leaky rectifiers
FINEST_CHANNELS = 8  # channels on the finest grid


def to_asinh(image: torch.Tensor) -> torch.Tensor:
    """Light relative to the peak of each image, through asinh: from zero to one."""
    peak = image.amax(dim=(-2, -1), keepdim=True).clamp(min=torch.finfo(image.dtype).tiny)
    return torch.asinh(image / (ARC_SOFTENING * peak)) / math.asinh(1 / ARC_SOFTENING)


def from_asinh(value: torch.Tensor) -> torch.Tensor:
    """Inverse of `dim`, where the peak is one."""
    return ARC_SOFTENING * torch.sinh(value * math.asinh(1 / ARC_SOFTENING))


class Enlarge(nn.Module):
    """Interpolation to twice the size."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return enlarge(x, 2)


class ArcGenerator(nn.Module):
    """
    Random numbers to light on the sky, by convolutions that double the image one by one.

    After the generator of Radford et al. (2016, arXiv:1511.06434), with the image interpolated
    before each convolution, which leaves no lattice on it.

    Parameters
    ----------
    side : int
        Side of the images in pixels, a multiple of sixteen.
    scale : int
        Output pixels per input pixel of the pairs that they are to be made into.
    latent : int
        Random numbers of an image.
    features : int
        Channels of the last of three stages, the first of which has three times as many.

    Raises
    ------
    ValueError
        If the side is no such multiple.
    """

    def __init__(self, side: int = 96, scale: int = 2, latent: int = 64, features: int = 32):
        super().__init__()
        if side % START_FACTOR:
            raise ValueError(f"`side` must be a multiple of {START_FACTOR}, got {side}")
        self.side, self.scale, self.latent = side, check_scale(scale), latent
        self.widths = [k * features for k in (4, 3, 2, 1)]
        start = side // START_FACTOR
        self.head = nn.Linear(latent, self.widths[0] * start**2)
        self.stages = nn.ModuleList(
            nn.Sequential(Enlarge(), conv3(a, b), nn.BatchNorm2d(b), nn.LeakyReLU(LEAK))
            for a, b in zip(self.widths, self.widths[1:]))
        self.tail = nn.Sequential(
            conv3(features, FINEST_CHANNELS), nn.LeakyReLU(LEAK), Enlarge(), conv3(FINEST_CHANNELS, FINEST_CHANNELS),
            nn.LeakyReLU(LEAK), conv3(FINEST_CHANNELS, 1))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Images ``(batch, 1, side, side)`` as `dim` makes them, of numbers ``(batch, latent)``."""
        start = self.side // START_FACTOR
        x = functional.leaky_relu(self.head(z), LEAK).reshape(-1, self.widths[0], start, start)
        for stage in self.stages:
            x = stage(x)
        return functional.softplus(self.tail(x), beta=SOFTPLUS_STEEPNESS)


ARCHITECTURE = Architecture("arcs", ArcGenerator, inputs="noise", trainer="arcs",
                            reference="arXiv:1511.06434")
