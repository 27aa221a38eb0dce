"""Super-resolution methods and their registry."""

from lenssr._lazy import lazy_exports

__all__ = ["Method", "Restoration", "RunOptions", "default_method", "find_method", "list_methods",
           "make_method", "register_method"]

_PUBLIC = {
    "._base": ["Method", "Restoration", "RunOptions"],
    "._registry": [
        "default_method", "find_method", "list_methods", "make_method", "register_method"],
}
# Interface for the other packages of lenssr, not part of the public API.
_INTERNAL = {
    "._consistency": ["DataResidual", "check_consistency"],
    "._diffusion": ["DEFAULT_SAMPLES"],
    "._error_prediction": ["normalized_residual", "snr_map"],
    "._image_features": ["image_features"],
    "._projection": ["RegularisedInverse", "discrepancy_variance"],
}

__getattr__, __dir__ = lazy_exports(
    __name__, {m: [*_PUBLIC.get(m, ()), *_INTERNAL.get(m, ())] for m in {**_PUBLIC, **_INTERNAL}})
