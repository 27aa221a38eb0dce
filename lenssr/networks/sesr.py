"""SESR: a small stack of plain 3x3 convolutions, trained wider than it is used."""

import torch
from torch import nn
from torch.nn import functional

from lenssr.networks._architecture import Architecture
from lenssr.networks._layers import check_scale, concat_conditions, conv3, enlarge


class Collapsible(nn.Module):
    """
    A 3x3 convolution whose kernel is a sum: itself, and a wide one times a 1x1.

    Nothing non-linear lies between, so that the sum is one kernel, which is made
    before it is applied: training sees the wide layer but does not pay for it in
    pixels (Bhardwaj et al. 2022, arXiv:2103.09404).

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    wide : int
        Channels between the wide convolution and the 1x1.
    """

    def __init__(self, inputs: int, outputs: int, wide: int):
        super().__init__()
        plain, expand = conv3(inputs, outputs), conv3(inputs, wide)
        self.direct, self.bias, self.expand = plain.weight, plain.bias, expand.weight
        self.squeeze = nn.Parameter(torch.empty(outputs, wide))
        nn.init.normal_(self.squeeze, std=wide**-0.5)

    def kernel(self) -> torch.Tensor:
        """The sum, in the precision of the weights: in a lower one it would not collapse."""
        with torch.autocast(self.direct.device.type, enabled=False):
            return self.direct + torch.einsum("ow,wiyx->oiyx", self.squeeze, self.expand)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.conv2d(x, self.kernel(), self.bias, padding=1)


class SESRBlock(nn.Module):
    """Residual block of one rectifier and one convolution."""

    def __init__(self, features: int, conv: nn.Module):
        super().__init__()
        self.act = nn.PReLU(features)
        self.conv = conv

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv(self.act(x))


class SESR(nn.Module):
    """
    Small network of plain 3x3 convolutions for quick restoration.

    A head, residual blocks of one convolution each, a skip over all of them, and one
    sub-pixel convolution (arXiv:1609.05158) whose output is added to the interpolated
    image. Every convolution trains as a `Collapsible`; `collapse` makes plain ones of
    them, with the same result.

    Parameters
    ----------
    channels : int
        Channels of the image, in and out.
    scale : int
        Output pixels per input pixel: 2, 3 or 4.
    blocks, features : int
        Residual blocks and feature channels. With those of the default the collapsed
        network has less than 0.2 million parameters at every scale.
    expansion : int
        Channels of the wide convolutions, in units of ``features``.
    conditions : int
        Numbers that the network is told of each image, as in `RCAN`.
    collapsed : bool
        Make the network of plain convolutions, for weights from `collapse`.
    """

    def __init__(self, channels: int = 1, scale: int = 2, blocks: int = 12, features: int = 40,
                 expansion: int = 4, conditions: int = 0, collapsed: bool = False):
        super().__init__()
        self.sizes = dict(channels=channels, scale=scale, blocks=blocks, features=features,
                          expansion=expansion, conditions=conditions)
        self.scale, self.conditions = check_scale(scale), conditions

        def conv(inputs, outputs):
            if collapsed:
                return conv3(inputs, outputs)
            return Collapsible(inputs, outputs, expansion * features)

        self.head = conv(channels + conditions, features)
        self.body = nn.Sequential(
            *(SESRBlock(features, conv(features, features)) for _ in range(blocks)))
        self.act = nn.PReLU(features)
        self.tail = conv(features, channels * scale**2)

    def forward(self, x: torch.Tensor, conditions: torch.Tensor | None = None) -> torch.Tensor:
        shallow = self.head(concat_conditions(x, conditions, self.conditions))
        fine = self.tail(self.act(self.body(shallow)))
        return functional.pixel_shuffle(fine, self.scale) + enlarge(x, self.scale)

    @torch.no_grad()
    def collapse(self) -> "SESR":
        """The same network of plain convolutions, in the same mode and place."""
        state = self.state_dict()
        for name, layer in self.named_modules():
            if isinstance(layer, Collapsible):
                for part in ("direct", "squeeze", "expand"):
                    del state[f"{name}.{part}"]
                state[f"{name}.weight"] = layer.kernel()
        plain = SESR(**self.sizes, collapsed=True).to(state["head.weight"])
        plain.load_state_dict(state)
        return plain.train(self.training)

    @property
    def halo(self) -> int:
        """Input pixels beyond which nothing influences an output pixel."""
        return len(self.body) + 2


ARCHITECTURE = Architecture("fast", SESR, reference="arXiv:2103.09404")
