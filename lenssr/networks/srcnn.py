"""SRCNN: three convolutions on the interpolated image (Dong et al. 2014, arXiv:1501.00092)."""

import torch
from torch import nn

from lenssr.networks._architecture import Architecture
from lenssr.networks._layers import check_scale, concat_conditions, enlarge


class SRCNN(nn.Module):
    """
    Super-resolution convolutional network.

    Bicubic interpolation, patch extraction, non-linear mapping, reconstruction. The cubic
    coefficient is -0.75, as in torch and ONNX, in place of -0.5 in the paper. Published
    ``features`` are 64, 32 and ``kernels`` 9, 1, 5; ``skip`` adds the interpolated image.
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
        """Input pixels around an output pixel that influence it."""
        # From the outermost sub-pixel, the kernels extend to the input pixel whose centre is
        # next; the cubic adds two.
        outermost = self.scale - 1 + sum(k // 2 for k in self.kernels)
        return (2 * outermost + 1 - self.scale) // (2 * self.scale) + 2


ARCHITECTURE = Architecture("srcnn", SRCNN, reference="arXiv:1501.00092")
