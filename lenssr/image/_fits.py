"""FITS files: opening, header copies, and the extensions of an image."""

import copy
import os
import re
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.nddata import (
    InverseVariance,
    StdDevUncertainty,
    VarianceUncertainty,
)

from lenssr.exceptions import LensSRWarning
from lenssr.image._noise import UNCERTAINTY_POWERS
from lenssr.image._units import parse_unit, power_of
from lenssr.image._wcs_fits import wcs_from_hdus

# Cards that describe the layout of a file.
LAYOUT_PATTERN = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|GROUPS|BSCALE|BZERO|"
    r"BLANK|CHECKSUM|DATASUM|EXTNAME|EXTVER|EXTLEVEL|INHERIT|NEXTEND|END")
COMMENTARY_KEYWORDS = ("", "COMMENT", "HISTORY")


def is_file(data):
    """Return whether ``data`` is a path or a file object; NDData and tables have ``read``, too."""
    return isinstance(data, (str, os.PathLike)) or (
        hasattr(data, "read") and hasattr(data, "close"))


@contextmanager
def open_fits(source, name="data"):
    """Open an `~astropy.io.fits.HDUList`, with errors that name the argument."""
    is_path = isinstance(source, (str, os.PathLike))
    what = repr(os.fspath(source)) if is_path else "the file"
    if is_path:
        source = os.path.expanduser(source)
        if not os.path.isfile(source):
            raise FileNotFoundError(f"`{name}` must be a FITS file, got no file at {what}")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            hdus = fits.open(source, memmap=False, lazy_load_hdus=False)
        except Exception as err:  # astropy and the decompressors raise many types of errors here
            raise ValueError(_damaged(name, what, err)) from err
    try:
        for item in caught:
            # astropy reads truncated files partly, with a warning; refuse them.
            if "truncated" in str(item.message):
                raise ValueError(_damaged(name, what, item.message))
            if "corrupted" in str(item.message):
                warnings.warn(f"{what} has more than was read, it may be damaged: "
                              f"{' '.join(str(item.message).split())}", LensSRWarning, stacklevel=3)
        with warnings.catch_warnings():
            # Cards that violate the standard are kept, so that astropy's warnings do
            # not matter.
            warnings.simplefilter("ignore", fits.verify.VerifyWarning)
            warnings.filterwarnings("ignore", "The following header keyword is invalid")
            yield hdus
    except fits.VerifyError as err:  # a required card that cannot be read
        raise ValueError(_damaged(name, what, err)) from err
    finally:
        hdus.close(closed=is_path)


def _damaged(name, what, reason):
    reason = " ".join(str(reason).split()) or type(reason).__name__
    return f"`{name}` must be a readable FITS file, {what} is damaged or not FITS: {reason}"


def has_pixels(hdu):
    """Return whether an HDU is an image with pixels, without reading them."""
    shape = getattr(hdu, "shape", ())  # HDUs of unknown type have no pixels
    return hdu.is_image and len(shape) > 0 and 0 not in shape


def pixels(hdu, name="data"):
    """Return the pixels of an image HDU."""
    try:
        with np.errstate(all="ignore"):  # scaling of missing values may overflow
            array = hdu.data
    except Exception as err:  # as above
        raise ValueError(_damaged(name, f"its HDU {hdu.name!r}", err)) from err
    if array is None:
        raise ValueError(f"`{name}` must have pixels, the HDU {hdu.name!r} has an empty data "
                         "section")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def merged_header(primary, extension):
    """Merge the cards of the primary header and of an extension; the extension wins."""
    if extension.get("INHERIT") is False:
        return extension.copy()
    keywords = set(extension)
    inherited = [card for card in primary.cards
                 if card.keyword in COMMENTARY_KEYWORDS or card.keyword not in keywords]
    return fits.Header([copy.copy(card) for card in (*inherited, *extension.cards)])


def without_layout(header):
    """Copy a header without the cards that describe the layout of its file."""
    kept = [copy.copy(card) for card in header.cards if not LAYOUT_PATTERN.fullmatch(card.keyword)]
    while kept and kept[-1].is_blank:
        kept.pop()
    return fits.Header(kept)


