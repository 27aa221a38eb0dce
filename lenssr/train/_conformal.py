"""Errors that were predicted, set against those that are: factors, coverage, correlation."""

import numpy as np

from lenssr.image import expand_mask
from lenssr.uncertainty import (
    CROWDING_BINS,
    MAX_LAG,
    SNR_BINS,
    autocovariance,
    conformal_factor,
    crowding,
    crowding_bin,
    snr_bin,
    to_quadrant,
)

__all__ = ["WITHIN", "calibrated", "conformal_factors", "coverage", "furthest", "nearest_cells",
           "rest_correlation"]

#: Shares of a normal distribution within one and two standard deviations.
WITHIN = np.array([0.682689, 0.954500])

ROUNDS = 12   # of finding the factors of all bins, which touch each other
LEAST = 1000  # pixels that tell the factor of a cell
TRIED = np.exp(np.linspace(-1.5, 1.5, 601))  # factors that are tried in one round
CLIP = 7.0    # standard deviations: what is further off is no matter of correlation
GROUPS = 10   # of images, whose scatter is the error of a correlation
CHANCE = 2.0  # standard errors below which a correlation is none


def conformal_factors(error, std, snr, crowd):
    r"""
    Factors by which predicted errors cover the true ones, by local signal to noise and crowding.

    One factor cannot bring both shares of a distribution that is not normal to theirs. So
    in each cell it is the one with the least :math:`\max_{k=1,2} |c_k - p_k|`, :math:`c_k` being
    the share of errors within :math:`k` predicted ones and :math:`p_k` that of a normal
    distribution.
    """
    shape = len(SNR_BINS), len(CROWDING_BINS)
    which = np.ravel_multi_index((snr_bin(snr), crowding_bin(crowd)), shape)
    order = np.argsort(which, kind="stable")
    error, std, snr, crowd = (np.asarray(values)[order] for values in (error, std, snr, crowd))
    error, sizes = np.abs(error), np.bincount(which, minlength=np.prod(shape))
    ends = np.cumsum(sizes)
    members = [slice(start, end) for start, end in zip(ends - sizes, ends)]
    known = np.flatnonzero(sizes >= LEAST) if sizes.max() >= LEAST else [int(sizes.argmax())]
    nearest = nearest_cells(shape, known)
    factors = np.ones(shape)
    for _ in range(ROUNDS):
        sigma = std * conformal_factor(snr, crowd, factors)
        step = {k: _best(error[members[k]] / sigma[members[k]]) for k in known}
        factors *= np.reshape([step[j] for j in nearest], shape)
    return [[float(f"{value:.4g}") for value in one] for one in factors]


def nearest_cells(shape, known):
    """For each cell of a table the nearest of the known ones, in its row if there is one."""
    row, column = np.indices(shape).reshape(2, -1)
    away = shape[1] * np.abs(row[:, None] - row[known]) + np.abs(column[:, None] - column[known])
    return np.asarray(known)[away.argmin(axis=1)]


def _best(off):
    """The factor for errors in units of the predicted ones."""
    off = np.sort(off)
    within = np.stack([np.searchsorted(off, k * TRIED, "right") for k in (1, 2)]) / len(off)
    return TRIED[np.argmin(furthest(within))]


def furthest(within):
    """How far shares within one and two standard deviations, the first axis, are from `WITHIN`."""
    return np.abs(np.moveaxis(within, 0, -1) - WITHIN).max(axis=-1)


def calibrated(error, std, snr, use, scale):
    """Factors from all images, and what they cover on images that told nothing of them."""
    crowd = np.stack([crowding(*one, scale) for one in zip(snr, use)])
    planes, sigma = (error, std, snr, crowd), np.empty_like(std)
    halves = [np.arange(len(std)) % 2 == k for k in range(2)]
    for one, other in (halves, halves[::-1]):
        factors = conformal_factors(*(plane[one][use[one]] for plane in planes))
        sigma[other] = std[other] * conformal_factor(snr[other], crowd[other], factors)
    shares = coverage(error[use], sigma[use], snr[use])
    factors = conformal_factors(*(plane[use] for plane in planes))
    return factors, std * conformal_factor(snr, crowd, factors), shares


def coverage(error, sigma, snr):
    """Shares of errors within one and two predicted ones."""
    off, which = np.abs(error) / sigma, snr_bin(snr)
    found = {}
    for name, where in (("all", slice(None)), *((n, which == k) for k, n in enumerate(SNR_BINS))):
        if off[where].size:
            found[name] = [round(float((off[where] <= k).mean()), 4) for k in (1, 2)]
    return found


def rest_correlation(arrays, whole, snr, scale):
    r"""
    Correlation by lag of the part of the errors that is not of the measurement.

    With :math:`u` the errors and :math:`v` draws of those of measurement, both in units of the
    whole predicted :math:`\sigma`, and :math:`b^2 = 1 - \sigma_m^2 / \sigma^2` the share of the
    rest, where there is a source

    .. math:: \rho(l) = \frac{\sum b_i b_{i+l} (u_i u_{i+l} - v_i v_{i+l})}
        {\sum b_i^2 b_{i+l}^2} ,

    the least squares of :math:`u_i u_j - v_i v_j = b_i b_j \rho(i - j)`. In the sky, where
    :math:`b` is next to nothing, it is that of the errors themselves, :math:`\sum u_i u_{i+l}`.
    """
    sums = np.zeros((GROUPS, 4, 2 * MAX_LAG + 1, 2 * MAX_LAG + 1))
    for k, sigma in enumerate(whole):
        measured = arrays["std"][k]
        share = np.sqrt(np.maximum(1 - (measured / sigma) ** 2, 0))
        error = np.clip((arrays["mean"][k] - arrays["truth"][k]) / sigma, -CLIP, CLIP)
        # Where probes say more than the whole error, they are taken to be as large.
        drawn = np.clip(arrays["probe"][k] / np.maximum(measured, sigma), -CLIP, CLIP)
        valid, source = expand_mask(arrays["weight"][k] > 0, scale), snr[k] >= 1
        sky, pairs = autocovariance(error, valid & ~source, MAX_LAG)
        with_error, with_drawn, both = (
            np.multiply(*autocovariance(values, valid & source, MAX_LAG))
            for values in (share * error, share * drawn, share**2))
        sums[k % GROUPS] += [sky * pairs, pairs, with_error - with_drawn, both]
    found = _correlations(sums.sum(axis=0))
    drawn = np.array([_correlations(sums.sum(axis=0) - one) for one in sums])
    spread = np.sqrt((GROUPS - 1) * drawn.var(axis=0))
    found[np.abs(found) < CHANCE * spread] = 0.0
    found = np.clip(found, -1, 1)
    found[:, MAX_LAG, MAX_LAG] = 1.0
    return {"faint": to_quadrant(found[0]), "bright": to_quadrant(found[1])}


def _correlations(sums):
    """Both correlations of products and their weights."""
    sums = np.array([np.mean([np.rot90(each, k) for each in (one, one.T) for k in range(4)], axis=0)
                     for one in sums])
    least = np.maximum(1e-9 * sums[1::2].max(axis=(1, 2), keepdims=True), 1e-30)
    found = sums[::2] / np.maximum(sums[1::2], least)
    variance = found[:, MAX_LAG, MAX_LAG]
    return found / np.where(variance > 0, variance, np.inf)[:, None, None]
