"""Layers that several architectures use."""

import torch
from torch import nn
from torch.nn import functional

SCALES = (2, 3, 4)  # magnifications that networks can be built for


def check_scale(scale: int) -> int:
    """Return the magnification; raise `ValueError` unless it is 2, 3 or 4."""
    if scale not in SCALES:
        raise ValueError(f"`scale` must be 2, 3 or 4, got {scale}")
    return scale


def check_scales(scale: int | list) -> tuple:
    """Return one or several magnifications as a tuple; raise `ValueError` for other values."""
    return tuple(check_scale(s) for s in (scale if isinstance(scale, list | tuple) else [scale]))


def conv3(inputs: int, outputs: int) -> nn.Conv2d:
    """Make a 3x3 convolution that keeps the size."""
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def concat_conditions(x: torch.Tensor, conditions: torch.Tensor | None, count: int) -> torch.Tensor:
    """Append ``count`` conditioning numbers ``(batch, count)`` to images as constant channels."""
    if not count:
        return x
    planes = conditions[:, :, None, None].expand(-1, -1, *x.shape[-2:])
    return torch.cat([x, planes.to(x.dtype)], dim=1)


def enlarge(x: torch.Tensor, scale: int, mode: str = "bilinear") -> torch.Tensor:
    """Interpolate images to ``scale`` times the size with aligned pixel edges."""
    return functional.interpolate(x, scale_factor=scale, mode=mode, align_corners=False)


class ResidualBlock(nn.Module):
    """Layers with a skip, the residual multiplied by ``res_scale``."""

    def __init__(self, *layers: nn.Module, res_scale: float = 1.0):
        super().__init__()
        self.res_scale = res_scale
        self.body = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + (self.body(x) if self.res_scale == 1 else self.res_scale * self.body(x))


class GeluBlock(nn.Module):
    """Residual block of two convolutions without normalisation."""

    def __init__(self, features: int):
        super().__init__()
        self.first, self.second = conv3(features, features), conv3(features, features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.second(functional.gelu(self.first(x)))


class LocalMean(nn.Module):
    """
    Mean over a window of even side around each pixel; over the whole image in training.

    Means over an image larger than the training patches differ in their statistics; a window of
    the size of the patches avoids that (Chu et al. 2022, arXiv:2112.04491) and makes tiling exact.
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
        # One axis after the other: the rounding error of a two-dimensional running sum would
        # grow with the image.
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

    Scale 4 takes two steps of 2, as in EDSR and RCAN. With ``prelu`` a rectifier follows each
    step, as in SRResNet.
    """

    def __init__(self, channels: int, scale: int, prelu: bool = False):
        steps = (2, 2) if check_scale(scale) == 4 else (scale,)
        layers = []
        for step in steps:
            layers += [conv3(channels, channels * step**2), nn.PixelShuffle(step)]
            layers += [nn.PReLU(channels)] if prelu else []
        super().__init__(*layers)
        self.steps = steps

    def halo(self, output_halo: int) -> int:
        """Input pixels that influence an output pixel and ``output_halo`` pixels around it."""
        for step in reversed(self.steps):
            # The outermost sub-pixel of a coarse pixel depends on the most distant one.
            output_halo = (step - 1 + output_halo) // step + 1
        return output_halo


class Deconvolution(nn.ConvTranspose2d):
    """
    Centred transposed convolution of FSRCNN.

    The published kernel is 9x9 at every scale. At even scales it is 10x10 here: a kernel of odd
    side would be off the centre of the input pixel by half an output pixel.
    """

    def __init__(self, inputs: int, outputs: int, scale: int):
        kernel = 9 + (check_scale(scale) + 1) % 2
        super().__init__(inputs, outputs, kernel, stride=scale, padding=(kernel - scale) // 2)

    @property
    def halo(self) -> int:
        """Input pixels around an output pixel that influence it."""
        return (self.stride[0] - 1 + self.padding[0]) // self.stride[0]
