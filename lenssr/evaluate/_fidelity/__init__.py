"""Results as measurements: fluxes, places, shapes, error bars, and what is not there."""

from lenssr.evaluate._fidelity.front import PARTS, fidelity
from lenssr.evaluate._fidelity.result import Fidelity

__all__ = ["PARTS", "Fidelity", "fidelity"]
