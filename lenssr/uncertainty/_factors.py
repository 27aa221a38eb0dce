"""Signal-to-noise ratio, crowding and aperture area, and tables of factors over them."""

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

# Fractions of the variance due to the prior error of the sky; knots of the aperture factors.
APERTURE_FRACTIONS = (0.001, 0.01, 0.05, 0.15, 0.4, 0.8)
# Effective aperture areas in pixels; knots of the aperture factors.
APERTURE_AREAS = (1.0, 12.0, 60.0, 300.0)

# Upper edges of the bins of the local signal-to-noise ratio by name; knots of their factors.
SNR_BINS = {"below 1": 1, "1-3": 3, "3-10": 10, "10-30": 30, "above 30": np.inf}
SNR_KNOTS = (0.5, 3**0.5, 30**0.5, 300**0.5, 60.0)

# Upper edges of the bins of the crowding, a fraction of pixels; knots of their factors.
CROWDING_BINS = (0.003, 0.02, 0.1, 0.4, 1.0)
CROWDING_KNOTS = (0.001, 0.008, 0.045, 0.2, 0.6)
CROWDING_SIGMA = 8.0  # input pixels; standard deviation of the Gaussian window of the crowding

# Fractions of a normal distribution within 1 and 2 sigma.
NORMAL_COVERAGE = np.array([0.682689, 0.954500])


def interpolate_factors(values, knots, factors):
    """
    Interpolate a table of factors; the logarithms of values and factors are used.

    ``values`` and ``knots`` have one entry for each axis of the table. The factors are constant
    beyond the first and the last knot.
    """
    indices = np.stack(np.broadcast_arrays(*(
        np.interp(np.log(np.maximum(value, axis[0])), np.log(axis), np.arange(len(axis)))
        for value, axis in zip(values, knots))))
    log_factor = map_coordinates(np.log(np.asarray(factors, float)),
                                 indices.reshape(len(indices), -1), order=1, mode="nearest")
    return np.exp(log_factor).reshape(indices.shape[1:])


def aperture_sum_factor(fraction, area, factors):
    """
    Return the factor of the error of an aperture sum.

    ``fraction`` is the fraction of its variance due to the prior error of the sky, ``area`` its
    effective area in pixels. ``factors`` has shape ``(6, 3)``; the factor of one pixel is one.
    """
    factors = np.pad(np.asarray(factors, float), ((0, 0), (1, 0)), constant_values=1.0)
    return interpolate_factors((fraction, area), (APERTURE_FRACTIONS, APERTURE_AREAS), factors)


def local_snr(image, level, noise):
    """
    Return the height of each pixel above the sky level over the local noise.

    ``noise`` is the standard deviation of the input pixel that contains the output pixel.
    """
    return np.abs(image - level) / noise


def snr_bin(snr):
    """Return the index into `SNR_BINS` of each signal-to-noise ratio."""
    return np.digitize(snr, list(SNR_BINS.values())[:-1])


def crowding(snr, valid, scale):
    """
    Return the fraction of pixels around each pixel that show a source (``snr >= 1``).

    Wings of a source raise the errors of the sky around it, which the local signal-to-noise ratio
    does not show. Pixels have Gaussian weights; the fraction is zero without valid pixels nearby.
    """
    source, total = (gaussian_filter(np.asarray(plane, float), CROWDING_SIGMA * scale,
                                     mode="constant") for plane in (valid & (snr >= 1), valid))
    return np.clip(source / np.maximum(total, 1e-9), 0, 1)


def crowding_bin(fraction):
    """Return the index into `CROWDING_BINS` of each crowding."""
    return np.digitize(fraction, CROWDING_BINS[:-1])
