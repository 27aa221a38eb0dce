"""Descriptors of network architectures, and their registry."""

from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules

from lenssr._validation import check_name

INPUTS = ("image", "physics", "noise", "residual", "classifier", "error")


@dataclass(frozen=True)
class Architecture:
    """
    Description of a network architecture.

    Parameters
    ----------
    name : str
        Name in recipes and model cards. A method of the same name restores images with it.
    cls : type
        Class of the network, a `torch.nn.Module`.
    inputs : {"image", "physics", "noise", "residual", "classifier", "error"}
        Inputs of the network: the image; the image with its noise map, kernel and noise
        correlation; random numbers; a restored image with its residuals; an image to classify;
        a restored image whose error is predicted.
    trainer : str
        Kind of training: ``"restoration"``, ``"consistency"``, ``"residual"``, ``"srgan"``,
        ``"arcs"``, ``"diffusion"``, ``"classifier"`` or ``"error"``.
    reference : str
        Bibcode, DOI or arXiv number.
    scale_free : bool
        Whether the weights do not depend on the scale; they are trained at their first scale.

    Raises
    ------
    ValueError
        If ``inputs`` is unknown.

    Examples
    --------
    >>> from lenssr.networks import find_architecture
    >>> find_architecture("rcan").reference
    'arXiv:1807.02758'
    """

    name: str
    cls: type
    inputs: str = "image"
    trainer: str = "restoration"
    reference: str = ""
    scale_free: bool = False

    def __post_init__(self):
        check_name("inputs", self.inputs, INPUTS)

    @property
    def adversarial(self):
        """True if the network is trained against a discriminator."""
        return self.trainer in ("srgan", "arcs")


_ARCHITECTURES = {}


def architectures():
    """Return the known architectures, a dict of `Architecture` by name."""
    if not _ARCHITECTURES:
        for module in iter_modules(import_module("lenssr.networks").__path__):
            if not module.name.startswith("_"):
                members = vars(import_module(f"lenssr.networks.{module.name}")).values()
                for item in [item for item in members if isinstance(item, Architecture)]:
                    _ARCHITECTURES[item.name] = item
    return dict(sorted(_ARCHITECTURES.items()))


def find_architecture(name):
    """
    Return the descriptor of an architecture.

    Parameters
    ----------
    name : str
        Name of the architecture.

    Returns
    -------
    architecture : `Architecture`
        The descriptor.

    Raises
    ------
    ValueError
        If the architecture is unknown.

    Examples
    --------
    >>> from lenssr.networks import find_architecture
    >>> find_architecture("unrolled").inputs
    'physics'
    """
    return architectures()[check_name("architecture", name, architectures())]


def build_network(architecture, **config):
    """
    Build a network with random weights.

    Parameters
    ----------
    architecture : str
        Name of the architecture.
    **config
        Parameters of the network.

    Returns
    -------
    network : `torch.nn.Module`
        The network.

    Raises
    ------
    ValueError
        If the architecture or a parameter is unknown.

    Examples
    --------
    >>> from lenssr.networks import build_network
    >>> network = build_network("srcnn", scale=2)
    """
    try:
        return find_architecture(architecture).cls(**config)
    except TypeError as err:
        raise ValueError(f"parameters of architecture {architecture!r}: {err}") from err
