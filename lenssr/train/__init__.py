"""Training of networks on simulated pairs."""

from ._adapt import Adaptation, adapt
from ._calibrate import Calibration, calibrate
from ._evaluate import evaluate_weights
from ._find_lr import LearningRates, find_learning_rate
from ._finetune import finetune
from ._generated import draw_arcs
from ._loop import fit
from ._recipe import Adversarial, Data, Recipe, Training

__all__ = ["Adaptation", "Adversarial", "Calibration", "Data", "LearningRates", "Recipe",
           "Training", "adapt", "calibrate", "draw_arcs", "evaluate_weights",
           "find_learning_rate", "finetune", "fit"]
