"""FSRCNN that commutes with the eight flips and right-angle turns of an image."""

import torch
from torch import nn

from lenssr.networks._group import GroupConv, GroupPReLU, Lifting, Projection
from lenssr.networks._layers import Deconvolution, concat_conditions, enlarge
from lenssr.networks._range import FLIP_SIGNS, ROTATION_SIGNS

__all__ = ["EquivariantFSRCNN", "equivariant_body"]


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
        self.tail = Projection(deconvolution)

    def forward(self, x: torch.Tensor, conditions: torch.Tensor | None = None) -> torch.Tensor:
        y = self.tail(self.body(concat_conditions(x, conditions, self.conditions)))
        return y + enlarge(x, self.scale) if self.skip else y

    @property
    def halo(self) -> int:
        """Input pixels beyond which nothing influences an output pixel."""
        return 2 + self.m + self.reach
