"""Fidelity tests: flux, astrometry, shapes, coverage and false detections."""

from lenssr.evaluate._fidelity._result import Fidelity
from lenssr.evaluate._fidelity._run import PARTS, fidelity

__all__ = ["PARTS", "Fidelity", "fidelity"]
