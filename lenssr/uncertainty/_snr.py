"""What the pixels of a result show, themselves and around them: their errors are judged by it."""

import numpy as np
from scipy.ndimage import gaussian_filter

__all__ = ["SNR_BINS", "CROWDING_BINS", "crowding_bin", "crowding", "local_snr", "snr_bin"]

#: Upper ends of the bins of the local signal to noise, by their names.
SNR_BINS = {"below 1": 1, "1-3": 3, "3-10": 10, "10-30": 30, "above 30": np.inf}

#: Upper ends of the bins of the crowding: what lies around pixels, from nothing to sources alone.
CROWDING_BINS = (0.003, 0.02, 0.1, 0.4, 1.0)

AROUND = 8.0  # input pixels, standard deviation of the Gaussian in which pixels are counted


def local_snr(image, level, noise):
    """What a result itself shows: its height above the sky in units of the noise there."""
    return np.abs(image - level) / noise


def snr_bin(snr):
    """Which of `BINS`, from 0, each signal to noise is in."""
    return np.digitize(snr, list(SNR_BINS.values())[:-1])


def crowding(snr, valid, scale):
    """Share of the pixels around each that show a source, a signal to noise of one or more."""
    source, known = (gaussian_filter(np.asarray(plane, float), AROUND * scale, mode="constant")
                     for plane in (valid & (snr >= 1), valid))
    return np.clip(source / np.maximum(known, 1e-9), 0, 1)


def crowding_bin(share):
    """Which of `CROWDS`, from 0, each crowding is in."""
    return np.digitize(share, CROWDING_BINS[:-1])
