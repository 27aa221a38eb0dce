"""Rescaling of WCS objects to finer pixels, with checks of the sky positions."""

import copy

import numpy as np
from astropy.wcs import WCS, DistortionLookupTable, Sip
from astropy.wcs.wcsapi import (
    BaseHighLevelWCS,
    BaseLowLevelWCS,
    HighLevelWCSMixin,
    SlicedLowLevelWCS,
)
from astropy.wcs.wcsapi.wrappers import BaseWCSWrapper

from lenssr._validation import check_positive_int

WCS_TOLERANCE = 1e-6  # input pixels by which a WCS operation may move the sky


def is_gwcs(wcs):
    """Return whether ``wcs`` is a `gwcs.wcs.WCS`, without importing gwcs."""
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
    """Return the ``pixel_shape``, or `None`."""
    # WCS(header, naxis=2) has three values if the header describes a cube.
    return wcs.pixel_shape and tuple(wcs.pixel_shape[: wcs.pixel_n_dim])


def _grid(low):
    """Return pixel coordinates ``(ndim, n)`` inside the image or near the reference pixel."""
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
    fractions = np.linspace(0.1, 0.9, 4)  # inside, to avoid rounding at the edge
    axes = [lo + (hi - lo) * fractions for lo, hi in ends]
    return np.array(np.meshgrid(*axes)).reshape(len(axes), -1)


def check_same_sky(old, new, scale, reason):
    """Raise unless two WCS agree on the sky to a millionth of a pixel."""
    pixels = _grid(old)
    moved = pixels.copy()
    moved[:2] = to_fine_pixel(pixels[:2], scale)

    def world(wcs, points):
        return np.array(wcs.pixel_to_world_values(*points), float).reshape(-1, points.shape[1])

    period = np.array([[360.0 if unit == "deg" else np.inf] for unit in old.world_axis_units])

    def separation(a, b):
        gap = np.abs(a - b)
        return np.minimum(gap, np.abs(gap - period))  # right ascension 0 equals 360

    with np.errstate(all="ignore"):
        old_position, new_position = world(old, pixels), world(new, moved)
        pixel = np.zeros_like(old_position)
        for axis in range(len(pixels)):
            neighbours = pixels.copy()
            neighbours[axis] += 1e-2
            pixel = np.fmax(pixel, separation(world(old, neighbours), old_position) * 1e2)
        limit = WCS_TOLERANCE * pixel + 32 * np.finfo(float).eps * np.abs(old_position)
        same = separation(old_position, new_position) <= limit
        same |= np.isnan(old_position) & np.isnan(new_position)
    if not same.all():
        raise ValueError(f"`wcs` {reason}: positions on the sky would move")


def _rescaled_shape(wcs, scale):
    """Return the ``pixel_shape`` in finer pixels."""
    shape = shape_of(wcs)
    return shape and tuple(n * scale if i < 2 else n for i, n in enumerate(shape))


def _rescaled_bounds(wcs, scale):
    """Return the ``pixel_bounds`` in finer pixels; entries may be `None`."""
    bounds = wcs.pixel_bounds
    return bounds and tuple(
        tuple(to_fine_pixel(b, scale) for b in pair) if i < 2 and pair is not None else pair
        for i, pair in enumerate(bounds)
    )


class RescaledWCS(BaseWCSWrapper, HighLevelWCSMixin):
    """
    WCS of an image with finer pixels, wrapped around any WCS.

    The wrapper has both interfaces of APE 14 (doi:10.5281/zenodo.1188875) and cannot be
    written to a file.
    """

    def __init__(self, wcs, scale):
        super().__init__(wcs)
        self._scale = check_positive_int("scale", scale)

    @property
    def scale(self):
        """Fine pixels per pixel of the wrapped WCS."""
        return self._scale

    @property
    def pixel_shape(self):
        return _rescaled_shape(self._wcs, self._scale)

    @property
    def pixel_bounds(self):
        return _rescaled_bounds(self._wcs, self._scale)

    def pixel_to_world_values(self, *pixel_arrays):
        x, y, *extra = (np.asanyarray(p) for p in pixel_arrays)
        x, y = ((p + 0.5) / self._scale - 0.5 for p in (x, y))
        return self._wcs.pixel_to_world_values(x, y, *extra)

    def world_to_pixel_values(self, *world_arrays):
        x, y, *extra = self._wcs.world_to_pixel_values(*world_arrays)
        return (to_fine_pixel(x, self._scale), to_fine_pixel(y, self._scale), *extra)


def rescale_wcs(wcs, scale):
    """
    Rescale a WCS to pixels ``scale`` times finer over the same footprint.

    With s for ``scale``: CRPIX' = (CRPIX - 0.5) s + 0.5; CD, or CDELT, or the columns
    of PC, divided by s; SIP (`2005ASPC..347..491S
    <https://ui.adsabs.harvard.edu/abs/2005ASPC..347..491S>`_) A'_pq = A_pq s^(1-p-q),
    likewise B, AP and BP; look-up tables (CPDIS, D2IM) have their grid moved like
    CRPIX, its step and the offsets they hold multiplied by s.
    """
    scale = check_positive_int("scale", scale)
    low = low_level(wcs)
    if low.pixel_n_dim < 2:
        raise ValueError(f"`wcs` must have two pixel axes or more, got {low.pixel_n_dim}")
    _check_plane(low)
    new = resample_wcs(low, scale)
    if new is None:
        return RescaledWCS(low, scale)
    check_same_sky(low, new, scale, "cannot be rescaled to finer pixels exactly")
    return new


