"""Parsing of any input into checked planes with noise, mask, PSF, WCS, unit and header."""

import re
import warnings
from dataclasses import dataclass, field, replace

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import Cutout2D, NDData, StdDevUncertainty
from astropy.utils.masked import Masked
from astropy.wcs.utils import proj_plane_pixel_scales
from astropy.wcs.wcsapi import BaseHighLevelWCS, BaseLowLevelWCS, HighLevelWCSWrapper

from lenssr.exceptions import LensSRWarning
from lenssr.image._fits import (
    Raw,
    header_from,
    is_file,
    open_fits,
    read_hdu,
    read_hdulist,
    without_layout,
)
from lenssr.image._mask import combine_masks, fill_masked
from lenssr.image._noise import UNCERTAINTY_POWERS, sigma_from, uncertainty_class
from lenssr.image._psf import parse_psfs
from lenssr.image._units import parse_unit
from lenssr.uncertainty import estimate_sky, sky_noise


@dataclass(frozen=True)
class LensImage:
    """
    One plane of an image, validated and cleaned for a method.

    Parameters
    ----------
    data : `~numpy.ndarray`
        Finite values, float64, shape ``(ny, nx)``. Masked pixels are filled from valid neighbours.
    sigma : `~numpy.ndarray`
        Standard deviation of the noise, shape and unit of ``data``, positive and finite.
    mask : `~numpy.ndarray`
        `True` for missing pixels.
    psf : `~numpy.ndarray` or None
        Effective PSF (optics and pixel response) on the grid of the image, odd in both axes,
        centred, of unit sum.
    noise : float
        Sky noise, the unit of the network inputs.
    metadata : dict
        Pixel scale (arcsec), wavelength (micrometres) and redshifts, as far as they are known.

    Examples
    --------
    >>> from lenssr.image import parse_image
    >>> parse_image([[1.0, 2.0], [0.0, 1.0]], uncertainty=1.0).planes[0].shape
    (2, 2)
    """

    data: np.ndarray
    sigma: np.ndarray
    mask: np.ndarray
    psf: np.ndarray | None
    noise: float
    metadata: dict = field(default_factory=dict)

    @property
    def shape(self):
        """Shape ``(ny, nx)`` of the plane."""
        return self.data.shape


REDSHIFT_KEYWORDS = {"z_lens": ("ZLENS", "Z_LENS", "ZL"),
                     "z_source": ("ZSOURCE", "Z_SOURCE", "ZSRC", "ZS")}
BAND_KEYWORDS = ("FILTER", "BAND", "FILTNAM1", "FILTER1", "FILTER2")

# Wavelengths in micrometres.
BAND_WAVELENGTHS = {"u": 0.36, "g": 0.48, "r": 0.62, "i": 0.77, "z": 0.89, "y": 0.98, "vis": 0.72,
                    "j": 1.25, "h": 1.63, "k": 2.15, "ks": 2.15}

# Filter numbers of JWST, in hundredths of a micrometre.
JWST_FILTERS = (200, 210, 212, 250, 277, 300, 322, 323, 335, 356, 360, 405, 410, 430, 444, 460, 466,
                470, 480)


def band_wavelength(band):
    """Return the mean wavelength of a band in micrometres."""
    if isinstance(band, u.Quantity):
        try:
            value = float(band.to_value(u.um))
        except (u.UnitConversionError, TypeError) as err:
            raise ValueError(f"`band` must be a name or a wavelength, got {band}") from err
        if not value > 0:
            raise ValueError(f"`band` must be a positive wavelength, got {band}")
        return value
    name = str(band).strip().lower()
    if match := re.search(r"f(\d{3})(?:[wmnx]|lp)2?\b", name):
        number = int(match[1])
        # Infrared filters of HST and all filters of JWST count tens of nanometres;
        # optical filters of HST from F218W to F850LP count nanometres.
        return number / (100 if number < 200 or number in JWST_FILTERS else 1000)
    letters = re.sub(r"\d+$", "", re.split(r"[\s._:-]+", name)[-1])
    return BAND_WAVELENGTHS.get(letters)


def read_metadata(header, scale=None):
    """Read band and redshifts from a header."""
    metadata = {} if scale is None else {"pixel_scale": float(scale.to_value(u.arcsec))}
    if header is None:
        return metadata
    for name, keys in REDSHIFT_KEYWORDS.items():
        for key in keys:
            value = header.get(key)
            if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 20:
                metadata.setdefault(name, float(value))
    for key in BAND_KEYWORDS:
        if isinstance(header.get(key), str) and (
                wavelength := band_wavelength(header[key])) is not None:
            metadata.setdefault("wavelength", wavelength)
    return metadata


