"""Calibration of the predicted errors of a network."""

import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from lenssr._io import atomic_write
from lenssr._validation import (
    check_name,
    check_nonnegative_int,
    check_positive_int,
    check_positive_number,
)
from lenssr.image import expand_mask
from lenssr.methods import make_method
from lenssr.networks import find_architecture
from lenssr.train._calibration_images import (
    SampleCalibration,
    chi2_percentiles,
    open_calibration_images,
    restore_images,
    stored_features,
)
from lenssr.train._conformal import (
    aperture_factors,
    coverage,
    cross_validated_factors,
    rest_correlation,
)
from lenssr.train._data import MultiScalePairs
from lenssr.train._distributed import Distributed
from lenssr.train._error_head import ErrorPairs, ErrorTrainer
from lenssr.train._loop import run_steps
from lenssr.train._recipe import Recipe, Training
from lenssr.uncertainty import feature_envelope, inflate_isolated_peaks, local_snr
from lenssr.weights import find_weights, read_card, save_calibrated

HEAD_PRECISIONS = ("auto", "float32", "bfloat16")
VALIDATION_INTERVAL = 10  # every tenth image validates the head
HEAD_BATCH = 16  # images that the head takes together


@dataclass(frozen=True)
class Calibration:
    """
    Options of `calibrate`.

    Parameters
    ----------
    images : int
        Training images of the error head: scenes of the training, observed again.
    blank : int
        Additional training images of blank sky, which teach the head that noise makes peaks;
        none for catalogues.
    held_out : int
        Images of separate scenes that determine the calibration factors.
    steps, batch : int
        Training steps of the head, and images of each step.
    learning_rate : float
        Learning rate of the head.
    features, blocks : int
        Features and residual blocks of the head.
    psf_wrong, psf_error : float
        Fraction of the training images with a wrong PSF, and its relative error of width.
        Held-out images have the right PSF.
    noise_error : float
        Relative error of the noise map.
    p_masked : float
        Fraction of the images with bad pixels.
    n_probes : int
        Noise probes of the measurement error.
    seed : int
        Seed of the held-out scenes and of all random numbers.
    precision : {"auto", "float32", "bfloat16"}
        Arithmetic of the training.

    Examples
    --------
    >>> from lenssr.train import Calibration
    >>> config = Calibration()
    >>> config.images, config.blank, config.held_out
    (5000, 2500, 600)
    """

    images: int = 5000
    blank: int = 2500
    held_out: int = 600
    steps: int = 6000
    batch: int = 16
    learning_rate: float = 3e-3
    features: int = 32
    blocks: int = 4
    psf_wrong: float = 0.25
    psf_error: float = 0.05
    noise_error: float = 0.03
    p_masked: float = 0.2
    n_probes: int = 8
    seed: int = 5
    precision: str = "auto"

    def __post_init__(self):
        check_name("precision", self.precision, HEAD_PRECISIONS)
        for name in ("images", "held_out", "steps", "batch", "features", "blocks", "n_probes"):
            check_positive_int(name, getattr(self, name))
        for name in ("blank", "seed"):
            check_nonnegative_int(name, getattr(self, name))
        check_positive_number("learning_rate", self.learning_rate)
        for name, most in (("psf_error", 0.5), ("noise_error", 0.5), ("p_masked", 1),
                           ("psf_wrong", 1)):
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(f"`{name}` must be from 0 to {most}, got "
                                 f"{getattr(self, name)!r}")