def _check_plane(low):
    """Raise `ValueError` unless the celestial axes are the last two pixel axes."""
    sky = [str(kind).startswith("pos.") for kind in low.world_axis_physical_types]
    if low.pixel_n_dim > 2 and any(sky):
        along = np.asarray(low.axis_correlation_matrix)[sky].any(axis=0)
        if not along[:2].all():
            raise ValueError(
                "`wcs` must have its celestial axes along the last two axes of the array "
                "(pixel axes 0 and 1), got them along pixel axes "
                f"{', '.join(str(i) for i in np.flatnonzero(along))}"
            )


def resample_wcs(low, scale=1):
    """Return ``low`` as a plain FITS WCS or gWCS for finer pixels, None if neither fits."""
    base, start = _uncrop(low)
    if isinstance(base, WCS):
        return _resample_fits(base, low, scale, start)
    if is_gwcs(base):
        return _resample_gwcs(base, low, scale, start)
    return None


def _uncrop(low):
    """Return the WCS behind a crop, and the crop's first pixel (0-based)."""
    start = np.zeros(low.pixel_n_dim)
    if not isinstance(low, SlicedLowLevelWCS):
        return low, start
    # astropy exposes slices in private attributes only (checked with 7.0 and 8.0);
    # `check_same_sky` detects a change of their meaning.
    base, slices = low._wcs, low._slices_pixel
    kept = [int(i) for i in low._pixel_keep]
    start[:] = [slices[i].start or 0 for i in kept]
    if len(kept) == base.pixel_n_dim and low.world_n_dim == base.world_n_dim:
        return base, start
    if isinstance(base, WCS) and kept == list(low._world_keep):
        try:
            return base.sub([i + 1 for i in kept]), start
        except ValueError:  # coordinates of the plane depend on the removed axis
            pass
    return low, start


def _resample_fits(base, low, scale, start):
    """Move and rescale a FITS WCS: ``start`` first, then ``scale``."""
    new = base.deepcopy()
    prm = new.wcs
    prm.set()
    if scale != 1 or start.any():
        step = np.ones(base.naxis)
        step[:2] = scale

        def moved(pixel):  # FITS pixel coordinates of all axes, or of the first two
            n = len(pixel)
            return (np.asarray(pixel) - start[:n] - 0.5) * step[:n] + 0.5

        prm.crpix = moved(prm.crpix)
        _divide_matrix(prm, step)
        if new.sip is not None:
            sip = new.sip
            terms = (_scaled_sip(c, scale) for c in (sip.a, sip.b, sip.ap, sip.bp))
            new.sip = Sip(*terms, moved(sip.crpix))
        for name in ("cpdis1", "cpdis2", "det2im1", "det2im2"):
            table = getattr(new, name)
            if table is not None:
                # CRPIX of a look-up table counts its own pixels and stays.
                data = (np.asarray(table.data, float) * scale).astype(np.float32)
                cdelt = np.asarray(table.cdelt) * scale
                table = DistortionLookupTable(data, table.crpix, moved(table.crval), cdelt)
                setattr(new, name, table)
        prm.set()
    new.pixel_shape = _rescaled_shape(low, scale)
    new.pixel_bounds = _rescaled_bounds(low, scale)
    return new


def _divide_matrix(prm, step):
    """Divide the columns of the matrix from pixels to intermediate coordinates."""
    if prm.has_cd():
        prm.cd = prm.cd / step
        return
    pc = prm.get_pc()
    coupled = pc[:2, 2:].any() or pc[2:, :2].any()
    if coupled or not _is_linear(prm, pc):
        prm.pc = pc / step  # replaces CROTA
    else:
        prm.cdelt = prm.cdelt / step


def _is_linear(prm, pc):
    """Return whether PC and CDELT alone act between pixels and intermediate coordinates."""
    offsets = np.vstack([np.zeros(len(pc)), 300 * np.eye(len(pc)), -300 * np.eye(len(pc))])
    pixels = prm.crpix + offsets
    intermediate = prm.p2s(pixels, 1)["imgcrd"]
    matrix = prm.cdelt[:, None] * pc
    linear = (pixels - prm.crpix) @ matrix.T
    return np.allclose(intermediate, linear, rtol=0, atol=1e-12 * np.abs(matrix).max())


def _scaled_sip(coefficients, scale):
    """Return SIP coefficients ``(order + 1, order + 1)`` for finer pixels."""
    if coefficients is None:
        return None
    p, q = np.indices(coefficients.shape)
    return coefficients * float(scale) ** (1 - p - q)


def _resample_gwcs(base, low, scale, start):
    """Put the map from the new pixels to the old ones in front of a gWCS."""
    from astropy.modeling.bounding_box import CompoundBoundingBox
    from astropy.modeling.models import Identity, Scale, Shift

    if isinstance(base.bounding_box, CompoundBoundingBox):
        raise ValueError("`wcs` cannot be rescaled: it has a bounding box for each slit")
    new = copy.deepcopy(base)
    if scale != 1 or start.any():
        front = None
        for axis, first in enumerate(start):
            s = scale if axis < 2 else 1
            shift = 0.5 / s - 0.5 + first
            if base.forward_transform.uses_quantity:
                shift = shift * base.input_frame.unit[axis]
            model = Scale(1 / s) | Shift(shift) if s > 1 or first else Identity(1)
            front = model if front is None else front & model
        new.insert_transform(new.available_frames[0], front, after=True)
        if base.bounding_box is not None:
            new.bounding_box = _rescaled_bounds(low, scale)
    new.pixel_shape = _rescaled_shape(low, scale)
    return new
