"""A restored difference of two images against the true one."""

import numpy as np

__all__ = ["compare"]


def compare(difference, truth):
    """
    How much of a true difference is there, and how much of it is true.

    Parameters
    ----------
    difference, truth : `~numpy.ndarray`
        Differences of two images, of one shape.

    Returns
    -------
    amplitude : float
        Coefficient of the truth in the difference, by least squares: one where it is all
        there, and of mean zero for noise.
    correlation : float
        Cosine between the two: one where they are the same but for a factor; zero for a
        difference of nothing. Both are NaN where the truth is nothing.
    """
    product, power = (difference * truth).sum(), (truth**2).sum()
    if not power:
        return np.nan, np.nan
    size = np.sqrt(power * (difference**2).sum())
    return float(product / power), float(product / size) if size else 0.0
