"""The starlet transform of images."""

import math

import torch
from torch import nn
from torch.nn import functional

from lenssr.networks._architecture import Architecture

B3_SPLINE = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16


def starlet(image: torch.Tensor, scales: int, edge: str = "replicate") -> torch.Tensor:
    """
    Undecimated wavelet transform with a B3 spline: the isotropic one of astronomy.

    Starck & Murtagh (2006, doi:10.1007/978-3-540-33025-7), section 2.2.
    """
    planes, channels = [], image.shape[1]
    kernel = B3_SPLINE.to(image).outer(B3_SPLINE.to(image)).expand(channels, 1, 5, 5)
    for k in range(scales):
        step = 2**k
        padded = functional.pad(image, [2 * step] * 4, mode=edge)
        smooth = functional.conv2d(padded, kernel, dilation=step, groups=channels)
        planes.append(image - smooth)
        image = smooth
    return torch.stack([*planes, image], dim=2).flatten(1, 2)


MIN_IMAGE_SIDE, MAX_IMAGE_SIDE = 32, 150  # sides of images, pixels
STEMS = ("fine", "published")


def check_stem(stem: str) -> str:
    """The stem, if it is one that there is; `ValueError` otherwise."""
    if stem not in STEMS:
        raise ValueError(f"`stem` must be one of {', '.join(STEMS)}, got {stem!r}")
    return stem


class Classifier(nn.Module):
    """A network that gives a number for each class, whose softmax are probabilities."""

    def __init__(self, channels: int = 1, softening: tuple = (0.05, 0.002), scales: int = 3):
        super().__init__()
        self.softening, self.scales = tuple(softening), scales
        self.planes = channels * len(self.softening) * (scales + 1)
        self.gain = [4.0 * 2.0 ** (scales - k) for k in range(scales)] + [1.0]

    def preprocess(self, image: torch.Tensor) -> torch.Tensor:
        """The planes that the first layer takes, ``(batch, planes, ny, nx)``."""
        # The brightest mean of 3x3 pixels, to which noise adds little.
        peak = functional.avg_pool2d(image, 3, 1, 1).amax(dim=(1, 2, 3), keepdim=True)
        image = image / peak.clamp(min=torch.finfo(image.dtype).tiny)
        scaled = torch.cat([(image / s).asinh() / math.asinh(1 / s) for s in self.softening], dim=1)
        gain = torch.tensor(self.gain).repeat(scaled.shape[1]).reshape(1, -1, 1, 1)
        return starlet(scaled, self.scales) * gain.to(scaled)

    def features(self, image: torch.Tensor) -> list:
        """Maps of features on the way to the classes, the finest first."""
        maps, x = [], self.preprocess(image).contiguous(memory_format=torch.channels_last)
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    def classify(self, features: torch.Tensor) -> torch.Tensor:
        """Logits ``(batch, classes)`` of the last of the maps."""
        return self.head(features)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.classify(self.features(image)[-1])


class AlexNet(Classifier):
    """
    Five convolutions, three of them followed by a maximum, and three full layers.

    Parameters
    ----------
    channels, classes : int
        Channels of the image, and classes that are told apart.
    width, hidden : int
        Channels of the first convolution, to whose number the others are in proportion, and
        units of the full layers. Published: 64, 4096.
    pooled : int
        Side of the map that the full layers see. Published: 6.
    stem : {"fine", "published"}
        ``"published"``: a convolution of 11x11 at every fourth pixel, and a maximum; ``"fine"``:
        one of 3x3 on the four pixels of each 2x2, and no maximum after it.
    dropout : float
        Share of the units of the full layers that are left out in training.
    **seen
        ``softening`` and ``scales``, as `Classifier` takes them.
    """

    def __init__(self, channels: int = 1, classes: int = 3, width: int = 64, hidden: int = 4096,
                 pooled: int = 6, stem: str = "fine", dropout: float = 0.5, **preprocessing):
        super().__init__(channels, **preprocessing)
        if check_stem(stem) == "fine":
            first = [nn.PixelUnshuffle(2), nn.Conv2d(4 * self.planes, width, 3, padding=1)]
            pool = []
        else:
            first, pool = [nn.Conv2d(self.planes, width, 11, 4, 2)], [nn.MaxPool2d(3, 2)]
        widths = [3 * width, 6 * width, 4 * width, 4 * width]
        self.stages = nn.ModuleList([
            nn.Sequential(*first, nn.ReLU(inplace=True), *pool),
            nn.Sequential(nn.Conv2d(width, widths[0], 5, padding=2), nn.ReLU(inplace=True),
                          nn.MaxPool2d(3, 2)),
            nn.Sequential(*(layer for a, b in zip(widths, widths[1:]) for layer in
                            (nn.Conv2d(a, b, 3, padding=1), nn.ReLU(inplace=True))),
                          nn.MaxPool2d(3, 2))])
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(pooled), nn.Flatten(),
            nn.Dropout(dropout), nn.Linear(widths[-1] * pooled**2, hidden), nn.ReLU(inplace=True),
            nn.Dropout(dropout), nn.Linear(hidden, hidden), nn.ReLU(inplace=True),
            nn.Linear(hidden, classes))


