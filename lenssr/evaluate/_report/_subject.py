"""What a page is about: a result, what it was made of, and what it is compared with."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from astropy.io import fits

from lenssr.image import LensImage, expand_mask
from lenssr.methods import DataResidual

__all__ = ["Restored", "Subject"]


@dataclass
class Restored:
    """One plane of a result."""

    name: str
    data: np.ndarray
    mask: np.ndarray
    maps: dict
    psf: np.ndarray | None
    header: fits.Header

    @property
    def values(self):
        """The data, NaN where they are missing."""
        return np.where(self.mask, np.nan, self.data)


@dataclass
class Subject:
    """All that a page shows, in one unit."""

    image: LensImage
    results: list
    truth: np.ndarray | None
    prior: np.ndarray | None
    scale: int
    share: float
    unit: object
    wcs: object
    plane: int = 0
    planes: int = 1

    @property
    def result(self):
        """The result that the page is about."""
        return self.results[0]

    @property
    def mask(self):
        """Output pixels that lie in a masked pixel of the input."""
        return expand_mask(self.image.mask, self.scale)

    @cached_property
    def misfit(self):
        """What brings a result to the resolution and the pixels of the input, and compares them."""
        return DataResidual(self.image, self.scale)

    def degrades(self, restored):
        """Whether the resolution of a result and of the data are known, to go from one to other."""
        return self.image.psf is not None and restored.header.get("SRPSF") == "target"
