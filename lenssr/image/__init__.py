"""All that an astronomer's image carries, in and out."""

from ._lensimage import LensImage

__all__ = ["LensImage"]
