"""Dark-matter experiment: classification of sharp, observed and restored images."""

import dataclasses
import json
import warnings
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lenssr._io import atomic_write, check_overwrite
from lenssr._validation import check_nonnegative_int, check_positive_int, check_positive_number
from lenssr.classify._classify import open_classifier
from lenssr.classify._scores import (
    DarkMatter,
    confusion_table,
    file_names,
    roc_table,
    scores_table,
    subhalo_table,
    twin_series,
)
from lenssr.classify._train import ClassifierRecipe, InputConfig, train_classifier
from lenssr.exceptions import LensSRWarning
from lenssr.image import LensImage
from lenssr.methods import (
    DataResidual,
    RegularisedInverse,
    RunOptions,
    discrepancy_variance,
    make_method,
)
from lenssr.simulate import CLASSES, PairSeries, find_preset
from lenssr.train import Recipe, fit, recipe_difference
from lenssr.weights import find_weights, is_shipped, read_card, shipped_weights

CONSISTENT_SUFFIX = ", data-consistent"
"""Suffix of the label of data-consistent restorations."""


def lens_images(batch):
    """
    Return the observed images of a batch of pairs as `~lenssr.image.LensImage`, and their
    truths.
    """
    sky = batch.observation.sky_electrons.double().numpy()
    scale = batch.truth.shape[-1] // batch.lr.shape[-1]
    images = []
    for k, unit in enumerate(sky):
        lr, sigma, psf = (part[k].double().numpy() for part in (batch.lr, batch.sigma, batch.psf))
        images.append(LensImage(lr / unit, sigma / unit, np.zeros(lr.shape, bool),
                                psf / psf.sum(), 1.0))
    truths = batch.truth.double().numpy() * scale**2 / sky[:, None, None]
    return images, truths


def restorer_from_method(name, scale=2, device=None, **options):
    """Return a function that restores a `~lenssr.image.LensImage` with a named method."""
    return _restorer(make_method(name, scale, options), scale, device)


def restorer_from_weights(file, scale=2, device=None):
    """Return a function that restores a `~lenssr.image.LensImage` with a weights file."""
    architecture = read_card(file).network["architecture"]
    return _restorer(make_method(architecture, scale, {"weights": file}), scale, device)


def _restorer(method, scale, device):
    run = RunOptions(scale=scale, device=device)
    if hasattr(method, "prepare"):
        # Noise probes cost several restorations and are not needed here.
        return lambda image: method.bind(image, run)[0](image)
    if hasattr(method, "n_probes"):
        method.n_probes = 1
    return lambda image: method.restore(image, run).mean


def restore_consistently(restorer, image, scale=2):
    """Restore an image and move the result to the nearest image consistent with the data."""
    mean, operator = restorer(image), DataResidual(image, scale)
    residual = operator.residual(mean)
    if np.sum(residual**2) <= operator.count:
        return mean
    variance = discrepancy_variance(operator, residual)
    return mean if variance is None else mean + RegularisedInverse(operator, variance)(residual)


class Restorations:
    """Restored images of pairs, by several restorers."""

    def __init__(self, restorers):
        self.restorers = {"HR": None, **restorers}

    @classmethod
    def with_consistent(cls, restorers, labels):
        """Add data-consistent results of the restorers ``labels``."""
        moved = {f"{label}{CONSISTENT_SUFFIX}": partial(restore_consistently, restorers[label])
                 for label in labels}
        return cls({**restorers, **moved})

    @classmethod
    def only(cls, restorers):
        """Select restorers; `None` stands for the truth."""
        restorations = cls({})
        restorations.restorers = dict(restorers)
        return restorations

    def __call__(self, batch):
        """Restore a batch of pairs; return arrays ``(n, scale * m, scale * m)`` by label."""
        images, truths = lens_images(batch)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LensSRWarning)
            return {label: truths if restorer is None
                    else np.stack([restorer(image) for image in images])
                    for label, restorer in self.restorers.items()}


RESTORERS = {"all": CLASSES, "cdm": ("cdm",), "no_sub": ("no_sub",), "random": ("random",)}
"""Restorers by name, and the substructure classes of their training."""

