"""Architectures: nothing but `torch.nn.Module`, one file each, imported on first use."""

from importlib import import_module

from ._range import CONDITIONS, compress, describe_psf, expand

__all__ = ["ARCHITECTURES", "CLASSIFIERS", "CONDITIONS", "GENERATIVE", "GENERATORS", "PHYSICAL",
           "SCALE_FREE", "build", "compress", "describe_psf", "expand"]

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

GENERATIVE = ("diffusion",)
"""Those that draw what another network, their base, leaves open."""

GENERATORS = ("arcs",)
"""Those that are given random numbers, not images."""

PHYSICAL = ("lens_equation", "unrolled")
"""Those that look at the data through the telescope, and are told of it in full."""

SCALE_FREE = ("lens_equation",)
"""Those whose weights know of no scale: trained at the first of theirs, they do all."""


def build(architecture, **sizes):
    """
    Make a network with fresh weights.

    Parameters
    ----------
    architecture : str
        One of `ARCHITECTURES` or `CLASSIFIERS`.
    **sizes
        Parameters of the architecture.

    Returns
    -------
    network : `torch.nn.Module`

    Raises
    ------
    ValueError
        If the architecture is unknown or takes no such parameter.
    """
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
