"""Deflection and light profiles on torch, shared by the simulator and the lens model."""

from lenssr._lazy import lazy_exports

_PUBLIC = {
}
# Interface for the other packages of lenssr, not part of the public API.
_INTERNAL = {
    "._grid": ["Potential", "SceneGrid"],
    "._point_images": ["image_positions", "quasar_points"],
    "._profiles": [
        "INTERPOL", "LENS_PARAMETERS", "LENS_PROFILES", "LIGHT_PARAMETERS",
        "LIGHT_PROFILES", "deflection", "deflection_derivatives", "interpol",
        "series_terms", "sersic_derivatives", "sersic_profile"],
}

__all__ = [name for names in _PUBLIC.values() for name in names]
__getattr__, __dir__ = lazy_exports(__name__, _PUBLIC, _INTERNAL)