def calibrate(weights, folder=None, *, recipe=None, device=None, progress=True, **options):
    """
    Calibrate the predicted errors of a network.

    An error head is trained to predict the squared error of each output pixel. Held-out scenes
    then determine the calibration factors as a function of local signal-to-noise ratio and
    crowding, the correlation of the errors, and the domain in which the calibration is valid. For a
    network that draws posterior samples, the factors apply to the spread of the samples, without a
    head. An interrupted calibration continues.

    Parameters
    ----------
    weights : str or path-like
        Name of shipped weights, or a ``.safetensors`` file with its card.
    folder : path-like, optional
        Folder of the run and of the calibrated weights; ``NAME-calibrated`` by default.
    recipe : path-like, str or `Recipe`, optional
        Recipe whose ``[data]`` replaces that of the card.
    device : str, optional
        Torch device; CUDA by default if there is a GPU.
    progress : bool
        Whether to show progress bars.
    **options
        Parameters of `Calibration`.

    Returns
    -------
    weights : `~pathlib.Path`
        Unchanged weights in ``folder``, with the new card and the error head.

    Raises
    ------
    ValueError
        If an option is invalid, the card has no recipe, or the folder holds another run.
    TypeError
        If an option is unknown.

    Examples
    --------
    A calibration with default options takes hours.

    >>> from lenssr.train import calibrate
    >>> weights = calibrate("fsrcnn-x2", "calibrated", images=500)  # doctest: +SKIP
    """
    config = Calibration(**options)
    path = find_weights(weights)
    card = read_card(path)
    draws = find_architecture(card.network["architecture"]).inputs == "residual"
    recipe = _recipe(card, recipe)
    if recipe.data.catalog is None and config.seed in (recipe.data.seed,
                                                       recipe.data.validation_seed):
        raise ValueError("`seed` must differ from the seeds of the training, "
                         f"{recipe.data.seed} and {recipe.data.validation_seed}, got {config.seed}")
    folder = Path(f"{card.name}-calibrated" if folder is None else folder)
    _check_run_folder(folder,
                      {"weights": card.sha256, "data": asdict(recipe.data), **asdict(config)})
    started = time.monotonic()
    with Distributed(device) as distributed:
        run = (SampleCalibration if draws else _CalibrationRun)(path, card, recipe, config, folder,
                                                                distributed, progress)
        head = None if draws else run.train_head()
        scales = {str(scale): run.calibrate_scale(head, scale) for scale in card.scales}
    data = recipe.data
    calibration = {
        "on": data.preset if data.catalog is None else Path(data.catalog).name,
        **({} if draws else {"head": run.head_config, "inflate_isolated_peaks": True}),
        "scales": scales, "domain": feature_envelope(run.features),
        "config": {**asdict(config), "recipe": recipe.name},
        "hours": round((time.monotonic() - started) / 3600, 3)}
    return save_calibrated(path, folder, head, calibration)


def _recipe(card, recipe):
    """Return the recipe of the calibration data, with the network of the card."""
    if recipe is None and not card.recipe:
        raise ValueError(f"`recipe` must be given for weights without one in their card, "
                         f"{card.name!r} has none")
    recipe_found = (Recipe.from_dict(card.recipe, f"the recipe of {card.name!r}") if recipe is None
                    else Recipe.read(recipe))
    return replace(recipe_found, network=card.network)


def _check_run_folder(folder, fields):
    """Create the run folder; raise `ValueError` if it belongs to another run."""
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / "calibration.json"
    if note.exists():
        stored = json.loads(note.read_text())
        changed = [key for key in fields if stored.get(key) != fields[key]]
        if changed:
            raise ValueError(f"`folder` must be new or hold the same calibration; {folder} has "
                             f"another `{changed[0]}`, {stored.get(changed[0])!r}")
        return
    with atomic_write(note) as tmp_path:
        tmp_path.write_text(json.dumps(fields, indent=1) + "\n")


