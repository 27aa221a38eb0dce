"""Layers that more than one architecture uses."""

import torch
from torch import nn
from torch.nn import functional

__all__ = ["LocalMean", "Upsampler", "conv3"]


def conv3(inputs: int, outputs: int) -> nn.Conv2d:
    """A 3x3 convolution that keeps the size."""
    return nn.Conv2d(inputs, outputs, 3, padding=1)


class LocalMean(nn.Module):
    """
    Mean over a window around each pixel, or over the whole where that is smaller.

    In training the mean is global. Outside it, statistics of a large image differ
    from those of the patches seen in training; a window of the size of the patches
    takes that away (Chu et al. 2022, arXiv:2112.04491), and makes the result at a
    pixel independent of what lies further off, so that tiles are exact.

    Parameters
    ----------
    window : int
        Side of the window in pixels, even.
    """

    def __init__(self, window: int):
        super().__init__()
        if window < 2 or window % 2:
            raise ValueError(f"`window` must be an even integer of at least 2, got {window}")
        self.window = window

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[-2:]
        if self.training or (height <= self.window and width <= self.window):
            return x.mean(dim=(-2, -1), keepdim=True)
        # Summed along one axis after the other: sums stay short, so rounding does
        # not grow with the image as a two-dimensional running sum would have it.
        for dim, size in ((-2, height), (-1, width)):
            side = min(self.window, size)
            pooled = functional.avg_pool2d(
                x, (side, 1) if dim == -2 else (1, side), stride=1)
            low = (side - 1) // 2
            high = size - pooled.shape[dim] - low
            pad = (0, 0, low, high) if dim == -2 else (low, high, 0, 0)
            x = functional.pad(pooled, pad, mode="replicate")
        return x


class Upsampler(nn.Sequential):
    """
    Sub-pixel convolutions to ``scale`` times the size (Shi et al. 2016, arXiv:1609.05158).

    Powers of two go in steps of two, three in one step, as in EDSR and RCAN.
    """

    def __init__(self, channels: int, scale: int):
        steps = {2: (2,), 3: (3,), 4: (2, 2)}.get(scale)
        if steps is None:
            raise ValueError(f"`scale` must be 2, 3 or 4, got {scale}")
        layers = []
        for step in steps:
            layers += [conv3(channels, channels * step**2), nn.PixelShuffle(step)]
        super().__init__(*layers)
