"""Anything an astronomer has, as checked planes and what they carry."""

import warnings
from dataclasses import dataclass, field, replace

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import StdDevUncertainty
from astropy.wcs.utils import proj_plane_pixel_scales
from astropy.wcs.wcsapi import BaseHighLevelWCS, BaseLowLevelWCS, HighLevelWCSWrapper

from lenssr.exceptions import LensSRWarning
from lenssr.image._accept import parse_input
from lenssr.image._fits import without_layout
from lenssr.image._lensimage import LensImage
from lenssr.image._mask import combine_masks, fill_masked
from lenssr.image._metadata import read_metadata
from lenssr.image._noise import POWERS, base_class, sigma_from
from lenssr.image._psf import parse_psfs
from lenssr.image._units import parse_unit
from lenssr.uncertainty import estimate_sky, sky_noise

__all__ = ["Parsed", "get_skycoord", "parse_image", "pixel_scale"]


@dataclass
class Parsed:
    """
    An input, parsed.

    Attributes
    ----------
    planes : list of `LensImage`
        One, or one for each band of a cube.
    shape : tuple of int
        Shape of the data: ``(ny, nx)`` or ``(bands, ny, nx)``.
    dtype : `~numpy.dtype`
        Floating type of the result.
    wcs, unit : object or None
        As the input carried them or the user gave them.
    header : `~astropy.io.fits.Header`
        Cards of the input, without those that describe its layout.
    kind : type
        Class of the uncertainty, `StdDevUncertainty` if there was none.
    noise_given : bool
        Whether the noise was given rather than estimated.
    """

    planes: list
    shape: tuple
    dtype: np.dtype
    wcs: object
    unit: object
    header: fits.Header = field(default_factory=fits.Header)
    kind: type = StdDevUncertainty
    noise_given: bool = False


def parse_image(data, *, hdu=None, psf=None, uncertainty=None, mask=None, wcs=None, unit=None):
    """
    Parse whatever holds an image; explicit keywords win over what it carries.

    Parameters
    ----------
    data : path, file, HDUList, HDU, NDData, Cutout2D, Quantity or array-like
        A 2-D image, or a 3-D cube of bands.
    hdu : int, str or tuple, optional
        Which HDU of a file.
    psf, uncertainty, mask, wcs, unit : optional
        As in `lenssr.superresolve`.

    Returns
    -------
    parsed : `Parsed`

    Raises
    ------
    ValueError, TypeError
        If something is not what it must be; the message names the argument.
    FileNotFoundError
        If there is no such file.
    """
    given = {"uncertainty": uncertainty, "mask": mask, "psf": psf, "wcs": wcs, "unit": unit}
    raw = parse_input(data, hdu, {name for name, value in given.items() if value is None})
    values, dtype = _values(raw.data)
    unit = raw.unit if unit is None else parse_unit(unit)
    wcs = _checked_wcs(raw.wcs if wcs is None else wcs, values.ndim)
    missing = combine_masks(*((raw.mask, values, raw.mask_bits) if mask is None
                              else (mask, values)))
    sigma, kind, weight = None, StdDevUncertainty, None
    if uncertainty is not None:
        sigma, kind = sigma_from(uncertainty, missing, unit)
    elif raw.uncertainty is not None:
        # In what the input says its unit is, whatever the user says.
        sigma, kind = sigma_from(raw.uncertainty, missing, raw.unit)
    elif raw.weight is not None:
        weight = _checked_weight(raw.weight, values)
        missing = missing | ~(weight > 0)
    if sigma is not None:
        missing = _without_weight(values, sigma, missing)
    if POWERS[base_class(kind)] != 1 and isinstance(unit, u.UnrecognizedUnit):
        warnings.warn(f"astropy has no square of the unknown unit {str(unit)!r}: the uncertainty "
                      "becomes a StdDevUncertainty", LensSRWarning, stacklevel=2)
        kind = StdDevUncertainty
    planes = _planes(values, missing, sigma, weight)
    shape = planes[0].shape
    side = pixel_scale(wcs, shape)
    psfs = parse_psfs(raw.psf if psf is None else psf, len(planes), shape, side)
    metadata = read_metadata(raw.header, side)
    planes = [replace(plane, psf=each, metadata=metadata) for plane, each in zip(planes, psfs)]
    header = fits.Header() if raw.header is None else without_layout(raw.header)
    return Parsed(planes, values.shape, dtype, wcs, unit, header, kind, sigma is not None)


