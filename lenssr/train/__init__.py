"""Training of networks on simulated pairs."""

from ._evaluate import evaluate_weights
from ._find_lr import LearningRates, find_learning_rate
from ._loop import fit
from ._recipe import Data, Recipe, Training

__all__ = ["Data", "LearningRates", "Recipe", "Training", "evaluate_weights",
           "find_learning_rate", "fit"]
