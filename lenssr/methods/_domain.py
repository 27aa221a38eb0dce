"""Whether an image is like those of the training, and how far it is from them if not."""

import warnings

import numpy as np
from scipy import stats

from lenssr.exceptions import LensSRWarning
from lenssr.image._correlation import neighbours_correlation
from lenssr.image._noise import find_sky, sky_level
from lenssr.image._psf import measure_fwhm

__all__ = ["describe_image", "guard", "widen"]

PATCH = 1024      # side of the part of an image whose sky is looked at
NEGATIVE = 4.0    # standard deviations below the sky
FLAT, BRIGHT = 0.01, 50.0  # of a peak that is flat; noises from which it is looked at
MARGIN = 0.1      # of its width by which the range that was seen is made wider

# What it is called, whether it is compared by its logarithm, and the least width of a range.
FEATURES = {
    "psf_fwhm": ("the FWHM of the PSF in pixels", True, 0.05),
    "psf_ellipticity": ("the ellipticity of the PSF", False, 0.05),
    "psf_concentration": ("the peak of the PSF times the area that it covers", True, 0.05),
    "peak_snr": ("the peak over the noise", True, 0.5),
    "noise_ratio": ("the scatter of the sky over the noise that was given", True, 0.1),
    "noise_correlation": ("the correlation of the noise of neighbouring pixels", False, 0.1),
    "sky_skewness": ("the skewness of the sky", False, 0.3),
    "negative_share": ("the share of pixels far below the sky", False, 0.01),
    "flat_peak": ("the number of pixels as bright as the brightest", False, 3.0),
}


def describe_image(image):
    """
    Features by which an image is compared with those of the training.

    Parameters
    ----------
    image : `~lenssr.image.LensImage`
        The image.

    Returns
    -------
    features : dict
        Numbers by the names of `FEATURES`; those of the PSF only where there is one.
    """
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
        found["noise_correlation"] = neighbours_correlation(data, mask)
    return {name: float(found[name]) for name in FEATURES if name in found}


def _of_psf(psf):
    square = psf**2
    y, x = (np.arange(n) - n // 2 for n in psf.shape)
    y, x = np.meshgrid(y, x, indexing="ij")
    xx, yy, xy = ((square * product).sum() for product in (x * x, y * y, x * y))
    return {"psf_fwhm": measure_fwhm(psf), "psf_concentration": psf.max() / square.sum(),
            "psf_ellipticity": np.hypot(xx - yy, 2 * xy) / max(xx + yy, 1e-12)}


def widen(several):
    """
    The domain of a calibration from the features of its images.

    Parameters
    ----------
    several : sequence of dict
        What `describe_image` gives, of each image.

    Returns
    -------
    domain : dict
        Lower and upper end by name: least and largest value, and a tenth of the range beyond.
    """
    domain = {}
    for name, (_, log, least) in FEATURES.items():
        values = np.array([each[name] for each in several if name in each])
        if not len(values):
            continue
        low, high = (_scale(edge, log) for edge in (values.min(), values.max()))
        more = MARGIN * max(high - low, least)
        domain[name] = [float(f"{_unscale(edge, log):.5g}") for edge in (low - more, high + more)]
    return domain


def guard(features, domain):
    """
    How much larger errors may be for an image that is unlike those of the training.

    Parameters
    ----------
    features : dict
        What `describe_image` gives.
    domain : dict
        What `widen` gives.

    Returns
    -------
    factor : float
        One plus the distance of each feature from its range, in widths of that range; one
        inside.

    Warns
    -----
    LensSRWarning
        For each feature that is outside.
    """
    factor, told = 1.0, []
    for name, value in features.items():
        if name not in domain:
            continue
        words, log, least = FEATURES[name]
        low, high = domain[name]
        a, b, v = (_scale(number, log) for number in (low, high, value))
        distance = max(a - v, v - b, 0.0) / max(b - a, least)
        if distance > 0:
            factor += distance
            told.append(f"{words} is {value:.3g}, outside the range of the training, "
                        f"{low:.3g} to {high:.3g}")
    for words in told:
        warnings.warn(f"{words}: the result is an extrapolation; errors are multiplied by "
                      f"{factor:.3g}", LensSRWarning, stacklevel=4)
    return factor


def _scale(value, log):
    return float(np.log(max(value, 1e-6))) if log else float(value)


def _unscale(value, log):
    return float(np.exp(value)) if log else value
