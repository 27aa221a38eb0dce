"""Pairs of a benchmark in common units, and the summary of warnings."""

import re
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from astropy import units as u

from lenssr._validation import check_positive_int
from lenssr.exceptions import LensSRWarning
from lenssr.image import LensImage, expand_mask, flux_convention, parse_image, sigma_from
from lenssr.simulate import CLASSES


class WarningSummary:
    """Warnings by method; messages that differ in numbers alone count as one."""

    def __init__(self):
        self._found = {}

    def add(self, label, messages, image):
        """Add the messages of ``label`` for an image."""
        for message in messages:
            kind = re.sub(r"[-+.\d]+", "#", message)
            first, images = self._found.setdefault(label, {}).setdefault(kind, (message, set()))
            images.add(image)

    @contextmanager
    def collect(self, label, image):
        """Collect the warnings of a block without showing them."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", LensSRWarning)
            yield
        self.add(label, [str(w.message) for w in caught
                         if issubclass(w.category, LensSRWarning)], image)

    def messages(self, n_images):
        """Return the first message of each kind and the number of images, by label."""
        return {label: [f"{first} ({len(images)} of {n_images} images)"
                        for first, images in kinds.values()]
                for label, kinds in self._found.items()}


ARC_LEVEL = 0.1  # arcs are brighter than this fraction of the way from median to peak
ARC_SIGMA = 3.0  # and brighter than this number of sky noises of an input pixel
MIN_PEAK_SNR = 5.0  # sky noises of the peak of a truth that holds a source


@dataclass
class EvaluationPair:
    """Pair in surface brightness per input pixel, for methods and metrics."""

    plane: LensImage
    span: float
    target: np.ndarray
    truth: np.ndarray | None
    noise: float | None
    mask: np.ndarray
    arc: np.ndarray
    noise_from: str
    warned: list

    @property
    def scale(self):
        """Output pixels per input pixel."""
        return self.target.shape[0] // self.plane.shape[0]

    @property
    def best(self):
        """Truth without noise, or the target."""
        return self.target if self.truth is None else self.truth


def prepare_pair(pair, *, psf=None, assumed_snr=22.0, data_range="peak", min_snr=MIN_PEAK_SNR):
    """Convert a `~lenssr.simulate.LensPair` to an `EvaluationPair`."""
    lr, hr, known = pair.lr, pair.hr, pair.truth.get("hr")
    uncertainty, noise_from = None, "pair"
    if lr.uncertainty is None:
        noise_from = "sky" if assumed_snr is None else "declared"
    if noise_from == "declared":
        uncertainty = float(np.nanmax(lr.data)) / assumed_snr
        if not uncertainty > 0:
            return None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", LensSRWarning)
        plane = parse_image(lr, psf=psf, uncertainty=uncertainty).planes[0]
    area = _area(pair)
    target = np.asarray(hr.data, dtype=float) * area
    truth = None if known is None else np.asarray(known.data, dtype=float) * area
    best = target if truth is None else truth
    mask = expand_mask(plane.mask, pair.scale) | ~np.isfinite(target) | ~np.isfinite(best)
    if hr.mask is not None:
        mask |= np.asarray(hr.mask) != 0
    if mask.all():
        return None
    peak = float(best[~mask].max())
    if not peak > min_snr * plane.noise:
        return None
    span = peak if data_range == "peak" else float(data_range) * area
    middle, noise = np.median(best[~mask]), _noise(pair, area / span)
    bright = ARC_LEVEL * (peak - middle)
    if truth is not None or noise == 0:
        # A noisy target would count as light.
        bright = min(bright, ARC_SIGMA * plane.noise)
    return EvaluationPair(plane, span, target / span, None if truth is None else truth / span,
                          noise,
                          mask, best - middle > bright, noise_from,
                          [str(w.message) for w in caught])


def _area(pair):
    """
    Return the output pixels per input pixel for fluxes per pixel, and 1 for surface
    brightness.
    """
    unit = pair.hr.unit
    # Images without a unit were scaled individually, so that their flux convention is
    # unknown.
    if unit is None or unit.is_equivalent(u.dimensionless_unscaled):
        return 1
    return pair.scale**2 if flux_convention(unit) == "per-pixel" else 1


def _noise(pair, factor):
    if pair.hr.uncertainty is not None:
        nowhere = np.zeros(pair.hr.shape, bool)
        sigma, _ = sigma_from(pair.hr.uncertainty, nowhere, pair.hr.unit)
        return float(np.sqrt(np.mean(sigma[np.isfinite(sigma)] ** 2))) * factor
    # Simulated pairs state a target noise of zero; other pairs may not state it.
    return 0.0 if "target_sigma" in pair.truth else None


def edge_level(image):
    """Return the median along the edges of an image."""
    return float(np.nanmedian(np.concatenate([*image[[0, -1]], *image[:, [0, -1]].T])))


EXPERIMENTS = {"clean": "deeplense-clean", "noisy": "deeplense-noisy", "observed": "observed-like"}
"""The published experiments, and the presets of `lenssr.simulate` that stand for them."""


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
    """Return the `Experiment` of a name, a folder or a list of pairs."""
    from lenssr.simulate import PRESETS, open_catalog

    preset = EXPERIMENTS.get(pairs, pairs) if isinstance(pairs, str) else None
    chosen = hasattr(training, "__len__")
    if chosen and preset in PRESETS:
        raise ValueError("`training` must be a number for pairs of a preset, got pairs")
    if preset in PRESETS:
        return _preset_experiment(name or pairs, preset, n, seed, 2 if scale is None else scale,
                                  training)
    if isinstance(pairs, str | Path):
        if not Path(pairs).is_dir():
            raise ValueError(f"`pairs` must be one of {', '.join((*EXPERIMENTS, *PRESETS))}, a "
                             f"folder of pairs, or pairs, got {str(pairs)!r}")
        experiment = _explicit_experiment(name or Path(pairs).resolve().name, open_catalog(pairs),
                                          n, seed, training)
    else:
        if not hasattr(pairs, "__len__"):
            pairs = list(islice(pairs, n + (0 if chosen else training)))
        experiment = _explicit_experiment(name or "pairs", pairs, n, seed, training)
    if scale not in (None, experiment.scale):
        raise ValueError(f"`scale` must be the scale of the pairs, {experiment.scale}, got {scale}")
    return experiment


def _preset_experiment(name, preset, n, seed, scale, training):
    from lenssr.simulate import simulate_pair

    check_positive_int("scale", scale)

    def series(seed, count):
        for index in range(count):
            yield simulate_pair(preset, substructure=CLASSES[index % len(CLASSES)], scale=scale,
                                seed=seed, index=index, engine="torch")

    return Experiment(name, f"preset {preset}, classes {', '.join(CLASSES)} in turn", scale, n,
                      training, lambda: series(seed, n), lambda: series(seed + 1, training),
                      preset, seed)


def _explicit_experiment(name, pairs, n, seed, training):
    """Return an `Experiment` of given pairs, split into test and training pairs."""
    if not len(pairs):
        raise ValueError("`pairs` must hold at least one pair, got none")
    order = np.random.default_rng(seed).permutation(len(pairs)).tolist()
    if hasattr(training, "__len__"):
        return Experiment(name, f"{len(pairs)} pairs given", pairs[0].scale, min(n, len(pairs)),
                          len(training), lambda: (pairs[i] for i in order[:n]),
                          lambda: iter(training))
    # Keep half of the pairs for training if there are too few for both.
    size = min(n, max(len(pairs) - training, -(-len(pairs) // 2)))
    spare = order[size:size + training]
    return Experiment(
        name, f"{len(pairs)} pairs given, drawn at random", pairs[order[0]].scale, size,
        len(spare), lambda: (pairs[i] for i in order[:size]), lambda: (pairs[i] for i in spare))
