"""VGG (Simonyan & Zisserman 2015, arXiv:1409.1556), of any depth and width."""

from torch import nn

from lenssr.networks._classifier import Classifier

__all__ = ["VGG"]

STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
WIDTHS = (1, 2, 4, 8, 8)


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
                 **seen):
        super().__init__(channels, **seen)
        if depth not in STAGES:
            raise ValueError(f"`depth` must be one of {', '.join(map(str, STAGES))}, got {depth}")
        stages, inputs = [], self.planes
        for count, factor in zip(STAGES[depth], WIDTHS):
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