class BasicBlock(nn.Module):
    """Two convolutions with batch normalisation, and a skip, by a 1x1 where sizes change."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs))
        self.skip = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.skip = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False),
                                      nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.body(x) + self.skip(x))


class ResNet(Classifier):
    """
    Residual network of basic blocks; by default ResNet-18.

    Parameters
    ----------
    channels, classes : int
        Channels of the image, and classes that are told apart.
    width : int
        Channels of the first stage, which each later one doubles. Published: 64.
    blocks : sequence of int
        Blocks of each stage. Published: (2, 2, 2, 2) for 18 layers, (3, 4, 6, 3) for 34.
    stem : {"fine", "published"}
        ``"published"``: a 7x7 convolution and a maximum, which leave one pixel of 4x4, made for
        224 pixels; ``"fine"``: the four pixels of each 2x2 as channels of a 3x3 convolution,
        which loses none of the structure of an arc that is two pixels wide.
    **seen
        ``softening`` and ``scales``, as `Classifier` takes them.
    """

    def __init__(self, channels: int = 1, classes: int = 3, width: int = 64,
                 blocks: tuple = (2, 2, 2, 2), stem: str = "fine", **preprocessing):
        super().__init__(channels, **preprocessing)
        if check_stem(stem) == "fine":
            first = [nn.PixelUnshuffle(2), nn.Conv2d(4 * self.planes, width, 3, 1, 1, bias=False)]
            pool = []
        else:
            first = [nn.Conv2d(self.planes, width, 7, 2, 3, bias=False)]
            pool = [nn.MaxPool2d(3, 2, 1)]
        self.stem = nn.Sequential(*first, nn.BatchNorm2d(width), nn.ReLU(inplace=True), *pool)
        stages, inputs = [], width
        for k, count in enumerate(blocks):
            outputs, stage = width * 2**k, []
            for j in range(count):
                stage.append(BasicBlock(inputs, outputs, 2 if k and not j else 1))
                inputs = outputs
            stages.append(nn.Sequential(*stage))
        self.stages = nn.ModuleList(stages)
        self.head = nn.Linear(inputs, classes)

    def features(self, image: torch.Tensor) -> list:
        scaled = self.preprocess(image).contiguous(memory_format=torch.channels_last)
        maps = [self.stem(scaled)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return maps

    def classify(self, features: torch.Tensor) -> torch.Tensor:
        return self.head(features.mean(dim=(-2, -1)))


VGG_STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
VGG_WIDTHS = (1, 2, 4, 8, 8)


class VGG(Classifier):
    """
    Five stages of 3x3 convolutions, each followed by a maximum, and three full layers.

    Parameters
    ----------
    channels, classes : int
        Channels of the image, and classes that are told apart.
    depth : int
        Layers with weights: 11, 13, 16 or 19.
    width, hidden : int
        Channels of the first stage, to whose number the others are in proportion, and units of
        the full layers. Published: 64, 4096.
    pooled : int
        Side of the map that the full layers see. Published: 7.
    norm : bool
        Normalise batches after each convolution. Published: no, but then it learns slowly.
    dropout : float
        Share of the units of the full layers that are left out in training.
    **seen
        ``softening`` and ``scales``, as `Classifier` takes them.
    """

    def __init__(self, channels: int = 1, classes: int = 3, depth: int = 11, width: int = 64,
                 hidden: int = 4096, pooled: int = 7, norm: bool = True, dropout: float = 0.5,
                 **preprocessing):
        super().__init__(channels, **preprocessing)
        if depth not in VGG_STAGES:
            raise ValueError(f"`depth` must be one of {', '.join(map(str, VGG_STAGES))}, got {depth}")
        stages, inputs = [], self.planes
        for count, factor in zip(VGG_STAGES[depth], VGG_WIDTHS):
            layers = []
            for _ in range(count):
                layers += [nn.Conv2d(inputs, factor * width, 3, padding=1),
                           *([nn.BatchNorm2d(factor * width)] if norm else []),
                           nn.ReLU(inplace=True)]
                inputs = factor * width
            stages.append(nn.Sequential(*layers, nn.MaxPool2d(2, 2)))
        self.stages = nn.ModuleList(stages)
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(pooled), nn.Flatten(),
            nn.Linear(inputs * pooled**2, hidden), nn.ReLU(inplace=True), nn.Dropout(dropout),
            nn.Linear(hidden, hidden), nn.ReLU(inplace=True), nn.Dropout(dropout),
            nn.Linear(hidden, classes))


VGG19_STAGES = ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512))  # convolutions and channels

# Of the colours of ImageNet.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Maps(nn.Sequential):
    """Layers in a row, which give what enters each of their poolings, and the end."""

    def forward(self, x: torch.Tensor) -> list:
        maps = []
        for layer in self:
            if isinstance(layer, nn.MaxPool2d):
                maps.append(x)
            x = layer(x)
        return [*maps, x]


class VGG19(nn.Module):
    """
    VGG-19 (Simonyan & Zisserman 2015, arXiv:1409.1556), without the layers that classify.

    Names and shapes of its parameters are those of torchvision's ``vgg19``, so that its weights
    fit. ``features(x)`` gives the outputs of the last convolution of each of the five stages, the
    finest first; images ``(batch, 1, ny, nx)`` in the range of zero to one are shown to it as grey.
    """

    def __init__(self):
        super().__init__()
        layers, inputs = [], 3
        for count, outputs in VGG19_STAGES:
            for _ in range(count):
                layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
                inputs = outputs
            layers.append(nn.MaxPool2d(2))
        self.features = Maps(*layers[:-1])  # nobody asks for what the last pooling gives
        for name, values in (("mean", IMAGENET_MEAN), ("spread", IMAGENET_STD)):
            self.register_buffer(name, torch.tensor(values).reshape(1, 3, 1, 1), persistent=False)
        self.features.register_forward_pre_hook(self._colour)

    def _colour(self, _, inputs):
        return ((inputs[0] - self.mean) / self.spread,)


ALEXNET, RESNET, VGG_NETWORK = (
    Architecture(name, cls, inputs="classifier", trainer="classifier", reference=reference)
    for name, cls, reference in (("alexnet", AlexNet, "doi:10.1145/3065386"),
                                 ("resnet", ResNet, "arXiv:1512.03385"),
                                 ("vgg", VGG, "arXiv:1409.1556")))