RESTORER_RECIPE, CLASSIFIER_RECIPE = "rcan_all", "classifier_resnet18"
"""Recipes of the restorer of all classes, and of the classifier of sharp images."""
INPUT_SETTINGS = {"hr": (0.4, 1, 1), "lr": (2.0, 2, 4), "sr": (2.0, 2, 4)}
"""Of a classifier that begins with the weights of that of sharp images: steps over its steps,
cycles of the rate, and scenes over its scenes. In what telescopes see it has to learn
again what substructure looks like."""
TEST_SEED = 5  # seed of the test pairs, which no network is trained on


class TrainingPlan:
    """
    Trainings of the experiment, run on demand; matching finished or shipped weights are
    reused.
    """

    def __init__(self, folder, preset="classification", *, effort=1.0, device=None,
                 progress=False):
        self.folder, self.preset, self.effort = folder, preset, effort
        self.device, self.progress = device, progress

    def restorer(self, name):
        """Return the weights file of the network trained on one of the `RESTORERS`."""
        recipe = self.restorer_recipe(name)
        return self._made(recipe, fit)

    def restorer_recipe(self, name):
        """Return the recipe of a restoration network."""
        recipe, classes = Recipe.read(RESTORER_RECIPE), list(RESTORERS[name])
        scenes = recipe.data.scenes if len(classes) > 1 else recipe.data.scenes // 2
        data = dataclasses.replace(recipe.data, preset=self.preset, scenes=scenes,
                                   substructure=classes)
        return dataclasses.replace(recipe, name=f"rcan-{name}", data=data,
                                   training=self._training(recipe))

    def classifier(self, inputs="hr", restorer=None, noise=0.0, preset=None):
        """Return the weights file of a classifier."""
        return self._made(self.classifier_recipe(inputs, restorer, noise, preset),
                          train_classifier)

    def classifier_recipe(self, inputs, restorer=None, noise=0.0, preset=None):
        """Return the recipe of a classifier: the shipped recipe with other inputs."""
        recipe = ClassifierRecipe.read(CLASSIFIER_RECIPE)
        inputs = InputConfig(inputs, 2, str(self.restorer(restorer)) if restorer else None, noise)
        name = "-".join([recipe.name, *([inputs.input] if inputs.input != "hr" else []),
                         *([restorer] if restorer else []), *(["noise"] if noise else []),
                         *([preset.split("-")[-1]] if preset else [])])
        is_sharp = name == recipe.name
        step_fraction, cycles, more = (1, 1, 1) if is_sharp else INPUT_SETTINGS[inputs.input]
        training = dataclasses.replace(self._training(recipe, step_fraction), cycles=cycles,
                                       init=None if is_sharp else str(self.classifier()))
        data = dataclasses.replace(recipe.data, preset=preset or self.preset,
                                   scenes=more * recipe.data.scenes)
        return dataclasses.replace(recipe, name=name, data=data, training=training,
                                   inputs=inputs)

    def _training(self, recipe, step_fraction=1):
        """Return the training options of a recipe with a fraction of its steps."""
        training = recipe.training
        steps = max(1, round(self.effort * training.steps * step_fraction))
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
    """Raise `ValueError` unless weights were trained by a recipe, apart from folder names."""
    difference = other_recipe(path, recipe)
    if difference:
        raise ValueError(f"`runs` must be new or hold trainings of the same recipes; {path} has "
                         f"another recipe: {difference}")


def other_recipe(path, recipe):
    """Describe the first difference between the recipe of weights and another recipe."""
    # Keys that a card lacks have their default values.
    old = type(recipe).from_dict(read_card(path).recipe)
    old, new = without_folders(old), without_folders(recipe)
    return recipe_difference(old, new) if old != new else ""


def without_folders(recipe):
    """Return a recipe as a card stores it, without the folders of weights."""
    fields = json.loads(json.dumps(recipe.as_dict()))
    for part, key in (("training", "init"), ("inputs", "weights")):
        file = fields.get(part, {}).get(key)
        if file is not None:
            fields[part][key] = Path(file).stem
    return fields


RESTORED_BATCH = 50  # pairs that are restored and stored together
METHODS = ("bilinear", "richardson_lucy", "wiener", "unrolled")
CONSISTENT_METHODS = ("RCAN of cdm", "RCAN of no_sub")
MATCHED_PRESET = "classification"
OTHER_PRESETS = {"unmatched": "classification-unmatched", "physical": "classification-physical"}
"""What the experiment on that preset is compared with."""
CLASSIFIERS = {"HR": ("hr",), "HR with noise": ("hr", None, 0.03), "LR": ("lr",),
               "SR": ("sr", "all"), "SR of cdm": ("sr", "cdm"),
               "LR, unmatched": ("lr", None, 0.0, OTHER_PRESETS["unmatched"]),
               "HR, physical": ("hr", None, 0.0, OTHER_PRESETS["physical"])}
