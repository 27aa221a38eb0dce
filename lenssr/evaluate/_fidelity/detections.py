"""Sources that an image without any seems to hold."""

import warnings

import numpy as np

__all__ = ["count_sources", "rate_limits"]


def count_sources(image, sigma, threshold=5.0):
    """Number of connected regions above a threshold, by photutils' segmentation."""
    from photutils.segmentation import detect_sources
    from photutils.utils.exceptions import NoDetectionsWarning

    level = np.broadcast_to(threshold * np.asarray(sigma, dtype=float), image.shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoDetectionsWarning)  # which is the good answer
        found = detect_sources(image, level, n_pixels=1)
    return 0 if found is None else found.n_labels


def rate_limits(count, pixels, per=1e6):
    """Rate of false sources and its upper limit."""
    from scipy.stats import chi2

    return per * count / pixels, per * chi2.ppf(0.95, 2 * (count + 1)) / 2 / pixels
