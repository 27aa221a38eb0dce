"""Training recipes in TOML, and the validation of their fields."""

import dataclasses
import math
import tomllib
from dataclasses import dataclass, field
from importlib import resources
from numbers import Integral, Real
from pathlib import Path

from lenssr._validation import check_keys, suggest
from lenssr.image import FLUX_CONVENTIONS
from lenssr.networks import architectures, find_architecture
from lenssr.simulate import SUBSTRUCTURES
from lenssr.train._losses import CONSISTENCY_LOSS, LOSSES, RESIDUAL_LOSS
from lenssr.train._optimization import OPTIMIZERS


def number_field(default, low, high=math.inf, *, integer=False, open_low=False, open_high=False):
    """Make a dataclass field that holds a number."""
    return dataclasses.field(default=default, metadata={
        "range": (low, high, open_low, open_high), "whole": integer})


def choice_field(default, *known):
    """Make a dataclass field that holds one of several names."""
    return dataclasses.field(default=default, metadata={"known": known})


def check_fields(part):
    """Check the fields made by `number_field` and `choice_field`."""
    for item in dataclasses.fields(part):
        value = getattr(part, item.name)
        if value is None and item.default is None:
            continue
        if "known" in item.metadata and value not in item.metadata["known"]:
            raise ValueError(f"recipe key `{item.name}` must be one of "
                             f"{', '.join(item.metadata['known'])}, got {value!r}"
                             f"{suggest(value, item.metadata['known'], quote=chr(39))}")
        if "range" in item.metadata:
            _check_number(item, value)


def _check_number(field, value):
    low, high, open_low, open_high = field.metadata["range"]
    integer = field.metadata["whole"]
    real = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if real and (not integer or isinstance(value, Integral)) and (
            low < value < high or (value == low and not open_low)
            or (value == high and not open_high)):
        return
    near = field.default
    if real and not (value <= low and open_low) and not (value >= high and open_high):
        near = min(max(round(value) if integer else value, low), high)
    what = "an integer" if integer else "a number"
    minimum = f"above {low}" if open_low else f"of at least {low}"
    if high < math.inf:
        minimum = (f"from {low} to {high}" if not (open_low or open_high) else
                   f"{minimum} and below {high}" if open_high else f"{minimum} and up to {high}")
    hint = "" if near is None else f"; the nearest valid value is {near}" if near != field.default \
        else f"; the default is {near}"
    raise ValueError(f"recipe key `{field.name}` must be {what} {minimum}, got {value!r}{hint}")


DEFAULT_STEPS = 20000  # of a recipe with neither steps nor epochs


