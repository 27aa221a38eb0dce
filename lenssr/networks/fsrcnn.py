"""
FSRCNN (Dong et al. 2016, arXiv:1608.00367) and two group-equivariant forms of it.

The latter use convolutions over the eight symmetries of the square (Cohen & Welling 2016,
arXiv:1602.07576). A field has eight channels for each feature: channel k is the response to the
kernel transformed by symmetry k. Weights are four-dimensional, so that `torch.channels_last`
applies to them.
"""

import torch
from torch import nn
from torch.nn import functional

from lenssr.networks._architecture import Architecture
from lenssr.networks._inputs import FLIP_SIGNS, ROTATION_SIGNS
from lenssr.networks._layers import Deconvolution, concat_conditions, conv3, enlarge

N_SYMMETRIES = 8  # symmetries of the square


def apply_symmetry(x: torch.Tensor, k: int) -> torch.Tensor:
    """Rotate the last two axes by ``k % 4`` quarter turns, then mirror them if ``k >= 4``."""
    x = torch.rot90(x, k % 4, (-2, -1))
    return x.flip(-1) if k >= 4 else x


def _quotients() -> torch.Tensor:
    """Table of the group elements ``k**-1 h`` at ``[k, h]``."""
    corners = torch.arange(4, device="cpu").reshape(2, 2)
    images = [apply_symmetry(corners, k).flatten().tolist() for k in range(N_SYMMETRIES)]
    table = torch.empty(N_SYMMETRIES, N_SYMMETRIES, dtype=torch.long, device="cpu")
    for k in range(N_SYMMETRIES):
        for g in range(N_SYMMETRIES):
            product = apply_symmetry(apply_symmetry(corners, g), k).flatten().tolist()
            table[k, images.index(product)] = g
    return table


def _channel_signs(rotation: tuple, flip: tuple) -> torch.Tensor:
    """Sign of each channel under each symmetry, ``(8, channels)``."""
    return torch.tensor([[r ** (k % 4) * f ** (k // 4) for r, f in zip(rotation, flip)]
                         for k in range(N_SYMMETRIES)], dtype=torch.float32)


def _transformed(weight, transform):
    """Kernels under all eight symmetries, ``(8 outputs, inputs, n, n)``."""
    return torch.stack([apply_symmetry(transform(weight, k), k)
                        for k in range(N_SYMMETRIES)], dim=1)


class LiftingConv(nn.Module):
    """
    Convolution of an image to a field, with each kernel in its eight orientations.

    ``rotation`` and ``flip`` are the signs of the last input channels, which are constant planes
    such as PSF ellipticities, under a quarter turn and a reflection.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, rotation: tuple = (),
                 flip: tuple = ()):
        super().__init__()
        self.padding = kernel // 2
        plain = (1,) * inputs
        self.register_buffer(
            "signs", _channel_signs(plain + tuple(rotation), plain + tuple(flip)),
            persistent=False)
        inputs += len(rotation)
        self.weight = nn.Parameter(torch.empty(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.kaiming_normal_(self.weight, 0.25)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kernel = _transformed(self.weight, lambda w, k: w * self.signs[k, :, None, None])
        return functional.conv2d(x, kernel.flatten(0, 1), self.bias.repeat_interleave(N_SYMMETRIES),
                                 padding=self.padding)


class GroupConv(nn.Module):
    """Convolution of a field to a field, over pixels and symmetries."""

    def __init__(self, inputs: int, outputs: int, kernel: int):
        super().__init__()
        self.padding = kernel // 2
        self.register_buffer("quotients", _quotients(), persistent=False)
        self.weight = nn.Parameter(torch.empty(outputs, inputs * N_SYMMETRIES, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.kaiming_normal_(self.weight, 0.25)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kernel = _transformed(self.weight.unflatten(1, (-1, N_SYMMETRIES)),
                              lambda w, k: w[:, :, self.quotients[k]])
        return functional.conv2d(x, kernel.flatten(2, 3).flatten(0, 1),
                                 self.bias.repeat_interleave(N_SYMMETRIES), padding=self.padding)


class GroupPReLU(nn.Module):
    """Parametric rectifier with one slope for the eight channels of a feature."""

    def __init__(self, features: int):
        super().__init__()
        self.weight = nn.Parameter(torch.full((features,), 0.25))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.prelu(x, self.weight.repeat_interleave(N_SYMMETRIES).to(x.dtype))


class GroupProjection(nn.Module):
    """Transposed convolution of a field to an image: mean over eight orientations of a kernel."""

    def __init__(self, deconvolution: nn.ConvTranspose2d):
        super().__init__()
        self.stride, self.padding = deconvolution.stride, deconvolution.padding
        self.weight, self.bias = deconvolution.weight, deconvolution.bias
        self.halo = deconvolution.halo

    def kernel(self) -> torch.Tensor:
        """Kernel of the equivalent ordinary transposed convolution."""
        return _transformed(self.weight, lambda w, k: w).flatten(0, 1) / N_SYMMETRIES

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.conv_transpose2d(
            x, self.kernel(), self.bias, stride=self.stride, padding=self.padding)


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
