"""Named skies: a population and an instrument each."""

from ._instrument import Instrument
from ._population import Population

__all__ = ["preset_parts"]

# Subaru HSC Wide: 0.168 arcsec pixels, seeing of 0.5-0.85 arcsec (2018PASJ...70S...4A).
PRESETS = {"hsc-hst": (Population(), Instrument())}


def preset_parts(name):
    """
    Population and instrument of a preset.

    Raises
    ------
    ValueError
        If there is no preset of that name; the known ones are listed.
    """
    if name not in PRESETS:
        raise ValueError(f"`preset` must be one of {', '.join(sorted(PRESETS))}, got {name!r}")
    return PRESETS[name]
