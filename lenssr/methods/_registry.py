"""Registry of the methods."""

import functools
import inspect
import json
from dataclasses import dataclass
from importlib import resources

from lenssr._validation import check_name, suggest
from lenssr.methods._interpolate import Interpolate
from lenssr.methods._richardson_lucy import RichardsonLucy
from lenssr.methods._wiener import Wiener
from lenssr.weights import find_weights, read_card, shipped_weights


@dataclass(frozen=True)
class MethodSpec:
    """Entry of the registry; ``scales`` is `None` for a method of any scale."""

    name: str
    family: str
    factory: object
    scales: tuple | None = None
    reference: str = ""
    weights: tuple = ()
    samples: bool = False


KEYS_1981 = "doi:10.1109/TASSP.1981.1163711"

_CLASSICAL = {spec.name: spec for spec in (
    MethodSpec("bilinear", "interpolation", functools.partial(Interpolate, "bilinear"),
               reference=KEYS_1981),
    MethodSpec("bicubic", "interpolation", functools.partial(Interpolate, "bicubic"),
               reference=KEYS_1981),
    MethodSpec("lanczos", "interpolation", functools.partial(Interpolate, "lanczos"),
               reference="doi:10.1175/1520-0450(1979)018<1016:LFIOAT>2.0.CO;2"),
    MethodSpec("richardson_lucy", "deconvolution", RichardsonLucy,
               reference="1974AJ.....79..745L"),
    MethodSpec("wiener", "deconvolution", Wiener,
               reference="Wiener (1949), Extrapolation, Interpolation, and Smoothing"),
)}
_REGISTERED = {}  # methods of users


@functools.cache
def _network_methods():
    """Return the entries of the methods that a network restores; imports torch."""
    from lenssr.methods._diffusion import DiffusionSampler
    from lenssr.methods._lens_model import LensEquation
    from lenssr.methods._network import Network, Unrolled
    from lenssr.networks import architectures

    classes = {"restoration": Network, "srgan": Network, "consistency": Unrolled,
               "diffusion": DiffusionSampler, "residual": LensEquation}
    specs = {}
    for name, architecture in architectures().items():
        if architecture.trainer in classes:
            cls, weights = classes[architecture.trainer], shipped_weights(name)
            specs[name] = MethodSpec(
                name, "lens model" if cls is LensEquation else "network",
                functools.partial(cls, name), tuple(weights), architecture.reference,
                tuple(dict.fromkeys(weights.values())),
                samples=cls in (DiffusionSampler, LensEquation))
    return specs


def all_methods():
    """Return the entries of all methods, a dict of `MethodSpec` by name."""
    return {**_CLASSICAL, **_network_methods(), **_REGISTERED}


def register_method(name, factory, *, family="user", scales=None, reference="", samples=False,
                    overwrite=False):
    """
    Add a method to the methods of `lenssr.superresolve`.

    Parameters
    ----------
    name : str
        Name of the method, an identifier.
    factory : callable
        Called with the options of the user as keywords. It returns a
        `~lenssr.methods.Method`: an object whose ``restore(image, run)`` takes a
        `~lenssr.image.LensImage` and a `~lenssr.methods.RunOptions`, and returns a
        `~lenssr.methods.Restoration`.
    family : str, optional
        Family in the table of `list_methods`.
    scales : tuple of int, optional
        Supported scales; any by default.
    reference : str, optional
        Bibcode or DOI.
    samples : bool
        Whether the method draws posterior samples.
    overwrite : bool
        Whether to replace a method of the same name.

    Raises
    ------
    ValueError
        If the name is taken or is not an identifier.
    TypeError
        If ``factory`` is not callable.

    Examples
    --------
    >>> from lenssr import register_method
    >>> from lenssr.methods import make_method
    >>> register_method("my_bilinear", lambda: make_method("bilinear", 2, {}), overwrite=True)
    """
    if not (isinstance(name, str) and name.isidentifier()):
        raise ValueError(f"`name` must be an identifier, got {name!r}")
    if not callable(factory):
        raise TypeError(f"`factory` must be callable, got {type(factory).__name__}")
    if not overwrite and name in all_methods():
        raise ValueError(f"`name` must be new, there is a method {name!r} already; say "
                         "overwrite=True to replace it")
    scales = None if scales is None else tuple(scales)
    _REGISTERED[name] = MethodSpec(name, family, factory, scales, reference, samples=samples)


