"""The head that says how far a restored image is from the truth: a moment network."""

import torch
from torch import nn
from torch.nn import functional

from lenssr.networks._architecture import Architecture
from lenssr.networks._inputs import asinh_scale
from lenssr.networks._layers import GeluBlock, check_scale, concat_conditions, conv3

#: Bound of the logarithm of the squared error, which nothing real comes near.
MAX_LOG_VARIANCE = 30.0


class ErrorHead(nn.Module):
    r"""
    Logarithm of the expected squared error of a restored image, pixel by pixel.

    A moment network (Jeffrey & Wandelt 2020, arXiv:2011.05991; for images arXiv:2603.22006):
    trained by `negative_log_likelihood` on the errors of a network that is left as it is, it
    tends to :math:`\log E[(\hat x - x)^2 \mid y]`, noise, prior and shortcomings of the
    network together. All layers work on the grid of the input, to which the restored image
    is folded, so that one stack of blocks serves all scales.
    """

    def __init__(self, scale: int | list = 2, conditions: int = 5, features: int = 24, blocks: int = 3,
                 residual: bool = False):
        super().__init__()
        self.scales = tuple(check_scale(s) for s in (
            scale if isinstance(scale, list | tuple) else [scale]))
        self.conditions, self.uses_residual = conditions, residual
        self.heads = nn.ModuleDict({
            str(s): conv3(s**2 + 2 + residual + conditions, features) for s in self.scales})
        self.body = nn.Sequential(*(GeluBlock(features) for _ in range(blocks)))
        self.tails = nn.ModuleDict({str(s): conv3(features, s**2) for s in self.scales})
        for tail in self.tails.values():
            # Untrained, it says that errors are those of the sky's noise.
            nn.init.zeros_(tail.weight)
            nn.init.zeros_(tail.bias)

    def forward(self, restored: torch.Tensor, x: torch.Tensor, weight: torch.Tensor,
                conditions: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        scale = restored.shape[-1] // x.shape[-1]
        planes = [functional.pixel_unshuffle(restored, scale), x, weight]
        if self.uses_residual:
            planes.append(asinh_scale(residual))
        stacked = torch.cat(planes, dim=1)
        moments = self.heads[str(scale)](concat_conditions(stacked, conditions, self.conditions))
        moments = self.tails[str(scale)](functional.gelu(self.body(moments)))
        return MAX_LOG_VARIANCE * torch.tanh(functional.pixel_shuffle(moments, scale) / MAX_LOG_VARIANCE)

    @property
    def halo(self) -> int:
        """Input pixels beyond which nothing influences an output pixel."""
        return 2 + 2 * len(self.body)


def negative_log_likelihood(log_square: torch.Tensor, error: torch.Tensor) -> torch.Tensor:
    r"""Mean of :math:`(\log s^2 + e^2 / s^2) / 2`, least where :math:`s^2` is the mean of the squares."""
    return (log_square + error.square() * torch.exp(-log_square)).mean() / 2


ARCHITECTURE = Architecture("error", ErrorHead, inputs="error", trainer="error")
