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

from ._units import parse_unit
from ._wcs import wcs_from_hdus

__all__ = ["Raw", "merged_header", "read_hdu", "read_hdulist"]

# EXTNAMEs of HST and JWST (ERR, DQ, WHT), Euclid (RMS, FLG), astropy's CCDData (UNCERT,
# MASK, PSFIMAGE), and common pipelines.
SIGMA = ("ERR", "ERROR", "RMS", "SIGMA", "STD", "STDDEV", "NOISE")
VARIANCE = ("VAR", "VARIANCE")
INVERSE = ("IVAR", "INVVAR", "WEIGHT")
RELATIVE = ("WHT",)  # exposure time as often as inverse variance: only its shape is used
MASK = ("DQ", "MASK", "FLG", "FLAG", "FLAGS", "BPM", "BADPIX")
PSF = ("PSFIMAGE", "PSF", "EPSF")
BESIDE = SIGMA + VARIANCE + INVERSE + RELATIVE + MASK + PSF + ("UNCERT", "CTX", "CON")
UNCERTAINTIES = {"StdDevUncertainty": StdDevUncertainty, "InverseVariance": InverseVariance,
                 "VarianceUncertainty": VarianceUncertainty}
# What describes a file's layout rather than its sky.
STRUCTURE = ("SIMPLE", "XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "NAXIS3", "NAXIS4",
             "EXTEND", "PCOUNT", "GCOUNT", "GROUPS", "BSCALE", "BZERO", "BLANK", "CHECKSUM",
             "DATASUM", "EXTNAME", "EXTVER", "EXTLEVEL", "INHERIT", "NEXTEND")


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
    jwst: bool = False


def read_hdulist(hdus, hdu=None, wanted=frozenset({"uncertainty", "mask", "psf", "wcs"})):
    """
    The image of a FITS file with the extensions that belong to it.

    Parameters
    ----------
    hdus : `~astropy.io.fits.HDUList`
        The file.
    hdu : int, str or tuple, optional
        Which HDU; by default the first with a 2-D image (or a cube, if there is no
        2-D image) that is not an error, mask, weight or PSF.
    wanted : set of str
        What to pick up beside the image: what the user gives is not looked for.

    Returns
    -------
    raw : `Raw`

    Raises
    ------
    ValueError
        If there is no such image, or it is empty.
    """
    image = _choose(hdus, hdu)
    raw = read_hdu(image, hdus if "wcs" in wanted else None, with_wcs="wcs" in wanted)
    if image is not hdus[0]:
        raw.header = merged_header(hdus[0].header, raw.header)
    raw.jwst = str(raw.header.get("TELESCOP", "")).strip().upper() == "JWST"

    def beside(names):
        return _find(hdus, image, names)

    if "uncertainty" in wanted:
        _add_uncertainty(raw, beside)
    if "mask" in wanted and (found := beside(MASK)) is not None:
        raw.mask = found.data
    if "psf" in wanted and (found := beside(PSF)) is not None:
        raw.psf = found.data
    return raw


def read_hdu(image, hdus=None, with_wcs=True):
    """The `Raw` of one image HDU alone."""
    if image.data is None:
        raise ValueError(f"`data` must be an image, the HDU {image.name!r} has an empty data "
                         "section")
    header = image.header.copy()
    unit = parse_unit(header.get("BUNIT"), "BUNIT")
    wcs = wcs_from_hdus(image.header, hdus) if with_wcs else None
    return Raw(np.asarray(image.data), wcs=wcs, unit=unit,
               header=merged_header(fits.Header(), header))


def merged_header(primary, extension):
    """Cards of the primary header and of the extension, the latter's winning."""
    header = primary.copy(strip=True)
    for card in extension.cards:
        if card.keyword in ("COMMENT", "HISTORY", ""):
            header.append(card)
        else:
            header[card.keyword] = (card.value, card.comment)
    for key in STRUCTURE:
        header.remove(key, ignore_missing=True, remove_all=True)
    return header


def _choose(hdus, hdu):
    images = [h for h in hdus if h.is_image and h.data is not None]
    if hdu is not None:
        try:
            chosen = hdus[hdu]
        except (KeyError, IndexError, TypeError) as err:
            names = ", ".join(f"{i} {h.name!r}" for i, h in enumerate(hdus))
            raise ValueError(f"`hdu` must be an HDU of the file ({names}), got {hdu!r}") from err
        if chosen not in images:
            raise ValueError(f"`hdu` must hold an image, got {hdu!r} without one")
        return chosen
    for ndim in (2, 3):
        for image in images:
            if image.data.ndim == ndim and image.name.upper() not in BESIDE:
                return image
    found = ", ".join(f"{h.name or 'HDU'} {h.shape if h.is_image else 'table'}" for h in hdus)
    raise ValueError(f"`data` must hold a 2-D image or a cube, the file has {found or 'no HDU'}")


def _find(hdus, image, names):
    for name in names:
        for hdu in hdus:
            if (hdu is not image and hdu.is_image and hdu.name.upper() == name
                    and hdu.ver == image.ver and hdu.data is not None):
                return hdu
    return None


def _add_uncertainty(raw, beside):
    if (found := beside(("UNCERT",))) is not None:
        kind = UNCERTAINTIES.get(found.header.get("UTYPE"), StdDevUncertainty)
        raw.uncertainty = kind(found.data, unit=parse_unit(found.header.get("BUNIT"), "BUNIT"))
        return
    for names, kind in ((SIGMA, StdDevUncertainty), (VARIANCE, VarianceUncertainty),
                        (INVERSE, InverseVariance)):
        if (found := beside(names)) is not None:
            raw.uncertainty = kind(found.data)
            power = {StdDevUncertainty: 1, VarianceUncertainty: 2, InverseVariance: -2}[kind]
            own = parse_unit(found.header.get("BUNIT"), "BUNIT")
            if own is not None and raw.unit is not None and own.is_equivalent(raw.unit**power):
                raw.uncertainty.unit = own
            return
    if (found := beside(RELATIVE)) is not None:
        raw.weight = np.asarray(found.data, dtype=float)
        warnings.warn("the weights in WHT give the noise its shape only, its level is estimated "
                      "from the sky", LensSRWarning, stacklevel=2)
