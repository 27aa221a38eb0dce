"""How often the truth lies within the error bars."""

import numpy as np

__all__ = ["EXPECTED", "count_within", "shares"]

EXPECTED = (0.6827, 0.9545)
"""Shares of a normal distribution within one and two standard deviations."""

DRAWS = 200  # of the bootstrap


def count_within(difference, sigma):
    """How many differences are within one and within two standard deviations, and of how many."""
    off = np.abs(difference)
    return np.array([(off <= sigma).sum(), (off <= 2 * sigma).sum(), off.size])


def shares(counts, rng):
    """Shares of the counts of many images, and their errors."""
    counts = np.asarray(counts, dtype=float)
    counts = counts[counts[:, 2] > 0]
    if not len(counts):
        return np.full(2, np.nan), np.full(2, np.nan)
    found = counts[:, :2].sum(axis=0) / counts[:, 2].sum()
    if len(counts) < 2:
        return found, np.full(2, np.nan)
    drawn = counts[rng.integers(len(counts), size=(DRAWS, len(counts)))].sum(axis=1)
    return found, np.std(drawn[:, :2] / drawn[:, 2:], axis=0, ddof=1)
