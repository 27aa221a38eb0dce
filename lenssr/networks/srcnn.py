"""SRCNN: three convolutions on the interpolated image (Dong et al. 2014, arXiv:1501.00092)."""

import torch
from torch import nn

from lenssr.networks._architecture import Architecture
from lenssr.networks._layers import check_scale, concat_conditions, enlarge


class SRCNN(nn.Module):
    """
    Super-resolution convolutional network.

    Bicubic interpolation, which is part of the network here, then patch extraction,
    non-linear mapping and reconstruction at the size of the output. The cubic has
    the coefficient -0.75 that torch and ONNX share, not the -0.5 of the paper's.

    Parameters
    ----------
    channels : int
        Channels of the image, in and out.
    scale : int
        Output pixels per input pixel: 2, 3 or 4.
    features : tuple of int
        Feature channels of the first and the second layer. Published: 64, 32.
    kernels : tuple of int
        Sides of the three layers' kernels, odd. Published: 9, 1, 5.
    conditions : int
        Numbers that the network is told of each image, as in `RCAN`.
    skip : bool
        Add the interpolated image to the output. Published: no.
    """

    def __init__(self, channels: int = 1, scale: int = 2, features: tuple = (64, 32),
                 kernels: tuple = (9, 1, 5), conditions: int = 0, skip: bool = False):
        super().__init__()
        if any(k % 2 == 0 for k in kernels):
            raise ValueError(f"`kernels` must be odd, got {kernels}")
        self.scale, self.kernels = check_scale(scale), tuple(kernels)
        self.conditions, self.skip = conditions, skip
        widths = (channels + conditions, *features, channels)
        first, second, third = (nn.Conv2d(widths[i], widths[i + 1], k, padding=k // 2)
                                for i, k in enumerate(kernels))
        self.body = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), third)

    def forward(self, x: torch.Tensor, conditions: torch.Tensor | None = None) -> torch.Tensor:
        x = enlarge(x, self.scale, "bicubic")
        y = self.body(concat_conditions(x, conditions, self.conditions))
        return x + y if self.skip else y

    @property
    def halo(self) -> int:
        """Input pixels beyond which nothing influences an output pixel."""
        # The outermost output pixel of an input pixel, what the kernels reach from there,
        # the input pixel whose centre lies before that, and two more of the cubic.
        outermost = self.scale - 1 + sum(k // 2 for k in self.kernels)
        return (2 * outermost + 1 - self.scale) // (2 * self.scale) + 2


ARCHITECTURE = Architecture("srcnn", SRCNN, reference="arXiv:1501.00092")
