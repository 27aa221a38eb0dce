"""Classifiers of lens images on wavelet planes, and VGG-19 for perceptual losses."""

import math

import torch
from torch import nn
from torch.nn import functional

from lenssr.networks._architecture import Architecture
from lenssr.networks._inputs import starlet

MIN_IMAGE_SIDE, MAX_IMAGE_SIDE = 32, 150  # sides of images, pixels
STEMS = ("fine", "published")
VGG_CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3),
                    19: (2, 2, 4, 4, 4)}  # convolutions in each stage, by depth
VGG_WIDTHS = (1, 2, 4, 8, 8)  # channels of the stages, in units of the first stage
VGG19_STAGES = ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512))  # convolutions and their channels
# Mean and standard deviation of ImageNet's colours, by which its images are scaled.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _check_stem(stem: str) -> str:
    """Return the name of a stem; raise `ValueError` unless it is known."""
    if stem not in STEMS:
        raise ValueError(f"`stem` must be one of {', '.join(STEMS)}, got {stem!r}")
    return stem


def _dense(inputs, hidden, classes, pooled, dropout, dropout_first):
    """Make the three dense layers of AlexNet (dropout before each layer) and VGG (after)."""
    layers = [nn.Linear(inputs * pooled**2, hidden), nn.ReLU(inplace=True),
              nn.Linear(hidden, hidden), nn.ReLU(inplace=True)]
    for index in (2, 0) if dropout_first else (4, 2):
        layers.insert(index, nn.Dropout(dropout))
    return nn.Sequential(nn.AdaptiveAvgPool2d(pooled), nn.Flatten(), *layers,
                         nn.Linear(hidden, classes))


class Classifier(nn.Module):
    """
    Base class of networks that return one logit per class.

    The image is divided by its peak, so that its unit does not matter, compressed by asinh at
    each of the ``softening`` fractions of the peak, and split into ``scales`` wavelet planes:
    dark matter changes an arc by 1 % on scales of one to two pixels.
    """

    def __init__(self, channels: int = 1, softening: tuple = (0.05, 0.002), scales: int = 3):
        super().__init__()
        self.softening, self.scales = tuple(softening), scales
        self.planes = channels * len(self.softening) * (scales + 1)
        self.gain = [4.0 * 2.0 ** (scales - k) for k in range(scales)] + [1.0]

    def preprocess(self, image: torch.Tensor) -> torch.Tensor:
        """Input planes ``(batch, planes, ny, nx)`` of images ``(batch, c, ny, nx)`` without sky."""
        # The brightest 3x3 mean: the brightest pixel would be biased by noise.
        peak = functional.avg_pool2d(image, 3, 1, 1).amax(dim=(1, 2, 3), keepdim=True)
        image = image / peak.clamp(min=torch.finfo(image.dtype).tiny)
        compressed = torch.cat([(image / s).asinh() / math.asinh(1 / s) for s in self.softening],
                               dim=1)
        gain = torch.tensor(self.gain).repeat(compressed.shape[1]).reshape(1, -1, 1, 1)
        return starlet(compressed, self.scales) * gain.to(compressed)

    def features(self, image: torch.Tensor) -> list:
        """Feature maps of the stages, finest first, which a perceptual loss compares."""
        maps, x = [], self.preprocess(image).contiguous(memory_format=torch.channels_last)
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    def classify(self, features: torch.Tensor) -> torch.Tensor:
        """Logits ``(batch, classes)`` from the last feature map."""
        return self.head(features)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.classify(self.features(image)[-1])


class AlexNet(Classifier):
    """
    AlexNet (Krizhevsky et al. 2012; one-tower form of arXiv:1404.5997) of any width.

    ``width`` and ``hidden`` are the channels of the first convolution and the units of the dense
    layers (published: 64, 4096); ``pooled`` is the side of the map before these (published: 6).
    The ``"published"`` stem is an 11x11 convolution of stride 4 with max pooling, the ``"fine"``
    stem a 3x3 convolution after pixel unshuffling by 2.
    """

    def __init__(self, channels: int = 1, classes: int = 3, width: int = 64, hidden: int = 4096,
                 pooled: int = 6, stem: str = "fine", dropout: float = 0.5, **preprocessing):
        super().__init__(channels, **preprocessing)
        if _check_stem(stem) == "fine":
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
        self.head = _dense(widths[-1], hidden, classes, pooled, dropout, dropout_first=True)


