"""Deflection and light profiles on torch, shared by the simulator and the lens model."""

from lenssr._lazy import lazy_exports

__all__ = []

_PUBLIC = {
}
# Interface for the other packages of lenssr, not part of the public API.
_INTERNAL = {
    "._grid": ["SceneGrid"],
    "._lens_profiles": ["LENSES"],
    "._light_profiles": ["INTERPOL", "LIGHTS", "interpol"],
    "._point_images": ["quasar_points"],
    "._potential": ["Potential"],
    "._smooth_profiles": [
        "LENS_PARAMETERS", "LIGHT_PARAMETERS", "deflection", "deflection_derivatives",
        "series_terms", "sersic_derivatives", "sersic_profile"],
}

__getattr__, __dir__ = lazy_exports(
    __name__, {m: [*_PUBLIC.get(m, ()), *_INTERNAL.get(m, ())] for m in {**_PUBLIC, **_INTERNAL}})
