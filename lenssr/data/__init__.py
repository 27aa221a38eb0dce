"""Data files of the package: the demonstration lens, galaxies, PSFs and skies."""

from lenssr._lazy import lazy_exports

_PUBLIC = {
    "._files": ["demo_lens", "galaxy_stamps", "measured_psfs", "sky_stamps"],
}

__all__ = [name for names in _PUBLIC.values() for name in names]
__getattr__, __dir__ = lazy_exports(__name__, _PUBLIC)
