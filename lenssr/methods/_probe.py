"""Error of a restored image by carrying fresh noise through the method."""

from dataclasses import replace

import numpy as np
from scipy import ndimage

from lenssr._checks import positive_integer
from lenssr.image._correlation import autocovariance
from lenssr.image._lags import LAGS

__all__ = ["monte_carlo_error", "monte_carlo_std"]

EXCERPT = 256  # side in output pixels of the part of an image whose errors are correlated


def monte_carlo_error(restore_mean, image, n_probes=8, seed=0, *, mean=None, smooth=1.0):
    """
    Standard deviation that the noise of the data gives to a restored image, and correlation.

    Parameters
    ----------
    restore_mean, image, n_probes, seed, mean, smooth
        As `monte_carlo_std` takes them.

    Returns
    -------
    std : `~numpy.ndarray`
        As `monte_carlo_std` returns it.
    correlation : `~numpy.ndarray`
        Correlation of these errors by lag, shape ``(49, 49)``, one in the middle: the mean
        over the probes, and over the 256 pixels a side in the middle of the image.

    Raises
    ------
    ValueError
        If ``n_probes`` is not a positive integer.
    """
    probes = []

    def keep(difference):
        part = tuple(slice((n - min(n, EXCERPT)) // 2, (n + min(n, EXCERPT)) // 2)
                     for n in difference.shape)
        probes.append(difference[part].copy())
        return part

    std, part = _monte_carlo(restore_mean, image, n_probes, seed, mean, smooth, keep)
    unit = np.where(std[part] > 0, std[part], 1.0)
    found = sum(autocovariance(probe / unit, std[part] > 0, LAGS)[0] for probe in probes)
    middle = found[LAGS, LAGS]
    if not middle > 0:
        found[LAGS, LAGS] = middle = 1.0
    return std, found / middle


def monte_carlo_std(restore_mean, image, n_probes=8, seed=0, *, mean=None, smooth=1.0):
    r"""
    Standard deviation that the noise of the data gives to a restored image.

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
    return _monte_carlo(restore_mean, image, n_probes, seed, mean, smooth)[0]


def _monte_carlo(restore_mean, image, n_probes, seed, mean, smooth, keep=lambda difference: None):
    n_probes = positive_integer("n_probes", n_probes)
    rng = np.random.default_rng(seed)
    if mean is None:
        mean = restore_mean(image)
    variance = np.zeros(mean.shape)
    for _ in range(n_probes):
        noise = rng.standard_normal(image.shape) * image.sigma
        noise[image.mask] = 0
        noise += image.data
        # In place: at the scale of a survey's mosaic every further array counts.
        difference = restore_mean(replace(image, data=noise))
        difference -= mean
        kept = keep(difference)
        difference *= difference
        variance += difference
    variance /= n_probes
    if smooth:
        variance = ndimage.gaussian_filter(variance, smooth, mode="reflect")
    return np.sqrt(variance, out=variance), kept
