"""State and steps of a training run, resumable bit by bit."""

import copy
import difflib
import math
import warnings
from fnmatch import fnmatchcase
from pathlib import Path

import torch

from lenssr._io import atomic_write
from lenssr.exceptions import LensSRWarning
from lenssr.networks import build_network, has_fast_bfloat16
from lenssr.train._data import open_pairs
from lenssr.train._losses import load_features, training_loss
from lenssr.train._optimization import OPTIMIZERS, average_weight, learning_rate, scheduled
from lenssr.train._validation import validate
from lenssr.weights import load_network


def warm_start(network, weights, config):
    """Initialise a network with trained weights."""
    trained, card = load_network(weights)
    if type(trained) is not type(network):
        raise ValueError(f"recipe key `init` must be weights of architecture "
                         f"{config['architecture']!r}, {weights!r} is of "
                         f"{card.network['architecture']!r}")
    new_scale, old_scale = config.get("scale"), card.network.get("scale")  # classifiers have none
    if new_scale != old_scale:
        raise ValueError(
            f"recipe key `init` must be weights of scale {new_scale}, got {weights!r} of "
            f"scale {old_scale}")
    try:
        network.load_state_dict(trained.state_dict())
    except RuntimeError as err:
        differences = [f"{key} {card.network.get(key)!r}, not {config.get(key)!r}"
                       for key in {**config, **card.network}
                       if card.network.get(key) != config.get(key)]
        raise ValueError(f"recipe key `init` must be weights of the recipe's network, got "
                         f"{weights!r} with {'; '.join(differences) or 'other tensors'}") from err


def freeze(network, patterns):
    """Freeze the parameters that match patterns."""
    names = [name for name, _ in network.named_parameters()]
    for pattern in patterns:
        if not any(_matches(name, [pattern]) for name in names):
            parts = {".".join(name.split(".")[:k]) for name in names
                     for k in range(1, name.count(".") + 2)}
            near = difflib.get_close_matches(pattern, sorted(parts), n=1)
            hint = f"did you mean {near[0]!r}?" if near else "there are " + ", ".join(
                sorted({name.split(".")[0] for name in names}))
            raise ValueError(f"recipe key `freeze` must name parameters of the network, "
                             f"{pattern!r} names none; {hint}")
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not _matches(name, patterns))
    if not any(p.requires_grad for p in network.parameters()):
        raise ValueError(f"recipe key `freeze` must leave something to train, got {patterns}")


def freeze_batchnorm(network, patterns):
    """Freeze the batch-norm statistics of modules that match patterns."""
    for name, module in network.named_modules():
        buffer_names = [f"{name}.{key}" for key, _ in module.named_buffers(recurse=False)]
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm) and buffer_names and all(
                _matches(key, patterns) for key in buffer_names):
            module.eval()


def _matches(name, patterns):
    """Return whether a pattern equals a name or a prefix of it."""
    parts = name.split(".")
    heads = [".".join(parts[:k + 1]) for k in range(len(parts))]
    return any(fnmatchcase(head, pattern.rstrip(".")) for pattern in patterns for head in heads)


