"""AlexNet (Krizhevsky et al. 2012; the one-tower form of arXiv:1404.5997), of any width."""

from torch import nn

from lenssr.networks._classifier import Classifier, check_stem

__all__ = ["AlexNet"]


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
                 pooled: int = 6, stem: str = "fine", dropout: float = 0.5, **seen):
        super().__init__(channels, **seen)
        if check_stem(stem) == "fine":
            first = [nn.PixelUnshuffle(2), nn.Conv2d(4 * self.planes, width, 3, padding=1)]
            pool = []
        else:
            first, pool = [nn.Conv2d(self.planes, width, 11, 4, 2)], [nn.MaxPool2d(3, 2)]
        sizes = [3 * width, 6 * width, 4 * width, 4 * width]
        self.stages = nn.ModuleList([
            nn.Sequential(*first, nn.ReLU(inplace=True), *pool),
            nn.Sequential(nn.Conv2d(width, sizes[0], 5, padding=2), nn.ReLU(inplace=True),
                          nn.MaxPool2d(3, 2)),
            nn.Sequential(*(layer for a, b in zip(sizes, sizes[1:]) for layer in
                            (nn.Conv2d(a, b, 3, padding=1), nn.ReLU(inplace=True))),
                          nn.MaxPool2d(3, 2))])
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(pooled), nn.Flatten(),
            nn.Dropout(dropout), nn.Linear(sizes[-1] * pooled**2, hidden), nn.ReLU(inplace=True),
            nn.Dropout(dropout), nn.Linear(hidden, hidden), nn.ReLU(inplace=True),
            nn.Linear(hidden, classes))
