"""Masks: bad pixels, their filling, and masks on the output grid."""

import numpy as np
from scipy import ndimage

FILL_WIDTHS = (1.0, 4.0)  # pixels; bad pixels without valid neighbours get the median
MIN_FILL_WEIGHT = 1e-3  # weight of valid pixels below which the next width is used


def combine_masks(mask, values, bits=None):
    """Combine a mask with flag bits and non-finite values."""
    missing = ~np.isfinite(values)
    if mask is None:
        return missing
    try:
        mask = np.asarray(mask)
    except ValueError as err:
        raise ValueError(f"`mask` must be a regular array: {err}") from err
    if mask.dtype.kind not in "biu":
        if mask.dtype.kind != "f" or not np.isin(mask, (0, 1)).all():
            raise TypeError(f"`mask` must be boolean or integer, got dtype {mask.dtype}")
    # numpy's `nomask` is a single False
    if mask.shape not in (values.shape, values.shape[-2:]) and (mask.shape or mask):
        raise ValueError(f"`mask` must have the shape of the data {values.shape}, "
                         f"got {mask.shape}")
    flagged = mask
    if bits is not None and mask.dtype.kind in "iu":
        flagged = mask.astype(np.int64) & bits
    return missing | (flagged != 0)


def fill_masked(values, mask):
    """Replace masked pixels by a weighted mean of valid neighbours."""
    filled = np.where(mask, 0.0, values).astype(float)
    if not mask.any():
        return filled
    valid, todo, known = (~mask).astype(float), mask.copy(), filled.copy()
    for width in FILL_WIDTHS:
        weight = ndimage.gaussian_filter(valid, width, mode="constant")
        total = ndimage.gaussian_filter(known, width, mode="constant")
        use = todo & (weight > MIN_FILL_WEIGHT)
        filled[use] = total[use] / weight[use]
        todo &= ~use
    filled[todo] = np.median(values[~mask])
    return filled


def expand_mask(mask, scale):
    """Replicate a mask, or any map of the input, on the output grid."""
    return np.repeat(np.repeat(mask, scale, axis=-2), scale, axis=-1)
