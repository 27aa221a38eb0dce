"""What a network is told of an observation: what the user says, and what its training knew."""

import warnings

from astropy import units as u

from lenssr._validation import check_fraction, check_positive_number
from lenssr.exceptions import LensSRWarning
from lenssr.image import band_wavelength

__all__ = ["given_metadata", "told"]

NEAR = 0.02  # of a number, by which it may lie outside of the range of the training


def told(ranges, metadata, given):
    """Of what is known beside the pixels, that of which the training knew the like."""
    known = {}
    for name, value in metadata.items():
        words = "band" if name == "wavelength" else name
        if name not in ranges:
            if name in given:
                warnings.warn(f"`{words}` was not known in the training of the weights, and "
                              "changes nothing", LensSRWarning, stacklevel=4)
            continue
        low, high = ranges[name]
        if not low - NEAR * abs(low) <= value <= high + NEAR * abs(high):
            warnings.warn(f"`{words}` is {value:.3g}, outside the range of the training, "
                          f"{low:.3g} to {high:.3g}; the network is not told of it, and the "
                          "result is an extrapolation", LensSRWarning, stacklevel=4)
            continue
        known[name] = value
    return known


def given_metadata(correlation, pixel_scale, band, z_lens, z_source):
    """Metadata that the user gave, checked, by the names of `METADATA`."""
    found = {}
    if correlation is not None:
        found["correlation"] = check_fraction("correlation", correlation)
    if isinstance(pixel_scale, u.Quantity):
        try:
            pixel_scale = float(pixel_scale.to_value(u.arcsec))
        except (u.UnitConversionError, TypeError) as err:
            raise ValueError(f"`pixel_scale` must be an angle, got {pixel_scale}") from err
    for name, value in (("pixel_scale", pixel_scale), ("z_lens", z_lens), ("z_source", z_source)):
        if value is not None:
            found[name] = check_positive_number(name, value)
    if band is not None:
        found["wavelength"] = band_wavelength(band)
        if found["wavelength"] is None:
            raise ValueError("`band` must be a wavelength or the name of a filter, such as 'i' or "
                             f"'F814W', got {band!r}")
    if "z_lens" in found and "z_source" in found and found["z_lens"] >= found["z_source"]:
        raise ValueError(f"`z_source` must be beyond `z_lens` {z_lens!r}, got {z_source!r}")
    return found