def unregister_method(name):
    """Remove a method that `register_method` added."""
    _REGISTERED.pop(name, None)


def find_method(name):
    """
    Return the registry entry of a method.

    Parameters
    ----------
    name : str
        Name of the method.

    Returns
    -------
    spec : object
        Entry with ``name``, ``family``, ``factory``, ``scales``, ``reference``, ``weights`` and
        ``samples``.

    Raises
    ------
    ValueError
        If the method is unknown.

    Examples
    --------
    >>> from lenssr.methods import find_method
    >>> find_method("wiener").family
    'deconvolution'
    """
    for methods in (_REGISTERED, _CLASSICAL):
        if isinstance(name, str) and name in methods:
            return methods[name]
    return all_methods()[check_name("method", name, all_methods())]


def default_method(planes, scale):
    """
    Return the name of the default method: ``unrolled`` if all PSFs are known, else ``rcan``.

    Parameters
    ----------
    planes : sequence of `~lenssr.image.LensImage`
        Planes of the image.
    scale : int
        Output pixels per input pixel.

    Returns
    -------
    name : str
        Name of the method.

    Examples
    --------
    >>> from lenssr.image import parse_image
    >>> from lenssr.methods import default_method
    >>> default_method(parse_image([[1.0, 2.0], [0.0, 1.0]], uncertainty=1.0).planes, 2)
    'rcan'
    """
    known = all(plane.psf is not None for plane in planes)
    return "unrolled" if known and scale in find_method("unrolled").scales else "rcan"


def make_method(name, scale, options):
    """
    Make a method with options.

    Parameters
    ----------
    name : str
        Name of the method.
    scale : int
        Output pixels per input pixel.
    options : dict
        Options of the method.

    Returns
    -------
    method : `Method`
        The method.

    Raises
    ------
    ValueError
        If the method or an option is unknown, or the method does not support the scale.

    Examples
    --------
    >>> from lenssr.methods import make_method
    >>> method = make_method("richardson_lucy", 2, {"n_probes": 4})
    """
    spec = find_method(name)
    if spec.scales == () and "weights" not in options:
        raise ValueError(f"`weights` must be given for method {name!r}: none come with lenssr, "
                         "`lenssr train` makes them")
    if spec.scales is not None and scale not in spec.scales and "weights" not in options:
        raise ValueError(f"`scale` must be one of {spec.scales} for method {name!r}, got {scale}")
    known = _options(spec.factory)
    for key in options if known is not None else ():
        if key not in known:
            takes = f"takes {', '.join(known)}" if known else "takes none"
            raise ValueError(f"unknown option `{key}`: method {name!r} {takes}"
                             f"{suggest(key, known)}")
    return spec.factory(**options)


def _options(factory):
    """Return the names of the options of a factory; `None` for any name."""
    parameters = inspect.signature(factory).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return [p.name for p in parameters]


def list_methods():
    """
    List the known methods.

    Returns
    -------
    methods : `~astropy.table.Table`
        ``name``, ``family``, ``scales`` (none: a network without shipped weights),
        ``parameters`` (number of trained values), ``trained_on``, ``gain`` (PSNR above
        bilinear interpolation in dB on the validation set ``hsc-hst`` at scale 2; NaN if it was
        not measured) and ``reference``.

    Examples
    --------
    >>> from lenssr import list_methods
    >>> "rcan" in list_methods()["name"]
    True
    """
    from astropy.table import Table

    gains = json.loads((resources.files("lenssr.methods") / "gains.json").read_text())["gain"]
    rows = []
    for spec in all_methods().values():
        cards = [read_card(find_weights(name)) for name in spec.weights]
        rows.append({
            "name": spec.name, "family": spec.family,
            "scales": "any" if spec.scales is None else ", ".join(map(str, spec.scales)) or "none",
            "parameters": max((card.parameters for card in cards), default=0),
            "trained_on": ", ".join(sorted({card.recipe["data"]["preset"] for card in cards})),
            "gain": gains.get(spec.name, float("nan")), "reference": spec.reference})
    table = Table(rows)
    table["gain"].unit, table["gain"].info.format = "dB", ".2f"
    return table
