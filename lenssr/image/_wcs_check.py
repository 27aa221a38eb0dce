"""What every step with a WCS has to hold to: the sky stays where it is."""

import numpy as np
from astropy.wcs import WCS
from astropy.wcs.wcsapi import BaseHighLevelWCS, BaseLowLevelWCS

__all__ = ["check_same_sky", "to_fine_pixel", "is_gwcs", "low_level", "shape_of"]

TOLERANCE = 1e-6  # pixels of the input: what any step may move the sky at most


def is_gwcs(wcs):
    """Whether ``wcs`` is a `gwcs.wcs.WCS`, without importing the optional package."""
    names = [(cls.__module__.split(".")[0], cls.__name__) for cls in type(wcs).__mro__]
    return ("gwcs", "WCS") in names


def low_level(wcs):
    """Return the low-level (APE 14) side of ``wcs``; `TypeError` if it has none."""
    if isinstance(wcs, BaseLowLevelWCS):
        return wcs
    if isinstance(wcs, BaseHighLevelWCS):
        return wcs.low_level_wcs
    raise TypeError(
        f"`wcs` must follow the common WCS interface (APE 14), got {type(wcs).__name__}"
    )


def to_fine_pixel(pixel, scale):
    """Map 0-based pixel coordinates to pixels ``scale`` times finer."""
    return (pixel + 0.5) * scale - 0.5


def shape_of(wcs):
    """The ``pixel_shape``, None if unknown."""
    # WCS(header, naxis=2) has three numbers if the header is of a cube.
    return wcs.pixel_shape and tuple(wcs.pixel_shape[: wcs.pixel_n_dim])


def _grid(low):
    """Pixel coordinates ``(ndim, n)`` inside the image, or near what stands for it."""
    bounds = low.pixel_bounds or [None] * low.pixel_n_dim
    shape = shape_of(low) or [0] * low.pixel_n_dim
    ends = []
    for axis, (pair, size) in enumerate(zip(bounds, shape, strict=True)):
        if size:
            pair = (-0.5, size - 0.5)
        elif pair is None:
            centre = low.wcs.crpix[axis] - 1 if isinstance(low, WCS) else 50
            pair = (centre - 50, centre + 50)
        ends.append(pair)
    fractions = np.linspace(0.1, 0.9, 4)  # inside, or rounding decides what is outside
    axes = [lo + (hi - lo) * fractions for lo, hi in ends]
    return np.array(np.meshgrid(*axes)).reshape(len(axes), -1)


def check_same_sky(old, new, scale, reason):
    """Raise unless two WCS agree on the sky to a millionth of a pixel."""
    pixels = _grid(old)
    moved = pixels.copy()
    moved[:2] = to_fine_pixel(pixels[:2], scale)

    def world(wcs, points):
        return np.array(wcs.pixel_to_world_values(*points), float).reshape(-1, points.shape[1])

    turn = np.array([[360.0 if unit == "deg" else np.inf] for unit in old.world_axis_units])

    def apart(a, b):
        gap = np.abs(a - b)
        return np.minimum(gap, np.abs(gap - turn))  # right ascension 0 is 360

    with np.errstate(all="ignore"):
        here, there = world(old, pixels), world(new, moved)
        pixel = np.zeros_like(here)
        for axis in range(len(pixels)):
            beside = pixels.copy()
            beside[axis] += 1e-2
            pixel = np.fmax(pixel, apart(world(old, beside), here) * 1e2)
        limit = TOLERANCE * pixel + 32 * np.finfo(float).eps * np.abs(here)
        same = (apart(here, there) <= limit) | (np.isnan(here) & np.isnan(there))
    if not same.all():
        raise ValueError(f"`wcs` {reason}: positions on the sky would move")
