"""Generator of lensed arcs from random numbers, for the augmentation of training sets."""

import math

import torch
from torch import nn
from torch.nn import functional

from lenssr.networks._architecture import Architecture
from lenssr.networks._layers import check_scale, conv3, enlarge

PEAK_FRACTION = 0.02  # of the peak, at which asinh turns from linear to logarithmic
SOFTPLUS_BETA = 20.0  # steepness of the function that keeps light positive
REDUCTION = 16        # side of the image over the side of the first map
LEAKY_SLOPE = 0.2     # of the rectifiers
FINE_CHANNELS = 8     # channels on the finest grid


def to_asinh(image: torch.Tensor) -> torch.Tensor:
    """Divide images ``(..., ny, nx)`` by their peak and compress them by asinh to 0 to 1."""
    peak = image.amax(dim=(-2, -1), keepdim=True).clamp(min=torch.finfo(image.dtype).tiny)
    return torch.asinh(image / (PEAK_FRACTION * peak)) / math.asinh(1 / PEAK_FRACTION)


def from_asinh(value: torch.Tensor) -> torch.Tensor:
    """Invert `to_asinh` for images of peak one."""
    return PEAK_FRACTION * torch.sinh(value * math.asinh(1 / PEAK_FRACTION))


class _Enlarge(nn.Module):
    """Interpolation to twice the size."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return enlarge(x, 2)


class ArcGenerator(nn.Module):
    """
    Generator of surface brightness images ``(batch, 1, side, side)`` from ``(batch, latent)``.

    After Radford et al. (2016, arXiv:1511.06434), with interpolation before each convolution,
    which avoids checkerboard patterns. ``side`` in pixels is a multiple of 16, ``scale`` the
    magnification of the pairs to be made, ``features`` the channels of the last of three stages.
    """

    def __init__(self, side: int = 96, scale: int = 2, latent: int = 64, features: int = 32):
        super().__init__()
        if side % REDUCTION:
            raise ValueError(f"`side` must be a multiple of {REDUCTION}, got {side}")
        self.side, self.scale, self.latent = side, check_scale(scale), latent
        self.widths = [k * features for k in (4, 3, 2, 1)]
        start = side // REDUCTION
        self.head = nn.Linear(latent, self.widths[0] * start**2)
        self.stages = nn.ModuleList(
            nn.Sequential(_Enlarge(), conv3(a, b), nn.BatchNorm2d(b), nn.LeakyReLU(LEAKY_SLOPE))
            for a, b in zip(self.widths, self.widths[1:]))
        self.tail = nn.Sequential(
            conv3(features, FINE_CHANNELS), nn.LeakyReLU(LEAKY_SLOPE), _Enlarge(),
            conv3(FINE_CHANNELS, FINE_CHANNELS), nn.LeakyReLU(LEAKY_SLOPE),
            conv3(FINE_CHANNELS, 1))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        start = self.side // REDUCTION
        x = functional.leaky_relu(self.head(z), LEAKY_SLOPE)
        x = x.reshape(-1, self.widths[0], start, start)
        for stage in self.stages:
            x = stage(x)
        return functional.softplus(self.tail(x), beta=SOFTPLUS_BETA)


ARCHITECTURE = Architecture("arcs", ArcGenerator, inputs="noise", trainer="arcs",
                            reference="arXiv:1511.06434")
