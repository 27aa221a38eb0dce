"""Deflection and light profiles on torch, for the simulator and the lens model."""

from lenssr._lazy import lazy_exports

# Interface for the other packages of lenssr, not part of the public API.
_INTERNAL = {
    "._grid": ["SceneGrid"],
    "._point_images": ["image_positions", "quasar_points"],
    "._profiles": [
        "INTERPOL", "LENS_PARAMETERS", "LENS_PROFILES", "LIGHT_PARAMETERS",
        "LIGHT_PROFILES", "SplinePotential", "deflection", "deflection_derivatives", "interpol",
        "series_terms", "sersic_derivatives", "sersic_profile"],
}

__all__ = []
__getattr__, __dir__ = lazy_exports(__name__, _INTERNAL)