def header_from(meta):
    """Make a FITS header from any mapping."""
    if isinstance(meta, fits.Header):
        return meta.copy()
    header, lost = fits.Header(), []
    for key, value in dict(meta or {}).items():
        try:
            with warnings.catch_warnings():
                # Long keywords become HIERARCH cards without loss.
                warnings.simplefilter("ignore", fits.verify.VerifyWarning)
                cards = [fits.Card(str(key), item) for item in _lines(key, value)]
                for card in cards:
                    str(card)  # some cards fail when they are written only
                    if card.keyword in header and card.keyword not in COMMENTARY_KEYWORDS:
                        raise ValueError("keywords that differ in case only")
        except ValueError:
            lost.append(str(key))
        else:
            for card in cards:
                header.append(card, end=True)
    if lost:
        warnings.warn(f"metadata that a FITS header cannot hold was dropped: {', '.join(lost)}",
                      LensSRWarning, stacklevel=2)
    return header


def _lines(key, value):
    """Return the values of all cards of a keyword."""
    if str(key).upper() not in COMMENTARY_KEYWORDS:
        return [value]
    lines = [value] if isinstance(value, str) else np.atleast_1d(value)
    return [line for text in lines for line in str(text).splitlines()]


# EXTNAMEs of HST and JWST (ERR, DQ, WHT), Euclid (RMS, FLG), LSST and HSC (VARIANCE, MASK),
# DES (WGT, MSK), astropy's CCDData (UNCERT, MASK, PSFIMAGE), and common pipelines.
SIGMA_NAMES = ("ERR", "ERROR", "RMS", "SIGMA", "STD", "STDDEV", "NOISE")
VARIANCE_NAMES = ("VAR", "VARIANCE")
INVERSE_VARIANCE_NAMES = ("IVAR", "INVVAR")
# Exposure time or relative weight; only the shape of the map is used.
WEIGHT_NAMES = ("WHT", "WGT", "WEIGHT")
MASK_NAMES = ("DQ", "MASK", "FLG", "FLAG", "FLAGS", "BPM", "BADPIX", "MSK")
PSF_NAMES = ("PSFIMAGE", "PSF", "EPSF")
COMPANION_NAMES = (*SIGMA_NAMES, *VARIANCE_NAMES, *INVERSE_VARIANCE_NAMES, *WEIGHT_NAMES,
                   *MASK_NAMES, *PSF_NAMES, "UNCERT", "CTX", "CON")

UNCERTAINTY_CLASSES = {kind.__name__: kind for kind in UNCERTAINTY_POWERS}

# Telescopes whose flag bit 0 marks bad pixels, such as DO_NOT_USE of JWST.
BIT_0_MISSIONS = ("JWST", "ROMAN", "EUCLID")
# Mask planes of bad pixels of LSST and HSC; DETECTED marks sources.
LSST_BAD_PLANES = ("BAD", "NO_DATA", "SAT")


@dataclass
class Raw:
    """Contents of an input before validation."""

    data: np.ndarray
    uncertainty: Any = None
    mask: Any = None
    wcs: Any = None
    unit: Any = None
    psf: Any = None
    header: fits.Header | None = None
    weight: np.ndarray | None = None
    mask_bits: int | None = None


def read_hdulist(hdus, hdu=None, fields=frozenset({"uncertainty", "mask", "psf", "wcs", "unit"})):
    """Read an image of a FITS file with its companion extensions."""
    image = _choose_image(hdus, hdu)
    raw = read_hdu(image, hdus, fields)

    def companion(names):
        return _find_companion(hdus, image, names)

    if "uncertainty" in fields:
        _add_uncertainty(raw, companion)
    if "mask" in fields and (mask_hdu := companion(MASK_NAMES)) is not None:
        raw.mask, raw.mask_bits = pixels(mask_hdu), _mask_bits(raw.header, mask_hdu.header)
    if "psf" in fields and (psf_hdu := companion(PSF_NAMES)) is not None:
        raw.psf = pixels(psf_hdu)
    return raw


