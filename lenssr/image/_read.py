"""FITS in: the image and what lies beside it, found by the names that observatories use."""

import warnings
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
from lenssr.image._fits import has_pixels, merged_header, pixels
from lenssr.image._noise import POWERS
from lenssr.image._units import parse_unit, power_of
from lenssr.image._wcs_fits import wcs_from_hdus

__all__ = ["Raw", "UNCERTAINTIES", "read_hdu", "read_hdulist"]

# EXTNAMEs of HST and JWST (ERR, DQ, WHT), Euclid (RMS, FLG), LSST and HSC (VARIANCE, MASK),
# DES (WGT, MSK), astropy's CCDData (UNCERT, MASK, PSFIMAGE), and common pipelines.
SIGMA = ("ERR", "ERROR", "RMS", "SIGMA", "STD", "STDDEV", "NOISE")
VARIANCE = ("VAR", "VARIANCE")
INVERSE = ("IVAR", "INVVAR")
# Exposure time, or weights of an unknown scale, as often as inverse variance: only their
# shape is used.
RELATIVE = ("WHT", "WGT", "WEIGHT")
MASK = ("DQ", "MASK", "FLG", "FLAG", "FLAGS", "BPM", "BADPIX", "MSK")
PSF = ("PSFIMAGE", "PSF", "EPSF")
BESIDE = (*SIGMA, *VARIANCE, *INVERSE, *RELATIVE, *MASK, *PSF, "UNCERT", "CTX", "CON")

UNCERTAINTIES = {kind.__name__: kind for kind in POWERS}

# Telescopes whose masks say more than "missing", with bit 0 for what shall not be used:
# DO_NOT_USE of JWST and Roman; INVALID of Euclid, which flags the pixels of each source, too.
BIT_0 = ("JWST", "ROMAN", "EUCLID")
# Planes of LSST's and HSC's masks that mean it. DETECTED, among the others, holds each source.
LSST_PLANES = ("BAD", "NO_DATA", "SAT")


@dataclass
class Raw:
    """What an input carries, before it is checked."""

    data: np.ndarray
    uncertainty: Any = None
    mask: Any = None
    wcs: Any = None
    unit: Any = None
    psf: Any = None
    header: fits.Header | None = None
    weight: np.ndarray | None = None
    mask_bits: int | None = None


def read_hdulist(hdus, hdu=None, wanted=frozenset({"uncertainty", "mask", "psf", "wcs", "unit"})):
    """The image of a FITS file with the extensions that belong to it."""
    image = _choose(hdus, hdu)
    raw = read_hdu(image, hdus, wanted)

    def beside(names):
        return _find(hdus, image, names)

    if "uncertainty" in wanted:
        _add_uncertainty(raw, beside)
    if "mask" in wanted and (found := beside(MASK)) is not None:
        raw.mask, raw.mask_bits = pixels(found), _mask_bits(raw.header, found.header)
    if "psf" in wanted and (found := beside(PSF)) is not None:
        raw.psf = pixels(found)
    return raw


def read_hdu(image, hdus=None, wanted=frozenset({"wcs", "unit"})):
    """The `Raw` of one image HDU alone; of its file only the header and tables of the WCS."""
    header = image.header.copy()
    if hdus is not None and image is not hdus[0]:
        header = merged_header(hdus[0].header, header)
    try:
        unit = parse_unit(_bunit(header), "BUNIT", silent="unit" not in wanted)
    except ValueError:
        if "unit" in wanted:
            raise
        unit = None
    return Raw(pixels(image), header=header, unit=unit,
               wcs=wcs_from_hdus(image.header, hdus) if "wcs" in wanted else None)


def _bunit(header):
    """BUNIT as text; some write the number 1."""
    unit = header.get("BUNIT")
    return None if unit is None or isinstance(unit, fits.card.Undefined) else str(unit)


def _name(hdu):
    """Detector and kind of an EXTNAME: Euclid writes both, as in "3-4.E.SCI"."""
    detector, _, kind = hdu.name.upper().rpartition(".")
    return detector, kind


def _choose(hdus, hdu):
    if hdu is not None:
        try:
            chosen = hdus[hdu]
        except (KeyError, IndexError, TypeError) as err:
            names = ", ".join(f"{i} {h.name!r}" for i, h in enumerate(hdus))
            raise ValueError(f"`hdu` must be an HDU of the file ({names}), got {hdu!r}") from err
        if isinstance(chosen, list) or not has_pixels(chosen):
            raise ValueError(f"`hdu` must hold an image, got {hdu!r} without one")
        return chosen
    for ndim in (2, 3):
        for image in hdus:
            if (has_pixels(image) and len(image.shape) == ndim
                    and _name(image)[1] not in BESIDE):
                return image
    found = ", ".join(f"{h.name or 'HDU'} {getattr(h, 'shape', '') if h.is_image else 'table'}"
                      for h in hdus)
    raise ValueError("`data` must hold a 2-D image or a cube that isn't empty, the file has "
                     f"{found or 'no HDU'}")


def _find(hdus, image, names):
    detector = _name(image)[0]
    for name in names:
        for hdu in hdus:
            if (hdu is not image and has_pixels(hdu) and _name(hdu) == (detector, name)
                    and hdu.ver == image.ver):
                return hdu
    return None


def _mask_bits(header, about):
    """The flags of a mask that mean "missing"; `None` where each does."""
    if str(header.get("TELESCOP", "")).strip().upper() in BIT_0:
        return 1
    planes = [about[f"MP_{name}"] for name in LSST_PLANES if f"MP_{name}" in about]
    return sum(1 << plane for plane in planes) if planes else None


def _add_uncertainty(raw, beside):
    found = beside(("UNCERT",))
    kind = None if found is None else UNCERTAINTIES.get(found.header.get("UTYPE"),
                                                        StdDevUncertainty)
    for names, named in ((SIGMA, StdDevUncertainty), (VARIANCE, VarianceUncertainty),
                         (INVERSE, InverseVariance)):
        if found is None and (found := beside(names)) is not None:
            kind = named
    if found is not None:
        raw.uncertainty = kind(pixels(found), unit=_own_unit(found, raw.unit, kind))
    elif (found := beside(RELATIVE)) is not None:
        raw.weight = pixels(found).astype(float)
        warnings.warn(f"the weights in {found.name} give the noise its shape only, its level is "
                      "estimated from the sky", LensSRWarning, stacklevel=2)


def _own_unit(found, unit, kind):
    """The unit of an uncertainty, where it has one that goes with the image's."""
    own, wanted = _bunit(found.header), power_of(unit, POWERS[kind])
    if own is None or wanted is None:
        return None
    own = parse_unit(own, "BUNIT", silent=True)
    if own is None or own.is_equivalent(wanted):
        return own
    warnings.warn(f"the unit {str(own)!r} of {found.name} doesn't go with the image's: its values "
                  f"are taken in {wanted}", LensSRWarning, stacklevel=2)
    return None
