"""Super-resolution methods and their registry."""

from lenssr._lazy import lazy_exports

_PUBLIC = {
    "._base": ["Method", "Restoration", "RunOptions"],
    "._registry": [
        "default_method", "find_method", "list_methods", "make_method", "register_method"],
}
# Interface for the other packages of lenssr, not part of the public API.
_INTERNAL = {
    "._consistency": [
        "DataResidual", "RegularisedInverse", "check_consistency", "chi2_range",
        "discrepancy_variance"],
    "._diffusion": ["DEFAULT_SAMPLES", "check_memory"],
    "._error_prediction": ["image_features", "normalized_residual", "snr_map"],
    "._interpolate": ["Interpolate"],
    "._lens_model": ["LensEquation"],
    "._lens_model._optimize": ["EVIDENCE_TEMPERATURE", "SearchGrid", "averaged_covariance"],
    "._lens_model._scene": ["SceneLayout"],
    "._network": ["truncate_psf"],
    "._registry": ["all_methods", "unregister_method"],
    "._richardson_lucy": ["RichardsonLucy"],
    "._samplers": [
        "KalmanUpdate", "SAMPLERS", "check_schedule", "draw", "dynamic_schedule",
        "latent_spectrum", "latent_variances", "spread_gain", "static_schedule"],
    "._wiener": ["Wiener", "fit_spectrum", "wiener_kernel"],
    "lenssr._forward_model": [
        "BatchForwardModel", "ForwardModel", "PSFConvolution", "PolyphaseConvolution",
        "convolve_tiled"],
}

__all__ = [name for names in _PUBLIC.values() for name in names]
__getattr__, __dir__ = lazy_exports(__name__, _PUBLIC, _INTERNAL)
