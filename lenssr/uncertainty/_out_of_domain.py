"""Comparison of the features of an image with the range of the training images."""

import warnings

import numpy as np

from lenssr.exceptions import LensSRWarning

__all__ = ["DOMAIN_FEATURES", "domain_inflation", "feature_envelope"]

MARGIN = 0.1      # of its width by which the range that was seen is made wider
# What it is called, whether it is compared by its logarithm, and the least width of a range.
DOMAIN_FEATURES = {
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


def feature_envelope(several):
    """The domain of a calibration from the features of its images."""
    domain = {}
    for name, (_, log, least) in DOMAIN_FEATURES.items():
        values = np.array([each[name] for each in several if name in each])
        if not len(values):
            continue
        low, high = (_scale(edge, log) for edge in (values.min(), values.max()))
        more = MARGIN * max(high - low, least)
        domain[name] = [float(f"{_unscale(edge, log):.5g}") for edge in (low - more, high + more)]
    return domain


def domain_inflation(features, domain):
    """How much larger errors may be for an image that is unlike those of the training."""
    factor, told = 1.0, []
    for name, value in features.items():
        if name not in domain:
            continue
        words, log, least = DOMAIN_FEATURES[name]
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
