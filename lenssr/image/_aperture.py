"""Fluxes in apertures, with errors that know how those of neighbouring pixels hang together."""

from functools import partial
from typing import NamedTuple

import numpy as np
from astropy import units as u

__all__ = ["ApertureSum", "plane_sum", "sum_apertures"]


class ApertureSum(NamedTuple):
    """
    Sums of an image over apertures.

    Attributes
    ----------
    flux, error : `~astropy.units.Quantity`
        Sums of the pixels and their standard deviations, in the unit of the image.
    """

    flux: u.Quantity
    error: u.Quantity


def sum_apertures(image, aperture):
    """
    Sum an image over apertures, as `SuperResolvedImage.aperture_sum` does.

    Parameters
    ----------
    image : `SuperResolvedImage`
        The image.
    aperture : `~photutils.aperture.Aperture` or sequence of them
        In pixels or on the sky.

    Returns
    -------
    sums : `ApertureSum`
    """
    if image.correlation is None or image.measurement_std is None:
        raise ValueError("`aperture_sum` needs the correlation of the errors, which this image "
                         "lacks: it comes with the results of `superresolve` and is kept by "
                         "slicing and by arithmetic with numbers")
    masks = _masks(aperture, image.wcs)
    bands = [...] if image.ndim == 2 else range(len(image.data))
    sums = np.array([_over(masks, partial(plane_sum, **_plane(image, band))) for band in bands])
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


def _plane(image, k):
    """A plane of an image, with its errors in parts that are independent of each other."""
    data, parts = image.data[k], [image.measurement_std, image.prior_std]
    return {"data": data, "stds": [std[k] for std in parts if std is not None],
            "valid": np.ones(data.shape, bool) if image.mask is None else ~image.mask[k],
            "correlation": image.correlation[k]}


def plane_sum(mask, data, valid, stds, correlation):
    """
    Sum of a plane over an aperture, and its standard deviation.

    Parameters
    ----------
    mask : `~photutils.aperture.ApertureMask`
        The aperture.
    data, valid : `~numpy.ndarray`
        Pixels, and which of them count, shape ``(ny, nx)``.
    stds : sequence of `~numpy.ndarray`
        Standard deviations of the parts of their errors.
    correlation : `~lenssr.image.ErrorCorrelation`
        Of as many parts.

    Returns
    -------
    flux, error : float
        NaN where the aperture is off the image.
    """
    inside, part = mask.get_overlap_slices(data.shape)
    if inside is None:
        return np.nan, np.nan
    weights = np.where(valid[inside], mask.data[part], 0.0)
    variance = correlation.sum_variance(weights, [np.asarray(std[inside], float) for std in stds])
    return float((weights * np.where(weights > 0, data[inside], 0.0)).sum()), variance**0.5
