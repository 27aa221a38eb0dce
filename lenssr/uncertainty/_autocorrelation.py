"""Autocorrelation of pixel errors as a function of pixel lag."""

import numpy as np
from scipy import signal

MAX_LAG = 24  # output pixels; errors at larger lags are independent


def kernel_correlation(kernel):
    """
    Return the correlation by lag of white noise convolved with a kernel, peak one.

    The kernel gives the response of the output pixels to one input pixel. The correlation is the
    mean over the positions of an output pixel within an input pixel.
    """
    correlation = signal.correlate(kernel, kernel, method="fft")
    return central_lags(correlation / correlation.max(), MAX_LAG)


def central_lags(array, lags):
    """Crop or zero-pad an odd array to ``2 lags + 1`` pixels along each axis."""
    for axis, n in enumerate(array.shape):
        cut = max(n // 2 - lags, 0)
        array = np.take(array, range(cut, n - cut), axis)
    return np.pad(array, [(lags - n // 2,) * 2 for n in array.shape])


def decimate(correlation, item, ndim):
    """Return the correlation by lag of an image of ``ndim`` axes after slicing by ``item``."""
    items = item if isinstance(item, tuple) else (item,)
    k = next((k for k, index_item in enumerate(items) if index_item is Ellipsis), None)
    if k is not None:
        items = (*items[:k], *(slice(None),) * (ndim - len(items) + 1), *items[k + 1:])
    items = (*items, *(slice(None),) * (ndim - len(items)))
    for axis, index_item in ((-2, items[-2]), (-1, items[-1])):
        step = abs(index_item.step or 1) if isinstance(index_item, slice) else 1
        centre = correlation.shape[axis] // 2
        correlation = np.take(correlation, range(centre % step, 2 * centre + 1, step), axis)
    return correlation


def to_quadrant(correlation):
    """Average a correlation over the eight symmetries of the square; return a quadrant."""
    symmetric = np.mean([np.rot90(array, k) for array in (correlation, correlation.T)
                         for k in range(4)], axis=0)
    centre = len(correlation) // 2
    return symmetric[centre:, centre:].round(4).tolist()


def from_quadrant(quarter):
    """Return the correlation by lag whose quadrant `to_quadrant` returned."""
    quarter = np.asarray(quarter)
    right = np.concatenate([quarter[:0:-1], quarter])
    return np.concatenate([right[:, :0:-1], right], axis=1)


def sum_variance(weights, std, correlation):
    r"""
    Return the variance of a weighted sum of pixels.

    :math:`\sum_{ij} w_i \sigma_i\, \rho(i - j)\, w_j \sigma_j` for weights and standard deviations
    of shape ``(ny, nx)`` and an odd correlation by lag.
    """
    amplitude = weights * std
    return max(float((amplitude * signal.fftconvolve(amplitude, correlation, "same")).sum()), 0.0)