def _training(config):
    """Return the training options of the error head."""
    return Training(seed=config.seed, steps=config.steps, batch=config.batch, optimizer="muon",
                    learning_rate=config.learning_rate, warmup=min(100, config.steps // 5),
                    ema=0.995, weight_decay=1e-3, precision=config.precision,
                    validate_every=max(1, config.steps // 5), checkpoint_minutes=1.0)


class _CalibrationRun:
    """Stages of a calibration."""

    def __init__(self, path, card, recipe, config, folder, distributed, progress):
        self.card, self.recipe, self.config = card, recipe, config
        self.folder, self.distributed, self.progress = folder, distributed, progress
        self.method = make_method(card.network["architecture"], card.scales[0],
                                  {"weights": path, "n_probes": config.n_probes})
        self.features = []

    def restore(self, scale, held_out):
        """Restore images at a scale."""
        part = "held-out" if held_out else "training"
        images = open_calibration_images(self.recipe, scale, self.config, held_out, self.progress)
        arrays = restore_images(
            images, self.method, scale, self.folder / f"{part}-x{scale}", held_out,
            device=str(self.distributed.device), progress=self.progress,
            label=f"restoring {part} images")
        return arrays

    def train_head(self):
        """Train the error head; return it in half precision, as stored."""
        config, scales = self.config, self.card.scales
        restored = [self.restore(scale, False) for scale in scales]
        self.head_config = {"scale": self.card.network["scale"],
                            "conditions": restored[0]["conditions"].shape[1],
                            "features": config.features, "blocks": config.blocks, "residual": True}
        recipe = Recipe(f"{self.card.name}-error",
                        {"architecture": "error", "weights": self.card.sha256[:16],
                         **self.head_config},
                        self.recipe.data, _training(config))
        n = len(restored[0]["data"])
        parts = [np.arange(n) % VALIDATION_INTERVAL != 0, np.arange(n) % VALIDATION_INTERVAL == 0]
        pairs, validation_pairs = ([ErrorPairs(arrays, part, self.recipe.data.size, config.seed)
                                    for arrays in restored] for part in parts)
        trainer = ErrorTrainer(recipe, self.folder, self.distributed)
        trainer.resume()
        pairs, validation_pairs = (source[0] if len(source) == 1 else MultiScalePairs(source)
                                   for source in (pairs, validation_pairs))
        trainer.set_schedule(pairs)
        run_steps(trainer, pairs, validation_pairs, self.progress)
        return trainer.average.half().float()

    def calibrate_scale(self, head, scale):
        """Compute factors, correlation and metrics at a scale."""
        arrays = self.restore(scale, True)
        # Whole images, since a patch full of light has no sky.
        self.features += stored_features(arrays)
        raw = inflate_isolated_peaks(predict_head_errors(head, arrays, self.distributed.device),
                                     arrays["std"], arrays["mean"])
        weight = expand_mask(arrays["weight"], scale)
        use = weight > 0
        snr = local_snr(arrays["mean"], 0.0, 1 / np.where(use, weight, 1.0))
        error = arrays["mean"] - arrays["truth"]
        factors, total_std, fractions = cross_validated_factors(error, raw, snr, use, scale)
        correlation = rest_correlation(arrays, total_std, snr, scale)
        sums, covered = aperture_factors(arrays, total_std, snr, correlation, scale,
                                         self.config.seed)
        return {"factors": factors, "coverage": fractions,
                "measurement": coverage(error[use], arrays["std"][use], snr[use]),
                "chi2": chi2_percentiles(arrays["chi2"]),
                "correlation": {**correlation, "sums": sums}, "apertures": covered}


def predict_head_errors(head, arrays, device):
    """Predict standard deviations of restored images in noise units."""
    import torch

    from lenssr.networks import asinh_scale

    stds = []
    head = head.eval().to(device)
    with torch.inference_mode():
        for start in range(0, len(arrays["data"]), HEAD_BATCH):
            part = slice(start, start + HEAD_BATCH)
            mean, data, weight, residual = (
                torch.from_numpy(arrays[name][part])[:, None].to(device)
                for name in ("mean", "data", "weight", "residual"))
            conditions = torch.from_numpy(arrays["conditions"][part]).to(device)
            log_square = head(asinh_scale(mean), asinh_scale(data), weight, conditions, residual)
            stds.append(torch.exp(log_square / 2)[:, 0].cpu().numpy())
    return np.concatenate(stds)
