"""Correlations of errors by lag: of white noise through a kernel, of every n-th pixel, of sums."""

import numpy as np
from scipy import signal

MAX_LAG = 24  # output pixels beyond which errors are taken as independent


def kernel_correlation(kernel):
    """Correlation of white noise that went through a kernel."""
    correlation = signal.correlate(kernel, kernel, method="fft")
    return central_lags(correlation / correlation.max(), MAX_LAG)


def central_lags(array, lags):
    """The middle of an odd array, cut or filled up with zeros to ``2 lags + 1`` pixels a side."""
    for axis, n in enumerate(array.shape):
        cut = max(n // 2 - lags, 0)
        array = np.take(array, range(cut, n - cut), axis)
    return np.pad(array, [(lags - n // 2,) * 2 for n in array.shape])


def decimate(correlation, item, ndim):
    """Correlation of an image of which every so many pixels were taken."""
    items = item if isinstance(item, tuple) else (item,)
    k = next((k for k, index_item in enumerate(items) if index_item is Ellipsis), None)
    if k is not None:
        items = (*items[:k], *(slice(None),) * (ndim - len(items) + 1), *items[k + 1:])
    items = (*items, *(slice(None),) * (ndim - len(items)))
    for axis, index_item in ((-2, items[-2]), (-1, items[-1])):
        step = abs(index_item.step or 1) if isinstance(index_item, slice) else 1
        middle = correlation.shape[axis] // 2
        correlation = np.take(correlation, range(middle % step, 2 * middle + 1, step), axis)
    return correlation


def to_quadrant(correlation):
    """The quarter of a correlation that says all of one without direction, rounded, as lists."""
    eight = [np.rot90(quadrants, k) for quadrants in (correlation, correlation.T) for k in range(4)]
    middle = len(correlation) // 2
    return np.mean(eight, axis=0)[middle:, middle:].round(4).tolist()


def from_quadrant(quarter):
    """The correlation by lag of which `fold` gave a quarter."""
    quarter = np.asarray(quarter)
    right = np.concatenate([quarter[:0:-1], quarter])
    return np.concatenate([right[:, :0:-1], right], axis=1)


def sum_variance(weights, std, correlation):
    r"""
    Variance of a weighted sum of pixels.

    :math:`\sum_{ij} w_i \sigma_i\, \rho(i - j)\, w_j \sigma_j`.
    """
    amplitude = weights * std
    return max(float((amplitude * signal.fftconvolve(amplitude, correlation, "same")).sum()), 0.0)
