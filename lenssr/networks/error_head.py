"""Moment network that predicts the variance of a restored image."""

import torch
from torch import nn
from torch.nn import functional

from lenssr.networks._architecture import Architecture
from lenssr.networks._inputs import asinh_scale
from lenssr.networks._layers import GeluBlock, check_scales, concat_conditions, conv3

MAX_LOG_VARIANCE = 30.0  # bound of the predicted logarithm, in squared noise units


class ErrorHead(nn.Module):
    r"""
    Predict the logarithm of the expected squared error of a restored image, per output pixel.

    A moment network (Jeffrey & Wandelt 2020, arXiv:2011.05991; for images arXiv:2603.22006):
    trained by `negative_log_likelihood` on the errors of a frozen network, it tends to
    :math:`\log E[(\hat x - x)^2 \mid y]`. All layers work on the grid of the input, to which the
    restored image is folded, so that one stack of blocks serves all scales.

    ``conditions`` is the number of conditioning values; ``features`` and ``blocks`` are channels
    and residual blocks; with ``residual`` the head takes the residual of the data, too, which
    depends on errors of the PSF.

    Inputs of a call: restored image and data in noise units, through `asinh_scale`; ``weight``,
    the sky noise over the noise of each pixel, zero for bad pixels; ``conditions``
    ``(batch, n)``; ``residual``, data less model over the noise, zero for bad pixels or an
    unknown PSF. The output is in squared noise units.
    """

    def __init__(self, scale: int | list = 2, conditions: int = 5, features: int = 24,
                 blocks: int = 3, residual: bool = False):
        super().__init__()
        self.scales = check_scales(scale)
        self.conditions, self.residual = conditions, residual
        self.heads = nn.ModuleDict({
            str(s): conv3(s**2 + 2 + residual + conditions, features) for s in self.scales})
        self.body = nn.Sequential(*(GeluBlock(features) for _ in range(blocks)))
        self.tails = nn.ModuleDict({str(s): conv3(features, s**2) for s in self.scales})
        for tail in self.tails.values():
            # The untrained head predicts the sky noise.
            nn.init.zeros_(tail.weight)
            nn.init.zeros_(tail.bias)

    def forward(self, restored: torch.Tensor, x: torch.Tensor, weight: torch.Tensor,
                conditions: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        scale = restored.shape[-1] // x.shape[-1]
        planes = [functional.pixel_unshuffle(restored, scale), x, weight]
        if self.residual:
            planes.append(asinh_scale(residual))
        inputs = concat_conditions(torch.cat(planes, dim=1), conditions, self.conditions)
        features = self.body(self.heads[str(scale)](inputs))
        log_variance = functional.pixel_shuffle(
            self.tails[str(scale)](functional.gelu(features)), scale)
        return MAX_LOG_VARIANCE * torch.tanh(log_variance / MAX_LOG_VARIANCE)

    @property
    def halo(self) -> int:
        """Input pixels around an output pixel that influence it."""
        return 2 + 2 * len(self.body)


def negative_log_likelihood(log_variance: torch.Tensor, error: torch.Tensor) -> torch.Tensor:
    r"""Mean of :math:`(\log s^2 + e^2 / s^2) / 2`, minimal where :math:`s^2 = E[e^2]`."""
    return (log_variance + error.square() * torch.exp(-log_variance)).mean() / 2


ARCHITECTURE = Architecture("error", ErrorHead, inputs="error", trainer="error")
