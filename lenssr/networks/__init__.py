"""Network architectures, imported on first use."""

from lenssr._lazy import lazy_exports

_PUBLIC = {
    "._architecture": ["Architecture", "build_network", "find_architecture"],
    "._inputs": ["N_PSF_FEATURES", "asinh_scale", "psf_features", "sinh_scale"],
}
# Interface for the other packages of lenssr, not part of the public API.
_INTERNAL = {
    "._architecture": ["architectures"],
    "._inputs": [
        "B3_SPLINE", "FLIP_SIGNS", "METADATA", "N_METADATA_CHANNELS", "ROTATION_SIGNS",
        "encode_metadata", "exact_float32", "has_fast_bfloat16", "psf_feature_range", "starlet"],
    "._layers": ["LocalMean", "enlarge"],
    ".arc_generator": ["ArcGenerator", "from_asinh", "to_asinh"],
    ".classifiers": [
        "IMAGENET_MEAN", "IMAGENET_STD", "MAX_IMAGE_SIDE", "MIN_IMAGE_SIDE", "VGG19"],
    ".diffusion": ["LATENT_CELL", "LatentBasis"],
    ".error_head": ["ErrorHead", "negative_log_likelihood"],
    ".fsrcnn": ["GroupConv", "N_SYMMETRIES", "apply_symmetry"],
    ".lens_equation": ["LOG_RADIUS_RANGE"],
    ".srresnet": ["Discriminator"],
}

__all__ = [name for names in _PUBLIC.values() for name in names]
__getattr__, __dir__ = lazy_exports(__name__, _PUBLIC, _INTERNAL)
