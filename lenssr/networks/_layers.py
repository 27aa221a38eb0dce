"""Layers that more than one architecture uses."""

import torch
from torch import nn
from torch.nn import functional

SCALES = (2, 3, 4)


def check_scale(scale: int) -> int:
    """The scale, if it is one that the networks can do; `ValueError` otherwise."""
    if scale not in SCALES:
        raise ValueError(f"`scale` must be 2, 3 or 4, got {scale}")
    return scale


def conv3(inputs: int, outputs: int) -> nn.Conv2d:
    """A 3x3 convolution that keeps the size."""
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def concat_conditions(x: torch.Tensor, conditions: torch.Tensor | None, count: int) -> torch.Tensor:
    """The image with the ``count`` numbers told of it as constant channels, if there are any."""
    if not count:
        return x
    planes = conditions[:, :, None, None].expand(-1, -1, *x.shape[-2:])
    return torch.cat([x, planes.to(x.dtype)], dim=1)


def enlarge(x: torch.Tensor, scale: int, mode: str = "bilinear") -> torch.Tensor:
    """Interpolation to ``scale`` times the size that keeps centres of pixels where they are."""
    return functional.interpolate(x, scale_factor=scale, mode=mode, align_corners=False)


class GeluBlock(nn.Module):
    """Residual block of two convolutions without normalisation."""

    def __init__(self, features: int):
        super().__init__()
        self.first, self.second = conv3(features, features), conv3(features, features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.second(functional.gelu(self.first(x)))


class LocalMean(nn.Module):
    """
    Mean over a window around each pixel, or over the whole where that is smaller.

    In training the mean is global. Outside it, statistics of a large image differ
    from those of the patches seen in training; a window of the size of the patches
    takes that away (Chu et al. 2022, arXiv:2112.04491), and makes the result at a
    pixel independent of what lies further off, so that tiles are exact.
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
    """Sub-pixel convolutions to ``scale`` times the size (Shi et al. 2016, arXiv:1609.05158)."""

    def __init__(self, channels: int, scale: int, prelu: bool = False):
        steps = (2, 2) if check_scale(scale) == 4 else (scale,)
        layers = []
        for step in steps:
            layers += [conv3(channels, channels * step**2), nn.PixelShuffle(step)]
            layers += [nn.PReLU(channels)] if prelu else []
        super().__init__(*layers)
        self.steps = steps

    def reach(self, beyond: int) -> int:
        """Input pixels that count, where ``beyond`` pixels count around one of the output."""
        for step in reversed(self.steps):
            # The outermost of the step's pixels in a coarser one sees furthest.
            beyond = (step - 1 + beyond) // step + 1
        return beyond


class Deconvolution(nn.ConvTranspose2d):
    """Transposed convolution of FSRCNN, centred: output pixels halve, or third, the input's."""

    def __init__(self, inputs: int, outputs: int, scale: int):
        kernel = 9 + (check_scale(scale) + 1) % 2
        super().__init__(inputs, outputs, kernel, stride=scale, padding=(kernel - scale) // 2)

    @property
    def reach(self) -> int:
        """Input pixels that count around an output pixel."""
        return (self.stride[0] - 1 + self.padding[0]) // self.stride[0]


N_SYMMETRIES = 8  # symmetries of the square


def act(x: torch.Tensor, k: int) -> torch.Tensor:
    """Symmetry ``k`` of the last two axes: ``k % 4`` quarter turns, then a flip from 4 on."""
    x = torch.rot90(x, k % 4, (-2, -1))
    return x.flip(-1) if k >= 4 else x


def quotients() -> torch.Tensor:
    """Index of ``k**-1 h`` at ``[k, h]``, found from what the symmetries do to four corners."""
    corners = torch.arange(4, device="cpu").reshape(2, 2)
    images = [act(corners, k).flatten().tolist() for k in range(N_SYMMETRIES)]
    table = torch.empty(N_SYMMETRIES, N_SYMMETRIES, dtype=torch.long, device="cpu")
    for k in range(N_SYMMETRIES):
        for g in range(N_SYMMETRIES):
            table[k, images.index(act(act(corners, g), k).flatten().tolist())] = g
    return table


def characters(turn: tuple, flip: tuple) -> torch.Tensor:
    """Signs that each symmetry gives numbers, from those of a quarter turn and of a flip."""
    return torch.tensor([[t ** (k % 4) * f ** (k // 4) for t, f in zip(turn, flip)]
                         for k in range(N_SYMMETRIES)], dtype=torch.float32)


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
                              for k in range(N_SYMMETRIES)], dim=1).flatten(0, 1)
        return functional.conv2d(
            x, kernel, self.bias.repeat_interleave(N_SYMMETRIES), padding=self.padding)


class GroupConv(nn.Module):
    """Convolution of a field to a field, over pixels and symmetries."""

    def __init__(self, inputs: int, outputs: int, kernel: int):
        super().__init__()
        self.padding = kernel // 2
        self.register_buffer("quotients", quotients(), persistent=False)
        self.weight = nn.Parameter(torch.empty(outputs, inputs * N_SYMMETRIES, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.kaiming_normal_(self.weight, 0.25)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.weight.unflatten(1, (-1, N_SYMMETRIES))
        kernel = torch.stack([act(weight[:, :, self.quotients[k]], k) for k in range(N_SYMMETRIES)], dim=1)
        return functional.conv2d(x, kernel.flatten(2, 3).flatten(0, 1),
                                 self.bias.repeat_interleave(N_SYMMETRIES), padding=self.padding)


class GroupPReLU(nn.Module):
    """Parametric rectifier with one slope for each feature, the same in its eight positions."""

    def __init__(self, features: int):
        super().__init__()
        self.weight = nn.Parameter(torch.full((features,), 0.25))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.prelu(x, self.weight.repeat_interleave(N_SYMMETRIES).to(x.dtype))


class GroupProjection(nn.Module):
    """Transposed convolution of a field to an image: the mean of the kernel's eight positions."""

    def __init__(self, like: nn.ConvTranspose2d):
        super().__init__()
        self.stride, self.padding = like.stride, like.padding
        self.weight, self.bias = like.weight, like.bias

    def kernel(self) -> torch.Tensor:
        """Kernel of the ordinary transposed convolution that does the same."""
        return torch.stack([act(self.weight, k) for k in range(N_SYMMETRIES)], dim=1).flatten(0, 1) / N_SYMMETRIES

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.conv_transpose2d(
            x, self.kernel(), self.bias, stride=self.stride, padding=self.padding)
