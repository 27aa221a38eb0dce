"""Error of a restored image by carrying fresh noise through the method."""

from dataclasses import replace

import numpy as np
from scipy import ndimage

from lenssr._validation import check_positive_int
from lenssr.uncertainty._error_correlation import measure_error_correlation

__all__ = ["monte_carlo_error"]

EXCERPT = 256  # side in output pixels of the part of an image whose errors are correlated


def monte_carlo_error(restore_mean, image, n_probes=8, seed=0, *, mean=None, smooth=1.0):
    r"""
    Standard deviation that the noise of the data gives to a restored image, and correlation.

    For an estimator :math:`f` that is smooth over the range of the noise, and
    probes :math:`e_k` drawn from the noise of the data,

    .. math::
        \mathrm{var}[f] \simeq \frac{1}{K} \sum_k \left( f(y + e_k) - f(y) \right)^2,
    """
    n_probes = check_positive_int("n_probes", n_probes)
    rng = np.random.default_rng(seed)
    if mean is None:
        mean = restore_mean(image)
    variance, probes = np.zeros(mean.shape), []
    part = tuple(slice((n - min(n, EXCERPT)) // 2, (n + min(n, EXCERPT)) // 2)
                 for n in mean.shape)
    for _ in range(n_probes):
        noise = rng.standard_normal(image.shape) * image.sigma
        noise[image.mask] = 0
        noise += image.data
        # In place: at the scale of a survey's mosaic every further array counts.
        difference = restore_mean(replace(image, data=noise))
        difference -= mean
        probes.append(difference[part].copy())
        difference *= difference
        variance += difference
    variance /= n_probes
    if smooth:
        variance = ndimage.gaussian_filter(variance, smooth, mode="reflect")
    std = np.sqrt(variance, out=variance)
    return std, measure_error_correlation(probes, std[part])
