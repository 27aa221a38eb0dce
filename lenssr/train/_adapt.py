"""Adaptation without targets: features of observed images made like those of simulated ones."""

import copy
import csv
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from lenssr._files import whole_file
from lenssr.weights import load_network, save_network

from ._catalog import CatalogPairs
from ._data import open_pairs
from ._discriminator import Discriminator, encode
from ._finetune import target_folder
from ._losses import training_loss
from ._recipe import Data, Recipe, Training
from ._validation import validate

__all__ = ["Adaptation", "adapt"]


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
    fooled : float
        Accuracy of the discriminator at which the features count as aligned: training stops
        there. One half is a guess.
    least : int
        Steps before it may stop.
    validation_share : float
        Share of the target pairs that is held out.
    fold : int
        Which share that is.
    seed : int
        Seed of the order of the pairs and of the discriminator.
    """

    steps: int = 1000
    batch: int = 16
    size: int = 32
    learning_rate: float = 2e-5
    adversarial: float = 0.01
    replay: float = 1.0
    fooled: float = 0.55
    least: int = 200
    validation_share: float = 0.1
    fold: int = 0
    seed: int = 1

    def __post_init__(self):
        for name in ("steps", "batch", "size", "learning_rate", "least"):
            if not getattr(self, name) > 0:
                raise ValueError(f"`{name}` must be positive, got {getattr(self, name)!r}")
        for name in ("adversarial", "replay"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"`{name}` must not be negative, got {getattr(self, name)!r}")
        if not 0.5 <= self.fooled <= 1:
            raise ValueError(f"`fooled` must be from 0.5 to 1, got {self.fooled!r}")


def adapt(weights, pairs, folder, *, device=None, progress=True, **options):
    """
    Adapt a network to images of another domain, whose targets it never sees.

    Adversarial discriminative domain adaptation (Tzeng et al. 2017, arXiv:1702.05464): a copy
    of the encoder, all of the network before the up-sampling, learns to give features of target
    images that a discriminator cannot tell from those that the encoder itself gives of source
    images. Three hundred images are few for that. So the discriminator's layers are of spectral
    norm one (Miyato et al. 2018, arXiv:1802.05957), source pairs are restored beside
    (replay), and training stops when the discriminator no longer tells the domains apart.

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
    run = _Run(source_network.to(device), recipe.training, how, device)
    source = open_pairs(Recipe(card.name, recipe.network, _patches(recipe.data, how.size),
                               Training(seed=how.seed)), progress=progress)
    images, unseen = (CatalogPairs(target, recipe.network["scale"], validation, how.seed)
                      for validation in (False, True))
    before = validate(run.source, unseen, device)
    for step in tqdm(range(how.steps), disable=not progress, delay=2, desc="adapting"):
        run.advance(step, source.batch(step, how.batch), images.batch(step, how.batch))
        if run.aligned:
            break
    figures = validate(run.network.eval(), unseen, device)
    with whole_file(folder / "adapt.csv") as beside, open(beside, "w", newline="") as file:
        writer = csv.DictWriter(file, ["step", "accuracy", "adversarial", "restoration"])
        writer.writeheader()
        writer.writerows(run.curve)
    path = folder / f"{card.name}-adapted.safetensors"
    save_network(path, run.network, name=path.stem, network=card.network,
                 recipe=card.recipe, adapted={**asdict(how), "catalog": target.catalog},
                 figures={**figures, "psnr_before": before["psnr"]}, steps=len(run.curve))
    return path


def _patches(data, size):
    return Data(**{**asdict(data), "size": size})


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
        fake, _ = encode(self.network, *target.inputs(self.device))
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
        if not torch.isfinite(total):
            raise FloatingPointError(f"loss is {total.item()} at step {step}")
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(self.optimizer.param_groups[0]["params"], 1.0)
        self.optimizer.step()
        self.curve.append({"step": step, "accuracy": self.accuracy,
                           "adversarial": adversarial.item(), "restoration": restoration.item()})
