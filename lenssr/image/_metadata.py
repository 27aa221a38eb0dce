"""What a header tells of an observation beside its pixels, for methods that can be told it."""

import re

from astropy import units as u

__all__ = ["band_wavelength", "read_metadata"]

REDSHIFTS = {"z_lens": ("ZLENS", "Z_LENS", "ZL"), "z_source": ("ZSOURCE", "Z_SOURCE", "ZSRC", "ZS")}
BANDS = ("FILTER", "BAND", "FILTNAM1", "FILTER1", "FILTER2")

# Mean wavelengths in micrometres; of filters that are named after theirs, by that.
WAVELENGTHS = {"u": 0.36, "g": 0.48, "r": 0.62, "i": 0.77, "z": 0.89, "y": 0.98, "vis": 0.72,
               "j": 1.25, "h": 1.63, "k": 2.15, "ks": 2.15}

# Numbers of Webb's filters, which count hundredths of a micrometre.
JWST = (200, 210, 212, 250, 277, 300, 322, 323, 335, 356, 360, 405, 410, 430, 444, 460, 466, 470,
        480)


def band_wavelength(band):
    """Mean wavelength of a band in micrometres."""
    if isinstance(band, u.Quantity):
        try:
            value = float(band.to_value(u.um))
        except (u.UnitConversionError, TypeError) as err:
            raise ValueError(f"`band` must be a name or a wavelength, got {band}") from err
        if not value > 0:
            raise ValueError(f"`band` must be a positive wavelength, got {band}")
        return value
    name = str(band).strip().lower()
    if found := re.search(r"f(\d{3})(?:[wmnx]|lp)2?\b", name):
        number = int(found[1])
        # Hubble's infrared filters and Webb's count tens of nanometres; its optical ones go
        # from F218W to F850LP in nanometres.
        return number / (100 if number < 200 or number in JWST else 1000)
    letters = re.sub(r"\d+$", "", re.split(r"[\s._:-]+", name)[-1])
    return WAVELENGTHS.get(letters)


def read_metadata(header, scale=None):
    """What a header tells of the observation."""
    found = {} if scale is None else {"pixel_scale": float(scale.to_value(u.arcsec))}
    if header is None:
        return found
    for name, keys in REDSHIFTS.items():
        for key in keys:
            value = header.get(key)
            if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 20:
                found.setdefault(name, float(value))
    for key in BANDS:
        if isinstance(header.get(key), str) and (
                wavelength := band_wavelength(header[key])) is not None:
            found.setdefault("wavelength", wavelength)
    return found
