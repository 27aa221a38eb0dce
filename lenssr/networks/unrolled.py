"""Unrolled iterations with the forward model of each image inside."""

import torch
from torch import nn
from torch.nn import functional

from lenssr._forward_model import LOG_AREA_OFFSET, BatchForwardModel, covered_area
from lenssr.networks._architecture import Architecture
from lenssr.networks._inputs import asinh_scale, sinh_scale
from lenssr.networks._layers import GeluBlock, check_scales, conv3, enlarge

MAX_ITERATE = 15.0  # bound of the compressed iterate: 4e6 noise standard deviations
N_CONDITION_PLANES = 4  # weight, PSF area, noise correlation, and a constant


class UnrolledStep(nn.Module):
    """
    One iteration: predict an update of the image from the residual of the data.

    All layers work on the grid of the input, to which the image is folded, so only the first and
    last layers depend on the scale. ``memory`` channels are passed to the next iteration.
    """

    def __init__(self, scales: tuple, blocks: int, features: int, memory: int):
        super().__init__()
        self.memory = memory
        self.heads = nn.ModuleDict({
            str(s): conv3(2 * s**2 + 1 + N_CONDITION_PLANES + memory, features) for s in scales})
        self.body = nn.Sequential(*(GeluBlock(features) for _ in range(blocks)))
        self.tails = nn.ModuleDict({str(s): conv3(features, s**2 + memory) for s in scales})
        for tail in self.tails.values():
            # The first step of an untrained network leaves the image unchanged.
            nn.init.zeros_(tail.weight)
            nn.init.zeros_(tail.bias)

    def forward(self, value, gradient, residual, conditions, memory, scale):
        folded = [functional.pixel_unshuffle(plane, scale) for plane in (value, gradient)]
        x = self.heads[str(scale)](torch.cat([*folded, residual, conditions, memory], dim=1))
        update, memory = self.tails[str(scale)](self.body(x)).split(
            [scale**2, self.memory], dim=1)
        return functional.pixel_shuffle(update, scale), memory


class UnrolledNetwork(nn.Module):
    r"""
    Learned iterations conditioned on the noise map and the PSF of each image.

    Each iteration compares the estimate :math:`z` with the data through the forward model
    :math:`A`, the PSF relative to the target resolution and binning. A small network takes the
    residual :math:`r = (y - A z) / \sigma` and the gradient :math:`A^T (r / \sigma)` and corrects
    the estimate (after Adler & Öktem 2017, doi:10.1088/1361-6420/aa9581; Aggarwal et al. 2019,
    arXiv:1712.02862). Bad pixels have no residual. The iterate is :math:`\mathrm{asinh}(z / 3)`
    in noise units. ``scale`` may be a list; the last iteration is repeated ``repeats`` times.

    Inputs of a call: data in noise units through `asinh_scale`, with bad pixels filled; ``sigma``,
    their standard deviation, infinite for bad pixels; ``kernel``, the relative PSF of
    `lenssr.image.relative_kernel`; the ``correlation`` ``(batch,)`` of neighbouring pixels.
    """

    def __init__(self, channels: int = 1, scale: int | list = 2, iterations: int = 3,
                 blocks: int = 5, features: int = 36, memory: int = 12, repeats: int = 0):
        super().__init__()
        if channels != 1:
            raise ValueError(f"`channels` must be 1 for this architecture, got {channels}")
        self.scales = check_scales(scale)
        self.memory, self.blocks, self.repeats = memory, blocks, repeats
        self.steps = nn.ModuleList(
            UnrolledStep(self.scales, blocks, features, memory) for _ in range(iterations))

    def forward(self, x: torch.Tensor, sigma: torch.Tensor, kernel: torch.Tensor,
                correlation: torch.Tensor, scale: int | None = None) -> torch.Tensor:
        scale = self.scales[0] if scale is None else scale
        kernel = kernel.to(x.dtype)
        model = BatchForwardModel(kernel, scale, x.shape[-2:])
        area = covered_area(kernel, scale).reshape(-1, 1, 1, 1)
        data, weight = sinh_scale(x), 1 / sigma
        conditions = torch.cat([weight, *(number.expand_as(x) for number in (
            area.log() - LOG_AREA_OFFSET, correlation.to(x.dtype).reshape(-1, 1, 1, 1),
            torch.ones_like(area)))], dim=1)
        value = enlarge(x, scale, "bicubic")
        memory = x.new_zeros(len(x), self.memory, *x.shape[-2:])
        for step in (*self.steps, *self.repeats * [self.steps[-1]]):
            residual = (data - model.forward(sinh_scale(value))) * weight
            gradient = scale**2 * area.sqrt() * model.adjoint(residual * weight)
            update, memory = step(value, asinh_scale(gradient), asinh_scale(residual), conditions,
                                  memory, scale)
            value = (value + update.to(x.dtype)).clamp(-MAX_ITERATE, MAX_ITERATE)
        return value

    def halo(self, kernel_radius: int) -> int:
        """Input pixels around an output pixel that influence it."""
        return (len(self.steps) + self.repeats) * (2 * kernel_radius + 2 + 2 * self.blocks) + 2


ARCHITECTURE = Architecture("unrolled", UnrolledNetwork, inputs="physics", trainer="consistency",
                            reference="arXiv:1712.02862")
