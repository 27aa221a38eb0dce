"""Simulated skies: scenes, telescopes, and pairs of images of low and high resolution."""

from importlib import import_module

from ._cosmology import critical_surface_density, einstein_radius, point_mass_einstein_radius
from ._pair import LensPair, simulate_pair
from ._population import Population
from ._reobserve import reobserve
from ._scene import Grid, render

__all__ = ["Grid", "Instrument", "LensPair", "Population", "critical_surface_density",
           "einstein_radius", "point_mass_einstein_radius", "render", "reobserve",
           "simulate_pair"]


def __getattr__(name):
    # The instrument works in torch, which takes seconds to import.
    if name == "Instrument":
        return import_module("lenssr.simulate._instrument").Instrument
    raise AttributeError(f"module 'lenssr.simulate' has no attribute {name!r}")
