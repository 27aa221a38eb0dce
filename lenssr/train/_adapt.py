"""Adaptation without targets: features of observed images made like those of simulated ones."""

import copy
import csv
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from lenssr._forward_model import BatchForwardModel
from lenssr._io import atomic_write
from lenssr._validation import check_nonnegative_int
from lenssr.networks import sinh_scale
from lenssr.train._catalog import CatalogPairs
from lenssr.train._data import open_pairs
from lenssr.train._discriminator import Discriminator, encode
from lenssr.train._finetune import target_folder
from lenssr.train._losses import training_loss
from lenssr.train._recipe import Data, Recipe, Training
from lenssr.train._schedule import learning_rate
from lenssr.train._trainer import update_average
from lenssr.train._validation import validate
from lenssr.weights import load_network, save_network

__all__ = ["Adaptation", "adapt"]

EDGE = 4  # input pixels along the edge of a patch, which have light from beyond it


@dataclass(frozen=True)
class Adaptation:
    """
    How a network is adapted.

    Parameters
    ----------
    steps : int
        Most optimisation steps.
    batch, size : int
        Pairs of a step from each domain, and side of their patches in input pixels.
    learning_rate : float
        Of the encoder; the discriminator's is four times that.
    adversarial : float
        Weight of the loss that makes target features look like source features.
    replay : float
        Weight of the loss of the restoration of source pairs.
    agreement : float
        Weight of what is left between target images and what the telescope would see of
        their restorations, which needs no target. Catalogues without PSFs have none.
    fooled : float
        Accuracy of the discriminator at which the features count as aligned: training stops
        there. One half is a guess.
    least : int
        Steps before it may stop.
    validation_share : float
        Share of the target pairs that is held out.
    fold : int
        Which share that is.
    scenes : int, optional
        Scenes of the source domain that are rendered, by default as many as the weights were
        trained on. Fewer are ready sooner. 0: pairs are made as they are needed, and none
        comes twice.
    seed : int
        Seed of the order of the pairs and of the discriminator.
    """

    steps: int = 1000
    batch: int = 16
    size: int = 32
    learning_rate: float = 2e-5
    adversarial: float = 0.01
    replay: float = 1.0
    agreement: float = 0.1
    fooled: float = 0.55
    least: int = 200
    validation_share: float = 0.1
    fold: int = 0
    scenes: int | None = None
    seed: int = 1

    # As a `Training` has them, for its schedule and average; nobody chooses them.
    schedule, warmup, cycles, last_cycle, ema = "cosine", 0, 1, 1.0, 0.98

    def __post_init__(self):
        for name in ("steps", "batch", "size", "learning_rate", "least"):
            if not getattr(self, name) > 0:
                raise ValueError(f"`{name}` must be positive, got {getattr(self, name)!r}")
        for name in ("adversarial", "replay", "agreement"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"`{name}` must not be negative, got {getattr(self, name)!r}")
        if not 0.5 <= self.fooled <= 1:
            raise ValueError(f"`fooled` must be from 0.5 to 1, got {self.fooled!r}")
        if self.scenes is not None and 0 < check_nonnegative_int("scenes", self.scenes) < self.batch:
            raise ValueError(f"`scenes` must be zero or at least `batch`, {self.batch}, got "
                             f"{self.scenes!r}")


def adapt(weights, pairs, folder, *, device=None, progress=True, **options):
    """
    Adapt a network to images of another domain, whose targets it never sees.

    Adversarial discriminative domain adaptation (Tzeng et al. 2017, arXiv:1702.05464): a copy
    of the encoder, all of the network before the up-sampling, learns to give features of target
    images that a discriminator cannot tell from those that the encoder itself gives of source
    images. Three hundred images are few for that. So the discriminator's layers are of spectral
    norm one (Miyato et al. 2018, arXiv:1802.05957), source pairs are restored beside
    (replay), restored target images have to agree with their data, the rate falls to zero, weights
    are averaged, and training stops when the discriminator no longer tells the domains apart.

    Parameters
    ----------
    weights : str or path-like
        Name of shipped weights, or a ``.safetensors`` file with its card: the source domain
        is the pairs of its recipe.
    pairs : path-like or sequence of `~lenssr.simulate.LensPair`
        The target domain. Only its images are trained on; its targets are looked at in the
        held-out share alone, for the figures of the card.
    folder : path-like
        Where weights, card and ``adapt.csv`` go.
    device : str, optional
        Torch device.
    progress : bool
        Show a progress bar.
    **options
        Parameters of `Adaptation`.

    Returns
    -------
    weights : `~pathlib.Path`
        The weights, with their card beside them, named after the old ones with ``-adapted``.

    Raises
    ------
    ValueError
        If an option is wrong, or the pairs do not fit the network.
    TypeError
        If there is no such option.
    """
    how, folder = Adaptation(**options), Path(folder)
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    source_network, card = load_network(weights)
    encode(source_network)  # before anything is written
    folder.mkdir(parents=True, exist_ok=True)
    recipe = Recipe.from_dict(card.recipe)
    target = Data(catalog=target_folder(pairs, folder), size=how.size, fold=how.fold,
                  validation_share=how.validation_share, validation_seed=0)
    unseen = CatalogPairs(target, recipe.network["scale"], True, how.seed)
    if "psf" not in unseen.catalog.arrays:
        how = replace(how, agreement=0.0)
    images = CatalogPairs(target, recipe.network["scale"], False, how.seed,
                          telescope=how.agreement > 0)
    if images.n < how.batch:
        raise ValueError(f"`batch` must be at most the number of pairs to train with, {images.n}, "
                         f"got {how.batch}")
    source = open_pairs(replace(recipe, data=_source(recipe.data, how),
                                training=Training(seed=how.seed)), progress=progress)
    run = _Run(source_network.to(device), recipe.training, how, device)
    before = validate(run.source, unseen, device)
    for step in tqdm(range(how.steps), disable=not progress, delay=2, desc="adapting"):
        run.advance(step, source.batch(step, how.batch), images.batch(step, how.batch))
        if run.aligned:
            break
    figures = validate(run.average, unseen, device)
    with atomic_write(folder / "adapt.csv") as beside, open(beside, "w", newline="") as file:
        writer = csv.DictWriter(file, list(run.curve[0]))
        writer.writeheader()
        writer.writerows(run.curve)
    path = folder / f"{card.name}-adapted.safetensors"
    save_network(path, run.average, name=path.stem, network=card.network,
                 recipe=card.recipe, adapted={**asdict(how), "catalog": target.catalog},
                 figures={**figures, "psnr_before": before["psnr"]}, steps=len(run.curve),
                 psf=unseen.psfs() or card.psf)
    return path


