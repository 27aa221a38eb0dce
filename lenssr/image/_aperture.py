"""Fluxes in apertures, with errors that know how those of neighbouring pixels hang together."""

from typing import NamedTuple

import numpy as np
from astropy import units as u

__all__ = ["ApertureSum", "sum_apertures"]


class ApertureSum(NamedTuple):
    """Sums of an image over apertures."""

    flux: u.Quantity
    error: u.Quantity


def sum_apertures(image, aperture):
    """Sum an image over apertures, as `SuperResolvedImage.aperture_sum` does."""
    if image.correlation is None or image.measurement_std is None:
        raise ValueError("`aperture_sum` needs the correlation of the errors, which this image "
                         "lacks: it comes with the results of `superresolve` and is kept by "
                         "slicing and by arithmetic with numbers")
    masks = _masks(aperture, image.wcs)
    bands = [...] if image.ndim == 2 else range(len(image.data))
    sums = np.array([_over(masks, _Plane(image, band).sum) for band in bands])
    sums = np.moveaxis(sums, -1, 0)  # flux and error first, then bands
    return ApertureSum(*(u.Quantity(part[0] if image.ndim == 2 else part, image.unit)
                         for part in sums))


def _masks(aperture, wcs):
    """What `Aperture.to_mask` gives; nested lists of it for sequences."""
    from photutils.aperture import Aperture, SkyAperture

    if isinstance(aperture, list | tuple) and aperture:
        return [_masks(each, wcs) for each in aperture]
    if not isinstance(aperture, Aperture):
        raise TypeError("`aperture` must be an aperture of photutils, or a sequence of them, got "
                        f"{type(aperture).__name__}")
    if isinstance(aperture, SkyAperture):
        if wcs is None:
            raise ValueError("`aperture` must be in pixels for an image without a WCS, got "
                             f"{type(aperture).__name__}")
        aperture = aperture.to_pixel(getattr(wcs, "celestial", wcs))
    return aperture.to_mask(method="exact")


def _over(masks, function):
    """The function of each of nested lists."""
    return [_over(each, function) for each in masks] if isinstance(masks, list) else function(masks)


class _Plane:
    """A plane of an image, with its errors in parts that are independent of each other."""

    def __init__(self, image, k):
        self.data = image.data[k]
        self.valid = np.ones(self.data.shape, bool) if image.mask is None else ~image.mask[k]
        parts = [image.measurement_std, image.prior_std]
        self.stds = [std[k] for std in parts if std is not None]
        self.correlation = image.correlation[k]

    def sum(self, mask):
        """Sum over an aperture, and its standard deviation; NaN where it is off the image."""
        inside, part = mask.get_overlap_slices(self.data.shape)
        if inside is None:
            return np.nan, np.nan
        weights = np.where(self.valid[inside], mask.data[part], 0.0)
        stds = [np.asarray(std[inside], float) for std in self.stds]
        variance = self.correlation.sum_variance(weights, stds)
        return float((weights * np.where(weights > 0, self.data[inside], 0.0)).sum()), variance**0.5
