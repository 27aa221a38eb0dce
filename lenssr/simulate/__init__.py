"""Simulated skies: scenes, telescopes, and pairs of images of low and high resolution."""

from importlib import import_module

from ._catalog import simulate_catalog
from ._catalog_read import open_catalog
from ._cosmology import (
    LensPlane,
    critical_surface_density,
    einstein_radius,
    point_mass_einstein_radius,
)
from ._defects import Defects
from ._instrument import Instrument
from ._instruments import INSTRUMENTS
from ._layouts import write_pairs
from ._observations import pair_observations
from ._pair import LensPair, simulate_pair
from ._population import Population
from ._presets import PRESETS
from ._random_field import RandomField
from ._reobserve import reobserve
from ._scene import Grid, render
from ._subhalos import Subhalos
from ._substructure import SUBSTRUCTURES, Substructure
from ._vortex import Vortex, VortexLine

__all__ = ["INSTRUMENTS", "PRESETS", "SUBSTRUCTURES", "Defects", "Grid", "Instrument", "LensPair",
           "LensPlane", "PairStream", "Population", "RandomField", "Subhalos", "Substructure",
           "Vortex", "VortexLine", "critical_surface_density", "einstein_radius", "open_catalog",
           "pair_observations", "point_mass_einstein_radius", "render", "render_batch", "reobserve",
           "simulate_catalog", "simulate_pair", "write_pairs"]


def __getattr__(name):
    # These work in torch, which takes seconds to import.
    module = {"PairStream": "_stream", "render_batch": "_torch_scene"}.get(name)
    if module is not None:
        return getattr(import_module(f"lenssr.simulate.{module}"), name)
    raise AttributeError(f"module 'lenssr.simulate' has no attribute {name!r}")
