"""Recipes: everything that decides what a training run makes, read from TOML."""

import dataclasses
import tomllib
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from lenssr._checks import check_keys

__all__ = ["Data", "Recipe", "Training"]


@dataclass(frozen=True)
class Data:
    """Simulated pairs to train on; parameters as in the recipe files."""

    preset: str = "hsc-hst"
    scenes: int = 24000
    seed: int = 1
    validation_scenes: int = 256
    validation_seed: int = 3
    size: int = 32
    correlated: float = 0.3
    noise_error: float = 0.07
    psf_known: float = 0.85


@dataclass(frozen=True)
class Training:
    """The optimisation; parameters as in the recipe files."""

    seed: int = 1
    steps: int = 20000
    batch: int = 16
    learning_rate: float = 1e-3
    warmup: int = 500
    weight_decay: float = 1e-4
    clip: float = 1.0
    ema: float = 0.999
    peak_weight: float = 0.015
    flux_weight: float = 0.002
    flux_weight_end: float = 0.01
    precision: str = "auto"
    validate_every: int = 1000
    checkpoint_minutes: float = 4.0


@dataclass(frozen=True)
class Recipe:
    """
    A training run.

    Parameters
    ----------
    name : str
        Name of the weights that it makes.
    network : dict
        ``architecture`` and its sizes.
    data : `Data`
        What it is trained on.
    training : `Training`
        How.
    """

    name: str
    network: dict
    data: Data = field(default_factory=Data)
    training: Training = field(default_factory=Training)

    def __post_init__(self):
        for key in ("architecture", "scale"):
            if key not in self.network:
                raise ValueError(f"recipe [network] lacks the key `{key}`")
        for part, key in ((self.data, "scenes"), (self.data, "validation_scenes"),
                          (self.data, "size"), (self.training, "steps"),
                          (self.training, "batch"), (self.training, "learning_rate"),
                          (self.training, "validate_every"),
                          (self.training, "flux_weight"), (self.training, "flux_weight_end"),
                          (self.training, "checkpoint_minutes")):
            value = getattr(part, key)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
                raise ValueError(f"recipe key `{key}` must be positive, got {value!r}")
        if not 0 <= self.training.ema < 1:
            raise ValueError(f"recipe key `ema` must be in [0, 1), got {self.training.ema}")
        if self.training.precision not in ("auto", "float32", "bfloat16"):
            raise ValueError("recipe key `precision` must be 'auto', 'float32' or 'bfloat16', "
                             f"got {self.training.precision!r}")

    @classmethod
    def read(cls, source):
        """
        Read a recipe.

        Parameters
        ----------
        source : path-like or str
            A TOML file, or the name of a recipe that comes with lenssr.

        Raises
        ------
        ValueError
            If the file is not TOML, lacks a key or has an unknown one.
        FileNotFoundError
            If there is neither a file nor a recipe of that name.
        """
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
        check_keys(tree, [f.name for f in dataclasses.fields(cls)], str(path))
        for key in ("name", "network"):
            if key not in tree:
                raise ValueError(f"recipe {path} lacks the key `{key}`")
        parts = {}
        for key, kind in (("data", Data), ("training", Training)):
            table = tree.get(key, {})
            check_keys(table, [f.name for f in dataclasses.fields(kind)], f"{path} [{key}]")
            parts[key] = kind(**table)
        return cls(tree["name"], tree["network"], **parts)

    def as_dict(self):
        """The recipe as plain dictionaries, for a card."""
        return dataclasses.asdict(self)
