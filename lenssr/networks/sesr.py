"""SESR: plain 3x3 convolutions trained in an over-parameterised form (arXiv:2103.09404)."""

import torch
from torch import nn
from torch.nn import functional

from lenssr.networks._architecture import Architecture
from lenssr.networks._layers import check_scale, concat_conditions, conv3, enlarge


class CollapsibleConv(nn.Module):
    """
    3x3 convolution whose kernel is the sum of a 3x3 kernel and a wide 3x3 times a 1x1 kernel.

    No rectifier lies between the two, so the sum is computed first: training has the parameters
    of the wide layer without the cost per pixel (Bhardwaj et al. 2022, arXiv:2103.09404).
    """

    def __init__(self, inputs: int, outputs: int, width: int):
        super().__init__()
        plain, expand = conv3(inputs, outputs), conv3(inputs, width)
        self.direct, self.bias, self.expand = plain.weight, plain.bias, expand.weight
        self.squeeze = nn.Parameter(torch.empty(outputs, width))
        nn.init.normal_(self.squeeze, std=width**-0.5)

    def kernel(self) -> torch.Tensor:
        """Sum of the kernels, in the precision of the weights."""
        # In a lower precision the collapsed network would differ.
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
    Small network of plain 3x3 convolutions for fast restoration.

    Residual blocks of one convolution and a sub-pixel convolution whose output is added to the
    interpolated image; below 0.2 million parameters with the default ``blocks`` and ``features``.
    The wide convolutions have ``expansion * features`` channels; ``collapsed`` builds the plain
    form for weights from `collapse`.
    """

    def __init__(self, channels: int = 1, scale: int = 2, blocks: int = 12, features: int = 40,
                 expansion: int = 4, conditions: int = 0, collapsed: bool = False):
        super().__init__()
        self.config = dict(channels=channels, scale=scale, blocks=blocks, features=features,
                           expansion=expansion, conditions=conditions)
        self.scale, self.conditions = check_scale(scale), conditions

        def conv(inputs, outputs):
            if collapsed:
                return conv3(inputs, outputs)
            return CollapsibleConv(inputs, outputs, expansion * features)

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
        """Equivalent network of plain convolutions, in the same mode and on the same device."""
        state = self.state_dict()
        for name, layer in self.named_modules():
            if isinstance(layer, CollapsibleConv):
                for parameter in ("direct", "squeeze", "expand"):
                    del state[f"{name}.{parameter}"]
                state[f"{name}.weight"] = layer.kernel()
        plain = SESR(**self.config, collapsed=True).to(state["head.weight"])
        plain.load_state_dict(state)
        return plain.train(self.training)

    @property
    def halo(self) -> int:
        """Input pixels around an output pixel that influence it."""
        return len(self.body) + 2


ARCHITECTURE = Architecture("fast", SESR, reference="arXiv:2103.09404")
