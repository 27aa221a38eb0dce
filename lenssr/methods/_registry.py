"""The methods by name: which there are, how one is made, and what is known of them."""

import difflib
import inspect
import json
from dataclasses import dataclass, replace
from importlib import import_module, resources

from lenssr.weights import find_weights, read_card, shipped_weights

__all__ = ["MethodSpec", "find_method", "list_methods", "make_method", "register_method",
           "default_method"]


@dataclass(frozen=True)
class MethodSpec:
    """What the registry holds of a method."""

    name: str
    family: str
    factory: object
    scales: tuple | None = None
    reference: str = ""
    weights: tuple = ()
    samples: bool = False


def _lazy(module, name, *args):
    """A factory that imports its module on first use."""
    def load():
        return getattr(import_module(f"lenssr.methods.{module}"), name)

    def factory(**options):
        return load()(*args, **options)

    factory.target, factory.fixed = load, len(args)
    return factory


def _network(name, reference, module="_network", kind="Network", samples=False):
    """A network by its architecture's name, at the scales of the weights that come with lenssr."""
    weights = shipped_weights(name)
    return MethodSpec(name, "network", _lazy(module, kind, name), tuple(weights), reference,
                      tuple(dict.fromkeys(weights.values())), samples)


_METHODS = {spec.name: spec for spec in (
    MethodSpec("bilinear", "interpolation", _lazy("_interpolate", "Interpolate", "bilinear"),
               reference="doi:10.1109/TASSP.1981.1163711"),
    MethodSpec("bicubic", "interpolation", _lazy("_interpolate", "Interpolate", "bicubic"),
               reference="doi:10.1109/TASSP.1981.1163711"),
    MethodSpec("lanczos", "interpolation", _lazy("_interpolate", "Interpolate", "lanczos"),
               reference="doi:10.1175/1520-0450(1979)018<1016:LFIOAT>2.0.CO;2"),
    MethodSpec("richardson_lucy", "deconvolution", _lazy("_richardson_lucy", "RichardsonLucy"),
               reference="1974AJ.....79..745L"),
    MethodSpec("wiener", "deconvolution", _lazy("_wiener", "Wiener"),
               reference="Wiener (1949), Extrapolation, Interpolation, and Smoothing"),
    *(_network(name, reference) for name, reference in (
        ("srcnn", "arXiv:1501.00092"), ("fsrcnn", "arXiv:1608.00367"),
        ("fsrcnn_equivariant", "arXiv:1602.07576"), ("fsrcnn_hybrid", "arXiv:1602.07576"),
        ("edsr", "arXiv:1707.02921"), ("rdn", "arXiv:1802.08797"), ("rcan", "arXiv:1807.02758"),
        ("srresnet", "arXiv:1609.04802"), ("srgan", "arXiv:1609.04802"),
        ("fast", "arXiv:2103.09404"))),
    _network("unrolled", "arXiv:1712.02862", "_unrolled", "Unrolled"),
    _network("diffusion", "arXiv:2206.00364", "_diffusion", "DiffusionSampler", samples=True),
    replace(_network("lens_equation", "2006MNRAS.371..983S", "_lens_equation", "LensEquation"),
            family="lens model", samples=True),
)}


def register_method(name, factory, *, family="user", scales=None, reference="", samples=False,
                    overwrite=False):
    """
    Add a method to those that `lenssr.superresolve` knows.

    Parameters
    ----------
    name : str
        What it will be called.
    factory : callable
        Called with the user's options as keywords; returns an object with
        ``restore(image, run)``, which takes a `~lenssr.image.LensImage` and a
        `~lenssr.methods.Run` and returns a `~lenssr.methods.Restoration`.
    family : str, optional
        The kind of thing it is, for `list_methods`.
    scales : tuple of int, optional
        The scales it can do; any by default.
    reference : str, optional
        Bibcode or DOI.
    samples : bool
        Whether it draws posterior samples.
    overwrite : bool
        Replace a method of that name.

    Raises
    ------
    ValueError
        If the name is taken, or no identifier.
    TypeError
        If ``factory`` can't be called.
    """
    if not (isinstance(name, str) and name.isidentifier()):
        raise ValueError(f"`name` must be an identifier, got {name!r}")
    if not callable(factory):
        raise TypeError(f"`factory` must be callable, got {type(factory).__name__}")
    if name in _METHODS and not overwrite:
        raise ValueError(f"`name` must be new, there is a method {name!r} already; say "
                         "overwrite=True to replace it")
    scales = None if scales is None else tuple(scales)
    _METHODS[name] = MethodSpec(name, family, factory, scales, reference, samples=samples)


def find_method(name):
    """The `MethodSpec` of a name, or a `ValueError` that lists the known ones."""
    if not isinstance(name, str) or name not in _METHODS:
        near = difflib.get_close_matches(str(name), _METHODS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"`method` must be one of {', '.join(_METHODS)}, got {name!r}{hint}")
    return _METHODS[name]


def default_method(planes, scale):
    """The method of those who name none: the one through the telescope, if that is known."""
    known = all(plane.psf is not None for plane in planes)
    return "unrolled" if known and scale in find_method("unrolled").scales else "rcan"


def make_method(name, scale, options):
    """
    Make a method from the user's options.

    Raises
    ------
    ValueError
        If the method or one of the options is unknown, or it can't do the scale.
    """
    spec = find_method(name)
    if spec.scales == () and "weights" not in options:
        raise ValueError(f"`weights` must be given for method {name!r}: none come with lenssr, "
                         "`lenssr train` makes them")
    if spec.scales is not None and scale not in spec.scales and "weights" not in options:
        raise ValueError(f"`scale` must be one of {spec.scales} for method {name!r}, got {scale}")
    known = _options(spec.factory)
    if known is not None:
        for key in options:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                hint = f"; did you mean `{near[0]}`?" if near else ""
                takes = f"takes {', '.join(known)}" if known else "takes none"
                raise ValueError(f"unknown option `{key}`: method {name!r} {takes}{hint}")
    return spec.factory(**options)


def _options(factory):
    """Names of the options of a factory; `None` if it takes any."""
    target = factory.target() if hasattr(factory, "target") else factory
    parameters = list(inspect.signature(target).parameters.values())[getattr(
        factory, "fixed", 0):]
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return [p.name for p in parameters]


def list_methods():
    """
    The known methods.

    Returns
    -------
    methods : `~astropy.table.Table`
        ``name``, ``family``, ``scales`` (none: a network without weights in the package,
        to be trained), ``parameters`` (number of trained values), ``trained_on``, ``gain``
        (PSNR above bilinear interpolation in dB on the fixed validation set, ``hsc-hst`` at
        scale 2; NaN where it was not measured) and ``reference``.
    """
    from astropy.table import Table

    gains = json.loads((resources.files("lenssr.methods") / "gains.json").read_text())["gain"]
    rows = []
    for spec in _METHODS.values():
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
