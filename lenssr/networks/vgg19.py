"""The convolutions of VGG-19, whose features perceptual losses compare."""

import torch
from torch import nn

__all__ = ["MEAN", "SPREAD", "VGG19"]

STAGES = ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512))  # convolutions, and their channels

#: Mean and standard deviation of the colours of ImageNet, by which its images were scaled.
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


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
        for count, outputs in STAGES:
            for _ in range(count):
                layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
                inputs = outputs
            layers.append(nn.MaxPool2d(2))
        self.features = Maps(*layers[:-1])  # nobody asks for what the last pooling gives
        for name, values in (("mean", MEAN), ("spread", SPREAD)):
            self.register_buffer(name, torch.tensor(values).reshape(1, 3, 1, 1), persistent=False)
        self.features.register_forward_pre_hook(self._colour)

    def _colour(self, _, inputs):
        return ((inputs[0] - self.mean) / self.spread,)
