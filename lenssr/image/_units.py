"""Units: which exist, which are fluxes per pixel, and which surface brightnesses."""

import warnings

from astropy import units as u

from lenssr.exceptions import LensSRWarning

__all__ = ["FLUX_KINDS", "flux_kind", "parse_unit"]

FLUX_KINDS = ("auto", "per-pixel", "surface-brightness")

# Plurals and capitals that headers hold and the FITS standard does not.
SPELLINGS = {"electrons": "electron", "e-": "electron", "counts": "count", "cts": "count",
             "dn": "adu", "maggies": "maggy", "nanomaggies": "nmgy", "nanomaggy": "nmgy",
             "jy": "Jy", "mjy": "mJy", "njy": "nJy", "ujy": "uJy"}


def parse_unit(unit, name="unit"):
    """
    An astropy unit from a unit, a string as headers hold it, or `None`.

    Parameters
    ----------
    unit : `~astropy.units.Unit`, str or None
        The unit. A string that no parser knows is kept, as an unrecognised unit,
        with a warning.
    name : str
        What an error calls it.

    Returns
    -------
    unit : `~astropy.units.UnitBase` or None
        `None` where there is none or an empty string.

    Raises
    ------
    ValueError
        If the unit is logarithmic: magnitudes do not add.
    TypeError
        If it is neither unit nor string.
    """
    if unit is None or (isinstance(unit, str) and not unit.strip()):
        return None
    if isinstance(unit, str):
        unit = _from_string(unit.strip())
    elif not isinstance(unit, (u.UnitBase, u.FunctionUnitBase)):
        raise TypeError(f"`{name}` must be an astropy unit or a string, "
                        f"got {type(unit).__name__}")
    if isinstance(unit, u.FunctionUnitBase) or unit in (u.mag, u.dex, u.dB):
        raise ValueError(f"`{name}` must be linear in flux, got the logarithmic {unit}")
    return unit


def _from_string(text):
    words = "/".join(SPELLINGS.get(part.strip().lower(), part.strip())
                     for part in text.split("/"))
    with warnings.catch_warnings(), u.add_enabled_units([u.photometric]):
        warnings.simplefilter("ignore", u.UnitsWarning)
        for candidate in (text, words):
            for layout in ("fits", None):
                try:
                    return u.Unit(candidate, format=layout)
                except (ValueError, TypeError):
                    continue
    warnings.warn(f"unit {text!r} is unknown to astropy and carried as text only",
                  LensSRWarning, stacklevel=2)
    return u.Unit(text, parse_strict="silent")


def flux_kind(unit, flux="auto"):
    """
    Whether pixel values are fluxes per pixel or surface brightnesses.

    Fluxes per pixel are divided among the finer pixels, surface brightness keeps its
    value. Flux per beam belongs to the second kind.

    Parameters
    ----------
    unit : `~astropy.units.UnitBase` or None
        Unit of the image.
    flux : {"auto", "per-pixel", "surface-brightness"}
        The user's word; ``"auto"`` reads it off the unit.

    Returns
    -------
    kind : {"per-pixel", "surface-brightness"}

    Raises
    ------
    ValueError
        If ``flux`` is none of the three.

    Warns
    -----
    LensSRWarning
        If it had to be assumed, because there is no unit that tells.
    """
    if flux not in FLUX_KINDS:
        raise ValueError(f"`flux` must be one of {', '.join(map(repr, FLUX_KINDS))}, got {flux!r}")
    if flux != "auto":
        return flux
    if isinstance(unit, u.UnrecognizedUnit):
        name = str(unit).lower()
        if any(word in name for word in ("arcsec", "/sr", "sr-1", "beam", "/deg")):
            return "surface-brightness"
    elif unit is not None and unit != u.dimensionless_unscaled:
        powers = dict(zip(unit.decompose().bases, unit.decompose().powers))
        per_area = powers.get(u.rad, 0) < 0 or powers.get(u.sr, 0) < 0
        per_beam = u.beam in unit.bases and unit.powers[unit.bases.index(u.beam)] < 0
        return "surface-brightness" if per_area or per_beam else "per-pixel"
    told = "no unit" if unit is None else f"the unit {str(unit)!r}"
    warnings.warn(f"the image has {told}: its values are taken as flux per pixel "
                  "(say flux='per-pixel' or flux='surface-brightness')",
                  LensSRWarning, stacklevel=2)
    return "per-pixel"
