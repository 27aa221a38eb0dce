"""Data files of the package: the demonstration lens, galaxies, PSFs and skies."""

from lenssr._lazy import lazy_exports

__all__ = ["demo_lens", "galaxy_stamps", "measured_psfs", "sky_stamps"]

_PUBLIC = {
    "._demo_lens": ["demo_lens"],
    "._galaxies": ["galaxy_stamps"],
    "._psfs": ["measured_psfs"],
    "._sky": ["sky_stamps"],
}

__getattr__, __dir__ = lazy_exports(__name__, _PUBLIC)
