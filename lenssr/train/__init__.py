"""Training of networks on simulated pairs."""

from ._loop import fit
from ._recipe import Data, Recipe, Training

__all__ = ["Data", "Recipe", "Training", "fit"]
