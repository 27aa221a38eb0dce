"""Anything an astronomer has, as checked planes and what they carry."""

import io
import os
import warnings
from dataclasses import dataclass, field

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.nddata import NDData, StdDevUncertainty
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs.utils import proj_plane_pixel_scales

from lenssr.exceptions import LensSRWarning

from ._lensimage import LensImage
from ._mask import combine_masks, fill
from ._noise import estimate_sky, sigma_from, sky_noise
from ._psf import parse_psf
from ._read import Raw, read_hdu, read_hdulist
from ._units import parse_unit

__all__ = ["Parsed", "parse_image"]

HDU_TYPES = (fits.PrimaryHDU, fits.ImageHDU, fits.CompImageHDU)


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
    data : path, file, HDUList, HDU, NDData, Quantity or array-like
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
    """
    given = {"uncertainty": uncertainty, "mask": mask, "psf": psf, "wcs": wcs, "unit": unit}
    wanted = {name for name, value in given.items() if value is None}
    raw = _raw(data, hdu, wanted)
    for name, value in given.items():
        if value is not None:
            setattr(raw, name, parse_unit(value) if name == "unit" else value)
    if uncertainty is not None:
        raw.weight = None
    return _check(raw)


def _raw(data, hdu, wanted):
    if isinstance(data, fits.HDUList):
        return read_hdulist(data, hdu, wanted)
    # CCDData has a method `read`, too.
    is_file = isinstance(data, (str, os.PathLike)) or hasattr(data, "read")
    if is_file and not isinstance(data, NDData):
        return _from_file(data, hdu, wanted)
    if hdu is not None:
        raise ValueError(f"`hdu` goes with a file or an HDUList, got `data` of "
                         f"{type(data).__name__}")
    if isinstance(data, HDU_TYPES):
        return read_hdu(data, with_wcs="wcs" in wanted)
    if isinstance(data, NDData):
        return _from_nddata(data)
    if isinstance(data, np.ma.MaskedArray):
        return Raw(data.data, mask=np.ma.getmaskarray(data))
    if isinstance(data, u.Quantity):
        return Raw(data.value, unit=parse_unit(data.unit))
    if isinstance(data, (np.ndarray, list, tuple)):
        return Raw(data)
    if hasattr(data, "__array__"):
        return Raw(np.asarray(data))
    raise TypeError("`data` must be a FITS file, HDUList, image HDU, NDData, Quantity or array, "
                    f"got {type(data).__name__}")


def _from_file(data, hdu, wanted):
    name = getattr(data, "name", data) if not isinstance(data, io.BytesIO) else "the file"
    if isinstance(data, (str, os.PathLike)) and not os.path.isfile(data):
        raise FileNotFoundError(f"`data` must be a FITS file, there is none at {str(data)!r}")
    try:
        with warnings.catch_warnings():
            # A truncated file is read as far as it goes, with a warning; not here.
            warnings.filterwarnings("error", ".*truncated.*", AstropyUserWarning)
            with fits.open(data, memmap=False) as hdus:
                for part in hdus:
                    part.data  # read now, so that a damaged file fails here
                return read_hdulist(hdus, hdu, wanted)
    except (OSError, AstropyUserWarning, EOFError, TypeError) as err:
        raise ValueError(f"`data` must be a readable FITS file, {name} is damaged or is none: "
                         f"{str(err).strip() or type(err).__name__}") from err


def _from_nddata(data):
    unit = parse_unit(data.unit)
    return Raw(np.asarray(data.data), uncertainty=data.uncertainty, mask=data.mask,
               wcs=data.wcs, unit=unit, psf=getattr(data, "psf", None),
               header=_header(data.meta))


def _header(meta):
    """A FITS header from any mapping; what FITS cannot hold is named in a warning."""
    if isinstance(meta, fits.Header):
        return meta.copy()
    header, lost = fits.Header(), []
    for key, value in dict(meta or {}).items():
        try:
            with warnings.catch_warnings():
                # Long keywords become HIERARCH cards: nothing is lost by it.
                warnings.simplefilter("ignore", fits.verify.VerifyWarning)
                header[str(key)] = value
        except (ValueError, TypeError):
            lost.append(str(key))
    if lost:
        warnings.warn(f"metadata that a FITS header cannot hold was dropped: {', '.join(lost)}",
                      LensSRWarning, stacklevel=2)
    return header


def _check(raw):
    values = _values(raw.data)
    dtype = np.dtype(np.float32 if np.asarray(raw.data).dtype.itemsize <= 4
                     and np.asarray(raw.data).dtype.kind == "f" else np.float64)
    missing = combine_masks(raw.mask, values, jwst=raw.jwst)
    sigma, kind = None, StdDevUncertainty
    if raw.uncertainty is not None:
        sigma, kind = sigma_from(raw.uncertainty, values.shape, raw.unit)
        missing = _without_weight(values, sigma, missing)
    if raw.weight is not None:
        if raw.weight.shape != values.shape:
            raise ValueError(f"the weights in WHT must have the shape of the data "
                             f"{values.shape}, got {raw.weight.shape}")
        missing = missing | ~(raw.weight > 0)
    planes = _each(values)
    for i, plane in enumerate(_each(missing)):
        if plane.all():
            which = f" of plane {i}" if values.ndim == 3 else ""
            raise ValueError(f"`data` must have valid pixels, all{which} are masked or not finite")
    scale = _pixel_scale(raw.wcs, planes[0].shape)
    psfs = _psfs(raw.psf, len(planes), planes[0].shape, scale)
    lens_images = []
    for i, plane in enumerate(planes):
        mask = _each(missing)[i]
        filled = fill(plane, mask)
        known = None if sigma is None else _each(sigma)[i]
        if known is None and raw.weight is not None:
            known = _from_weight(filled, _each(raw.weight)[i], mask)
        noise_map, noise = sky_noise(filled, known, mask)
        lens_images.append(LensImage(filled, noise_map, mask, psfs[i], noise))
    return Parsed(lens_images, values.shape, dtype, raw.wcs, raw.unit,
                  raw.header if raw.header is not None else fits.Header(), kind,
                  sigma is not None)


def _values(data):
    try:
        values = np.asarray(data)
    except ValueError as err:
        raise ValueError(f"`data` must be a regular array: {err}") from err
    if values.dtype.kind not in "iuf":
        raise TypeError(f"`data` must be an array of real numbers, got dtype {values.dtype}")
    if values.ndim not in (2, 3):
        raise ValueError("`data` must be a 2-D image or a 3-D cube of bands, "
                         f"got {values.ndim} dimensions")
    if values.size == 0:
        raise ValueError(f"`data` must have pixels, got the shape {values.shape}")
    return values.astype(float)


def _each(array):
    return [array] if array.ndim == 2 else list(array)


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


def _psfs(psf, n_planes, shape, pixel_scale):
    if isinstance(psf, np.ndarray) and not isinstance(psf, u.Quantity) and psf.ndim == 3:
        if len(psf) != n_planes:
            raise ValueError(f"`psf` of a cube must have {n_planes} planes, got {len(psf)}")
        return [parse_psf(p, shape, pixel_scale) for p in psf]
    return [parse_psf(psf, shape, pixel_scale)] * n_planes


def _pixel_scale(wcs, shape):
    """Side of a pixel as an angle, or `None` if the WCS tells of none."""
    celestial = getattr(wcs, "celestial", None)
    if celestial is not None and getattr(wcs, "has_celestial", False):
        scales = proj_plane_pixel_scales(celestial)
        return float(np.sqrt(scales[0] * scales[1])) * u.deg
    if wcs is None or not hasattr(wcs, "pixel_to_world") or wcs.pixel_n_dim != 2:
        return None
    y, x = ((n - 1) / 2 for n in shape)
    here, right, up = (wcs.pixel_to_world(*p) for p in ((x, y), (x + 1, y), (x, y + 1)))
    if not hasattr(here, "separation"):
        return None
    return np.sqrt(here.separation(right) * here.separation(up)).to(u.deg)