@dataclass(frozen=True)
class Data:
    """
    Training data; the part ``[data]`` of a recipe.

    Parameters
    ----------
    preset : str
        Preset, one of ``lenssr.simulate.PRESETS``.
    scenes : int
        Rendered scenes, which are observed again at each use; zero simulates each pair once.
    seed : int
        Seed of the scenes.
    validation_scenes : int
        Scenes of the validation set.
    validation_seed : int
        Seed of the validation scenes, or of the split of a catalogue.
    size : int
        Side of the patches, input pixels.
    p_correlated_noise : float
        Probability that the noise of an image is correlated, as in coadds.
    noise_error : float
        Relative error of the noise map.
    p_psf_known : float
        Probability that the network is conditioned on the PSF.
    p_masked : float
        Probability that an image has bad pixels.
    substructure : list of str, optional
        Classes of dark matter, which alternate; smooth lenses by default.
    catalog : str, optional
        Folder of a catalogue in place of a preset.
    validation_fraction : float
        Held-out fraction of a catalogue.
    flux : {"auto", "per-pixel", "surface-brightness"}
        Flux convention of a catalogue without units.
    fold : int
        Number of the held-out part of a catalogue, for cross-validation.
    gan_fraction : float
        Fraction of the scenes replaced by generated arcs.
    gan_weights : str
        Name or file of the generator weights.

    Raises
    ------
    ValueError
        If a value is out of range.

    Examples
    --------
    >>> from lenssr.train import Data
    >>> Data(preset="any-telescope").scenes
    24000
    """

    preset: str = "hsc-hst"
    scenes: int = number_field(24000, 0, integer=True)
    seed: int = number_field(1, 0, integer=True)
    validation_scenes: int = number_field(256, 1, integer=True)
    validation_seed: int = number_field(3, 0, integer=True)
    size: int = number_field(32, 1, integer=True)
    p_correlated_noise: float = number_field(0.3, 0, 1)
    noise_error: float = number_field(0.07, 0)
    p_psf_known: float = number_field(0.85, 0, 1)
    p_masked: float = number_field(0.0, 0, 1)
    substructure: list | None = None
    catalog: str | None = None
    validation_fraction: float = number_field(0.1, 0, 1, open_low=True, open_high=True)
    flux: str = choice_field("auto", *FLUX_CONVENTIONS)
    fold: int = number_field(0, 0, integer=True)
    gan_fraction: float = number_field(0.0, 0, 1)
    gan_weights: str = "arcs-x2"

    def __post_init__(self):
        check_fields(self)
        if self.catalog is not None and not (isinstance(self.catalog, str) and self.catalog):
            raise ValueError("recipe key `catalog` must be the folder of a catalogue, got "
                             f"{self.catalog!r}")
        if not (isinstance(self.gan_weights, str) and self.gan_weights):
            raise ValueError("recipe key `gan_weights` must be a name or file of weights, got "
                             f"{self.gan_weights!r}")
        if self.gan_fraction and (self.catalog is not None or self.scenes == 0):
            raise ValueError(
                "recipe key `gan_fraction` must be 0 for pairs of a catalogue or pairs "
                f"without end, got {self.gan_fraction!r}")
        if self.substructure is not None:
            names = _names("substructure", self.substructure)
            object.__setattr__(self, "substructure", names)
            check_keys(names, SUBSTRUCTURES, "recipe key `substructure`")


@dataclass(frozen=True)
class Training:
    """
    Options of the optimisation; the part ``[training]`` of a recipe.

    Parameters
    ----------
    seed : int
        Seed of the initial weights and of the order of the pairs.
    steps : int, optional
        Optimisation steps; 20000 without ``epochs``.
    batch : int
        Number of pairs in each step.
    learning_rate : float
        Peak learning rate.
    warmup : int
        Steps of the rise to the peak rate.
    weight_decay : float
        Weight decay of the optimiser.
    clip : float
        Largest norm of the gradient.
    ema : float
        Decay of the moving average of the weights per step.
    peak_weight, flux_weight, flux_weight_end : float
        Weights of the relative error and of the flux error in the composite loss. The weight of
        the flux error is constant in the first half of a cycle, and then increases from
        ``flux_weight`` to ``flux_weight_end``.
    precision : {"auto", "float32", "bfloat16"}
        Arithmetic; bfloat16 where it is fast by default.
    validate_every : int
        Steps between validations.
    checkpoint_minutes : float
        Minutes between checkpoints.
    epochs : float, optional
        Length of the training in passes over all pairs, in place of ``steps``.
    schedule : {"cosine", "one-cycle"}
        Learning-rate schedule.
    cycles : int
        Warm restarts of the cosine schedule.
    last_cycle : float
        Ratio of the learning rate of the last cycle to that of the earlier cycles.
    optimizer : {"adamw", "muon"}
        Optimiser.
    loss : dict or str
        Losses with their weights.
    features : str
        Network of the perceptual loss: ``"lens"``, ``"vgg19"`` or a file of weights.
    patience : int
        Validations without improvement before an early stop; zero for no early stop.
    init : str, optional
        Name or file of initial weights.
    freeze : list of str
        Patterns of frozen parameters.

    Raises
    ------
    ValueError
        If a value is out of range.

    Examples
    --------
    >>> from lenssr.train import Training
    >>> Training().steps
    20000
    """

    seed: int = number_field(1, 0, integer=True)
    steps: int | None = number_field(None, 1, integer=True)
    batch: int = number_field(16, 1, integer=True)
    learning_rate: float = number_field(1e-3, 0, open_low=True)
    warmup: int = number_field(500, 0, integer=True)
    weight_decay: float = number_field(1e-4, 0)
    clip: float = number_field(1.0, 0, open_low=True)
    ema: float = number_field(0.999, 0, 1, open_high=True)
    peak_weight: float = number_field(0.015, 0)
    flux_weight: float = number_field(0.002, 0, open_low=True)
    flux_weight_end: float = number_field(0.01, 0, open_low=True)
    precision: str = choice_field("auto", "auto", "float32", "bfloat16")
    validate_every: int = number_field(1000, 1, integer=True)
    checkpoint_minutes: float = number_field(4.0, 0, open_low=True)
    epochs: float | None = number_field(None, 0, open_low=True)
    schedule: str = choice_field("cosine", "cosine", "one-cycle")
    cycles: int = number_field(1, 1, integer=True)
    last_cycle: float = number_field(1.0, 0, 1, open_low=True)
    optimizer: str = choice_field("adamw", *OPTIMIZERS)
    loss: dict = field(default_factory=lambda: {"composite": 1.0})
    features: str = "lens"
    patience: int = number_field(0, 0, integer=True)
    init: str | None = None
    freeze: list = field(default_factory=list)

    def __post_init__(self):
        if self.steps is not None and self.epochs is not None:
            raise ValueError("recipe keys `steps` and `epochs` must not both be given, got "
                             f"{self.steps} and {self.epochs}")
        if self.steps is None and self.epochs is None:
            object.__setattr__(self, "steps", DEFAULT_STEPS)
        check_fields(self)
        if isinstance(self.loss, str):
            object.__setattr__(self, "loss", {self.loss: 1.0})
        if not isinstance(self.loss, dict) or not self.loss:
            raise ValueError(f"recipe key `loss` must be names of losses with their weights, got "
                             f"{self.loss!r}")
        check_keys(self.loss, (*LOSSES, CONSISTENCY_LOSS, RESIDUAL_LOSS), "recipe key `loss`")
        for name, weight in self.loss.items():
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not weight > 0:
                raise ValueError(f"recipe key `loss`: the weight of {name} must be a positive "
                                 f"number, got {weight!r}")
        if not (isinstance(self.features, str) and self.features):
            raise ValueError("recipe key `features` must be 'lens', 'vgg19' or a file of weights, "
                             f"got {self.features!r}")
        if self.init is not None and not (isinstance(self.init, str) and self.init):
            raise ValueError(f"recipe key `init` must be a name or file of weights, got "
                             f"{self.init!r}")
        object.__setattr__(self, "freeze", _names("freeze", self.freeze, empty=True))


