"""Results as measurements: fluxes, places, shapes, error bars, and what is not there."""

from .front import PARTS, fidelity
from .result import Fidelity

__all__ = ["PARTS", "Fidelity", "fidelity"]
