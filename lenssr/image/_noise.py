"""Noise: read from whatever uncertainty there is, or estimated from the sky."""

import warnings

import numpy as np
from astropy import units as u
from astropy.nddata import (
    InverseVariance,
    NDUncertainty,
    StdDevUncertainty,
    VarianceUncertainty,
)
from astropy.stats import SigmaClip, mad_std

from lenssr.exceptions import LensSRWarning

__all__ = ["as_uncertainty", "estimate_sky", "sigma_from", "sky_level", "sky_noise"]

SKY_PERCENTILE = 25  # of a noise map: sources only ever add to the noise of the sky


def sigma_from(uncertainty, shape, unit):
    """
    Standard deviations from an uncertainty.

    Parameters
    ----------
    uncertainty : NDUncertainty, `~astropy.units.Quantity`, array-like or float
        An astropy uncertainty of standard deviation, variance or inverse variance;
        anything else is a standard deviation.
    shape : tuple
        Shape of the data.
    unit : `~astropy.units.UnitBase` or None
        Unit of the data, to which the uncertainty is converted.

    Returns
    -------
    sigma : `~numpy.ndarray`
        Standard deviations, float64, of shape ``shape``; infinite where the data
        have no weight.
    kind : type
        The class of the uncertainty.

    Raises
    ------
    ValueError
        If shape or unit do not fit, or the values are negative.
    TypeError
        If it is no uncertainty.
    """
    kind = StdDevUncertainty
    if isinstance(uncertainty, NDUncertainty):
        kind = type(uncertainty)
        if not isinstance(uncertainty, (StdDevUncertainty, VarianceUncertainty, InverseVariance)):
            raise TypeError("`uncertainty` must be a StdDevUncertainty, VarianceUncertainty or "
                            f"InverseVariance, got {kind.__name__}")
        values, own = uncertainty.array, uncertainty.unit
    elif isinstance(uncertainty, u.Quantity):
        values, own = uncertainty.value, uncertainty.unit
    else:
        values, own = uncertainty, None
    try:
        values = np.asarray(values, dtype=float)
    except (TypeError, ValueError) as err:
        raise TypeError("`uncertainty` must be an array of numbers or an astropy uncertainty, "
                        f"got {type(uncertainty).__name__}") from err
    if values.shape not in ((), shape, shape[-2:]):
        raise ValueError(f"`uncertainty` must have the shape of the data {shape}, "
                         f"got {values.shape}")
    if (values < 0).any():
        raise ValueError(f"`uncertainty` must not be negative, got {np.nanmin(values):g}")
    power = {VarianceUncertainty: 2, InverseVariance: -2}.get(kind, 1)
    with np.errstate(divide="ignore"):
        sigma = values ** (1 / power)
    return np.broadcast_to(sigma * _unit_factor(own, unit, power), shape).copy(), kind


def _unit_factor(own, unit, power):
    if own is None or unit is None or own == unit**power:
        return 1.0
    try:
        return (1.0 * own).to_value(unit**power) ** (1 / power)
    except (u.UnitConversionError, TypeError) as err:
        raise ValueError(f"`uncertainty` must have a unit that converts to {unit**power}, "
                         f"got {own}") from err


def as_uncertainty(sigma, kind, unit):
    """An uncertainty of class ``kind`` from standard deviations."""
    power = {VarianceUncertainty: 2, InverseVariance: -2}.get(kind, 1)
    with np.errstate(divide="ignore"):
        values = sigma**power
    return kind(values, unit=None if unit is None else unit**power)


def estimate_sky(values, mask):
    """
    Noise of the sky from the pixels that hold no source.

    Sources are found by photutils' segmentation at twice the clipped noise and
    their surroundings left out; of the rest, the median absolute deviation.

    Parameters
    ----------
    values, mask : `~numpy.ndarray`
        Image and missing pixels, shape ``(ny, nx)``.

    Returns
    -------
    noise : float
        Standard deviation; zero if the image has none.
    """
    from photutils.background import MADStdBackgroundRMS, MedianBackground
    from photutils.segmentation import detect_sources
    from scipy import ndimage

    clip, valid = SigmaClip(3.0, maxiters=10), values[~mask]
    noise = float(MADStdBackgroundRMS(clip)(valid))
    if noise > 0 and min(values.shape) >= 5:
        level = float(MedianBackground(clip)(valid))
        # Smoothed by its neighbours, faint extended light stands out that one pixel hides.
        smooth = ndimage.gaussian_filter(np.where(mask, level, values), 1.0)
        threshold = level + 2 * float(mad_std(smooth[~mask]))
        with warnings.catch_warnings():
            # photutils warns of an image without sources, which is a good answer here.
            warnings.simplefilter("ignore")
            sources = detect_sources(smooth, threshold, n_pixels=5, mask=mask)
        if sources is not None:
            empty = ~mask & ~ndimage.binary_dilation(sources.data > 0, iterations=2)
            if empty.sum() >= max(25, 0.05 * valid.size):
                noise = float(MADStdBackgroundRMS(clip)(values[empty]))
    return noise


def sky_noise(values, sigma, mask):
    """
    Noise map and noise of the sky, whatever is known of them.

    Parameters
    ----------
    values : `~numpy.ndarray`
        Image, shape ``(ny, nx)``.
    sigma : `~numpy.ndarray` or None
        Known standard deviations.
    mask : `~numpy.ndarray`
        Missing pixels.

    Returns
    -------
    sigma : `~numpy.ndarray`
        Standard deviations, positive and finite everywhere; at masked pixels the
        median of the others.
    noise : float
        Noise of the sky.

    Warns
    -----
    LensSRWarning
        If the noise is estimated, or cannot even be.
    """
    if sigma is not None:
        sigma = np.where(mask, np.median(sigma[~mask]), sigma)
        return sigma, float(np.percentile(sigma[~mask], SKY_PERCENTILE))
    noise = estimate_sky(values, mask)
    if noise > 0:
        warnings.warn(f"no uncertainty was given: a noise of {noise:.4g} per pixel was estimated "
                      "from the sky, the photon noise of sources is not in it",
                      LensSRWarning, stacklevel=2)
    else:
        noise = 1e-6 * float(np.abs(values[~mask]).max()) or 1.0
        warnings.warn("no uncertainty was given and the image shows no noise: a noise of "
                      f"{noise:.4g} per pixel was assumed", LensSRWarning, stacklevel=2)
    return np.full(values.shape, noise), noise


def sky_level(values, mask, noise):
    """
    Level of a sky that was not subtracted.

    Parameters
    ----------
    values, mask : `~numpy.ndarray`
        Image and missing pixels, shape ``(ny, nx)``.
    noise : float
        Noise of the sky.

    Returns
    -------
    level : float
        Zero if it is within three times the noise: the sky was subtracted.
    """
    valid = values[~mask]
    # The fifth percentile of a sky of Gaussian noise is 1.645 sigma below its level.
    low = np.percentile(valid, 5) + 1.645 * noise
    level = float(min(low, np.median(valid)))
    return level if abs(level) > 3 * noise else 0.0