HDU_TYPES = (fits.PrimaryHDU, fits.ImageHDU, fits.CompImageHDU)


def parse_input(data, hdu, fields):
    """Read the contents of any input object."""
    if isinstance(data, fits.HDUList):
        return read_hdulist(data, hdu, fields)
    if is_file(data):
        with open_fits(data) as hdus:
            return read_hdulist(hdus, hdu, fields)
    if hdu is not None:
        raise ValueError("`hdu` must be None unless `data` is a file or an HDUList, got `data` of "
                         f"{type(data).__name__}")
    if isinstance(data, HDU_TYPES):
        return read_hdu(data, fields=fields)
    if isinstance(data, NDData):
        return _from_nddata(data, fields)
    if isinstance(data, Cutout2D):
        raw = _from_array(data.data, fields)
        raw.wcs = data.wcs
        return raw
    return _from_array(data, fields)


def _from_nddata(data, fields):
    header = header_from(data.meta)
    if data.wcs is None and "wcs" in fields and "CTYPE1" in header:
        # The header may describe other pixels, since astropy slices data without the
        # header.
        warnings.warn("the metadata have a WCS, but the NDData has none: it was dropped (give "
                      "wcs=)", LensSRWarning, stacklevel=2)
    if getattr(data, "flags", None) is not None:
        warnings.warn("the flags of the NDData were dropped: only its mask is used",
                      LensSRWarning, stacklevel=2)
    return Raw(np.asarray(data.data), uncertainty=data.uncertainty, mask=data.mask, wcs=data.wcs,
               unit=parse_unit(data.unit) if "unit" in fields else data.unit,
               psf=getattr(data, "psf", None), header=header)


def _from_array(data, fields):
    raw = Raw(data)
    if isinstance(data, np.ma.MaskedArray):
        raw.data, raw.mask = data.data, np.ma.getmaskarray(data)
    elif isinstance(data, Masked):
        raw.data, raw.mask = data.unmasked, data.mask
    elif not isinstance(data, (np.ndarray, list, tuple)):
        if not hasattr(data, "__array__"):
            raise TypeError("`data` must be a FITS file, HDUList, image HDU, NDData, Quantity or "
                            f"array, got {type(data).__name__}")
        raw.data = np.asarray(data)
    if isinstance(raw.data, u.Quantity):
        raw.data, raw.unit = raw.data.value, raw.data.unit
        if "unit" in fields:
            raw.unit = parse_unit(raw.unit)
    return raw


@dataclass
class Parsed:
    """
    Parsed input.

    Parameters
    ----------
    planes : list of `LensImage`
        One plane, or one for each band of a cube.
    shape : tuple of int
        Shape of the data: ``(ny, nx)`` or ``(bands, ny, nx)``.
    dtype : `~numpy.dtype`
        Floating type of the result.
    wcs, unit : object or None
        WCS and unit of the input, or of the keywords.
    header : `~astropy.io.fits.Header`
        Cards of the input, without the layout of its file.
    kind : type
        Class of the uncertainty; `~astropy.nddata.StdDevUncertainty` without one.
    noise_given : bool
        Whether the noise was given, not estimated.

    Examples
    --------
    >>> from lenssr.image import Parsed, parse_image
    >>> isinstance(parse_image([[1.0, 2.0], [0.0, 1.0]], uncertainty=1.0), Parsed)
    True
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
    Parse an image; keywords override the contents of ``data``.

    Parameters
    ----------
    data : path, file, HDUList, HDU, NDData, Cutout2D, Quantity or array-like
        2-D image, or 3-D cube of bands.
    hdu : int, str or tuple, optional
        HDU of a file.
    psf, uncertainty, mask, wcs, unit : optional
        As in `lenssr.superresolve`.

    Returns
    -------
    parsed : `Parsed`
        Planes, shape, WCS, unit and header.

    Raises
    ------
    ValueError, TypeError
        If an argument is invalid; the message names it.
    FileNotFoundError
        If the file does not exist.

    Examples
    --------
    >>> from lenssr.image import parse_image
    >>> parse_image([[1.0, 2.0], [0.0, 1.0]], uncertainty=1.0).shape
    (2, 2)
    """
    overrides = {"uncertainty": uncertainty, "mask": mask, "psf": psf, "wcs": wcs, "unit": unit}
    raw = parse_input(data, hdu, {name for name, value in overrides.items() if value is None})
    values, dtype = _values(raw.data)
    unit = raw.unit if unit is None else parse_unit(unit)
    wcs = _checked_wcs(raw.wcs if wcs is None else wcs, values.ndim)
    missing = combine_masks(*((raw.mask, values, raw.mask_bits) if mask is None
                              else (mask, values)))
    sigma, kind, weight = None, StdDevUncertainty, None
    if uncertainty is not None:
        sigma, kind = sigma_from(uncertainty, missing, unit)
    elif raw.uncertainty is not None:
        # Use the unit of the input file, whatever the keyword says.
        sigma, kind = sigma_from(raw.uncertainty, missing, raw.unit)
    elif raw.weight is not None:
        weight = _checked_weight(raw.weight, values)
        missing = missing | ~(weight > 0)
    if sigma is not None:
        missing = _without_weight(values, sigma, missing)
    if UNCERTAINTY_POWERS[uncertainty_class(kind)] != 1 and isinstance(unit, u.UnrecognizedUnit):
        warnings.warn(f"astropy has no square of the unknown unit {str(unit)!r}: the uncertainty "
                      "becomes a StdDevUncertainty", LensSRWarning, stacklevel=2)
        kind = StdDevUncertainty
    planes = _planes(values, missing, sigma, weight)
    shape = planes[0].shape
    side = pixel_scale(wcs, shape)
    psfs = parse_psfs(raw.psf if psf is None else psf, len(planes), shape, side)
    metadata = read_metadata(raw.header, side)
    planes = [replace(plane, psf=plane_psf, metadata=metadata)
              for plane, plane_psf in zip(planes, psfs)]
    header = fits.Header() if raw.header is None else without_layout(raw.header)
    return Parsed(planes, values.shape, dtype, wcs, unit, header, kind, sigma is not None)


