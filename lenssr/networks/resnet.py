"""ResNet for classification (He et al. 2016, doi:10.1109/CVPR.2016.90), of any width."""

import torch
from torch import nn
from torch.nn import functional

from lenssr.networks._classifier import Classifier, check_stem

__all__ = ["ResNet"]


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
                 blocks: tuple = (2, 2, 2, 2), stem: str = "fine", **seen):
        super().__init__(channels, **seen)
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
        seen = self.see(image).contiguous(memory_format=torch.channels_last)
        maps = [self.stem(seen)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return maps

    def classify(self, features: torch.Tensor) -> torch.Tensor:
        return self.head(features.mean(dim=(-2, -1)))
