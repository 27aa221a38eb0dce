"""Names of a package that are imported on first use."""

import sys
from importlib import import_module


def lazy_exports(package, *groups):
    """Make the module functions ``__getattr__`` and ``__dir__`` of a package."""
    homes = {name: module for modules in groups for module, names in modules.items()
             for name in names}

    def get(name):
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(homes[name], package), name)
        setattr(sys.modules[package], name, value)
        return value

    def names():
        return sorted({*vars(sys.modules[package]), *homes})

    return get, names
