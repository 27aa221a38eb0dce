"""Signal to noise of the pixels of a result, by which its errors are judged."""

import numpy as np

__all__ = ["BINS", "local_snr", "snr_bin"]

#: Upper ends of the bins of the local signal to noise, by their names.
BINS = {"below 1": 1, "1-3": 3, "3-10": 10, "10-30": 30, "above 30": np.inf}


def local_snr(image, level, noise):
    """
    What a result itself shows: its height above the sky in units of the noise there.

    Parameters
    ----------
    image : `~numpy.ndarray`
        Restored image.
    level : float
        Level of its sky.
    noise : `~numpy.ndarray`
        Standard deviation of the input pixel in which each output pixel lies.
    """
    return np.abs(image - level) / noise


def snr_bin(snr):
    """Which of `BINS`, from 0, each signal to noise is in."""
    return np.digitize(snr, list(BINS.values())[:-1])
