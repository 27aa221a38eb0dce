"""A restored difference of two images against the true one."""

import numpy as np

__all__ = ["compare"]


def compare(difference, truth):
    """How much of a true difference is there, and how much of it is true."""
    product, power = (difference * truth).sum(), (truth**2).sum()
    if not power:
        return np.nan, np.nan
    size = np.sqrt(power * (difference**2).sum())
    return float(product / power), float(product / size) if size else 0.0
