"""What has to be trained for the experiment on dark matter: restorers, and classifiers."""

import dataclasses
import json
from pathlib import Path

from lenssr.classify._recipe import ClassifierRecipe, InputConfig
from lenssr.classify._train import train_classifier
from lenssr.train import Recipe, fit, recipe_difference
from lenssr.weights import find_weights, is_shipped, read_card

__all__ = ["CLASSES", "RESTORERS", "Plan"]

CLASSES = ("no_sub", "cdm", "axion")

RESTORERS = {"all": CLASSES, "cdm": ("cdm",), "no_sub": ("no_sub",), "random": ("random",)}
"""On what substructure networks that restore are trained: a name, and classes."""

RESTORER, CLASSIFIER = "rcan_all", "classifier_resnet18"
"""Recipes: of the one that has seen all classes, and of the one that has seen sharp images."""
TUNED = {"hr": (0.4, 1, 1), "lr": (2.0, 2, 4), "sr": (2.0, 2, 4)}
"""Of a classifier that begins with the weights of that of sharp images: steps over its steps,
cycles of the rate, and scenes over its scenes. In what telescopes see it has to learn
anew what substructure looks like."""
TESTED = 5  # seed of the pairs that are tested, which nothing is trained on


class Plan:
    """
    The trainings of the experiment, made as they are asked for; what is there, or comes with lenssr
    by the same recipe, is not made again.
    """

    def __init__(self, folder, preset="classification", *, effort=1.0, device=None,
                 progress=False):
        self.folder, self.preset, self.effort = folder, preset, effort
        self.device, self.progress = device, progress

    def restorer(self, name):
        """File of weights of the network trained on one of the `RESTORERS`."""
        recipe = self.restorer_recipe(name)
        return self._made(recipe, fit)

    def restorer_recipe(self, name):
        """The `~lenssr.train.Recipe` of that."""
        found, classes = Recipe.read(RESTORER), list(RESTORERS[name])
        scenes = found.data.scenes if len(classes) > 1 else found.data.scenes // 2
        data = dataclasses.replace(found.data, preset=self.preset, scenes=scenes,
                                   substructure=classes)
        return dataclasses.replace(found, name=f"rcan-{name}", data=data,
                                   training=self._training(found))

    def classifier(self, looks="hr", restorer=None, noise=0.0, preset=None):
        """File of weights of a classifier."""
        return self._made(self.classifier_recipe(looks, restorer, noise, preset),
                          train_classifier)

    def classifier_recipe(self, looks, restorer=None, noise=0.0, preset=None):
        """The `ClassifierRecipe` of that: the shipped one, shown something else."""
        found = ClassifierRecipe.read(CLASSIFIER)
        looks = InputConfig(looks, 2, str(self.restorer(restorer)) if restorer else None, noise)
        name = "-".join([found.name, *([looks.input] if looks.input != "hr" else []),
                         *([restorer] if restorer else []), *(["noise"] if noise else []),
                         *([preset.split("-")[-1]] if preset else [])])
        sharp = name == found.name
        share, cycles, more = (1, 1, 1) if sharp else TUNED[looks.input]
        training = dataclasses.replace(self._training(found, share), cycles=cycles,
                                       init=None if sharp else str(self.classifier()))
        data = dataclasses.replace(found.data, preset=preset or self.preset,
                                   scenes=more * found.data.scenes)
        return dataclasses.replace(found, name=name, data=data, training=training,
                                   looks=looks)

    def _training(self, found, share=1):
        """That of a recipe, of a share of its steps."""
        training = found.training
        steps = max(1, round(self.effort * training.steps * share))
        return dataclasses.replace(training, steps=steps, warmup=min(training.warmup, steps),
                                   validate_every=min(training.validate_every, steps))

    def _made(self, recipe, make):
        path = self.folder / recipe.name / f"{recipe.name}.safetensors"
        if path.exists():
            check_recipe(path, recipe)
            return path
        if is_shipped(recipe.name) and not other_recipe(find_weights(recipe.name), recipe):
            return find_weights(recipe.name)
        return make(recipe, path.parent, device=self.device, progress=self.progress)


def check_recipe(path, recipe):
    """`ValueError` unless weights were made by a recipe, wherever the folder of the runs was."""
    other = other_recipe(path, recipe)
    if other:
        raise ValueError(f"`runs` must be new or hold trainings of the same recipes; {path} was "
                         f"made by another one: {other}")


def other_recipe(path, recipe):
    """By what the recipe of weights differs from another, in words, but for folders; or nothing."""
    # Keys that an earlier version did not have are as they are by default.
    old = type(recipe).from_dict(read_card(path).recipe)
    old, new = _without_folders(old), _without_folders(recipe)
    return recipe_difference(old, new) if old != new else ""


def _without_folders(recipe):
    """A recipe as a card has it, without the folders that its weights are in."""
    found = json.loads(json.dumps(recipe.as_dict()))
    for part, key in (("training", "init"), ("looks", "weights")):
        file = found.get(part, {}).get(key)
        if file is not None:
            found[part][key] = Path(file).stem
    return found
