"""Recipes of classifiers: those of the training, and what the classifier looks at."""

from dataclasses import dataclass, field
from typing import ClassVar

from lenssr.train import Recipe, check_fields, choice_field, number_field

__all__ = ["INPUTS", "ClassifierRecipe", "InputConfig"]

INPUTS = ("hr", "lr", "sr")
BALANCE = 1e-6  # by which the sum of weights may differ from one


@dataclass(frozen=True)
class InputConfig:
    """
    What a classifier looks at; parameters as in the recipe files.

    Parameters
    ----------
    input : {"hr", "lr", "sr"}
        The sharp image without noise; the observed one, interpolated to the same pixels; or the
        observed one as the network of ``weights`` restores it.
    scale : int
        Output pixels per input pixel.
    weights : str, optional
        Name or file of the weights that restore, for ``"sr"``.
    noise : float
        Largest noise that is added to an image, as a share of its peak; each has one drawn
        uniformly in its logarithm over two decades. None is added by default.
    class_weights : list of float, optional
        Weight of each class in the loss, of sum one; all alike by default.
    """

    input: str = choice_field("hr", *INPUTS)
    scale: int = number_field(2, 1, whole=True)
    weights: str | None = None
    noise: float = number_field(0.0, 0, 1)
    class_weights: list | None = None

    def __post_init__(self):
        check_fields(self)
        if (self.weights is None) != (self.input != "sr"):
            raise ValueError("recipe key `weights` must be given for the input 'sr', and for no "
                             f"other, got {self.weights!r} for {self.input!r}")
        weights = self.class_weights
        if weights is None:
            return
        if not isinstance(weights, list | tuple) or not all(
                isinstance(w, int | float) and not isinstance(w, bool) and w >= 0
                for w in weights):
            raise ValueError("recipe key `class_weights` must be numbers that are not negative, "
                             f"got {weights!r}")
        if abs(sum(weights) - 1) > BALANCE:
            raise ValueError(f"recipe key `class_weights` must have a sum of 1, got {weights!r} "
                             f"of sum {sum(weights):g}")


@dataclass(frozen=True)
class ClassifierRecipe(Recipe):
    """
    A training run of a classifier.

    Parameters
    ----------
    name, network, data, training
        As `~lenssr.train.Recipe` has them; ``network`` needs no scale, and the classes are those
        that ``data`` names as its ``substructure``.
    looks : `Looks`
        What it looks at.

    Raises
    ------
    ValueError
        If a key is wrong, or there are no classes to tell apart.
    """

    looks: InputConfig = field(default_factory=InputConfig)

    needed: ClassVar = ("architecture",)
    parts: ClassVar = {**Recipe.parts, "looks": InputConfig}

    def __post_init__(self):
        super().__post_init__()
        if len(set(self.classes)) < 2 or len(set(self.classes)) != len(self.classes):
            raise ValueError("recipe key `substructure` must name at least two classes, each once, "
                             f"got {self.data.substructure!r}")
        weights = self.looks.class_weights
        if weights is not None and len(weights) != len(self.classes):
            raise ValueError(f"recipe key `class_weights` must have a number for each of the "
                             f"{len(self.classes)} classes, got {weights!r}")

    @property
    def classes(self):
        """Names of the classes, in the order of the outputs."""
        return tuple(self.data.substructure or ())

    @property
    def sizes(self):
        """What ``lenssr.networks.build`` takes."""
        return {"classes": len(self.classes), **self.network}

    def pairs(self, restorer=None):
        """
        The recipe whose pairs these are, as a network that restores them is trained on.

        Parameters
        ----------
        restorer : dict, optional
            Sizes of that network.
        """
        network = restorer or {"architecture": "none", "scale": self.looks.scale}
        return Recipe(self.name, network, self.data, self.training)
