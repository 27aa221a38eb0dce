"""Training of a classifier, by the loop that trains the networks that restore."""

from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from lenssr.classify._judge import judge
from lenssr.classify._known import known_images
from lenssr.classify._looks import open_views
from lenssr.classify._recipe import ClassifierRecipe
from lenssr.classify._scores import auc, one_vs_rest
from lenssr.classify._temperature import calibration_error, find_temperature, probabilities
from lenssr.train import Distributed, Trainer, check_workers, run_steps
from lenssr.weights import save_network

__all__ = ["ClassifierTrainer", "figures_in_use", "figures_seen_once", "look",
           "train_classifier"]


def train_classifier(recipe, folder, *, device=None, workers=None, progress=True):
    """
    Train a classifier by a recipe, or go on where an earlier run of it stopped.

    Its probabilities are calibrated by a temperature, and the images that it knows are
    described, both on the validation set, which it was not trained on.

    Parameters
    ----------
    recipe : path-like, str or `ClassifierRecipe`
        A TOML file, the name of a shipped recipe, or the recipe itself.
    folder : path-like
        Where checkpoint, validation curve, weights and card go.
    device : str, optional
        Torch device; CUDA where there is one by default.
    workers : int, optional
        As `lenssr.train.fit` takes them.
    progress : bool
        Show a progress bar.

    Returns
    -------
    weights : `~pathlib.Path`
        The weights, in half precision, with their card beside them.

    Raises
    ------
    ValueError
        If the recipe is wrong, ``folder`` holds a run of another recipe, a catalogue has no
        labels, or ``workers`` is negative.
    FloatingPointError
        If the loss or its gradient is not finite; the last checkpoint is kept.
    """
    workers = check_workers(workers)
    recipe = ClassifierRecipe.read(recipe)
    with Distributed(device) as team:
        progress = progress and team.first
        Path(folder).mkdir(parents=True, exist_ok=True)
        pairs, unseen, viewer, labels = team.one_by_one(
            lambda: open_views(recipe, team.device, progress))
        trainer = ClassifierTrainer(recipe, folder, team, viewer, labels)
        trainer.begin()
        trainer.plan(pairs)
        run_steps(trainer, pairs, unseen, progress, workers)
        path = trainer.folder / f"{recipe.name}.safetensors"
        if team.first:
            _finish(trainer, unseen, path)
        return path


class ClassifierTrainer(Trainer):
    """A `~lenssr.train._trainer.Trainer` of a classifier, by cross-entropy."""

    best_by = "accuracy"

    def __init__(self, recipe, folder, team, viewer, labels):
        super().__init__(recipe, folder, team)
        self.viewer, self.labels = viewer, labels
        weights = recipe.looks.class_weights
        self.weights = None if weights is None else torch.tensor(
            weights, dtype=torch.float32, device=self.device)

    @property
    def sizes(self):
        return self.recipe.sizes

    def loss(self, batch):
        image = self.viewer(batch, noisy=True)
        labels = self.labels(batch.indices).to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            logits = self.model(image)
        return functional.cross_entropy(logits.float(), labels, self.weights)

    def figures(self, pairs):
        """What `figures_seen_once` gives of the averaged network."""
        return figures_seen_once(self.average, pairs, self.viewer, self.labels)


def figures_seen_once(network, pairs, viewer, labels):
    """Accuracy, cross-entropy and areas under the curves, of images as they are."""
    logits, true, _ = look(network, pairs, viewer, labels, _one_view)
    chances = probabilities(logits)
    right = (chances.argmax(axis=1) == true).mean()
    entropy = -np.log(np.clip(chances[np.arange(len(true)), true], 1e-12, None)).mean()
    areas = {f"auc_{name}": auc(chances[:, k], one_vs_rest(true, k))
             for k, name in enumerate(labels.classes)}
    return {"accuracy": float(right), "entropy": float(entropy), **areas}


def figures_in_use(logits, true, temperature):
    """Accuracy and error of calibration, of the mean over all symmetries."""
    return {"accuracy": float((logits.argmax(axis=1) == true).mean()),
            "calibration_error": calibration_error(probabilities(logits, temperature), true)}


def look(network, pairs, viewer, labels, how=judge):
    """What a classifier says of all pairs that there are to validate with."""
    said, true, found = [], [], []
    for batch in pairs.batches():
        logits, features = how(network, viewer(batch))
        said.append(logits)
        found.append(features)
        true.append(labels(batch.indices).numpy())
    return tuple(np.concatenate(parts) for parts in (said, true, found))


@torch.no_grad()
def _one_view(network, images):
    """As `judge`, of the images as they are."""
    last = network.features(images)[-1]
    return network.classify(last).float().cpu().numpy(), last.float().mean((-2, -1)).cpu().numpy()


def _finish(trainer, unseen, path):
    """Write the weights as they will be kept, and what is known of them."""
    recipe, (network, row) = trainer.recipe, trainer.chosen()
    kept = network.half().float()
    logits, labels, features = look(kept, unseen, trainer.viewer, trainer.labels)
    temperature = find_temperature(logits, labels)
    figures = {name: value for name, value in row.items() if name != "step"}
    figures |= figures_in_use(logits, labels, temperature)
    save_network(
        path, kept.half(), name=recipe.name, network=recipe.sizes, recipe=recipe.as_dict(),
        figures=figures, steps=row["step"], hours=round(trainer.seconds / 3600, 2),
        classifier={"classes": list(recipe.classes), "temperature": temperature,
                    "size": trainer.viewer.looks.scale * recipe.data.size,
                    "restored_by": trainer.viewer.restored_by,
                    "domain": known_images(features, labels, len(recipe.classes))})
