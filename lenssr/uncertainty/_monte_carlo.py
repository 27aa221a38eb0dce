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

    which is unbiased to first order in the noise: no mean is fitted, so none
    of the ``n_probes`` degrees of freedom is lost.

    Parameters
    ----------
    restore_mean : callable
        Maps a `~lenssr.image.LensImage` of the shape of ``image`` to the
        estimate, a new array; the same map for every probe (a number of
        iterations, for instance, is fixed beforehand).
    image : `~lenssr.image.LensImage`
        The data. Their ``sigma`` is the noise that is drawn; masked pixels,
        which hold no datum, get none.
    n_probes : int
        Number of probes ``K``, each one run of ``restore_mean``.
    seed : int
        Seed of the probes. They are drawn for the whole image, so that the
        result depends on no tile.
    mean : `~numpy.ndarray`, optional
        ``restore_mean(image)``, where it is known already.
    smooth : float
        Standard deviation in output pixels of the Gaussian by which the
        variance (not the estimate) is smoothed; 0 for none. At the declared
        resolution errors vary on scales longer than that.

    Returns
    -------
    std : `~numpy.ndarray`
        Shape and unit of the estimate.
    correlation : `~lenssr.image.ErrorCorrelation`
        Of these errors, measured on the 256 pixels a side in the middle of the image.

    Raises
    ------
    ValueError
        If ``n_probes`` is not a positive integer.

    Notes
    -----
    Without smoothing the relative standard error is ``1 / sqrt(2 K)``, 25 % for
    eight probes; smoothing with the default lowers it where neighbouring errors
    are independent. What the data do not determine is no part of this error.
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
