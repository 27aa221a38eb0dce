"""How the noise of neighbouring pixels of real images hangs together."""

import numpy as np
from scipy import fft, ndimage

from lenssr.uncertainty._sky import find_sky

__all__ = ["autocovariance", "neighbour_correlation", "sky_correlation"]

LAGS = 4      # pixels beyond which resampling does not correlate the noise of two of them
SOURCE = 3.0  # standard deviations of the smoothed image above which there is a source
GROW = 6      # pixels around sources that are left out: their wings are no noise
BACKGROUND = 12.0  # pixels, sigma: what is smoother is no noise of the pixels
LEAST = 0.1   # share of the pixels that the sky must still have then
CLIP = 5.0    # standard deviations
PATCH = 2048  # side of the part of an image that is looked at
CHANCE = 4.0  # standard deviations of a correlation above which it is one


def autocovariance(values, use, lags):
    """Mean product of pixels by how far they are apart."""
    sides = [fft.next_fast_len(max(n, lags + 1) + lags, real=True) for n in values.shape]
    sums = []
    for image in (np.where(use, values, 0.0), use.astype(float)):
        power = np.abs(fft.rfft2(image, s=sides)) ** 2
        wrapped = np.roll(fft.irfft2(power, s=sides), (lags, lags), (0, 1))
        sums.append(wrapped[: 2 * lags + 1, : 2 * lags + 1])
    pairs = np.rint(sums[1])
    return sums[0] / np.maximum(pairs, 1), pairs


def sky_correlation(values, mask):
    """Correlation of the noise of an image, from its sky."""
    part = tuple(slice(max(0, (n - PATCH) // 2), (n + PATCH) // 2) for n in values.shape)
    values, mask = values[part], mask[part]
    usual, (noise, sky) = find_sky(values, mask)[0], find_sky(values, mask, SOURCE)
    found, excess = np.zeros((2 * LAGS + 1, 2 * LAGS + 1)), 1.0
    if noise > 0 and sky.any():
        far = ndimage.binary_erosion(sky, iterations=GROW, border_value=True)
        sky = far if far.mean() > LEAST else sky
        values = _flattened(values, sky)
        use = sky & (np.abs(values) < CLIP * noise)
        covariance, pairs = autocovariance(values, use, LAGS)
        covariance = _unflattened(covariance)
        if (variance := covariance[LAGS, LAGS]) > 0:
            excess = np.sqrt(variance) / (usual or noise)
            found = covariance / variance
            found[np.abs(found) * np.sqrt(pairs) < CHANCE] = 0.0
    found[LAGS, LAGS] = 1.0
    return found, float(excess)


def neighbour_correlation(values, mask):
    """Correlation of the noise of neighbouring pixels, mean over both axes; zero if unknown."""
    if min(values.shape) <= 2 * LAGS:
        return 0.0
    found = sky_correlation(values, mask)[0]
    return float(np.mean([found[LAGS, LAGS - 1], found[LAGS, LAGS + 1],
                          found[LAGS - 1, LAGS], found[LAGS + 1, LAGS]]))


def _flattened(values, sky):
    """The image minus its sky, smoothed."""
    values = values - np.median(values[sky])
    weight = ndimage.gaussian_filter(sky.astype(float), BACKGROUND)
    smooth = ndimage.gaussian_filter(np.where(sky, values, 0.0), BACKGROUND)
    return values - smooth / np.maximum(weight, 1e-3)


def _unflattened(covariance):
    """The autocovariance before noise and all was flattened."""
    y, x = np.mgrid[-LAGS: LAGS + 1, -LAGS: LAGS + 1]

    def gaussian(variance):
        return np.exp(-(x**2 + y**2) / (2 * variance)) / (2 * np.pi * variance)

    taken = 2 * gaussian(BACKGROUND**2) - gaussian(2 * BACKGROUND**2)
    return covariance + covariance.sum() / (1 - taken.sum()) * taken
