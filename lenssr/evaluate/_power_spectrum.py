"""Power of images by spatial frequency, and what of it is in phase with the truth."""

import numpy as np
from scipy import fft
from scipy.signal.windows import hann

__all__ = ["FREQUENCIES", "radial_power", "transfer_function"]

EDGES = np.linspace(0.0, 0.5, 17)
FREQUENCIES = (EDGES[1:] + EDGES[:-1]) / 2
"""Middles of the rings in which power is summed, cycles per pixel."""


def radial_power(image, truth):
    """Power of two images and of what they share, in rings of spatial frequency."""
    window = np.outer(*(hann(n, sym=False) for n in truth.shape))
    one, two = (fft.rfft2(window * each) for each in (image, truth))
    fy, fx = fft.fftfreq(truth.shape[0])[:, None], fft.rfftfreq(truth.shape[1])[None, :]
    # Each mode of the half plane stands for two, but for those on its rims.
    weight = np.where((fx == 0) | (fx == 0.5), 1.0, 2.0) * np.ones_like(fy)
    ring = np.digitize(np.hypot(fx, fy), EDGES) - 1
    ring[0, 0] = len(FREQUENCIES)  # the mean, which is no structure
    power = np.abs(one) ** 2, np.abs(two) ** 2, (one * two.conj()).real
    return np.stack([np.bincount(ring.ravel(), (weight * p).ravel(), len(FREQUENCIES) + 1)[
        :len(FREQUENCIES)] for p in power])


def transfer_function(power):
    r"""Transfer function and correlation of the sums of `ring_power`."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sqrt(power[0] / power[1]), power[2] / np.sqrt(power[0] * power[1])
