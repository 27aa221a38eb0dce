"""The one internal form of a plane of pixels, which every method receives."""

from dataclasses import dataclass, field

import numpy as np

__all__ = ["LensImage"]


@dataclass(frozen=True)
class LensImage:
    """
    One plane, checked and cleaned, ready for a method.

    Attributes
    ----------
    data : `~numpy.ndarray`
        Values, float64, shape ``(ny, nx)``, finite everywhere: a masked pixel
        holds a fill made from its valid neighbours, never its own value.
    sigma : `~numpy.ndarray`
        Standard deviation of the noise, same shape and unit as ``data``,
        positive and finite everywhere.
    mask : `~numpy.ndarray`
        `True` where the value is missing.
    psf : `~numpy.ndarray` or None
        Effective PSF (optics and pixel response) on the grid of the image, odd
        in both axes, centred, of sum one.
    noise : float
        Noise of the sky: the unit in which networks see the image.
    metadata : dict
        What else is known of the observation: what ``lenssr.image._metadata.read_metadata`` gives.
    """

    data: np.ndarray
    sigma: np.ndarray
    mask: np.ndarray
    psf: np.ndarray | None
    noise: float
    metadata: dict = field(default_factory=dict)

    @property
    def shape(self):
        """Shape ``(ny, nx)`` of the plane."""
        return self.data.shape
