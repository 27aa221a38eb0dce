"""
World coordinates of an image: read, carried to finer pixels, written.

The pixel convention is that of FITS: the first pixel has its centre at 1 and
reaches from 0.5 to 1.5. Pixels `scale` times finer over the same footprint
have ``x' = (x - 0.5) scale + 0.5``. Whatever leaves these functions was compared
with what went in, on a grid over the image, to a millionth of a pixel.
"""

from lenssr.image._wcs_cards import rescale_alternates, strip_wcs
from lenssr.image._wcs_fits import read_wcs, wcs_from_hdus, wcs_to_fits
from lenssr.image._wcs_rescale import RescaledWCS, rescale_wcs

__all__ = [
    "RescaledWCS",
    "read_wcs",
    "rescale_alternates",
    "rescale_wcs",
    "strip_wcs",
    "wcs_from_hdus",
    "wcs_to_fits",
]