def _planes(values, missing, sigma, weight):
    """A `LensImage`, as yet without PSF, for each band."""
    def each(array):
        return [array] if values.ndim == 2 else list(array)

    planes = []
    for i, (plane, mask) in enumerate(zip(each(values), each(missing))):
        if mask.all():
            which = f" of plane {i}" if values.ndim == 3 else ""
            raise ValueError(f"`data` must have valid pixels, all{which} are masked or not finite")
        filled = fill_masked(plane, mask)
        known = None if sigma is None else each(sigma)[i]
        if weight is not None:
            known = _from_weight(filled, each(weight)[i], mask)
        noise_map, noise = sky_noise(filled, known, mask)
        planes.append(LensImage(filled, noise_map, mask, None, noise))
    return planes


def _values(data):
    """Pixel values, float64, and the type of the result: single precision stays single."""
    try:
        values = np.asarray(data)
    except (ValueError, TypeError) as err:
        raise ValueError(f"`data` must be a regular array of numbers: {err}") from err
    if values.dtype.kind not in "iuf":
        raise TypeError(f"`data` must be an array of real numbers, got dtype {values.dtype}")
    if values.ndim not in (2, 3):
        raise ValueError("`data` must be a 2-D image or a 3-D cube of bands, "
                         f"got {values.ndim} dimensions")
    if values.size == 0:
        raise ValueError(f"`data` must have pixels, got the shape {values.shape}")
    single = values.dtype.kind == "f" and values.dtype.itemsize <= 4
    return values.astype(float), np.dtype(np.float32 if single else np.float64)


def _checked_weight(weight, values):
    if weight.shape != values.shape:
        raise ValueError(f"the weights beside `data` must have its shape {values.shape}, "
                         f"got {weight.shape}")
    return weight


def _checked_wcs(wcs, ndim):
    """A WCS with the high-level interface; errors are due before the work, not after."""
    if wcs is None:
        return None
    if isinstance(wcs, BaseLowLevelWCS) and not isinstance(wcs, BaseHighLevelWCS):
        wcs = HighLevelWCSWrapper(wcs)
    if not isinstance(wcs, BaseHighLevelWCS):
        raise TypeError("`wcs` must follow the common WCS interface (APE 14), got "
                        f"{type(wcs).__name__}")
    if wcs.low_level_wcs.pixel_n_dim > ndim:
        raise ValueError(f"`wcs` must have the {ndim} pixel axes of the data, "
                         f"got {wcs.low_level_wcs.pixel_n_dim}")
    return wcs


def _without_weight(values, sigma, missing):
    """The mask with pixels that have no weight, and an error where the noise is zero."""
    no_weight = ~np.isfinite(sigma)
    # Outside the exposure, pipelines write zero into both image and error.
    blank = (sigma == 0) & (values == 0)
    zero = (sigma == 0) & ~blank & ~missing
    if zero.any():
        raise ValueError(f"`uncertainty` must be positive, got zero at {zero.sum()} valid pixels")
    dropped = int(((no_weight | blank) & ~missing).sum())
    if dropped:
        warnings.warn(f"{dropped} pixels without a finite uncertainty are taken as masked",
                      LensSRWarning, stacklevel=2)
    return missing | no_weight | blank


def _from_weight(values, weight, mask):
    root = np.sqrt(np.where(mask, 1.0, weight))
    level = estimate_sky(values * root, mask)
    return level / root if level > 0 else None


def pixel_scale(wcs, shape):
    """Side of a pixel as an angle, or `None` if the WCS tells of none."""
    if getattr(wcs, "has_celestial", False):
        scales = proj_plane_pixel_scales(wcs.celestial)
        return float(np.sqrt(scales[0] * scales[1])) * u.deg
    if wcs is None or wcs.low_level_wcs.pixel_n_dim < 2:
        return None
    # At the centre of the image, and of the first band of a cube.
    y, x = ((n - 1) / 2 for n in shape)
    bands = [0] * (wcs.low_level_wcs.pixel_n_dim - 2)
    here, right, up = (get_skycoord(wcs.pixel_to_world(*pixel, *bands))
                       for pixel in ((x, y), (x + 1, y), (x, y + 1)))
    if here is None:
        return None
    return np.sqrt(here.separation(right) * here.separation(up)).to(u.deg)


def get_skycoord(world):
    """The celestial one of the coordinates of a pixel."""
    worlds = world if isinstance(world, (list, tuple)) else [world]
    return next((each for each in worlds if isinstance(each, SkyCoord)), None)