def _source(data, how):
    scenes = data.scenes if how.scenes is None else how.scenes
    return replace(data, size=how.size, scenes=scenes)


class _Run:
    """Encoder and discriminator in turn."""

    def __init__(self, source, training, how, device):
        torch.manual_seed(how.seed)
        self.how, self.training, self.device = how, training, device
        self.source = source.eval().requires_grad_(False)
        self.network = copy.deepcopy(source)
        encoder = [p for name, p in self.network.named_parameters()
                   if not name.startswith("tail.")]
        for parameter in encoder:
            parameter.requires_grad_(True)
        # Statistics of batches stay those of the source: a few images have others by chance.
        self.network.eval()
        self.average = copy.deepcopy(self.network)
        self.discriminator, self.accuracy, self.curve = None, 1.0, []
        self.optimizer = torch.optim.AdamW(encoder, how.learning_rate, betas=(0.5, 0.99))

    @property
    def aligned(self):
        """Whether the discriminator does no better than a guess."""
        return len(self.curve) >= self.how.least and self.accuracy < self.how.fooled

    def advance(self, step, source, target):
        """A step of the discriminator, then one of the encoder."""
        with torch.no_grad():
            real, _ = encode(self.source, *source.inputs(self.device))
        if self.discriminator is None:
            self.discriminator = Discriminator(real).to(self.device)
            self.judge = torch.optim.AdamW(self.discriminator.parameters(),
                                           4 * self.how.learning_rate, betas=(0.5, 0.99))
        fake, restored = encode(
            self.network, *target._replace(telescope=None).inputs(self.device))
        _, output = encode(self.network, *source.inputs(self.device))
        told = [self.discriminator(f.detach()) for f in (real, fake)]
        loss = (functional.softplus(-told[0]) + functional.softplus(told[1])).mean()
        self.judge.zero_grad(set_to_none=True)
        loss.backward()
        self.judge.step()
        right = ((told[0] > 0).float().mean() + (told[1] < 0).float().mean()).item() / 2
        self.accuracy += 0.02 * (right - self.accuracy)

        adversarial = functional.softplus(-self.discriminator(fake)).mean()
        restoration = training_loss(output, source.hr.to(self.device), self.network.scale,
                                    self.training, step)
        total = self.how.adversarial * adversarial + self.how.replay * restoration
        curve = {"step": step, "accuracy": self.accuracy, "adversarial": adversarial.item(),
                 "restoration": restoration.item()}
        if self.how.agreement:
            misfit = disagreement(restored, target)
            total = total + self.how.agreement * misfit
            curve["disagreement"] = misfit.item()
        if not torch.isfinite(total):
            raise FloatingPointError(f"loss is {total.item()} at step {step}")
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(self.optimizer.param_groups[0]["params"], 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, self.how)
        self.optimizer.step()
        update_average(self.average, self.network, step, self.how)
        self.curve.append(curve)


def disagreement(output, batch) -> torch.Tensor:
    r"""What is left between data and what their telescopes would see of restored images."""
    sigma, kernel, _ = (part.to(output.device) for part in batch.telescope)
    seen = BatchForwardModel(kernel, batch.scale, batch.lr.shape[-2:]).forward(sinh_scale(output.float()))
    residual = (batch.lr.to(output.device) - seen) / sigma
    edge = min(EDGE, (residual.shape[-1] - 1) // 2)
    inside = residual[..., edge:-edge or None, edge:-edge or None]
    return ((1 + inside**2).sqrt() - 1).mean()
