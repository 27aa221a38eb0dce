"""Factors that a calibration found for what is measured of an image, between which they change."""

import numpy as np
from scipy.ndimage import map_coordinates

__all__ = ["APERTURE_FRACTIONS", "APERTURE_AREAS", "interpolate_factors", "aperture_sum_factor"]

#: Shares of the rest of the sky in the variance of a sum to which its factors belong.
APERTURE_FRACTIONS = (0.001, 0.01, 0.05, 0.15, 0.4, 0.8)

#: Pixels of a sum, as many as have its weights, to which its factors belong; that of one is one.
APERTURE_AREAS = (1.0, 12.0, 60.0, 300.0)


def interpolate_factors(values, knots, factors):
    """Factors at places between those that they are known at."""
    place = np.stack(np.broadcast_arrays(*(
        np.interp(np.log(np.maximum(each, at[0])), np.log(at), np.arange(len(at)))
        for each, at in zip(values, knots))))
    found = map_coordinates(np.log(np.asarray(factors, float)), place.reshape(len(place), -1),
                            order=1, mode="nearest")
    return np.exp(found).reshape(place.shape[1:])


def aperture_sum_factor(share, size, factors):
    """What errors of sums over several pixels are multiplied by."""
    factors = np.pad(np.asarray(factors, float), ((0, 0), (1, 0)), constant_values=1.0)
    return interpolate_factors((share, size), (APERTURE_FRACTIONS, APERTURE_AREAS), factors)
