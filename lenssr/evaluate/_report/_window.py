"""The part of an image that is shown."""

import warnings
from dataclasses import dataclass

import numpy as np

from lenssr.exceptions import LensSRWarning

__all__ = ["Window", "window_of"]


@dataclass
class Window:
    """A part of an image."""

    start: tuple
    shape: tuple
    scale: int
    centre: tuple
    whole: bool

    @property
    def fine_start(self):
        """First pixel ``(y, x)`` of the result."""
        return tuple(self.scale * a for a in self.start)

    @property
    def fine_shape(self):
        """Shape in pixels of the result."""
        return tuple(self.scale * n for n in self.shape)

    def cut(self, array, repeat):
        """The part of an array whose pixels are ``repeat`` output pixels wide."""
        factor = self.scale // repeat
        return array[tuple(slice(factor * a, factor * (a + n))
                           for a, n in zip(self.start, self.shape))]


def window_of(subject, center, size):
    """The part of a `Subject` that is shown, whole pixels of the input."""
    scale, shape = subject.scale, subject.image.shape
    fine = tuple(scale * n for n in shape)
    if center is None:
        center = tuple((n - 1) / 2 for n in fine[::-1])
    try:
        x, y = (float(each) for each in center)
    except (TypeError, ValueError) as err:
        raise ValueError(f"`center` must be a pixel (x, y), got {center!r}") from err
    if not (-0.5 <= x <= fine[1] - 0.5 and -0.5 <= y <= fine[0] - 0.5):
        raise ValueError(f"`center` must be a pixel (x, y) of the result, {fine[1]} by {fine[0]} "
                         f"of them, got {center!r}")
    side = max(size // scale, 1)
    centre = tuple((each + 0.5) / scale - 0.5 for each in (x, y))
    cut = tuple(min(side, n) for n in shape)
    start = tuple(int(np.clip(round(c - (m - 1) / 2), 0, n - m))
                  for c, m, n in zip(centre[::-1], cut, shape))
    window = Window(start, cut, scale, centre, cut == shape)
    if not window.whole:
        warnings.warn(f"the page shows {window.fine_shape[1]} x {window.fine_shape[0]} of "
                      f"{fine[1]} x {fine[0]} pixels (say `center` and `size`)", LensSRWarning,
                      stacklevel=3)
    return window