TRAINED_ON = {"LR": ("bilinear", "bilinear, unmatched"),
              "SR": (*(f"RCAN of {name}" for name in RESTORERS), f"RCAN of cdm{CONSISTENT_SUFFIX}",
                     "unrolled", "HR"),
              "SR of cdm": ("RCAN of cdm",), "LR, unmatched": ("bilinear", "bilinear, unmatched"),
              "HR, physical": ("HR", "HR, physical")}
"""Restorations that a classifier is tested on, its training images first."""


def dark_matter(out, *, runs=None, n=1800, n_twins=150, preset="classification", seed=TEST_SEED,
                classifiers=tuple(CLASSIFIERS), restorers=tuple(RESTORERS),
                effort=1.0, device=None, overwrite=False, progress=False):
    """
    Run the dark-matter experiment: train classifiers and restorers, and test them on new lenses.

    Classifiers are trained on sharp, observed and restored images. Restorers are trained on all
    classes of dark matter, on one class, and on random mass fields. Finished trainings and
    restorations are reused, so that an interrupted run continues.

    Parameters
    ----------
    out : path-like
        Folder of the tables and the figure.
    runs : path-like, optional
        Folder of trainings and restored images; ``runs`` in ``out`` by default.
    n : int
        Number of test pairs; the classes alternate.
    n_twins : int
        Number of smooth lenses that get a subhalo.
    preset : str
        Preset of the pairs.
    seed : int
        Seed of the test pairs.
    classifiers, restorers : sequence of str
        Names of the classifiers and restorers. The classifier ``"HR"`` is always trained.
    effort : float
        Fraction of the training steps, for a trial run.
    device : str, optional
        Torch device; CUDA by default if there is a GPU.
    overwrite : bool
        Whether to replace existing tables.
    progress : bool
        Whether to show progress bars.

    Returns
    -------
    result : `DarkMatter`
        Tables of the experiment.

    Raises
    ------
    ValueError
        If a number or a name is invalid.
    OSError
        If a file exists and ``overwrite`` is false.

    Examples
    --------
    The experiment takes hours.

    >>> from lenssr.classify import dark_matter
    >>> result = dark_matter("dark-matter", n=300, effort=0.1)  # doctest: +SKIP
    """
    check_positive_int("n", n), check_positive_int("n_twins",
                                                   n_twins), check_nonnegative_int("seed", seed)
    check_positive_number("effort", effort)
    find_preset(preset)
    if seed in (1, 3):
        raise ValueError(f"`seed` must differ from the seeds of the training, 1 and 3, got {seed}")
    for name, names, known in (("classifiers", classifiers, CLASSIFIERS),
                               ("restorers", restorers, RESTORERS)):
        for item in names:
            if item not in known:
                raise ValueError(f"`{name}` must be of {', '.join(known)}, got {item!r}")
    check_overwrite([Path(out) / name for name in file_names(preset)], overwrite)
    folder = (Path(out) / "runs" if runs is None else Path(runs)) / preset
    plan = TrainingPlan(folder, preset, effort=effort, device=device, progress=progress)
    # The training images of each classifier come first, then other images to classify.
    restorations, marks = open_restorations(plan, restorers, device)
    named = _open_classifiers(plan, classifiers, restorations, device)
    series = PairSeries(preset, substructure=CLASSES, seed=seed, engine="torch")
    restored_images = RestoredImages(folder / f"images-{seed}", restorations, marks, progress)
    images = restored_images(series, n, "pairs")
    snr = images["bilinear"].max(axis=(1, 2))  # noise units
    verdicts, distances = classify_restorations(named, images)
    labels = np.arange(n) % len(CLASSES)
    smooth = {pair: 1 - probabilities[labels == 0, 0] for pair, probabilities in verdicts.items()}
    twins = {}
    for mass, item in twin_series(preset, n_twins, seed + 1).items():
        completeness, _ = classify_restorations(named,
                                                restored_images(item, n_twins, f"twins-{mass:.0e}"))
        twins[mass] = {pair: 1 - probabilities[:, 0]
                       for pair, probabilities in completeness.items()}
    trained_on = {name: TRAINED_ON.get(name, ("HR",))[0] for name in named}
    subhalos = subhalo_table(smooth, twins, trained_on)
    if preset == MATCHED_PRESET:
        for known, more in zip((verdicts, distances), classify_restorations(
                named, _other_substructure(restored_images, n, seed))):
            known |= more
    result = DarkMatter(scores_table(verdicts, labels, CLASSES, distances, snr),
                        confusion_table(verdicts, labels, CLASSES),
                        roc_table(verdicts, labels, CLASSES), subhalos)
    result.scores.meta = {"preset": preset, "seed": seed, "n": n, "n_twins": n_twins,
                          "effort": effort, "classifiers": {
                              name: item.card.sha256[:16] for name, item in named.items()}}
    result.write(out, overwrite=overwrite)
    return result


