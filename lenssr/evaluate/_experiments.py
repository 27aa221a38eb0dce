"""Which pairs a benchmark is about: those to be restored, and those that one may learn from."""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from lenssr._validation import check_positive_int

__all__ = ["EXPERIMENTS", "Experiment", "find_experiment"]

EXPERIMENTS = {"clean": "deeplense-clean", "noisy": "deeplense-noisy", "observed": "observed-like"}
"""The published experiments, and the presets of `lenssr.simulate` that stand for them."""

CLASSES = ("no_sub", "cdm", "axion")


@dataclass
class Experiment:
    """Pairs of a benchmark."""

    name: str
    source: str
    scale: int
    size: int
    spare: int
    test: object
    training: object
    preset: str | None = None
    seed: int | None = None


def find_experiment(pairs, *, n, seed, scale, training, name=None):
    """The experiment that ``pairs`` means."""
    from lenssr.simulate import PRESETS, open_catalog

    preset = EXPERIMENTS.get(pairs, pairs) if isinstance(pairs, str) else None
    chosen = hasattr(training, "__len__")
    if chosen and preset in PRESETS:
        raise ValueError("`training` must be a number for pairs of a preset, got pairs")
    if preset in PRESETS:
        return _series(name or pairs, preset, n, seed, 2 if scale is None else scale, training)
    if isinstance(pairs, str | Path):
        if not Path(pairs).is_dir():
            raise ValueError(f"`pairs` must be one of {', '.join((*EXPERIMENTS, *PRESETS))}, a "
                             f"folder of pairs, or pairs, got {str(pairs)!r}")
        found = _given(name or Path(pairs).resolve().name, open_catalog(pairs), n, seed, training)
    else:
        if not hasattr(pairs, "__len__"):
            pairs = list(islice(pairs, n + (0 if chosen else training)))
        found = _given(name or "pairs", pairs, n, seed, training)
    if scale not in (None, found.scale):
        raise ValueError(f"`scale` must be that of the pairs, {found.scale}, got {scale}")
    return found


def _series(name, preset, n, seed, scale, training):
    from lenssr.simulate import simulate_pair

    check_positive_int("scale", scale)

    def series(seed, count):
        for index in range(count):
            yield simulate_pair(preset, substructure=CLASSES[index % len(CLASSES)], scale=scale,
                                seed=seed, index=index, engine="torch")

    return Experiment(name, f"preset {preset}, classes {', '.join(CLASSES)} in turn", scale, n,
                      training, lambda: series(seed, n), lambda: series(seed + 1, training),
                      preset, seed)


def _given(name, pairs, n, seed, training):
    """Pairs that are there: some are tested, the filter learns from others."""
    if not len(pairs):
        raise ValueError("`pairs` must hold at least one pair, got none")
    order = np.random.default_rng(seed).permutation(len(pairs)).tolist()
    if hasattr(training, "__len__"):
        return Experiment(name, f"{len(pairs)} pairs given", pairs[0].scale, min(n, len(pairs)),
                          len(training), lambda: (pairs[i] for i in order[:n]),
                          lambda: iter(training))
    # Half of them is kept for learning, where there are not enough for both.
    size = min(n, max(len(pairs) - training, -(-len(pairs) // 2)))
    spare = order[size:size + training]
    return Experiment(
        name, f"{len(pairs)} pairs given, drawn at random", pairs[order[0]].scale, size,
        len(spare), lambda: (pairs[i] for i in order[:size]), lambda: (pairs[i] for i in spare))
