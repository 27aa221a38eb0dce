"""FSRCNN: features at the size of the input (Dong et al. 2016, arXiv:1608.00367)."""

import torch
from torch import nn

from lenssr.networks._architecture import Architecture
from lenssr.networks._layers import Deconvolution, concat_conditions, conv3, enlarge


class FSRCNN(nn.Module):
    """
    Fast super-resolution convolutional network.

    Feature extraction, shrinking, mapping, expanding, and a transposed convolution
    to the size of the output.

    Parameters
    ----------
    channels : int
        Channels of the image, in and out.
    scale : int
        Output pixels per input pixel: 2, 3 or 4. At the even ones the transposed
        convolution has a kernel of 10x10, not 9x9: see `Deconvolution`.
    d, s, m : int
        Feature channels, channels after shrinking, and mapping layers, as the paper
        calls them. Published: 56, 12, 4.
    conditions : int
        Numbers that the network is told of each image, as in `RCAN`.
    skip : bool
        Add the interpolated image to the output. Published: no.
    """

    def __init__(self, channels: int = 1, scale: int = 2, d: int = 56, s: int = 12, m: int = 4,
                 conditions: int = 0, skip: bool = False):
        super().__init__()
        self.scale, self.m, self.conditions, self.skip = scale, m, conditions, skip
        layers = [nn.Conv2d(channels + conditions, d, 5, padding=2), nn.PReLU(d),
                  nn.Conv2d(d, s, 1), nn.PReLU(s)]
        for _ in range(m):
            layers += [conv3(s, s), nn.PReLU(s)]
        layers += [nn.Conv2d(s, d, 1), nn.PReLU(d)]
        # As published: the scale of a signal is kept, and the first output is close to zero.
        for layer in layers[::2]:
            nn.init.kaiming_normal_(layer.weight, 0.25)
            nn.init.zeros_(layer.bias)
        self.body = nn.Sequential(*layers)
        self.tail = Deconvolution(d, channels, scale)
        nn.init.normal_(self.tail.weight, std=0.001)
        nn.init.zeros_(self.tail.bias)

    def forward(self, x: torch.Tensor, conditions: torch.Tensor | None = None) -> torch.Tensor:
        y = self.tail(self.body(concat_conditions(x, conditions, self.conditions)))
        return y + enlarge(x, self.scale) if self.skip else y

    @property
    def halo(self) -> int:
        """Input pixels beyond which nothing influences an output pixel."""
        return 2 + self.m + self.tail.reach


ARCHITECTURE = Architecture("fsrcnn", FSRCNN, reference="arXiv:1608.00367")
