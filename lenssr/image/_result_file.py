"""FITS files of super-resolved images."""

import os
import warnings

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.wcs import WCS

from lenssr.image._fits import UNCERTAINTY_CLASSES, has_pixels, header_from, pixels, without_layout
from lenssr.image._lens_result import solution_hdus, solutions_from
from lenssr.image._noise import uncertainty_class
from lenssr.image._units import parse_unit, unit_text
from lenssr.image._wcs_fits import GWCS_CARD, strip_wcs, wcs_from_hdus, wcs_to_fits
from lenssr.uncertainty import ErrorCorrelation

# Extensions of the attributes that CCDData does not have.
EXTENSION_NAMES = {"measurement_std": "MEASSTD", "prior_std": "PRIORSTD", "samples": "SAMPLES",
                   "consistency": "CONSIST"}
CORRELATION_EXTENSION = "CORREL"
FACTOR_EXTENSION = "SUMFACT"
WCS_CARD_LIST = "SRWCSOWN"  # card that lists cards of the WCS, such as dates


def to_hdulist(image):
    """Convert a `SuperResolvedImage` to FITS."""
    header, extensions = without_layout(header_from(image.meta)), []
    if image.wcs is not None:
        header, extensions = _add_wcs(header, image.wcs)
    header["BUNIT"] = unit_text(image.unit)
    hdus = fits.HDUList([fits.PrimaryHDU(image.data, header)])
    if image.mask is not None:
        hdus.append(fits.ImageHDU(image.mask.astype(np.uint8), name="MASK"))
    if image.uncertainty is not None:
        about = fits.Header()
        about["UTYPE"] = uncertainty_class(type(image.uncertainty)).__name__
        if image.uncertainty.unit is not None:
            about["BUNIT"] = unit_text(image.uncertainty.unit)
        hdus.append(fits.ImageHDU(image.uncertainty.array, about, name="UNCERT"))
    if image.psf is not None:
        hdus.append(fits.ImageHDU(image.psf, name="PSFIMAGE"))
    for name, extension in EXTENSION_NAMES.items():
        if (value := getattr(image, name)) is not None:
            hdus.append(fits.ImageHDU(value, name=extension))
    if image.correlation is not None:
        hdus.extend(_correlation_hdus(image.correlation))
    for plane, solution in enumerate(image.solutions, 1):
        if solution is not None:
            hdus.extend(solution_hdus(solution, plane))
    hdus.extend(extensions)
    return hdus


def _correlation_hdus(correlation):
    hdu = fits.ImageHDU(correlation.kernels, name=CORRELATION_EXTENSION)
    for k, level in enumerate(correlation.levels.flat, 1):
        hdu.header[f"LEVEL{k}"] = (float(level), "error of the sky, of one part")
    return [hdu, fits.ImageHDU(correlation.factors, name=FACTOR_EXTENSION)]


def _read_correlation(hdus):
    kernels, header = pixels(hdus[CORRELATION_EXTENSION],
                             "path"), hdus[CORRELATION_EXTENSION].header
    levels = [header[f"LEVEL{k}"] for k in range(1, 1 + int(np.prod(kernels.shape[:-3])))]
    return ErrorCorrelation(kernels, np.reshape(levels, kernels.shape[:-3]),
                            pixels(hdus[FACTOR_EXTENSION], "path") if FACTOR_EXTENSION in hdus
                            else None)


def _add_wcs(header, wcs):
    """Add the WCS to a header; return it with the extensions of the WCS."""
    cards, extensions = wcs_to_fits(wcs)
    if isinstance(wcs, WCS):
        header = strip_wcs(header, keep_alternates=True)
    wcs_keywords = [key for key in strip_wcs(cards) if key not in header]
    header.extend(cards, unique=True)
    if wcs_keywords:
        header[WCS_CARD_LIST] = (",".join(wcs_keywords), "of the WCS alone")
    return header, extensions


def write_hdus(hdus, path):
    """Write a FITS file atomically."""
    folder, name = os.path.split(path)
    tmp_path = os.path.join(folder, f".part-{os.getpid()}-{name}")
    try:
        with warnings.catch_warnings():
            # Keep cards that violate the standard.
            warnings.simplefilter("ignore", fits.verify.VerifyWarning)
            hdus.writeto(tmp_path, overwrite=True, output_verify="ignore")
        os.replace(tmp_path, path)
    except OSError as err:
        raise OSError(f"`path` {path!r} can't be written: {err.strerror or err}") from err
    finally:
        if os.path.exists(tmp_path):
            os.remove(tmp_path)


def from_hdulist(hdus):
    """Read the attributes of a `SuperResolvedImage` from FITS."""
    header = hdus[0].header
    if not has_pixels(hdus[0]) or "BUNIT" not in header:
        raise ValueError("`path` must be a file written by SuperResolvedImage.write, got one "
                         "without an image and BUNIT in its primary HDU")
    wcs = wcs_from_hdus(header, hdus)
    parts = {hdu.name: pixels(hdu, "path") for hdu in hdus[1:] if has_pixels(hdu)}
    uncertainty = None
    if "UNCERT" in parts:
        about = hdus["UNCERT"].header
        unit = parse_unit(about.get("BUNIT"), silent=True)
        # Unknown units never compare equal, not even to the unit of the image.
        unit = None if isinstance(unit, u.UnrecognizedUnit) else unit
        uncertainty = UNCERTAINTY_CLASSES[about["UTYPE"]](parts["UNCERT"], unit=unit)
    mask = parts["MASK"].astype(bool) if "MASK" in parts else None
    return {"data": pixels(hdus[0], "path"), "unit": parse_unit(header["BUNIT"], silent=True),
            "uncertainty": uncertainty, "mask": mask, "wcs": wcs, "psf": parts.get("PSFIMAGE"),
            "meta": _user_cards(header, wcs),
            "correlation": _read_correlation(hdus) if CORRELATION_EXTENSION in parts else None,
            "lens": _read_lens(hdus),
            **{name: parts.get(extension) for name, extension in EXTENSION_NAMES.items()}}


def _read_lens(hdus):
    shape = hdus[0].shape
    solutions = solutions_from(hdus, shape[0] if len(shape) == 3 else 1)
    if all(solution is None for solution in solutions):
        return None
    return solutions if len(shape) == 3 else solutions[0]


def _user_cards(header, wcs):
    """Return the cards of a file without layout and WCS."""
    of_wcs = str(header.get(WCS_CARD_LIST, "")).split(",")
    header = without_layout(header)
    if isinstance(wcs, WCS):
        header = strip_wcs(header, keep_alternates=True)
    for key in ("BUNIT", WCS_CARD_LIST, GWCS_CARD, *filter(None, of_wcs)):
        header.remove(key, ignore_missing=True, remove_all=True)
    return header
