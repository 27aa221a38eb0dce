"""FSRCNN that commutes with the eight flips and right-angle turns of an image."""

import torch
from torch import nn

from lenssr.networks._architecture import Architecture
from lenssr.networks._inputs import FLIP_SIGNS, ROTATION_SIGNS
from lenssr.networks._layers import (
    N_SYMMETRIES,
    Deconvolution,
    GroupConv,
    GroupPReLU,
    GroupProjection,
    Lifting,
    concat_conditions,
    enlarge,
)


def equivariant_body(channels: int, d: int, s: int, m: int, conditions: int) -> nn.Sequential:
    """Layers of FSRCNN up to the transposed convolution, as convolutions over the group."""
    if conditions > len(ROTATION_SIGNS):
        raise ValueError(f"`conditions` must be at most {len(ROTATION_SIGNS)}, those whose signs under "
                         f"turns and flips are known, got {conditions}")
    layers = [Lifting(channels, d, 5, ROTATION_SIGNS[:conditions], FLIP_SIGNS[:conditions]), GroupPReLU(d),
              GroupConv(d, s, 1), GroupPReLU(s)]
    for _ in range(m):
        layers += [GroupConv(s, s, 3), GroupPReLU(s)]
    return nn.Sequential(*layers, GroupConv(s, d, 1), GroupPReLU(d))


class EquivariantFSRCNN(nn.Module):
    """
    FSRCNN over the group of pixels, flips and right-angle turns.

    A turned image gives the turned result, for every image and any weights. The
    transposed convolution is centred and takes each of its kernels in all eight
    positions. Sub-pixel convolution would not do: a turn moves the sub-pixels.

    Parameters
    ----------
    channels : int
        Channels of the image, in and out.
    scale : int
        Output pixels per input pixel: 2, 3 or 4.
    d, s, m : int
        Features, features after shrinking, and mapping layers, as in `FSRCNN`; each
        feature has eight channels.
    conditions : int
        How many of the numbers of `describe_psf` the network is told. Those of the
        ellipticity turn with the image.
    skip : bool
        Add the interpolated image to the output.
    """

    def __init__(self, channels: int = 1, scale: int = 2, d: int = 56, s: int = 12, m: int = 4,
                 conditions: int = 0, skip: bool = False):
        super().__init__()
        self.scale, self.m, self.conditions, self.skip = scale, m, conditions, skip
        self.body = equivariant_body(channels, d, s, m, conditions)
        deconvolution = Deconvolution(d, channels, scale)
        nn.init.normal_(deconvolution.weight, std=0.001)
        nn.init.zeros_(deconvolution.bias)
        self.reach = deconvolution.reach
        self.tail = GroupProjection(deconvolution)

    def forward(self, x: torch.Tensor, conditions: torch.Tensor | None = None) -> torch.Tensor:
        y = self.tail(self.body(concat_conditions(x, conditions, self.conditions)))
        return y + enlarge(x, self.scale) if self.skip else y

    @property
    def halo(self) -> int:
        """Input pixels beyond which nothing influences an output pixel."""
        return 2 + self.m + self.reach


class HybridFSRCNN(nn.Module):
    """
    The features of `EquivariantFSRCNN` and the transposed convolution of `FSRCNN`.

    The features turn with the image; what is made of them need not.

    Parameters
    ----------
    channels, scale, d, s, m, conditions, skip
        As for `EquivariantFSRCNN`.
    """

    def __init__(self, channels: int = 1, scale: int = 2, d: int = 56, s: int = 12, m: int = 4,
                 conditions: int = 0, skip: bool = False):
        super().__init__()
        self.scale, self.m, self.conditions, self.skip = scale, m, conditions, skip
        self.body = equivariant_body(channels, d, s, m, conditions)
        self.tail = Deconvolution(d * N_SYMMETRIES, channels, scale)
        nn.init.normal_(self.tail.weight, std=0.001)
        nn.init.zeros_(self.tail.bias)

    def forward(self, x: torch.Tensor, conditions: torch.Tensor | None = None) -> torch.Tensor:
        y = self.tail(self.body(concat_conditions(x, conditions, self.conditions)))
        return y + enlarge(x, self.scale) if self.skip else y

    @property
    def halo(self) -> int:
        """Input pixels beyond which nothing influences an output pixel."""
        return 2 + self.m + self.tail.reach


EQUIVARIANT = Architecture("fsrcnn_equivariant", EquivariantFSRCNN,
                           reference="arXiv:1602.07576")
HYBRID = Architecture("fsrcnn_hybrid", HybridFSRCNN, reference="arXiv:1602.07576")