class BasicBlock(nn.Module):
    """Two convolutions with batch normalisation and a skip, by a 1x1 where the shape changes."""

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
    Residual network of basic blocks (He et al. 2016, doi:10.1109/CVPR.2016.90).

    ``width`` channels in the first stage, doubled by each later one (published: 64); ``blocks``
    per stage (published: 2, 2, 2, 2 for ResNet-18 and 3, 4, 6, 3 for ResNet-34). The
    ``"published"`` stem, made for 224 pixels, reduces the image by 4; the ``"fine"`` stem, a 3x3
    convolution after pixel unshuffling by 2, keeps the structure of arcs two pixels wide.
    """

    def __init__(self, channels: int = 1, classes: int = 3, width: int = 64,
                 blocks: tuple = (2, 2, 2, 2), stem: str = "fine", **preprocessing):
        super().__init__(channels, **preprocessing)
        if _check_stem(stem) == "fine":
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
        x = self.preprocess(image).contiguous(memory_format=torch.channels_last)
        maps = [self.stem(x)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return maps

    def classify(self, features: torch.Tensor) -> torch.Tensor:
        return self.head(features.mean(dim=(-2, -1)))


class VGG(Classifier):
    """
    VGG (Simonyan & Zisserman 2015, arXiv:1409.1556) of any depth and width.

    ``depth`` is 11, 13, 16 or 19; ``width`` and ``hidden`` are the channels of the first stage
    and the units of the dense layers (published: 64, 4096); ``pooled`` is the side of the map
    before these (published: 7). Batch normalisation (``norm``) is not published.
    """

    def __init__(self, channels: int = 1, classes: int = 3, depth: int = 11, width: int = 64,
                 hidden: int = 4096, pooled: int = 7, norm: bool = True, dropout: float = 0.5,
                 **preprocessing):
        super().__init__(channels, **preprocessing)
        if depth not in VGG_CONVOLUTIONS:
            known = ", ".join(map(str, VGG_CONVOLUTIONS))
            raise ValueError(f"`depth` must be one of {known}, got {depth}")
        stages, inputs = [], self.planes
        for count, factor in zip(VGG_CONVOLUTIONS[depth], VGG_WIDTHS):
            layers = []
            for _ in range(count):
                layers += [nn.Conv2d(inputs, factor * width, 3, padding=1),
                           *([nn.BatchNorm2d(factor * width)] if norm else []),
                           nn.ReLU(inplace=True)]
                inputs = factor * width
            stages.append(nn.Sequential(*layers, nn.MaxPool2d(2, 2)))
        self.stages = nn.ModuleList(stages)
        self.head = _dense(inputs, hidden, classes, pooled, dropout, dropout_first=False)


class _PoolingInputs(nn.Sequential):
    """Layers in sequence that return the input of each pooling layer and the final output."""

    def forward(self, x: torch.Tensor) -> list:
        maps = []
        for layer in self:
            if isinstance(layer, nn.MaxPool2d):
                maps.append(x)
            x = layer(x)
        return [*maps, x]


class VGG19(nn.Module):
    """
    Convolutions of VGG-19 (Simonyan & Zisserman 2015, arXiv:1409.1556).

    Names and shapes of the parameters agree with ``vgg19`` of torchvision, so that its weights
    can be loaded. ``features(x)`` returns the output of the last convolution of each of the five
    stages, finest first, for grey images ``(batch, 1, ny, nx)`` in the range 0 to 1.
    """

    def __init__(self):
        super().__init__()
        layers, inputs = [], 3
        for count, outputs in VGG19_STAGES:
            for _ in range(count):
                layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
                inputs = outputs
            layers.append(nn.MaxPool2d(2))
        self.features = _PoolingInputs(*layers[:-1])
        for name, values in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
            self.register_buffer(name, torch.tensor(values).reshape(1, 3, 1, 1), persistent=False)
        self.features.register_forward_pre_hook(self._normalize)

    def _normalize(self, _, inputs):
        return ((inputs[0] - self.mean) / self.std,)


ALEXNET, RESNET, VGGNET = (
    Architecture(name, cls, inputs="classifier", trainer="classifier", reference=reference)
    for name, cls, reference in (("alexnet", AlexNet, "arXiv:1404.5997"),
                                 ("resnet", ResNet, "doi:10.1109/CVPR.2016.90"),
                                 ("vgg", VGG, "arXiv:1409.1556")))