def read_hdu(image, hdus=None, fields=frozenset({"wcs", "unit"})):
    """Read a single image HDU; its file provides header and WCS tables only."""
    header = image.header.copy()
    if hdus is not None and image is not hdus[0]:
        header = merged_header(hdus[0].header, header)
    try:
        unit = parse_unit(_bunit(header), "BUNIT", silent="unit" not in fields)
    except ValueError:
        if "unit" in fields:
            raise
        unit = None
    return Raw(pixels(image), header=header, unit=unit,
               wcs=wcs_from_hdus(image.header, hdus) if "wcs" in fields else None)


def _bunit(header):
    """Return BUNIT as text; some headers hold the number 1."""
    unit = header.get("BUNIT")
    return None if unit is None or isinstance(unit, fits.card.Undefined) else str(unit)


def _name(hdu):
    """Split an EXTNAME such as "3-4.E.SCI" of Euclid into detector and type of data."""
    detector, _, kind = hdu.name.upper().rpartition(".")
    return detector, kind


def _choose_image(hdus, hdu):
    if hdu is not None:
        try:
            image = hdus[hdu]
        except (KeyError, IndexError, TypeError) as err:
            names = ", ".join(f"{i} {h.name!r}" for i, h in enumerate(hdus))
            raise ValueError(f"`hdu` must be an HDU of the file ({names}), got {hdu!r}") from err
        if isinstance(image, list) or not has_pixels(image):
            raise ValueError(f"`hdu` must hold an image, got {hdu!r} without one")
        return image
    for ndim in (2, 3):
        for image in hdus:
            if (has_pixels(image) and len(image.shape) == ndim
                    and _name(image)[1] not in COMPANION_NAMES):
                return image
    contents = ", ".join(f"{h.name or 'HDU'} {getattr(h, 'shape', '') if h.is_image else 'table'}"
                         for h in hdus)
    raise ValueError("`data` must hold a 2-D image or a cube that isn't empty, the file has "
                     f"{contents or 'no HDU'}")


def _find_companion(hdus, image, names):
    detector = _name(image)[0]
    for name in names:
        for hdu in hdus:
            if (hdu is not image and has_pixels(hdu) and _name(hdu) == (detector, name)
                    and hdu.ver == image.ver):
                return hdu
    return None


def _mask_bits(header, about):
    """Return the flag bits of bad pixels, or `None` if every flag marks a bad pixel."""
    if str(header.get("TELESCOP", "")).strip().upper() in BIT_0_MISSIONS:
        return 1
    planes = [about[f"MP_{name}"] for name in LSST_BAD_PLANES if f"MP_{name}" in about]
    return sum(1 << plane for plane in planes) if planes else None


def _add_uncertainty(raw, companion):
    uncertainty_hdu = companion(("UNCERT",))
    kind = None if uncertainty_hdu is None else UNCERTAINTY_CLASSES.get(
        uncertainty_hdu.header.get("UTYPE"),
        StdDevUncertainty)
    for names, named in ((SIGMA_NAMES, StdDevUncertainty), (VARIANCE_NAMES, VarianceUncertainty),
                         (INVERSE_VARIANCE_NAMES, InverseVariance)):
        if uncertainty_hdu is None and (uncertainty_hdu := companion(names)) is not None:
            kind = named
    if uncertainty_hdu is not None:
        raw.uncertainty = kind(pixels(uncertainty_hdu),
                               unit=_uncertainty_unit(uncertainty_hdu, raw.unit, kind))
    elif (uncertainty_hdu := companion(WEIGHT_NAMES)) is not None:
        raw.weight = pixels(uncertainty_hdu).astype(float)
        warnings.warn(
            f"the weights in {uncertainty_hdu.name} scale the noise map; its level is estimated "
            "from the sky", LensSRWarning, stacklevel=2)


def _uncertainty_unit(hdu, unit, kind):
    """Return the unit of an uncertainty if it agrees with the unit of the image."""
    unit_text, expected_unit = _bunit(hdu.header), power_of(unit, UNCERTAINTY_POWERS[kind])
    if unit_text is None or expected_unit is None:
        return None
    unit_text = parse_unit(unit_text, "BUNIT", silent=True)
    if unit_text is None or unit_text.is_equivalent(expected_unit):
        return unit_text
    warnings.warn(
        f"the unit {str(unit_text)!r} of {hdu.name} does not convert to {expected_unit}: "
        "its values are taken in that unit", LensSRWarning, stacklevel=2)
    return None
