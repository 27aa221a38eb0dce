"""FSRCNN (Dong et al. 2016, arXiv:1608.00367) and two group-equivariant forms of it."""

import torch
from torch import nn

from lenssr.networks._architecture import Architecture
from lenssr.networks._equivariant import (
    N_SYMMETRIES,
    GroupConv,
    GroupPReLU,
    GroupProjection,
    LiftingConv,
)
from lenssr.networks._inputs import FLIP_SIGNS, ROTATION_SIGNS
from lenssr.networks._layers import Deconvolution, concat_conditions, conv3, enlarge


def _deconvolution(inputs, channels, scale):
    """Make the transposed convolution, whose first output is close to zero as published."""
    layer = Deconvolution(inputs, channels, scale)
    nn.init.normal_(layer.weight, std=0.001)
    nn.init.zeros_(layer.bias)
    return layer


class FSRCNN(nn.Module):
    """
    Fast super-resolution convolutional network.

    Feature extraction, shrinking, mapping, expanding, and a `Deconvolution` to the output grid.
    ``d``, ``s`` and ``m`` are the feature channels, the channels after shrinking and the mapping
    layers of the paper (published: 56, 12, 4); ``skip`` adds the interpolated image (published:
    no).
    """

    def __init__(self, channels: int = 1, scale: int = 2, d: int = 56, s: int = 12, m: int = 4,
                 conditions: int = 0, skip: bool = False):
        super().__init__()
        self.scale, self.m, self.conditions, self.skip = scale, m, conditions, skip
        self.body = self._make_body(channels, d, s, m, conditions)
        self.tail = self._make_tail(d, channels, scale)

    @staticmethod
    def _make_body(channels, d, s, m, conditions):
        layers = [nn.Conv2d(channels + conditions, d, 5, padding=2), nn.PReLU(d),
                  nn.Conv2d(d, s, 1), nn.PReLU(s)]
        for _ in range(m):
            layers += [conv3(s, s), nn.PReLU(s)]
        layers += [nn.Conv2d(s, d, 1), nn.PReLU(d)]
        # As published: the variance of a signal is kept from layer to layer.
        for layer in layers[::2]:
            nn.init.kaiming_normal_(layer.weight, 0.25)
            nn.init.zeros_(layer.bias)
        return nn.Sequential(*layers)

    @staticmethod
    def _make_tail(d, channels, scale):
        return _deconvolution(d, channels, scale)

    def forward(self, x: torch.Tensor, conditions: torch.Tensor | None = None) -> torch.Tensor:
        y = self.tail(self.body(concat_conditions(x, conditions, self.conditions)))
        return y + enlarge(x, self.scale) if self.skip else y

    @property
    def halo(self) -> int:
        """Input pixels around an output pixel that influence it."""
        return 2 + self.m + self.tail.halo


class HybridFSRCNN(FSRCNN):
    """
    FSRCNN with group-equivariant features and an ordinary transposed convolution.

    Each feature has eight channels. ``conditions`` may be at most 5, the number of PSF features
    with known signs under rotations and reflections.
    """

    @staticmethod
    def _make_body(channels, d, s, m, conditions):
        if conditions > len(ROTATION_SIGNS):
            raise ValueError(f"`conditions` must be at most {len(ROTATION_SIGNS)}, the number of "
                             f"PSF features of known symmetry, got {conditions}")
        layers = [LiftingConv(channels, d, 5, ROTATION_SIGNS[:conditions], FLIP_SIGNS[:conditions]),
                  GroupPReLU(d), GroupConv(d, s, 1), GroupPReLU(s)]
        for _ in range(m):
            layers += [GroupConv(s, s, 3), GroupPReLU(s)]
        return nn.Sequential(*layers, GroupConv(s, d, 1), GroupPReLU(d))

    @staticmethod
    def _make_tail(d, channels, scale):
        return _deconvolution(d * N_SYMMETRIES, channels, scale)


class EquivariantFSRCNN(HybridFSRCNN):
    """
    FSRCNN that commutes with right-angle rotations and reflections, for any weights.

    The centred transposed convolution is averaged over the eight orientations of its kernel.
    Sub-pixel convolution would not do, as a rotation permutes the sub-pixels.
    """

    @staticmethod
    def _make_tail(d, channels, scale):
        return GroupProjection(_deconvolution(d, channels, scale))


ARCHITECTURE = Architecture("fsrcnn", FSRCNN, reference="arXiv:1608.00367")
EQUIVARIANT = Architecture("fsrcnn_equivariant", EquivariantFSRCNN, reference="arXiv:1602.07576")
HYBRID = Architecture("fsrcnn_hybrid", HybridFSRCNN, reference="arXiv:1602.07576")
