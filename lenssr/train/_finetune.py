"""Transfer learning: two-stage fine-tuning, and adversarial domain adaptation (ADDA)."""

import copy
import csv
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm
from tqdm import tqdm

from lenssr._forward_model import BatchForwardModel
from lenssr._io import atomic_write
from lenssr._validation import check_nonnegative_int, resolve_device
from lenssr.networks import sinh_scale
from lenssr.simulate import write_pairs
from lenssr.train._data import CatalogPairs, open_pairs
from lenssr.train._loop import fit
from lenssr.train._losses import training_loss
from lenssr.train._optimization import learning_rate
from lenssr.train._recipe import Data, Recipe, Training
from lenssr.train._trainer import update_average
from lenssr.train._validation import validate
from lenssr.weights import find_weights, load_network, read_card, save_network


def target_folder(pairs, folder):
    """Return the folder of a catalogue; write pairs in memory to a folder."""
    if isinstance(pairs, str | Path):
        return str(pairs)
    path = Path(folder) / "pairs"
    if not path.exists():
        write_pairs(pairs, path)
    return str(path)


def finetune(weights, pairs, folder, *, steps=(500, 1500), learning_rates=(1e-3, 1e-4), batch=16,
             size=32, validation_fraction=0.1, fold=0, loss=None, seed=1, device=None,
             progress=True):
    """
    Fine-tune a trained network on other pairs, in two stages.

    The first stage trains the upsampler alone, so that features learned from many simulated pairs
    survive. The second stage trains all layers at a smaller rate (Yosinski et al. 2014,
    arXiv:1411.1792).

    Parameters
    ----------
    weights : str or path-like
        Name of shipped weights, or a ``.safetensors`` file with its card.
    pairs : path-like or sequence of `~lenssr.simulate.LensPair`
        Catalogue for `lenssr.simulate.open_catalog`, or pairs, for example from
        `lenssr.simulate.pair_observations`.
    folder : path-like
        Folder of checkpoints, curves, weights and card; an interrupted run continues.
    steps : tuple of int
        Steps of both stages; zero omits a stage.
    learning_rates : tuple of float
        Learning rates of both stages.
    batch, size : int
        Pairs of a step, and side of their patches in input pixels.
    validation_fraction : float
        Fraction of the pairs that is held out.
    fold : int
        Number of the held-out part, for cross-validation.
    loss : dict, optional
        Losses with their weights, as in recipes; the composite loss by default.
    seed : int
        Seed of the order of the pairs.
    device : str, optional
        Torch device; CUDA by default if there is a GPU.
    progress : bool
        Whether to show progress bars.

    Returns
    -------
    weights : `~pathlib.Path`
        Weights named ``NAME-tuned``, with their card in the same folder.

    Raises
    ------
    ValueError
        If an argument is invalid, or the pairs do not fit the network.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from lenssr.simulate import simulate_pair
    >>> from lenssr.train import finetune
    >>> pairs = [simulate_pair(size=16, index=index) for index in range(6)]
    >>> with TemporaryDirectory() as folder:
    ...     weights = finetune("fsrcnn-x2", pairs, folder, steps=(2, 2), batch=2, size=8,
    ...                        validation_fraction=0.4, progress=False)
    """
    for name, value in (("steps", steps), ("learning_rates", learning_rates)):
        if not (isinstance(value, tuple | list) and len(value) == 2):
            raise ValueError(f"`{name}` must be two numbers, one for each stage, got {value!r}")
    if not any(steps):
        raise ValueError(f"`steps` must be positive for at least one stage, got {steps!r}")
    folder = Path(folder)
    card = read_card(find_weights(weights))
    data = Data(catalog=target_folder(pairs, folder), size=size, fold=fold,
                validation_fraction=validation_fraction, validation_seed=0)
    # Adversarial training continues with a new discriminator.
    rules = Recipe.from_dict(card.recipe).adversarial if card.recipe else None
    last, made = str(weights), None
    for stage, frozen in enumerate((_features(card, last), [])):
        if not steps[stage]:
            continue
        training = Training(
            seed=seed, steps=steps[stage], batch=batch, learning_rate=learning_rates[stage],
            warmup=min(50, steps[stage] // 10), validate_every=max(1, steps[stage] // 10),
            ema=0.99, init=last, freeze=frozen, **({} if loss is None else {"loss": loss}))
        recipe = Recipe(f"{card.name}-tuned", card.network, data, training, rules)
        stage_folder = folder / ("upsampler", "all")[stage]
        made = fit(recipe, stage_folder, device=device, progress=progress)
        last = str(made)
    return made


def _features(card, weights):
    """Return the names of the feature layers, without the upsampler."""
    from lenssr.weights import load_network

    network, _ = load_network(weights)
    names = [name for name, child in network.named_children()
             if any(True for _ in child.parameters())]
    if "tail" not in names:
        raise ValueError("`weights` must be of a network whose last part can be trained alone, got "
                         f"architecture {card.network['architecture']!r}")
    return [name for name in names if name != "tail"]


class DomainDiscriminator(nn.Module):
    """Discriminator of feature domains: three convolutions with spectral norm, and a mean."""

    def __init__(self, features: torch.Tensor, width: int = 64):
        def conv(inputs, outputs, stride):
            return spectral_norm(nn.Conv2d(inputs, outputs, 3, stride, 1))

        super().__init__()
        self.register_buffer("mean", features.mean(dim=(0, 2, 3), keepdim=True))
        self.register_buffer("spread", features.std(dim=(0, 2, 3), keepdim=True) + 1e-6)
        self.layers = nn.Sequential(
            conv(features.shape[1], width, 2), nn.LeakyReLU(0.2), conv(width, width, 2),
            nn.LeakyReLU(0.2), conv(width, 1, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(0))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the log-odds of the source domain, shape ``(batch,)``."""
        return self.layers((features - self.mean) / self.spread)


def encode_features(network, *inputs):
    """Return the features of images and the restored images."""
    if not hasattr(network, "tail"):
        raise ValueError("`weights` must be of a network with an up-sampling part of its own, got "
                         f"{type(network).__name__}")
    if not inputs:
        return None
    features = []
    hook = network.tail.register_forward_pre_hook(lambda _, args: features.append(args[0]))
    try:
        output = network(*inputs)
    finally:
        hook.remove()
    return features[0], output


EDGE_PIXELS = 4  # input pixels along the edge of a patch that hold light from outside


@dataclass(frozen=True)
class Adaptation:
    """
    Options of `adapt`.

    Parameters
    ----------
    steps : int
        Largest number of optimisation steps.
    batch, size : int
        Pairs of a step from each domain, and side of their patches in input pixels.
    learning_rate : float
        Learning rate of the encoder; the discriminator has four times this rate.
    adversarial : float
        Weight of the adversarial loss of the encoder.
    source_weight : float
        Weight of the restoration loss of source pairs.
    consistency_weight : float
        Weight of the residual between target images and their degraded restorations. It needs no
        targets; catalogues without PSFs have no such loss.
    stop_accuracy : float
        Accuracy of the discriminator below which the training stops; 0.5 is a random guess.
    min_steps : int
        Smallest number of steps.
    validation_fraction : float
        Fraction of the target pairs that is held out.
    fold : int
        Number of the held-out part, for cross-validation.
    scenes : int, optional
        Rendered scenes of the source domain; the number of the card by default. Zero simulates
        each pair once when it is needed.
    seed : int
        Seed of the order of the pairs and of the discriminator.

    Examples
    --------
    >>> from lenssr.train import Adaptation
    >>> Adaptation(steps=500).stop_accuracy
    0.55
    """

    steps: int = 1000
    batch: int = 16
    size: int = 32
    learning_rate: float = 2e-5
    adversarial: float = 0.01
    source_weight: float = 1.0
    consistency_weight: float = 0.1
    stop_accuracy: float = 0.55
    min_steps: int = 200
    validation_fraction: float = 0.1
    fold: int = 0
    scenes: int | None = None
    seed: int = 1

    # Fields of `Training` that schedule and average need.
    schedule, warmup, cycles, last_cycle, ema = "cosine", 0, 1, 1.0, 0.98

    def __post_init__(self):
        for name in ("steps", "batch", "size", "learning_rate", "min_steps"):
            if not getattr(self, name) > 0:
                raise ValueError(f"`{name}` must be positive, got {getattr(self, name)!r}")
        for name in ("adversarial", "source_weight", "consistency_weight"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"`{name}` must not be negative, got {getattr(self, name)!r}")
        if not 0.5 <= self.stop_accuracy <= 1:
            raise ValueError(f"`stop_accuracy` must be from 0.5 to 1, got {self.stop_accuracy!r}")
        if self.scenes is not None and 0 < check_nonnegative_int("scenes",
                                                                 self.scenes) < self.batch:
            raise ValueError(f"`scenes` must be zero or at least `batch`, {self.batch}, got "
                             f"{self.scenes!r}")


def adapt(weights, pairs, folder, *, device=None, progress=True, **options):
    """
    Adapt a network to images of another domain without targets.

    Adversarial discriminative domain adaptation (Tzeng et al. 2017, arXiv:1702.05464): a copy of
    the encoder, all layers before the upsampler, is trained until a discriminator cannot separate
    its features of target images from features of source images. Few target images need
    regularisation: spectral normalisation of the discriminator (Miyato et al. 2018,
    arXiv:1802.05957), a restoration loss of source pairs, data consistency of restored target
    images, a falling learning rate, averaged weights, and an early stop.

    Parameters
    ----------
    weights : str or path-like
        Name of shipped weights, or a ``.safetensors`` file with its card. The pairs of its recipe
        are the source domain.
    pairs : path-like or sequence of `~lenssr.simulate.LensPair`
        Target domain. Targets of held-out pairs serve the metrics of the card alone.
    folder : path-like
        Folder of weights, card and ``adapt.csv``.
    device : str, optional
        Torch device; CUDA by default if there is a GPU.
    progress : bool
        Whether to show a progress bar.
    **options
        Parameters of `Adaptation`.

    Returns
    -------
    weights : `~pathlib.Path`
        Weights named ``NAME-adapted``, with their card in the same folder.

    Raises
    ------
    ValueError
        If an option is invalid, or the pairs do not fit the network.
    TypeError
        If an option is unknown.

    Examples
    --------
    The adaptation renders the scenes of the source domain first.

    >>> from lenssr.train import adapt
    >>> weights = adapt("rcan-x2", "observed-pairs", "adapted")  # doctest: +SKIP
    """
    config, folder = Adaptation(**options), Path(folder)
    device = resolve_device(device)
    source_network, card = load_network(weights)
    encode_features(source_network)  # fail before anything is written
    folder.mkdir(parents=True, exist_ok=True)
    recipe = Recipe.from_dict(card.recipe)
    target = Data(catalog=target_folder(pairs, folder), size=config.size, fold=config.fold,
                  validation_fraction=config.validation_fraction, validation_seed=0)
    validation_pairs = CatalogPairs(target, recipe.network["scale"], True, config.seed)
    if "psf" not in validation_pairs.catalog.arrays:
        config = replace(config, consistency_weight=0.0)
    images = CatalogPairs(target, recipe.network["scale"], False, config.seed,
                          telescope=config.consistency_weight > 0)
    if images.n < config.batch:
        raise ValueError(f"`batch` must be at most the number of pairs to train with, {images.n}, "
                         f"got {config.batch}")
    source = open_pairs(replace(recipe, data=_source_recipe(recipe.data, config),
                                training=Training(seed=config.seed)), progress=progress)
    run = _AdaptationRun(source_network.to(device), recipe.training, config, device)
    before = validate(run.source, validation_pairs, device)
    for step in tqdm(range(config.steps), disable=not progress, delay=2, desc="adapting"):
        run.advance(step, source.batch(step, config.batch), images.batch(step, config.batch))
        if run.aligned:
            break
    metrics = validate(run.average, validation_pairs, device)
    with atomic_write(folder / "adapt.csv") as tmp_path, open(tmp_path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(run.curve[0]))
        writer.writeheader()
        writer.writerows(run.curve)
    path = folder / f"{card.name}-adapted.safetensors"
    save_network(path, run.average, name=path.stem, network=card.network,
                 recipe=card.recipe, adapted={**asdict(config), "catalog": target.catalog},
                 metrics={**metrics, "psnr_before": before["psnr"]}, steps=len(run.curve),
                 psf=validation_pairs.psfs() or card.psf)
    return path


def _source_recipe(data, config):
    scenes = data.scenes if config.scenes is None else config.scenes
    return replace(data, size=config.size, scenes=scenes)


class _AdaptationRun:
    """Alternate training of encoder and discriminator."""

    def __init__(self, source, training, config, device):
        torch.manual_seed(config.seed)
        self.config, self.training, self.device = config, training, device
        self.source = source.eval().requires_grad_(False)
        self.network = copy.deepcopy(source)
        encoder = [p for name, p in self.network.named_parameters()
                   if not name.startswith("tail.")]
        for parameter in encoder:
            parameter.requires_grad_(True)
        # Keep the batch statistics of the source: small target batches would scatter.
        self.network.eval()
        self.average = copy.deepcopy(self.network)
        self.discriminator, self.accuracy, self.curve = None, 1.0, []
        self.optimizer = torch.optim.AdamW(encoder, config.learning_rate, betas=(0.5, 0.99))

    @property
    def aligned(self):
        """True if the accuracy of the discriminator is below the stop accuracy."""
        return len(
            self.curve) >= self.config.min_steps and self.accuracy < self.config.stop_accuracy

    def advance(self, step, source, target):
        """Take a step of the discriminator and a step of the encoder."""
        with torch.no_grad():
            real, _ = encode_features(self.source, *source.inputs(self.device))
        if self.discriminator is None:
            self.discriminator = DomainDiscriminator(real).to(self.device)
            self.judge = torch.optim.AdamW(self.discriminator.parameters(),
                                           4 * self.config.learning_rate, betas=(0.5, 0.99))
        fake, restored = encode_features(
            self.network, *target._replace(telescope=None).inputs(self.device))
        _, output = encode_features(self.network, *source.inputs(self.device))
        scores = [self.discriminator(f.detach()) for f in (real, fake)]
        loss = (functional.softplus(-scores[0]) + functional.softplus(scores[1])).mean()
        self.judge.zero_grad(set_to_none=True)
        loss.backward()
        self.judge.step()
        right = ((scores[0] > 0).float().mean() + (scores[1] < 0).float().mean()).item() / 2
        self.accuracy += 0.02 * (right - self.accuracy)

        adversarial = functional.softplus(-self.discriminator(fake)).mean()
        restoration = training_loss(output, source.hr.to(self.device), self.network.scale,
                                    self.training, step)
        total = self.config.adversarial * adversarial + self.config.source_weight * restoration
        curve = {"step": step, "accuracy": self.accuracy, "adversarial": adversarial.item(),
                 "restoration": restoration.item()}
        if self.config.consistency_weight:
            chi2 = consistency_chi2(restored, target)
            total = total + self.config.consistency_weight * chi2
            curve["disagreement"] = chi2.item()
        if not torch.isfinite(total):
            raise FloatingPointError(f"loss is {total.item()} at step {step}")
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(self.optimizer.param_groups[0]["params"], 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, self.config)
        self.optimizer.step()
        update_average(self.average, self.network, step, self.config)
        self.curve.append(curve)


def consistency_chi2(output, batch) -> torch.Tensor:
    """Compute the mean squared residual of data against degraded restorations."""
    sigma, kernel, _ = (part.to(output.device) for part in batch.telescope)
    predicted = BatchForwardModel(kernel, batch.scale,
                                  batch.lr.shape[-2:]).forward(sinh_scale(output.float()))
    residual = (batch.lr.to(output.device) - predicted) / sigma
    edge = min(EDGE_PIXELS, (residual.shape[-1] - 1) // 2)
    inside = residual[..., edge:-edge or None, edge:-edge or None]
    return ((1 + inside**2).sqrt() - 1).mean()
