"""Errors that were predicted, set against those that are: factors, coverage, correlation."""

import numpy as np

from lenssr.image._correlation import autocovariance
from lenssr.image._lags import LAGS, fold
from lenssr.image._mask import expand_mask
from lenssr.image._snr import BINS, snr_bin
from lenssr.methods._calibrated import conformal_factor, rest_level

__all__ = ["WITHIN", "conformal_factors", "coverage", "rest_correlation"]

#: Shares of a normal distribution within one and two standard deviations.
WITHIN = np.array([0.682689, 0.954500])

ROUNDS = 12   # of finding the factors of all bins, which touch each other
LEAST = 1000  # pixels that tell the factor of a bin
TRIED = np.exp(np.linspace(-1.5, 1.5, 601))  # factors that are tried in one round
CLIP = 5.0    # standard deviations: what is further off is no matter of correlation
GROUPS = 10   # of images, whose scatter is the error of a correlation
CHANCE = 2.0  # standard errors below which a correlation is none


def conformal_factors(error, std, snr):
    r"""
    Factors by which predicted errors cover the true ones, by local signal to noise.

    One factor cannot bring both shares of a distribution that is not normal to theirs. So
    in each bin it is the one with the least

    .. math:: \sum_{k=1,2} \frac{(c_k - p_k)^2}{p_k (1 - p_k)} ,

    :math:`c_k` being the share of errors within :math:`k` predicted ones and :math:`p_k`
    that of a normal distribution: deviations count in units of the scatter of a share.

    Parameters
    ----------
    error, std, snr : `~numpy.ndarray`
        Errors, what is predicted of them, and local signal to noise, shape ``(n,)``.

    Returns
    -------
    factors : list of float
        As `~lenssr.methods._calibrated.conformal_factor` takes them. A bin with less than
        1000 pixels has that of the nearest one with more.

    Notes
    -----
    Between the bins factors are interpolated, so that those of neighbours count in a bin.
    They are found by turns until all bins are as they are to be.
    """
    error, which = np.abs(error), snr_bin(snr)
    members = [np.flatnonzero(which == k) for k in range(len(BINS))]
    known = [k for k, where in enumerate(members) if len(where) >= LEAST] or [
        int(np.argmax([len(where) for where in members]))]
    nearest = [min(known, key=lambda j: abs(j - k)) for k in range(len(BINS))]
    factors = np.ones(len(BINS))
    for _ in range(ROUNDS):
        sigma = std * conformal_factor(snr, factors)
        step = {k: _best(error[members[k]] / sigma[members[k]]) for k in known}
        factors *= [step[j] for j in nearest]
    return [float(f"{value:.4g}") for value in factors]


def _best(off):
    """The factor for errors in units of the predicted ones."""
    off = np.sort(off)
    within = np.stack([np.searchsorted(off, k * TRIED, "right") for k in (1, 2)]) / len(off)
    variance = WITHIN * (1 - WITHIN)
    return TRIED[np.argmin((((within.T - WITHIN) ** 2) / variance).sum(axis=1))]


def coverage(error, sigma, snr):
    """
    Shares of errors within one and two predicted ones.

    Returns
    -------
    shares : dict
        By ``"all"`` and the names of the bins, those that have pixels.
    """
    off, which = np.abs(error) / sigma, snr_bin(snr)
    found = {}
    for name, where in (("all", slice(None)), *((n, which == k) for k, n in enumerate(BINS))):
        if off[where].size:
            found[name] = [round(float((off[where] <= k).mean()), 4) for k in (1, 2)]
    return found


def rest_correlation(arrays, whole, snr, scale):
    r"""
    Correlation by lag of the part of the errors that is not of the measurement.

    With :math:`u` the errors and :math:`v` draws of those of measurement, both in units of the
    whole predicted :math:`\sigma`, and :math:`a = \min(\sigma_r, \ell) / \sigma`, :math:`b =
    \sqrt{\max(\sigma_r^2 - \ell^2, 0)} / \sigma` the shares of the rest :math:`\sigma_r^2 =
    \sigma^2 - \sigma_m^2` that are faint and bright, least squares of

    .. math:: u_i u_j - v_i v_j = a_i a_j \rho_a(i - j) + b_i b_j \rho_b(i - j)

    over all pairs of pixels a lag apart give both correlations. The level :math:`\ell` of each
    image is its `~lenssr.methods._calibrated.rest_level`. Where the probes say more than the
    whole error, their draws are made smaller to be as large.

    Parameters
    ----------
    arrays : dict
        What `~lenssr.train._restored.restored_images` gives.
    whole, snr : `~numpy.ndarray`
        Predicted errors, and local signal to noise.
    scale : int
        Output pixels per input pixel.

    Returns
    -------
    correlation : dict
        ``faint`` and ``bright``, quarters as `~lenssr.image._lags.fold` gives them, zero where
        they are not known from chance; and their ``variance`` at no lag before it was made
        one: what the squares of the errors are on average in units of the predicted ones.
    """
    sums = np.zeros((GROUPS, 5, 2 * LAGS + 1, 2 * LAGS + 1))
    for k, sigma in enumerate(whole):
        measured = arrays["std"][k]
        rest = np.sqrt(np.maximum(sigma**2 - measured**2, 0))
        use = expand_mask(arrays["weight"][k] > 0, scale)
        level = rest_level(rest[use], snr[k][use])
        faint = np.minimum(rest, level) / sigma
        bright = np.sqrt(np.maximum(rest**2 - level**2, 0)) / sigma
        error = np.clip((arrays["mean"][k] - arrays["truth"][k]) / sigma, -CLIP, CLIP)
        drawn = np.clip(arrays["probe"][k] / np.maximum(measured, sigma), -CLIP, CLIP)

        faint_error, bright_error, faint_drawn, bright_drawn, ff, fb, bb = (
            np.multiply(*autocovariance(values, use, LAGS)) for values in (
                faint * error, bright * error, faint * drawn, bright * drawn,
                faint**2, faint * bright, bright**2))
        sums[k % GROUPS] += [faint_error - faint_drawn, bright_error - bright_drawn, ff, fb, bb]
    found, variance = _solve(sums.sum(axis=0))
    drawn = np.array([_solve(sums.sum(axis=0) - one)[0] for one in sums])
    spread = np.sqrt((GROUPS - 1) * drawn.var(axis=0))
    found[np.abs(found) < CHANCE * spread] = 0.0
    found = np.clip(found, -1, 1)
    found[:, LAGS, LAGS] = 1.0
    return {"faint": fold(found[0]), "bright": fold(found[1]),
            "variance": [round(float(value), 3) for value in variance]}


def _solve(sums):
    """Both correlations of the sums of the normal equations, and what they were at no lag."""
    sums = [np.mean([np.rot90(each, k) for each in (one, one.T) for k in range(4)], axis=0)
            for one in sums]
    with_faint, with_bright, ff, fb, bb = sums
    least = 1e-9 * max(ff.max(), bb.max(), 1e-30)
    determinant = (ff + least) * (bb + least) - fb**2
    found = np.stack([(bb + least) * with_faint - fb * with_bright,
                      (ff + least) * with_bright - fb * with_faint]) / determinant
    variance = found[:, LAGS, LAGS].copy()
    return found / np.where(variance > 0, variance, np.inf)[:, None, None], variance