def _planes(values, missing, sigma, weight):
    """Return a `LensImage` without PSF for each plane."""
    def bands(array):
        return [array] if values.ndim == 2 else list(array)

    planes = []
    for i, (plane, mask) in enumerate(zip(bands(values), bands(missing))):
        if mask.all():
            which = f" of plane {i}" if values.ndim == 3 else ""
            raise ValueError(f"`data` must have valid pixels, all{which} are masked or not finite")
        filled = fill_masked(plane, mask)
        sigma_map = None if sigma is None else bands(sigma)[i]
        if weight is not None:
            sigma_map = _from_weight(filled, bands(weight)[i], mask)
        noise_map, noise = sky_noise(filled, sigma_map, mask)
        planes.append(LensImage(filled, noise_map, mask, None, noise))
    return planes


def _values(data):
    """Return pixel values in float64, and the floating type of the result."""
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
        raise ValueError(f"the weights of `data` must have its shape {values.shape}, "
                         f"got {weight.shape}")
    return weight


def _checked_wcs(wcs, ndim):
    """Return a WCS with the high-level interface, or raise an error before any work."""
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
    """Mask pixels without weight; raise `ValueError` for zero noise."""
    no_weight = ~np.isfinite(sigma)
    # Outside the exposure, pipelines write zero into image and error.
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
    """Scale the noise of the sky by the inverse root of the weights; `None` without noise."""
    root = np.sqrt(np.where(mask, 1.0, weight))
    sky_rms = estimate_sky(values * root, mask)
    return sky_rms / root if sky_rms > 0 else None


def pixel_scale(wcs, shape):
    """Return the side of a pixel as an angle, or `None` without celestial coordinates."""
    if getattr(wcs, "has_celestial", False):
        scales = proj_plane_pixel_scales(wcs.celestial)
        return float(np.sqrt(scales[0] * scales[1])) * u.deg
    if wcs is None or wcs.low_level_wcs.pixel_n_dim < 2:
        return None
    # At the centre of the image and of the first band of a cube.
    y, x = ((n - 1) / 2 for n in shape)
    bands = [0] * (wcs.low_level_wcs.pixel_n_dim - 2)
    centre, right, up = (get_skycoord(wcs.pixel_to_world(*pixel, *bands))
                         for pixel in ((x, y), (x + 1, y), (x, y + 1)))
    if centre is None:
        return None
    return np.sqrt(centre.separation(right) * centre.separation(up)).to(u.deg)


def get_skycoord(world):
    """Return the `~astropy.coordinates.SkyCoord` among the world coordinates of a pixel."""
    worlds = world if isinstance(world, (list, tuple)) else [world]
    return next((coordinate for coordinate in worlds if isinstance(coordinate, SkyCoord)), None)
