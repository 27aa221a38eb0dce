"""Missing pixels: filled from their neighbours on the way in, told on the way out."""

import numpy as np
from scipy import ndimage

__all__ = ["combine_masks", "expand_mask", "fill_masked"]

FILL_WIDTHS = (1.0, 4.0)  # pixels; what lies further off than 4 of the last takes the median
ENOUGH = 1e-3             # weight of valid pixels below which the next width is tried


def combine_masks(mask, values, bits=None):
    """
    The pixels that are missing.

    Parameters
    ----------
    mask : array-like, bool or None
        Boolean mask, or an integer one with flags.
    values : `~numpy.ndarray`
        Pixel values: NaN and infinity are missing.
    bits : int, optional
        The flags of an integer mask that mean "missing"; by default each does.

    Returns
    -------
    mask : `~numpy.ndarray`
        Boolean, of the shape of ``values``.

    Raises
    ------
    ValueError
        If the shape does not match.
    TypeError
        If the mask is neither boolean nor integer.
    """
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
    """
    Values with masked pixels replaced by a mean of valid ones nearby.

    Gaussian weights of width 1 pixel, then 4, then the median of all valid pixels:
    what was in a masked pixel never enters.

    Parameters
    ----------
    values, mask : `~numpy.ndarray`
        Shape ``(ny, nx)``; at least one pixel must be valid.

    Returns
    -------
    filled : `~numpy.ndarray`
        Float64, finite.
    """
    filled = np.where(mask, 0.0, values).astype(float)
    if not mask.any():
        return filled
    valid, todo, known = (~mask).astype(float), mask.copy(), filled.copy()
    for width in FILL_WIDTHS:
        weight = ndimage.gaussian_filter(valid, width, mode="constant")
        total = ndimage.gaussian_filter(known, width, mode="constant")
        use = todo & (weight > ENOUGH)
        filled[use] = total[use] / weight[use]
        todo &= ~use
    filled[todo] = np.median(values[~mask])
    return filled


def expand_mask(mask, scale):
    """Mask, or any map of the input, on the output: each pixel as that in which it lies."""
    return np.repeat(np.repeat(mask, scale, axis=-2), scale, axis=-1)