class Trainer:
    """Network, moving average, optimiser and progress of a training run."""

    best_by = "psnr"  # metric that selects the best network

    def __init__(self, recipe, folder, distributed):
        self.recipe, self.folder, self.distributed = recipe, Path(folder), distributed
        self.training, self.device = recipe.training, distributed.device
        if "perceptual" in self.training.loss:
            load_features(self.training.features)  # fail before anything is written
        torch.manual_seed(self.training.seed)
        self.network = self.build(self.config).to(self.device)
        self.network.to(memory_format=torch.channels_last)
        freeze(self.network, self.training.freeze)
        self.average = copy.deepcopy(self.network).eval()
        freeze_batchnorm(self.network, self.training.freeze)
        self.model = distributed.parallel(self.network)
        self.trained = [p for p in self.network.parameters() if p.requires_grad]
        self.optimizer = OPTIMIZERS[self.training.optimizer](
            self.trained, self.training.learning_rate, weight_decay=self.training.weight_decay)
        self.bfloat16 = self.training.precision == "bfloat16" or (
            self.training.precision == "auto" and has_fast_bfloat16(self.device))
        self.step, self.seconds, self.curve, self.losses, self.best = 0, 0.0, [], [], None
        self.card_fields = {}  # further fields of the model card

    open_pairs = staticmethod(open_pairs)

    @staticmethod
    def measure(network, pairs, device):
        """Measure the metrics of a network on validation pairs."""
        return validate(network, pairs, device)

    @property
    def config(self):
        """Architecture and parameters of the network."""
        return self.recipe.network

    def build(self, config):
        """Build the network."""
        return build_network(**config)

    @property
    def checkpoint(self):
        """Path of the checkpoint."""
        return self.folder / "checkpoint.pt"

    def resume(self):
        """Load the checkpoint of the folder, or initialise the run."""
        if self.checkpoint.exists():
            self._resume()
        else:
            self.initialize()

    def initialize(self):
        """Initialise the run, whatever the folder holds."""
        if self.training.init is not None:
            warm_start(self.network, self.training.init, self.config)
            self.average.load_state_dict(self.network.state_dict())

    def set_schedule(self, pairs):
        """Set the number of steps from the number of pairs."""
        together = self.training.batch * self.distributed.world
        if pairs.n is not None and pairs.n < together:
            raise ValueError(f"recipe key `batch` must be at most the number of pairs, {pairs.n}, "
                             f"got {together} for all processes")
        self.training = scheduled(self.training, pairs.n, self.distributed.world)

    def save(self):
        """Write a checkpoint; an earlier checkpoint survives a failure."""
        with atomic_write(self.checkpoint) as tmp_path:
            try:
                torch.save(self.state(), tmp_path)
            except (OSError, RuntimeError) as err:
                raise OSError(f"no checkpoint could be written to {self.folder} at step "
                              f"{self.step} ({' '.join(str(err).split())[:120]}); the last one is "
                              "kept") from err

    def state(self):
        """Return the state for a checkpoint."""
        return dict(network=self.network.state_dict(), average=self.average.state_dict(),
                    optimizer=self.optimizer.state_dict(), recipe=self.recipe.as_dict(),
                    step=self.step, seconds=self.seconds, curve=self.curve, losses=self.losses,
                    best=self.best, world=self.distributed.world)

    def _resume(self):
        try:
            state = torch.load(self.checkpoint, weights_only=True, map_location=self.device)
            recipe = type(self.recipe).from_dict(state["recipe"])
        except Exception as err:
            raise ValueError(f"`folder` holds a checkpoint that cannot be read, {self.checkpoint}: "
                             f"{' '.join(str(err).split())[:200]}") from err
        if recipe != self.recipe:
            raise ValueError(f"`folder` must be new or hold the same recipe; {self.checkpoint} "
                             f"has another recipe: "
                             f"{recipe_difference(recipe.as_dict(), self.recipe.as_dict())}")
        if state.get("world", 1) != self.distributed.world:
            warnings.warn(f"the run continues with {self.distributed.world} processes in place of "
                          f"{state['world']}: results differ from an uninterrupted run",
                          LensSRWarning, stacklevel=2)
        self.load_state_dict(state)

    def load_state_dict(self, state):
        """Load the state of a checkpoint."""
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds, self.curve = state["step"], state["seconds"], state["curve"]
        self.losses, self.best = state.get("losses", []), state.get("best")

    def loss(self, batch):
        """Compute the loss of a batch."""
        return self.content(self.apply(batch), batch)

    def apply(self, batch):
        """Apply the network to a batch; return asinh-scaled images."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            return self.model(*batch.inputs(self.device)).float()

    def content(self, output, batch):
        """Compute the recipe loss of network output."""
        return training_loss(output, batch.hr.to(self.device), batch.scale, self.training,
                             self.step, self.distributed.mean)

    def advance(self, pairs, rate=None):
        """Take an optimisation step and return the loss."""
        training, distributed = self.training, self.distributed
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, training) if rate is None else rate
        batch = pairs.batch(self.step, training.batch, distributed.rank, distributed.world)
        # Random layers depend on the step alone, so that resumed runs are equal.
        torch.manual_seed(training.seed + self.step * distributed.world + distributed.rank)
        loss = self.loss(batch)
        shared = distributed.mean(loss.detach()).item()
        if not math.isfinite(shared):
            raise self._stop(f"loss is {shared}", batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.trained, training.clip)
        if not torch.isfinite(norm):
            raise self._stop(f"gradient is {norm.item()}", batch)
        self.optimizer.step()
        update_average(self.average, self.network, self.step, training)
        self.step += 1
        return shared

    def _stop(self, what, batch):
        return FloatingPointError(f"{what} at step {self.step}, on the pairs {batch.indices}; the "
                                  "last checkpoint is kept")

    def validate(self, pairs):
        """Measure the averaged network, and keep it if it is the best."""
        metrics = self.distributed.broadcast_from_rank_zero(lambda: self.metrics(pairs))
        self.curve.append({"step": self.step, "loss": sum(self.losses) / len(self.losses),
                           **metrics})
        self.losses.clear()
        if self.training.patience and self.best_index == len(self.curve) - 1:
            self.best = copy.deepcopy(self.average.state_dict())
        return metrics

    def metrics(self, pairs):
        """Measure the metrics of the averaged network on validation pairs."""
        return self.measure(self.average, pairs, self.device)

    @property
    def best_index(self):
        """Row of the curve with the best metric, or the last row."""
        if not self.training.patience:
            return len(self.curve) - 1
        return max(range(len(self.curve)), key=lambda k: self.curve[k][self.best_by])

    def select_best(self):
        """Return the selected averaged network and its row of the curve."""
        if self.training.patience:
            self.average.load_state_dict(self.best)
        return self.average, self.curve[self.best_index]

    @property
    def done(self):
        """True if all steps are taken or early stopping applies."""
        worse = len(self.curve) - 1 - self.best_index if self.curve else 0
        return self.step >= self.training.steps or bool(
            self.training.patience and worse >= self.training.patience)


@torch.no_grad()
def update_average(average, network, step, training):
    """Update the moving average of the weights after a step."""
    new_fraction = 1 - average_weight(step, training)
    for mean, new in zip(average.parameters(), network.parameters()):
        mean.lerp_(new, new_fraction)
    # Batch statistics are averages already.
    for mean, new in zip(average.buffers(), network.buffers()):
        mean.copy_(new)


def recipe_difference(old, new):
    """Describe the first key in which two recipes differ."""
    for part in {**old, **new}:
        if old.get(part) == new.get(part):
            continue
        if not (isinstance(old.get(part), dict) and isinstance(new.get(part), dict)):
            return f"its {part} is {old.get(part)!r}, not {new.get(part)!r}"
        for key in {**old[part], **new[part]}:
            if old[part].get(key) != new[part].get(key):
                return (f"its [{part}] {key} is {old[part].get(key)!r}, not "
                        f"{new[part].get(key)!r}")
    return "it differs"
