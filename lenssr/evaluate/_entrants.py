"""Who takes part in a benchmark: methods, the best linear filter, networks from files."""

import difflib
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lenssr.evaluate._complexity import count_macs
from lenssr.evaluate._linear import OptimalLinearFilter
from lenssr.evaluate._prepare import edge_level
from lenssr.methods import RunOptions, find_method, list_methods, make_method
from lenssr.weights import find_weights, load_network, read_card

__all__ = ["BASELINES", "LINEAR", "Entrant", "LevelledFilter", "check_scale", "constant",
           "from_file", "method_names", "registered", "weight_files"]

LINEAR = "optimal_linear"
BASELINES = ("bilinear", "bicubic", LINEAR, "richardson_lucy", "wiener")


@dataclass
class Entrant:
    """One who takes part."""

    label: str
    apply: object
    passes: int = 1
    parameters: float = np.nan
    macs: float = np.nan
    known: dict = field(default_factory=dict)


class LevelledFilter:
    """`OptimalLinearFilter` between images whose level has been taken off."""

    def __init__(self, scale):
        self.filter = OptimalLinearFilter(scale=scale)
        self._moment = self._norm = 0.0

    def add(self, pair):
        """Learn from a `Prepared` pair."""
        lr, hr = pair.plane.data / pair.span, pair.target
        low, high = edge_level(lr), edge_level(hr)
        self.filter.add(lr - low, hr - high)
        self._moment, self._norm = self._moment + low * high, self._norm + low**2

    def __call__(self, pair):
        data = pair.plane.data
        level = edge_level(data)
        share = self._moment / self._norm if self._norm else 0.0
        return self.filter.apply(data - level) + share * level


def constant(pair):
    """The best of all flat images, which has seen the target: what a flat sky is worth."""
    return np.full(pair.target.shape, np.mean(pair.target[~pair.mask]))


def method_names(methods):
    """The methods that are asked for, bilinear interpolation first: all is measured by it."""
    table = list_methods()
    known = [*map(str, table["name"]), LINEAR]
    if methods is None:
        networks = map(str, table["name"][table["family"] == "network"])
        methods = (*BASELINES, *(name for name in networks if find_method(name).weights))
    if isinstance(methods, str):
        methods = (methods,)
    for name in methods:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"`methods` must be names of {', '.join(known)}, got {name!r}{hint}")
    return list(dict.fromkeys(("bilinear", *methods)))


def registered(name, scale, shape, device):
    """The `Entrant` of a method by name; `ValueError` if it cannot do the scale."""
    made = make_method(name, scale, {})
    if hasattr(made, "n_probes"):
        # One, of errors that nobody looks at.
        made = make_method(name, scale, {"n_probes": 1})
    for weights in find_method(name).weights:
        if scale in read_card(find_weights(weights)).scales:
            return _entrant(name, made, scale, device, *_cost(weights, shape, scale))
    return _entrant(name, made, scale, device)


def weight_files(weights, names):
    """Files of weights with their labels."""
    if not isinstance(weights, dict):
        weights = [weights] if isinstance(weights, str | os.PathLike) else weights
        weights = {Path(file).stem: file for file in weights}
    found = []
    for label, files in weights.items():
        if label in names:
            raise ValueError(f"`weights` must have labels that no method has, got {label!r}")
        for file in [files] if isinstance(files, str | os.PathLike) else files:
            found.append((label, file, load_network(file)[1]))
    return found


def check_scale(card, scale):
    """`ValueError` if weights are for another scale."""
    if scale not in card.scales:
        raise ValueError(f"its weights are for the scale {' or '.join(map(str, card.scales))}, "
                         f"not {scale}")


def from_file(label, file, card, scale, shape, device):
    """The `Entrant` of a file of weights; `ValueError` if it is for another scale."""
    check_scale(card, scale)
    made = make_method(card.network["architecture"], scale, {"weights": file, "n_probes": 1})
    return _entrant(label, made, scale, device, *_cost(file, shape, scale))


def _cost(weights, shape, scale):
    network, card = load_network(weights)
    return card.parameters, count_macs(network, shape, scale), card.recipe.get("data", {})


def _entrant(label, method, scale, device, *cost):
    run = RunOptions(scale=scale, device=device)
    return Entrant(label, lambda pair: method.restore(pair.plane, run).mean,
                   1 + getattr(method, "n_probes", 0), *cost)