@dataclass(frozen=True)
class Adversarial:
    """
    Options of the discriminator; the part ``[adversarial]`` of a recipe.

    Parameters
    ----------
    weight : float
        Adversarial gradient over the gradient of the content loss.
    penalty : float
        Weight of the gradient penalty.
    learning_rate : float
        Learning rate of the discriminator.
    features : int
        Features of the first layer.
    stages : int
        Stages, each of which halves the image.
    hidden : int
        Features of the dense layer.

    Raises
    ------
    ValueError
        If a value is out of range.

    Examples
    --------
    >>> from lenssr.train import Adversarial
    >>> Adversarial(weight=0.1).features
    64
    """

    weight: float = number_field(0.5, 0, open_low=True)
    penalty: float = number_field(0.5, 0)
    learning_rate: float = number_field(4e-4, 0, open_low=True)
    features: int = number_field(64, 1, integer=True)
    stages: int = number_field(4, 1, integer=True)
    hidden: int = number_field(1024, 1, integer=True)

    def __post_init__(self):
        check_fields(self)


def _names(key, value, empty=False):
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(n, str) and n for n in names) or (
            not names and not empty):
        raise ValueError(f"recipe key `{key}` must be a list of names, got {value!r}")
    return list(names)


@dataclass(frozen=True)
class Recipe:
    """
    Training recipe of a network.

    Parameters
    ----------
    name : str
        Name of the weights.
    network : dict
        ``architecture``, ``scale`` and further parameters of the network.
    data : `Data`
        Training data.
    training : `Training`
        Options of the optimisation.
    adversarial : `Adversarial`, optional
        Options of the discriminator, for adversarial training.

    Raises
    ------
    ValueError
        If ``network`` lacks its architecture or scale, or if ``adversarial`` does not fit the
        architecture.

    Examples
    --------
    >>> from lenssr.train import Recipe
    >>> Recipe.read("rcan_x2").network["architecture"]
    'rcan'
    """

    name: str
    network: dict
    data: Data = field(default_factory=Data)
    training: Training = field(default_factory=Training)
    adversarial: Adversarial | None = None

    needed = ("architecture", "scale")  # required keys of the network
    parts = {"data": Data, "training": Training, "adversarial": Adversarial}
    optional = ("adversarial",)

    def __post_init__(self):
        if not isinstance(self.name, str) or not self.name or set(self.name) & set("/\\\0"):
            raise ValueError("recipe key `name` must be a name that a file can have, got "
                             f"{self.name!r}")
        for key in self.needed:
            if key not in self.network:
                raise ValueError(f"recipe [network] lacks the key `{key}`")
        architecture = find_architecture(self.network["architecture"])
        if (self.adversarial is None) == architecture.adversarial:
            names = [name for name, item in architectures().items() if item.adversarial]
            raise ValueError(f"recipe [adversarial] must be given for {' and '.join(names)} "
                             f"alone, the architecture is {architecture.name!r}")
        for loss, trainer in ((RESIDUAL_LOSS, "residual"), (CONSISTENCY_LOSS, "consistency")):
            if loss in self.training.loss and architecture.trainer != trainer:
                raise ValueError(f"recipe key `loss` must not have {loss!r} for the architecture "
                                 f"{architecture.name!r}, which does not predict the data")
        if list(self.training.loss) == [CONSISTENCY_LOSS]:
            raise ValueError(f"recipe key `loss` must have more than {CONSISTENCY_LOSS!r}, which "
                             "does not compare with the target")
        if self.network.get("channels", 1) != 1:
            raise ValueError("recipe key `channels` must be 1, which the pairs have, got "
                             f"{self.network['channels']!r}")
        if self.data.scenes == 0 and self.data.catalog is None and self.training.epochs is not None:
            raise ValueError("recipe key `epochs` must be omitted for `scenes` = 0; give `steps`")

    @classmethod
    def read(cls, source):
        """
        Read a recipe.

        Parameters
        ----------
        source : path-like, str or `Recipe`
            TOML file, or name of a shipped recipe; a recipe is returned unchanged.

        Returns
        -------
        recipe : `Recipe`
            The recipe.

        Raises
        ------
        ValueError
            If the file is not TOML, lacks a key, or has an unknown key or a value out of range.
        FileNotFoundError
            If there is neither a file nor a shipped recipe of this name.
        """
        if isinstance(source, cls):
            return source
        path = Path(source)
        shipped = resources.files("lenssr.train") / "recipes" / f"{source}.toml"
        if not path.is_file() and "/" not in str(source) and shipped.is_file():
            path = Path(str(shipped))
        if not path.is_file():
            raise FileNotFoundError(f"`recipe` must be a TOML file or the name of a shipped "
                                    f"recipe, got {str(source)!r}")
        try:
            tree = tomllib.loads(path.read_text())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
            raise ValueError(f"recipe {path} is not TOML: {err}") from err
        return cls.from_dict(tree, f"recipe {path}")

    @classmethod
    def from_dict(cls, tree, where="recipe"):
        """
        Make a recipe from nested dicts, as in a TOML file, a card or a checkpoint.

        Parameters
        ----------
        tree : dict
            ``name``, ``network``, ``data``, ``training`` and, for some, ``adversarial``. Missing
            keys of the last three have default values.
        where : str
            Name of the source in error messages.

        Returns
        -------
        recipe : `Recipe`
            The recipe.
        """
        check_keys(tree, [f.name for f in dataclasses.fields(cls)], where)
        for key in ("name", "network"):
            if key not in tree:
                raise ValueError(f"{where} lacks the key `{key}`")
        parts = {}
        for key, kind in cls.parts.items():
            if key in cls.optional and tree.get(key) is None:
                continue
            table = tree.get(key, {})
            check_keys(table, [f.name for f in dataclasses.fields(kind)], f"{where} [{key}]")
            parts[key] = kind(**table)
        return cls(tree["name"], tree["network"], **parts)

    def as_dict(self):
        """Return the recipe as nested dicts, for a card."""
        tree = dataclasses.asdict(self)
        if self.adversarial is None:
            del tree["adversarial"]
        return tree