def open_restorations(plan, restorers, device):
    """Train or load all restorers; return them with the checksums of their weights."""
    restored_by_label = {name: restorer_from_method(name, device=device) for name in METHODS}
    files = {f"RCAN of {name}": plan.restorer(name) for name in restorers}
    restored_by_label |= {label: restorer_from_weights(file, device=device)
                          for label, file in files.items()}
    files |= {name: find_weights(shipped_weights(name)[2]) for name in METHODS
              if shipped_weights(name)}
    marks = {label: read_card(file).sha256[:8] for label, file in files.items()}
    return Restorations.with_consistent(restored_by_label, [name for name in CONSISTENT_METHODS
                                                            if name in restored_by_label]), marks


def _open_classifiers(plan, classifiers, restorations, device):
    """Train or load the classifiers, the classifier of sharp images first."""
    names = [name for name in CLASSIFIERS if name in classifiers or name == "HR"]
    if plan.preset != MATCHED_PRESET:
        names = [name for name in names if CLASSIFIERS[name][-1] not in OTHER_PRESETS.values()]
    return {name: open_classifier(plan.classifier(*CLASSIFIERS[name]), device) for name in names
            if TRAINED_ON.get(name, ("HR",))[0] in restorations.restorers}


def _other_substructure(restored_images, n, seed):
    """Return sharp and interpolated images of the same lenses with other substructure."""
    pictures_by_label = {}
    for label, preset in OTHER_PRESETS.items():
        series = PairSeries(preset, substructure=CLASSES, seed=seed, engine="torch")
        images = restored_images(series, n, label, ("HR", "bilinear"))
        pictures_by_label |= {f"{restoration}, {label}": pictures
                              for restoration, pictures in images.items()}
    return pictures_by_label


def classify_restorations(judges, images):
    """
    Classify all restorations; return probabilities and distances by classifier and
    restoration.
    """
    predictions = {(name, restoration): judge(pictures) for name, judge in judges.items()
                   for restoration, pictures in images.items()
                   if restoration in TRAINED_ON.get(name, images)}
    return tuple({pair: prediction[part] for pair, prediction in predictions.items()}
                 for part in (0, 1))


class RestoredImages:
    """Restored images of series of pairs, cached on disk."""

    def __init__(self, folder, restorations, marks, progress):
        self.folder, self.restorations, self.marks = folder, restorations, marks
        self.progress = progress

    def __call__(self, series, n, name, labels=None):
        """
        Return the images of the first ``n`` pairs of a series, ``(n, side, side)`` by
        restoration.
        """
        images = {restoration: [] for restoration in labels or self.restorations.restorers}
        for start in tqdm(range(0, n, RESTORED_BATCH), desc=f"restoring {name}",
                          disable=not self.progress, delay=2):
            indices = range(start, min(start + RESTORED_BATCH, n))
            file = f"{start:06d}-{len(indices)}.npy"
            paths = {restoration: self.folder / name / self._place(restoration) / file
                     for restoration in images}
            missing = {restoration: self.restorations.restorers[restoration]
                       for restoration, path in paths.items()
                       if not path.exists()}
            if missing:
                self._make(series.batch(indices), missing, paths)
            for restoration, path in paths.items():
                images[restoration].append(np.load(path))
        return {restoration: np.concatenate(parts) for restoration, parts in images.items()}

    def _place(self, restoration):
        mark = self.marks.get(restoration.removesuffix(CONSISTENT_SUFFIX))
        return restoration.replace(" ", "_") + (f"-{mark}" if mark else "")

    def _make(self, batch, missing, paths):
        for restoration, images in Restorations.only(missing)(batch).items():
            path = paths[restoration]
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as tmp_path, open(tmp_path, "wb") as file:
                np.save(file, images.astype(np.float32))
