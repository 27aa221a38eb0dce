"""Whatever holds an image, taken apart."""

import warnings

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.nddata import Cutout2D, NDData
from astropy.utils.masked import Masked

from lenssr.exceptions import LensSRWarning
from lenssr.image._fits import header_from, is_file, open_fits
from lenssr.image._read import Raw, read_hdu, read_hdulist
from lenssr.image._units import parse_unit

__all__ = ["parse_input"]

HDU_TYPES = (fits.PrimaryHDU, fits.ImageHDU, fits.CompImageHDU)


def parse_input(data, hdu, wanted):
    """What an image carries, whatever holds it."""
    if isinstance(data, fits.HDUList):
        return read_hdulist(data, hdu, wanted)
    if is_file(data):
        with open_fits(data) as hdus:
            return read_hdulist(hdus, hdu, wanted)
    if hdu is not None:
        raise ValueError(f"`hdu` goes with a file or an HDUList, got `data` of "
                         f"{type(data).__name__}")
    if isinstance(data, HDU_TYPES):
        return read_hdu(data, wanted=wanted)
    if isinstance(data, NDData):
        return _from_nddata(data, wanted)
    if isinstance(data, Cutout2D):
        raw = _from_array(data.data, wanted)
        raw.wcs = data.wcs
        return raw
    return _from_array(data, wanted)


def _from_nddata(data, wanted):
    header = header_from(data.meta)
    if data.wcs is None and "wcs" in wanted and "CTYPE1" in header:
        # It may be of other pixels: Astropy's slicing leaves the header as it was.
        warnings.warn("the metadata have a WCS, but the NDData has none: it was dropped (give "
                      "wcs=)", LensSRWarning, stacklevel=2)
    if getattr(data, "flags", None) is not None:
        warnings.warn("the flags of the NDData were dropped: only its mask is used",
                      LensSRWarning, stacklevel=2)
    return Raw(np.asarray(data.data), uncertainty=data.uncertainty, mask=data.mask, wcs=data.wcs,
               unit=parse_unit(data.unit) if "unit" in wanted else data.unit,
               psf=getattr(data, "psf", None), header=header)


def _from_array(data, wanted):
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
        if "unit" in wanted:
            raw.unit = parse_unit(raw.unit)
    return raw
