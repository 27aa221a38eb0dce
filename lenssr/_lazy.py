"""Names of a package that are imported on first use."""

import sys
from importlib import import_module

__all__ = ["lazy_exports"]


def lazy_exports(package, modules):
    """
    Make the module functions ``__getattr__`` and ``__dir__`` of a package.

    ``import lenssr`` and its packages must not import torch, lenstronomy, Matplotlib or dask
    before a name that needs one of them is used.

    Parameters
    ----------
    package : str
        Name of the package, its ``__name__``.
    modules : dict
        Names that each module of the package exports, ``{module: names}``.

    Returns
    -------
    getattr, dir : callable
        Module functions as PEP 562 defines them.
    """
    homes = {name: module for module, names in modules.items() for name in names}

    def get(name):
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(homes[name], package), name)
        setattr(sys.modules[package], name, value)
        return value

    def names():
        return sorted({*vars(sys.modules[package]), *homes})

    return get, names
