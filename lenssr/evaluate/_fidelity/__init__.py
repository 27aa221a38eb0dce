"""Results as measurements: fluxes, places, shapes, error bars, and what is not there."""

from lenssr.evaluate._fidelity._result import Fidelity
from lenssr.evaluate._fidelity._run import PARTS, fidelity

__all__ = ["PARTS", "Fidelity", "fidelity"]
