"""Whether an image is like those of the training, and how far it is from them if not."""


import numpy as np
from scipy import stats

from lenssr.image import psf_fwhm
from lenssr.uncertainty import DOMAIN_FEATURES, find_sky, neighbour_correlation, sky_level

__all__ = ["image_features"]

PATCH = 1024      # side of the part of an image whose sky is looked at
NEGATIVE = 4.0    # standard deviations below the sky
FLAT, BRIGHT = 0.01, 50.0  # of a peak that is flat; noises from which it is looked at


def image_features(image):
    """Features by which an image is compared with those of the training."""
    level = sky_level(image.data, image.mask, image.noise)
    snr = np.where(image.mask, 0.0, (image.data - level) / image.sigma)
    found = {} if image.psf is None else _of_psf(image.psf)
    peak = snr.max()
    found["peak_snr"] = max(peak, 1.0)
    found["negative_share"] = (snr < -NEGATIVE).mean()
    # A saturated source is flat on top; the PSFs that are known have one or two such pixels.
    top = image.data - level
    top = np.where(image.mask, -np.inf, top)
    found["flat_peak"] = (top > (1 - FLAT) * top.max()).sum() if peak > BRIGHT else 1
    middle = tuple(slice(max(0, (n - PATCH) // 2), (n + PATCH) // 2) for n in image.shape)
    data, mask, sigma = image.data[middle], image.mask[middle], image.sigma[middle]
    noise, sky = find_sky(data, mask)
    if noise > 0 and sky.any():
        found["noise_ratio"] = noise / np.median(sigma[sky])
        values = (data[sky] - np.median(data[sky])) / noise
        found["sky_skewness"] = stats.skew(np.clip(values, -10, 10))
        found["noise_correlation"] = neighbour_correlation(data, mask)
    return {name: float(found[name]) for name in DOMAIN_FEATURES if name in found}


def _of_psf(psf):
    square = psf**2
    y, x = (np.arange(n) - n // 2 for n in psf.shape)
    y, x = np.meshgrid(y, x, indexing="ij")
    xx, yy, xy = ((square * product).sum() for product in (x * x, y * y, x * y))
    return {"psf_fwhm": psf_fwhm(psf), "psf_concentration": psf.max() / square.sum(),
            "psf_ellipticity": np.hypot(xx - yy, 2 * xy) / max(xx + yy, 1e-12)}


