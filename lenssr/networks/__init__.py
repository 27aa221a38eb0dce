"""Network architectures, one file each, imported on first use."""

from importlib import import_module

from lenssr._lazy import lazy_exports

__all__ = ["ARCHITECTURES", "CLASSIFIERS", "GENERATIVE_ARCHITECTURES", "GENERATORS",
           "PHYSICS_ARCHITECTURES", "SCALE_FREE_ARCHITECTURES", "build_network", "N_PSF_FEATURES", "asinh_scale", "psf_features", "sinh_scale"]

_PUBLIC = {
    "._range": ["N_PSF_FEATURES", "asinh_scale", "psf_features", "sinh_scale"],
}
# Interface for the other packages of lenssr, not part of the public API.
_INTERNAL = {
    "._classifier": ["MAX_IMAGE_SIDE", "MIN_IMAGE_SIDE"],
    "._error": ["ErrorHead", "negative_log_likelihood"],
    "._metadata": ["METADATA", "N_METADATA_CHANNELS", "encode_metadata"],
    "._precision": ["exact_float32", "has_fast_bfloat16"],
    "._range": ["FLIP_SIGNS", "ROTATION_SIGNS", "psf_feature_range"],
    "._starlet": ["starlet"],
    ".arcs": ["from_asinh", "to_asinh"],
    ".diffusion": ["LATENT_CELL"],
    ".srgan": ["Discriminator"],
    ".vgg19": ["VGG19"],
}

__getattr__, __dir__ = lazy_exports(
    __name__, {m: [*_PUBLIC.get(m, ()), *_INTERNAL.get(m, ())] for m in {**_PUBLIC, **_INTERNAL}})

ARCHITECTURES = {
    "arcs": ("arcs", "ArcGenerator"),
    "diffusion": ("diffusion", "Diffusion"),
    "edsr": ("edsr", "EDSR"),
    "fast": ("fast", "Fast"),
    "fsrcnn": ("fsrcnn", "FSRCNN"),
    "fsrcnn_equivariant": ("fsrcnn_equivariant", "EquivariantFSRCNN"),
    "fsrcnn_hybrid": ("fsrcnn_hybrid", "HybridFSRCNN"),
    "lens_equation": ("lens_equation", "LensEquation"),
    "rcan": ("rcan", "RCAN"),
    "rdn": ("rdn", "RDN"),
    "srcnn": ("srcnn", "SRCNN"),
    "srgan": ("srresnet", "SRResNet"),
    "srresnet": ("srresnet", "SRResNet"),
    "unrolled": ("unrolled", "Unrolled"),
}

CLASSIFIERS = {
    "alexnet": ("alexnet", "AlexNet"),
    "resnet": ("resnet", "ResNet"),
    "vgg": ("vgg", "VGG"),
}
"""Those that tell classes of images apart."""

GENERATIVE_ARCHITECTURES = ("diffusion",)
"""Those that draw what another network, their base, leaves open."""

GENERATORS = ("arcs",)
"""Those that are given random numbers, not images."""

PHYSICS_ARCHITECTURES = ("lens_equation", "unrolled")
"""Those that look at the data through the telescope, and are told of it in full."""

SCALE_FREE_ARCHITECTURES = ("lens_equation",)
"""Those whose weights know of no scale: trained at the first of theirs, they do all."""


def build_network(architecture, **sizes):
    """Make a network with fresh weights."""
    found = ARCHITECTURES | CLASSIFIERS
    if architecture not in found:
        known = ", ".join(sorted(found))
        raise ValueError(f"`architecture` must be one of {known}, got {architecture!r}")
    module, name = found[architecture]
    network = getattr(import_module(f"lenssr.networks.{module}"), name)
    try:
        return network(**sizes)
    except TypeError as err:
        raise ValueError(f"sizes of architecture {architecture!r}: {err}") from err
