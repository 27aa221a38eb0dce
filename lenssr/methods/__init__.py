"""Methods of super-resolution by name; none of them knows of files or of headers."""

from ._base import Method, Restoration, Run
from ._registry import find_method, list_methods, make_method, register_method, usual_method

__all__ = ["Method", "Restoration", "Run", "find_method", "list_methods", "make_method",
           "register_method", "usual_method"]
