"""Super-resolution of strong gravitational lenses that an astronomer can trust."""

from lenssr._lazy import lazy_exports

try:
    from lenssr._version import version as __version__
except ImportError:  # a checkout that was never built
    __version__ = "0.0.0"

__all__ = ["LensSRWarning", "SuperResolvedImage", "__version__", "list_methods",
           "register_method", "superresolve"]

__getattr__, __dir__ = lazy_exports(__name__, {
    ".exceptions": ["LensSRWarning"],
    ".image": ["SuperResolvedImage"],
    ".methods": ["list_methods", "register_method"],
    "._superresolve": ["superresolve"],
})
