"""Pairs to train on: a bank of scenes observed anew, a series without end, or a catalogue."""

import dataclasses
import hashlib
import os
from pathlib import Path

import torch

from lenssr.networks import PHYSICS_ARCHITECTURES, SCALE_FREE_ARCHITECTURES
from lenssr.simulate import (
    SUBPIXELS,
    BatchDraws,
    Grid,
    Optics,
    PairStream,
    find_preset,
    kernel_neighbour_correlation,
    observe_batch,
    parse_substructure,
)
from lenssr.train._batch import (
    EVALUATION_BATCH,
    Pairs,
    exact_config,
    make_batch,
    sample_indices,
    sample_rng,
)
from lenssr.train._catalog import CatalogPairs
from lenssr.train._generated import GeneratedScenes
from lenssr.train._scene_cache import SceneCache

__all__ = ["BankPairs", "StreamPairs", "cache_folder", "open_pairs"]


def cache_folder():
    """Folder of rendered scenes: ``LENSSR_CACHE``, or the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lenssr"
    return Path(os.environ.get("LENSSR_CACHE", default))


def open_pairs(recipe, validation=False, progress=False):
    """The source of pairs that a recipe names."""
    data, scale, seed = recipe.data, recipe.network["scale"], recipe.training.seed
    telescope = recipe.network["architecture"] in PHYSICS_ARCHITECTURES
    if recipe.network["architecture"] in SCALE_FREE_ARCHITECTURES and isinstance(scale, list):
        scale = scale[0]
    if isinstance(scale, list) and (data.catalog is not None or data.scenes == 0):
        raise ValueError("recipe key `scale` must be one number for pairs of a catalogue or pairs "
                         f"without end, got {scale!r}")
    if data.catalog is not None:
        return CatalogPairs(data, scale, validation, seed, telescope)
    if data.scenes == 0 and not validation:
        return StreamPairs(data, scale, seed, telescope)
    several = [BankPairs(data, each, validation, progress, seed, telescope)
               for each in (scale if isinstance(scale, list) else [scale])]
    return several[0] if len(several) == 1 else ScalesPairs(several)


class BankPairs(Pairs):
    """Scenes of a preset, rendered once and observed anew at each use."""

    def __init__(self, data, scale, validation=False, progress=False, seed=0, telescope=False):
        preset = find_preset(data.preset)
        population, instrument = preset.population, preset.instrument
        self.scale, self.margin, self.telescope = scale, instrument.margin, telescope
        # The points of a scene are as dense as the pixels of four times the resolution.
        fine = SUBPIXELS if scale < 4 else 1
        side = (data.size + 2 * self.margin) * scale * fine
        grid = Grid(side, instrument.pixel_scale / (scale * fine))
        self.seed, self.scene_seed = seed, data.validation_seed if validation else data.seed
        self.n = data.validation_scenes if validation else data.scenes
        classes = data.substructure or []
        priors = [parse_substructure(c, preset.substructure) for c in classes]
        name = "-".join([data.preset, str(scale * fine), str(side), f"seed{self.scene_seed}",
                         *classes, _fingerprint(population, priors)])
        self.bank = SceneCache(cache_folder() / name, self.n, grid, population, self.scene_seed,
                              priors)
        self.bank.build(workers=os.cpu_count() or 1, progress=progress)
        self.opened = self.bank.open()
        self.optics = Optics(side, scale, fine)
        self.generated = None
        if data.generated and not validation:
            self.generated = GeneratedScenes(data.generator, data.generated, self.optics)
        self.target_noise = preset.target_noise
        self.data = exact_config(data) if validation else data
        self.instrument = dataclasses.replace(
            instrument, correlated=0.0 if validation else data.correlated)

    def observe(self, indices, draws, blank=None):
        """The `~lenssr.simulate._observe.Observation` of the scenes ``indices``."""
        scenes, points = map(torch.from_numpy, self.bank.take(self.opened, indices))
        if self.generated is not None:
            scenes, points = self.generated.mix(scenes, points, draws)
        if blank is not None:
            scenes[blank], points[blank] = 0, 0
        return observe_batch(self.instrument, self.optics, scenes, points, draws)

    def take(self, indices, draws):
        """The `~lenssr.train._batch.Batch` of the scenes ``indices``, cropped at random."""
        seen = self.observe(indices, draws)
        low, high = self.margin // 2, 2 * self.margin - self.margin // 2
        corner = low + draws.integers(high + 1 - low, 2)
        # Described in a few numbers for those who do not look through it.
        psf = None if self.telescope else self.optics.effective_psf(seen.transfer)
        batch = make_batch(indices, (seen.lr, seen.hr, seen.hr), seen.sky, psf, corner, self.data,
                           self.scale, draws, self.telescope and _telescope(
                               self.optics, seen, seen.sigma, seen.sky))
        if not self.target_noise:
            return batch
        sigma = self.target_noise * batch.truth.abs().amax(dim=(1, 2, 3), keepdim=True)
        return batch._replace(hr=batch.truth + sigma * draws.normal(*batch.truth.shape[1:]))

    def batches(self):
        # One generator for all, as when the shipped weights were made.
        generator = torch.Generator().manual_seed(self.scene_seed)
        for start in range(0, self.n, EVALUATION_BATCH):
            indices = range(start, min(start + EVALUATION_BATCH, self.n))
            yield self.take(indices, BatchDraws(generator, len(indices)))


def _fingerprint(*priors):
    """A few digits that are others if the priors are: scenes of others are not taken for these."""
    return hashlib.sha256(repr(priors).encode()).hexdigest()[:8]


class ScalesPairs(Pairs):
    """Pairs of several scales, which take turns: the first has every other step."""

    def __init__(self, several):
        self.several, self.n = several, several[0].n

    def batch(self, step, batch, rank=0, world=1):
        turn, odd = divmod(step, 2)
        others = self.several[1:]
        pairs = others[turn % len(others)] if odd else self.several[0]
        return pairs.batch(step, batch, rank, world)

    def batches(self):
        for pairs in self.several:
            yield from pairs.batches()


class StreamPairs(Pairs):
    """The pairs of a `~lenssr.simulate.PairStream`: each is new."""

    def __init__(self, data, scale, seed=0, telescope=False):
        instrument = find_preset(data.preset).instrument
        self.scale, self.seed, self.data, self.telescope = scale, seed, data, telescope
        self.series = PairStream(
            data.preset, data.seed, scale=scale, size=data.size,
            substructure=tuple(data.substructure or ("no_sub",)),
            instrument=dataclasses.replace(instrument, correlated=data.correlated)).series

    def batch(self, step, batch, rank=0, world=1):
        numbers = sample_indices(step, batch, rank, world)
        made = self.series.batch(numbers)
        truth = made.truth * self.scale**2
        hr = truth if made.hr is made.truth else made.hr * self.scale**2
        corner = torch.zeros(len(made.lr), 2, dtype=torch.int64)
        return make_batch(numbers, (made.lr, hr, truth), made.seen.electrons, made.psf, corner,
                          self.data, self.scale, sample_rng(self.seed, numbers),
                          self.telescope and _telescope(
                              self.series.optics, made.seen, made.sigma, made.seen.electrons))


def _telescope(optics, seen, sigma, sky):
    """What networks that look through the telescope are told of an `Observation`."""
    # Where the noise was left out, the unit is that which was.
    return (torch.maximum(sigma, sky.reshape(-1, 1, 1)), optics.relative_kernel(seen.transfer),
            kernel_neighbour_correlation(seen.correlation))
