"""Factors that a calibration found for what is measured of an image, between which they change."""

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

# Variance fractions of the prior error of the sky, knots of the factors.
APERTURE_FRACTIONS = (0.001, 0.01, 0.05, 0.15, 0.4, 0.8)

# Effective aperture areas in pixels, knots of the factors.
APERTURE_AREAS = (1.0, 12.0, 60.0, 300.0)


def interpolate_factors(values, knots, factors):
    """Factors at places between those that they are known at."""
    indices = np.stack(np.broadcast_arrays(*(
        np.interp(np.log(np.maximum(value, at[0])), np.log(at), np.arange(len(at)))
        for value, at in zip(values, knots))))
    log_factor = map_coordinates(np.log(np.asarray(factors, float)), indices.reshape(len(indices), -1),
                            order=1, mode="nearest")
    return np.exp(log_factor).reshape(indices.shape[1:])


def aperture_sum_factor(fraction, size, factors):
    """What errors of sums over several pixels are multiplied by."""
    factors = np.pad(np.asarray(factors, float), ((0, 0), (1, 0)), constant_values=1.0)
    return interpolate_factors((fraction, size), (APERTURE_FRACTIONS, APERTURE_AREAS), factors)


# Upper edges of the bins of local signal-to-noise ratio.
SNR_BINS = {"below 1": 1, "1-3": 3, "3-10": 10, "10-30": 30, "above 30": np.inf}

CROWDING_BINS = (0.003, 0.02, 0.1, 0.4, 1.0)  # upper edges of the bins of crowding

CROWDING_SIGMA = 8.0  # input pixels of the Gaussian window of the crowding


def local_snr(image, level, noise):
    """What a result itself shows: its height above the sky in units of the noise there."""
    return np.abs(image - level) / noise


def snr_bin(snr):
    """Which of `BINS`, from 0, each signal to noise is in."""
    return np.digitize(snr, list(SNR_BINS.values())[:-1])


def crowding(snr, valid, scale):
    """Share of the pixels around each that show a source, a signal to noise of one or more."""
    source, known = (gaussian_filter(np.asarray(plane, float), CROWDING_SIGMA * scale, mode="constant")
                     for plane in (valid & (snr >= 1), valid))
    return np.clip(source / np.maximum(known, 1e-9), 0, 1)


def crowding_bin(fraction):
    """Which of `CROWDS`, from 0, each crowding is in."""
    return np.digitize(fraction, CROWDING_BINS[:-1])
