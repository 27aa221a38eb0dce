"""Recipes and training of classifiers."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch.nn import functional

from lenssr.classify._classify import (
    calibration_error,
    feature_domain,
    find_temperature,
    open_classifier,
    predict_logits,
    probabilities,
)
from lenssr.classify._scores import auc, one_vs_rest
from lenssr.networks import sinh_scale
from lenssr.simulate import open_catalog
from lenssr.train import (
    Distributed,
    Recipe,
    Trainer,
    check_fields,
    check_workers,
    choice_field,
    compare_card,
    number_field,
    open_pairs,
    recipe_from_card,
    run_steps,
)
from lenssr.weights import load_network, save_network

INPUT_IMAGES = ("hr", "lr", "sr")
WEIGHT_TOLERANCE = 1e-6  # deviation of the sum of the weights from one


@dataclass(frozen=True)
class InputConfig:
    """
    Input images of a classifier; the part ``[inputs]`` of a recipe.

    Parameters
    ----------
    input : {"hr", "lr", "sr"}
        Sharp image without noise; observed image interpolated to the pixels of the sharp image;
        or observed image restored by the network of ``weights``.
    scale : int
        Output pixels per input pixel; 2 by default.
    weights : str, optional
        Name or file of the restoration weights for ``"sr"``.
    noise : float
        Largest standard deviation of the added noise, in units of the peak. The noise of an image
        is log-uniform over two decades below it. The default of zero adds no noise.
    class_weights : list of float, optional
        Weight of each class in the loss, of sum one; equal by default.

    Examples
    --------
    >>> from lenssr.classify import InputConfig
    >>> InputConfig("lr").scale
    2
    """

    input: str = choice_field("hr", *INPUT_IMAGES)
    scale: int = number_field(2, 1, integer=True)
    weights: str | None = None
    noise: float = number_field(0.0, 0, 1)
    class_weights: list | None = None

    def __post_init__(self):
        check_fields(self)
        if (self.weights is None) != (self.input != "sr"):
            raise ValueError("recipe key `weights` must be given for the input 'sr' only, got "
                             f"{self.weights!r} for {self.input!r}")
        weights = self.class_weights
        if weights is None:
            return
        if not isinstance(weights, list | tuple) or not all(
                isinstance(w, int | float) and not isinstance(w, bool) and w >= 0
                for w in weights):
            raise ValueError("recipe key `class_weights` must be numbers that are not negative, "
                             f"got {weights!r}")
        if abs(sum(weights) - 1) > WEIGHT_TOLERANCE:
            raise ValueError(f"recipe key `class_weights` must have a sum of 1, got {weights!r} "
                             f"of sum {sum(weights):g}")


@dataclass(frozen=True)
class ClassifierRecipe(Recipe):
    """
    Training recipe of a classifier.

    Parameters
    ----------
    name : str
        Name of the weights.
    network : dict
        ``architecture`` (``"resnet"``, ``"alexnet"`` or ``"vgg"``) and its parameters.
    data : `~lenssr.train.Data`
        Training data; the classes are its ``substructure``.
    training : `~lenssr.train.Training`
        Options of the optimisation.
    inputs : `InputConfig`
        Input images.

    Raises
    ------
    ValueError
        If a key is invalid, or there are less than two classes.

    Examples
    --------
    >>> from lenssr.classify import ClassifierRecipe
    >>> ClassifierRecipe.read("classifier_resnet18").classes
    ('no_sub', 'cdm', 'axion')
    """

    inputs: InputConfig = field(default_factory=InputConfig)

    needed: ClassVar = ("architecture",)
    parts: ClassVar = {**Recipe.parts, "inputs": InputConfig}

    def __post_init__(self):
        super().__post_init__()
        if len(set(self.classes)) < 2 or len(set(self.classes)) != len(self.classes):
            raise ValueError("recipe key `substructure` must name at least two classes, each once, "
                             f"got {self.data.substructure!r}")
        weights = self.inputs.class_weights
        if weights is not None and len(weights) != len(self.classes):
            raise ValueError(f"recipe key `class_weights` must have a number for each of the "
                             f"{len(self.classes)} classes, got {weights!r}")

    @property
    def classes(self):
        """Names of the classes, in the order of the outputs."""
        return tuple(self.data.substructure or ())

    @property
    def config(self):
        """Parameters of `lenssr.networks.build_network`."""
        return {"classes": len(self.classes), **self.network}

    def pairs(self, restorer=None):
        """
        Return the recipe of the training pairs.

        Parameters
        ----------
        restorer : dict, optional
            Configuration of the restoration network.

        Returns
        -------
        recipe : `~lenssr.train.Recipe`
            Recipe whose pairs the classifier is trained on.
        """
        network = restorer or {"architecture": "srcnn", "scale": self.inputs.scale}
        return Recipe(self.name, network, self.data, self.training)


NOISE_DECADES = 2.0  # width in decades of the distribution of the added noise


class ClassifierInputs:
    """Conversion of a batch of pairs to the input images of a classifier."""

    def __init__(self, inputs, device):
        self.inputs, self.device, self.restorer, self.config = inputs, device, None, None
        self.restored_by = "none"
        if inputs.input == "sr":
            network, card = load_network(inputs.weights)
            if inputs.scale not in card.scales:
                raise ValueError(f"recipe key `weights` must be of scale {inputs.scale}, "
                                 f"{card.name!r} is of {' or '.join(map(str, card.scales))}")
            self.restorer = network.to(device, memory_format=torch.channels_last)
            self.config = {**card.network, "scale": inputs.scale}
            self.restored_by = card.sha256[:16]

    @torch.no_grad()
    def __call__(self, batch, noisy=False):
        """Return linear images, shape ``(batch, 1, n, n)``."""
        if self.inputs.input == "hr":
            image = batch.truth
        elif self.inputs.input == "lr":
            image = functional.interpolate(batch.lr, scale_factor=batch.scale, mode="bilinear",
                                           align_corners=False)
        else:
            image = sinh_scale(self.restorer(*batch.inputs(self.device)).float())
        image = image.to(self.device)
        return self._with_noise(image) if noisy and self.inputs.noise else image

    def _with_noise(self, image):
        peak = image.abs().amax(dim=(1, 2, 3), keepdim=True)
        decades = NOISE_DECADES * torch.rand_like(peak)
        return image + peak * self.inputs.noise * 10**-decades * torch.randn_like(image)


class Labels:
    """Class labels of pairs by pair number."""

    def __init__(self, classes, catalog=None):
        self.classes, self.known = classes, None
        if catalog is not None:
            self.known = catalog_labels(open_catalog(catalog), classes)

    def __call__(self, indices):
        numbers = np.asarray(indices)
        labels = numbers % len(self.classes) if self.known is None else self.known[numbers]
        return torch.as_tensor(labels, dtype=torch.int64)


def catalog_labels(catalog, classes):
    """
    Return the class number of each pair of a catalogue; raise `ValueError` for unlabelled
    pairs.
    """
    table = getattr(catalog, "table", None)
    if table is None or "substructure" not in table.colnames:
        raise ValueError("`catalog` must have labels, a column `substructure` in its table of "
                         f"truths, {str(catalog.path)!r} has none")
    names = [str(name) for name in table["substructure"]]
    unknown = sorted(set(names) - set(classes))
    if unknown:
        raise ValueError(f"`catalog` must hold the classes {', '.join(classes)} only, got "
                         f"{', '.join(unknown)} in {str(catalog.path)!r}")
    return np.array([classes.index(name) for name in names])


def open_inputs(recipe, device, progress=False):
    """Open training and validation pairs with their inputs and labels."""
    viewer = ClassifierInputs(recipe.inputs, device)
    source = recipe.pairs(viewer.config)
    pairs, validation_pairs = (open_pairs(source, validation, progress)
                               for validation in (False, True))
    return pairs, validation_pairs, viewer, Labels(recipe.classes, recipe.data.catalog)


def train_classifier(recipe, folder, *, device=None, workers=None, progress=True):
    """
    Train a classifier by a recipe, or resume an interrupted training.

    The temperature of the probabilities and the domain of the classifier are measured on the
    validation set.

    Parameters
    ----------
    recipe : path-like, str or `ClassifierRecipe`
        TOML file, name of a shipped recipe, or recipe.
    folder : path-like
        Folder of checkpoint, validation curve, weights and card.
    device : str, optional
        Torch device; CUDA by default if there is a GPU.
    workers : int, optional
        Worker processes that prepare batches, as in `lenssr.train.fit`.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    weights : `~pathlib.Path`
        Weights in half precision, with their card in the same folder.

    Raises
    ------
    ValueError
        If the recipe is invalid, ``folder`` holds the run of another recipe, a catalogue has no
        labels, or ``workers`` is negative.
    FloatingPointError
        If the loss or its gradient is not finite; the last checkpoint is kept.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from lenssr.classify import ClassifierRecipe, train_classifier
    >>> from lenssr.train import Data, Training
    >>> recipe = ClassifierRecipe(
    ...     "tiny", {"architecture": "resnet", "width": 4, "blocks": [1, 1]},
    ...     Data("classification", scenes=6, validation_scenes=6, size=16,
    ...          substructure=["no_sub", "cdm"]),
    ...     Training(steps=2, batch=4, warmup=1))
    >>> with TemporaryDirectory() as folder:
    ...     weights = train_classifier(recipe, folder, progress=False)
    """
    workers = check_workers(workers)
    recipe = ClassifierRecipe.read(recipe)
    with Distributed(device) as distributed:
        progress = progress and distributed.first
        Path(folder).mkdir(parents=True, exist_ok=True)
        pairs, validation_pairs, viewer, labels = distributed.rank_zero_first(
            lambda: open_inputs(recipe, distributed.device, progress))
        trainer = ClassifierTrainer(recipe, folder, distributed, viewer, labels)
        trainer.resume()
        trainer.set_schedule(pairs)
        run_steps(trainer, pairs, validation_pairs, progress, workers)
        path = trainer.folder / f"{recipe.name}.safetensors"
        if distributed.first:
            _finish(trainer, validation_pairs, path)
        return path


class ClassifierTrainer(Trainer):
    """Trainer of a classifier, with the cross-entropy loss."""

    best_by = "accuracy"

    def __init__(self, recipe, folder, distributed, viewer, labels):
        super().__init__(recipe, folder, distributed)
        self.viewer, self.labels = viewer, labels
        weights = recipe.inputs.class_weights
        self.weights = None if weights is None else torch.tensor(
            weights, dtype=torch.float32, device=self.device)

    @property
    def config(self):
        return self.recipe.config

    def loss(self, batch):
        image = self.viewer(batch, noisy=True)
        labels = self.labels(batch.indices).to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            logits = self.model(image)
        return functional.cross_entropy(logits.float(), labels, self.weights)

    def metrics(self, pairs):
        """Measure the metrics of the averaged network."""
        return single_view_metrics(self.average, pairs, self.viewer, self.labels)


def single_view_metrics(network, pairs, viewer, labels):
    """Measure accuracy, cross-entropy and areas under the ROC curves of single images."""
    logits, true, _ = validation_logits(network, pairs, viewer, labels, _single_view)
    class_probabilities = probabilities(logits)
    right = (class_probabilities.argmax(axis=1) == true).mean()
    entropy = -np.log(np.clip(class_probabilities[np.arange(len(true)), true], 1e-12, None)).mean()
    areas = {f"auc_{name}": auc(class_probabilities[:, k], one_vs_rest(true, k))
             for k, name in enumerate(labels.classes)}
    return {"accuracy": float(right), "entropy": float(entropy), **areas}


def calibrated_metrics(logits, true, temperature):
    """Measure accuracy and calibration error of logits averaged over all symmetries."""
    return {"accuracy": float((logits.argmax(axis=1) == true).mean()),
            "calibration_error": calibration_error(probabilities(logits, temperature), true)}


def validation_logits(network, pairs, viewer, labels, predict=predict_logits):
    """Compute logits, labels and features of all validation pairs."""
    all_logits, true, all_features = [], [], []
    for batch in pairs.batches():
        logits, features = predict(network, viewer(batch))
        all_logits.append(logits)
        all_features.append(features)
        true.append(labels(batch.indices).numpy())
    return tuple(np.concatenate(parts) for parts in (all_logits, true, all_features))


@torch.no_grad()
def _single_view(network, images):
    """Compute the logits of images without averaging over symmetries."""
    last = network.features(images)[-1]
    return network.classify(last).float().cpu().numpy(), last.float().mean((-2, -1)).cpu().numpy()


def _finish(trainer, validation_pairs, path):
    """Write the weights and their card."""
    recipe, (network, row) = trainer.recipe, trainer.select_best()
    kept = network.half().float()
    logits, labels, features = validation_logits(kept, validation_pairs, trainer.viewer,
                                                 trainer.labels)
    temperature = find_temperature(logits, labels)
    metrics = {name: value for name, value in row.items() if name != "step"}
    metrics |= calibrated_metrics(logits, labels, temperature)
    save_network(
        path, kept.half(), name=recipe.name, network=recipe.config, recipe=recipe.as_dict(),
        metrics=metrics, steps=row["step"], hours=round(trainer.seconds / 3600, 2),
        classifier={"classes": list(recipe.classes), "temperature": temperature,
                    "size": trainer.viewer.inputs.scale * recipe.data.size,
                    "restored_by": trainer.viewer.restored_by,
                    "domain": feature_domain(features, labels, len(recipe.classes))})


def evaluate_classifier(weights, *, device=None, progress=True):
    """
    Measure the metrics in the card of a classifier again, on its validation set.

    Parameters
    ----------
    weights : str or path-like
        Name of shipped weights, or a ``.safetensors`` file with its card.
    device : str, optional
        Torch device; CUDA by default if there is a GPU.
    progress : bool
        Whether to show the progress of rendering.

    Returns
    -------
    metrics : `~astropy.table.Table`
        Table as returned by `lenssr.train.evaluate_weights`: accuracy, cross-entropy, areas under
        the ROC curves, and calibration error.

    Raises
    ------
    ValueError
        If the weights are damaged or not a classifier, or their card has no recipe.
    FileNotFoundError
        If the weights do not exist.

    Examples
    --------
    The validation set takes minutes to render.

    >>> from lenssr.classify import evaluate_classifier
    >>> table = evaluate_classifier("classifier-resnet18")  # doctest: +SKIP
    """
    with Distributed(device) as distributed:
        judge = open_classifier(weights, distributed.device)
        recipe = recipe_from_card(judge.card, ClassifierRecipe)
        viewer = ClassifierInputs(recipe.inputs, distributed.device)
        validation_pairs = open_pairs(recipe.pairs(viewer.config), True, progress)
        labels = Labels(judge.classes, recipe.data.catalog)
        metrics = single_view_metrics(judge.network, validation_pairs, viewer, labels)
        logits, true, _ = validation_logits(judge.network, validation_pairs, viewer, labels)
    return compare_card(judge.card, {
        **metrics, **calibrated_metrics(logits, true, judge.card.classifier["temperature"])})
