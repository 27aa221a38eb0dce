"""Learned iterations with the physics of the observation inside, for any telescope."""

import torch
from torch import nn
from torch.nn import functional

from lenssr._forward_model import LOG_AREA_OFFSET, BatchForwardModel, covered_area
from lenssr.networks._architecture import Architecture
from lenssr.networks._inputs import asinh_scale, sinh_scale
from lenssr.networks._layers import GeluBlock, check_scale, conv3, enlarge

MAX_ITERATE = 15.0  # bound of the iterate in asinh units: four million times the noise

N_CONDITION_CHANNELS = 4  # coverage, weight, PSF area and noise correlation


class UnrolledStep(nn.Module):
    """
    One iteration: what the network makes of the misfit to the data.

    All layers work on the grid of the input, to which the image is folded; so one stack of
    blocks serves all scales, and only its first and last layers know of them.

    Parameters
    ----------
    scales : tuple of int
        Scales.
    blocks, features, memory : int
        Residual blocks, their channels, and those handed to the next iteration.
    """

    def __init__(self, scales: tuple, blocks: int, features: int, memory: int):
        super().__init__()
        self.memory = memory
        self.heads = nn.ModuleDict({
            str(s): conv3(2 * s**2 + 1 + N_CONDITION_CHANNELS + memory, features) for s in scales})
        self.body = nn.Sequential(*(GeluBlock(features) for _ in range(blocks)))
        self.tails = nn.ModuleDict({str(s): conv3(features, s**2 + memory) for s in scales})
        for tail in self.tails.values():
            # The first step of an untrained network leaves its image as it is.
            nn.init.zeros_(tail.weight)
            nn.init.zeros_(tail.bias)

    def forward(self, value, gradient, residual, conditions, memory, scale):
        """The update of the image, and the memory."""
        folded = [functional.pixel_unshuffle(plane, scale) for plane in (value, gradient)]
        x = self.heads[str(scale)](torch.cat([*folded, residual, conditions, memory], dim=1))
        update, memory = self.tails[str(scale)](self.body(x)).split(
            [scale**2, self.memory], dim=1)
        return functional.pixel_shuffle(update, scale), memory


class UnrolledNetwork(nn.Module):
    r"""
    Learned iterations that look at the data through each image's own telescope.

    Each iteration observes the estimate :math:`z` as the telescope would, and hands the
    misfit :math:`r = (y - A z) / \sigma`, and what it means for the pixels of the output,
    :math:`A^T (r / \sigma)`, to a small network that corrects the estimate (after Adler &
    Öktem 2017, doi:10.1088/1361-6420/aa9581; Aggarwal et al. 2019, arXiv:1712.02862).
    :math:`A` is the image's PSF relative to the declared resolution, then binning.
    Masked pixels have no misfit. The iterate is :math:`\mathrm{asinh}(z / 3)` of
    noise units.

    Parameters
    ----------
    channels : int
        Channels of the image; one.
    scale : int or list of int
        Output pixels per input pixel: one, or several of 2, 3 and 4 that one network does.
    iterations, blocks, features, memory : int
        Iterations, and residual blocks, channels and memory of each.
    repeats : int
        How many times more the last iteration is done, with the same weights.

    Notes
    -----
    What is called has the data in noise units through `~lenssr.networks.compress`,
    with holes filled; ``sigma``, the standard deviation of each pixel in the same units,
    infinite where it is masked; ``kernel``, as
    `lenssr.image._kernels.relative_kernel` makes it; and ``correlation``, that of the noise of
    neighbouring pixels, ``(batch,)``.
    """

    def __init__(self, channels: int = 1, scale: int | list = 2, iterations: int = 3,
                 blocks: int = 5, features: int = 36, memory: int = 12, repeats: int = 0):
        super().__init__()
        if channels != 1:
            raise ValueError(f"`channels` must be 1 for this architecture, got {channels}")
        self.scales = tuple(check_scale(s) for s in (
            scale if isinstance(scale, list | tuple) else [scale]))
        self.memory, self.blocks, self.repeats = memory, blocks, repeats
        self.steps = nn.ModuleList(
            UnrolledStep(self.scales, blocks, features, memory) for _ in range(iterations))

    def forward(self, x: torch.Tensor, sigma: torch.Tensor, kernel: torch.Tensor,
                correlation: torch.Tensor, scale: int | None = None) -> torch.Tensor:
        scale = self.scales[0] if scale is None else scale
        kernel = kernel.to(x.dtype)
        observation = BatchForwardModel(kernel, scale, x.shape[-2:])
        area = covered_area(kernel, scale).reshape(-1, 1, 1, 1)
        data, weight = sinh_scale(x), 1 / sigma
        conditions = torch.cat([weight, *(number.expand_as(x) for number in (
            area.log() - LOG_AREA_OFFSET, correlation.to(x.dtype).reshape(-1, 1, 1, 1),
            torch.ones_like(area)))], dim=1)
        value = enlarge(x, scale, "bicubic")
        memory = x.new_zeros(len(x), self.memory, *x.shape[-2:])
        for step in (*self.steps, *self.repeats * [self.steps[-1]]):
            residual = (data - observation.forward(sinh_scale(value))) * weight
            gradient = scale**2 * area.sqrt() * observation.adjoint(residual * weight)
            update, memory = step(value, asinh_scale(gradient), asinh_scale(residual), conditions, memory,
                                  scale)
            value = (value + update.to(x.dtype)).clamp(-MAX_ITERATE, MAX_ITERATE)
        return value

    def halo(self, kernel_radius: int) -> int:
        """Input pixels beyond which nothing influences an output pixel."""
        return (len(self.steps) + self.repeats) * (2 * kernel_radius + 2 + 2 * self.blocks) + 2


ARCHITECTURE = Architecture("unrolled", UnrolledNetwork, inputs="physics", trainer="consistency",
                            reference="arXiv:1712.02862")
