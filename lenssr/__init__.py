"""Super-resolution of strong gravitational lenses that an astronomer can trust."""

from importlib import import_module

try:
    from ._version import version as __version__
except ImportError:  # a checkout that was never built
    __version__ = "0.0.0"

__all__ = ["LensSRWarning", "SuperResolvedImage", "__version__", "list_methods",
           "register_method", "superresolve"]

# Loaded on first use: a script that only asks for the version should not wait for astropy.
_HOMES = {
    "LensSRWarning": "lenssr.exceptions",
    "SuperResolvedImage": "lenssr.image",
    "list_methods": "lenssr.methods",
    "register_method": "lenssr.methods",
    "superresolve": "lenssr._superresolve",
}


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module 'lenssr' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *_HOMES})
