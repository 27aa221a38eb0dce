"""
Convolutions over the eight symmetries of the square (Cohen & Welling 2016, arXiv:1602.07576).

A field has, for each feature, one channel for each symmetry k, which holds what the
feature's kernel sees when it is turned by k. A symmetry g of the image turns all of
them and moves channel k to g k. Weights have four dimensions, as those of ordinary
convolutions, so that `torch.channels_last` applies to them.
"""

import torch
from torch import nn
from torch.nn import functional

__all__ = ["ORDER", "GroupConv", "GroupPReLU", "Lifting", "Projection", "act"]

#: How many symmetries there are.
ORDER = 8


def act(x: torch.Tensor, k: int) -> torch.Tensor:
    """Symmetry ``k`` of the last two axes: ``k % 4`` quarter turns, then a flip from 4 on."""
    x = torch.rot90(x, k % 4, (-2, -1))
    return x.flip(-1) if k >= 4 else x


def quotients() -> torch.Tensor:
    """Index of ``k**-1 h`` at ``[k, h]``, found from what the symmetries do to four corners."""
    corners = torch.arange(4, device="cpu").reshape(2, 2)
    images = [act(corners, k).flatten().tolist() for k in range(ORDER)]
    table = torch.empty(ORDER, ORDER, dtype=torch.long, device="cpu")
    for k in range(ORDER):
        for g in range(ORDER):
            table[k, images.index(act(act(corners, g), k).flatten().tolist())] = g
    return table


def characters(turn: tuple, flip: tuple) -> torch.Tensor:
    """Signs that each symmetry gives numbers, from those of a quarter turn and of a flip."""
    return torch.tensor([[t ** (k % 4) * f ** (k // 4) for t, f in zip(turn, flip)]
                         for k in range(ORDER)], dtype=torch.float32)


class Lifting(nn.Module):
    """Convolution of an image to a field: with each kernel in its eight positions."""

    def __init__(self, inputs: int, outputs: int, kernel: int, turn: tuple = (), flip: tuple = ()):
        super().__init__()
        self.padding = kernel // 2
        plain = (1,) * inputs
        self.register_buffer(
            "signs", characters(plain + tuple(turn), plain + tuple(flip)), persistent=False)
        inputs += len(turn)
        self.weight = nn.Parameter(torch.empty(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.kaiming_normal_(self.weight, 0.25)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kernel = torch.stack([act(self.weight * self.signs[k, :, None, None], k)
                              for k in range(ORDER)], dim=1).flatten(0, 1)
        return functional.conv2d(
            x, kernel, self.bias.repeat_interleave(ORDER), padding=self.padding)


class GroupConv(nn.Module):
    """Convolution of a field to a field, over pixels and symmetries."""

    def __init__(self, inputs: int, outputs: int, kernel: int):
        super().__init__()
        self.padding = kernel // 2
        self.register_buffer("quotients", quotients(), persistent=False)
        self.weight = nn.Parameter(torch.empty(outputs, inputs * ORDER, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.kaiming_normal_(self.weight, 0.25)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.weight.unflatten(1, (-1, ORDER))
        kernel = torch.stack([act(weight[:, :, self.quotients[k]], k) for k in range(ORDER)], dim=1)
        return functional.conv2d(x, kernel.flatten(2, 3).flatten(0, 1),
                                 self.bias.repeat_interleave(ORDER), padding=self.padding)


class GroupPReLU(nn.Module):
    """Parametric rectifier with one slope for each feature, the same in its eight positions."""

    def __init__(self, features: int):
        super().__init__()
        self.weight = nn.Parameter(torch.full((features,), 0.25))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.prelu(x, self.weight.repeat_interleave(ORDER).to(x.dtype))


class Projection(nn.Module):
    """Transposed convolution of a field to an image: the mean of the kernel's eight positions."""

    def __init__(self, like: nn.ConvTranspose2d):
        super().__init__()
        self.stride, self.padding = like.stride, like.padding
        self.weight, self.bias = like.weight, like.bias

    def kernel(self) -> torch.Tensor:
        """Kernel of the ordinary transposed convolution that does the same."""
        return torch.stack([act(self.weight, k) for k in range(ORDER)], dim=1).flatten(0, 1) / ORDER

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.conv_transpose2d(
            x, self.kernel(), self.bias, stride=self.stride, padding=self.padding)
