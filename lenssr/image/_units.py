"""Units: parsing, spelling, and flux conventions."""

import re
import warnings

from astropy import units as u

from lenssr.exceptions import LensSRWarning

FLUX_CONVENTIONS = ("auto", "per-pixel", "surface-brightness")

LOGARITHMIC_UNITS = (u.mag, u.dex, u.dB)

# Unit words in headers that neither the FITS standard nor astropy defines. In flux units, "S"
# never means siemens.
UNIT_SPELLINGS = {
    "adu": "adu", "beam": "beam", "cps": "ct/s", "count": "ct", "counts": "ct", "cts": "ct",
    "dn": "DN", "e": "electron", "electron": "electron", "electrons": "electron",
    "jansky": "Jy", "janskys": "Jy", "jy": "Jy", "microjansky": "uJy", "microjy": "uJy",
    "maggies": "maggy", "nanomaggies": "nmgy", "nanomaggy": "nmgy", "njy": "nJy",
    "photons": "photon", "pixel": "pix", "pixels": "pix", "s": "s", "sec": "s", "second": "s",
    "sr": "sr", "ujy": "uJy",
}
# "MJY" alone could be milli or mega; per steradian it is mega.
CASE_SENSITIVE_SPELLINGS = {"MJY/SR": "MJy/sr", "mjy": "mJy"}


def parse_unit(unit, name="unit", silent=False):
    """Parse a unit from a unit, a header string, or `None`."""
    if unit is None or (isinstance(unit, str) and not unit.strip()):
        return None
    if isinstance(unit, str):
        text, unit = unit.strip(), _from_string(unit.strip())
        unknown = isinstance(unit, u.UnrecognizedUnit) and not _is_logarithmic(unit)
        if unknown and not silent:
            warnings.warn(f"unit {text!r} is unknown to astropy and carried as text only",
                          LensSRWarning, stacklevel=2)
    elif not isinstance(unit, (u.UnitBase, u.FunctionUnitBase)):
        raise TypeError(f"`{name}` must be an astropy unit or a string, "
                        f"got {type(unit).__name__}")
    if _is_logarithmic(unit):
        raise ValueError(f"`{name}` must be linear in flux, got the logarithmic {unit}")
    return unit


def _is_logarithmic(unit):
    if isinstance(unit, u.UnrecognizedUnit):
        return re.search(r"(?<!i)mag(?!g|n(?!itude))|\bdex\b", str(unit), re.IGNORECASE) is not None
    return isinstance(unit, u.FunctionUnitBase) or any(base in LOGARITHMIC_UNITS
                                                       for base in unit.bases)


def _from_string(text):
    spelled = re.sub(r"\be-(?=\W|$)", "electron", text)  # before the sign is read as an exponent
    spelled = re.sub(r"(?<![\d.])[A-Za-z]+",
                     lambda word: UNIT_SPELLINGS.get(word[0].lower(), word[0]), spelled)
    with warnings.catch_warnings(), u.add_enabled_units([u.photometric]):
        warnings.simplefilter("ignore", u.UnitsWarning)
        for candidate in (CASE_SENSITIVE_SPELLINGS.get(text, spelled), text):
            for layout in ("fits", None):
                try:
                    return u.Unit(candidate, format=layout)
                except (ValueError, TypeError):
                    continue
    return u.Unit(text, parse_strict="silent")


def unit_text(unit):
    """Format a unit for BUNIT such that `parse_unit` recovers it."""
    if isinstance(unit, u.UnrecognizedUnit):
        return str(unit)
    if unit == u.dimensionless_unscaled:
        return "1"
    try:
        return unit.to_string("fits")
    except ValueError:  # for example electrons
        return unit.to_string()


def power_of(unit, power):
    """Return ``unit**power``, or `None` for unknown units."""
    if power == 1:
        # Return the unit itself: photutils compares hashes, and the first power has
        # another hash.
        return unit
    return None if unit is None or isinstance(unit, u.UnrecognizedUnit) else unit**power


def flux_convention(unit, flux="auto"):
    """
    Determine whether pixel values are fluxes per pixel or surface brightness.

    Fluxes per pixel are divided among finer pixels; surface brightness keeps its value. Flux per
    beam and brightness temperature count as surface brightness.

    Parameters
    ----------
    unit : `~astropy.units.UnitBase` or None
        Unit of the image.
    flux : {"auto", "per-pixel", "surface-brightness"}
        Flux convention; ``"auto"`` derives it from the unit.

    Returns
    -------
    kind : {"per-pixel", "surface-brightness"}
        Flux convention of the values.

    Raises
    ------
    ValueError
        If ``flux`` is invalid.

    Warns
    -----
    LensSRWarning
        If the unit does not determine the flux convention.

    Examples
    --------
    >>> from astropy import units as u
    >>> from lenssr.image import flux_convention
    >>> flux_convention(u.MJy / u.sr)
    'surface-brightness'
    """
    if flux not in FLUX_CONVENTIONS:
        raise ValueError(
            f"`flux` must be one of {', '.join(map(repr, FLUX_CONVENTIONS))}, got {flux!r}")
    if flux != "auto":
        return flux
    if isinstance(unit, u.UnrecognizedUnit):
        name = str(unit).lower()
        if any(word in name for word in ("arcsec", "/sr", "sr-1", "beam", "/deg")):
            return "surface-brightness"
    elif unit is not None and not unit.is_equivalent(u.dimensionless_unscaled):
        base = unit.decompose()
        powers = dict(zip(base.bases, base.powers))
        per_area = any(powers.get(area, 0) < 0 for area in (u.rad, u.sr, u.beam))
        return "surface-brightness" if per_area or unit.is_equivalent(u.K) else "per-pixel"
    reason = "no unit" if unit is None else f"the unit {str(unit)!r}"
    warnings.warn(f"the image has {reason}: its values count as flux per pixel (set "
                  "flux='per-pixel' or flux='surface-brightness')",
                  LensSRWarning, stacklevel=2)
    return "per-pixel"
