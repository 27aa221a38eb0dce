"""Batches of simulated pairs in noise units, made anew at every step."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import torch

from lenssr.networks import describe_psf
from lenssr.simulate._bank import SceneBank
from lenssr.simulate._draws import BatchDraws
from lenssr.simulate._observe import observe
from lenssr.simulate._optics import Optics
from lenssr.simulate._presets import find_preset
from lenssr.simulate._scene import Grid
from lenssr.simulate._series import FINE

__all__ = ["Pairs", "cache_folder"]


def cache_folder():
    """Folder of rendered scenes: ``LENSSR_CACHE``, or the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lenssr"
    return Path(os.environ.get("LENSSR_CACHE", default))


class Pairs:
    """
    A source of batches for a network.

    Parameters
    ----------
    data : `~lenssr.train.Data`
        What to simulate.
    scale : int
        Output pixels per input pixel.
    validation : bool
        Take the validation scenes, with noise as the user knows it, uncorrelated.
    progress : bool
        Show how far the rendering of scenes is.
    """

    def __init__(self, data, scale, validation=False, progress=False):
        preset = find_preset(data.preset)
        population, instrument = preset.population, preset.instrument
        self.size, self.scale, self.margin = data.size, scale, instrument.margin
        side = (data.size + 2 * self.margin) * scale * FINE
        grid = Grid(side, instrument.pixel_scale / (scale * FINE))
        seed = data.validation_seed if validation else data.seed
        self.n_scenes = data.validation_scenes if validation else data.scenes
        folder = cache_folder() / f"{data.preset}-x{scale}-{side}-seed{seed}"
        self.bank = SceneBank(folder, self.n_scenes, grid, population, seed)
        self.bank.build(os.cpu_count() or 1, progress)
        self.opened = self.bank.open()
        self.optics = Optics(side, scale, FINE)
        self.noise_error = 0.0 if validation else data.noise_error
        self.psf_known = 1.0 if validation else data.psf_known
        self.instrument = dataclasses.replace(
            instrument, correlated=0.0 if validation else data.correlated)

    def observe(self, indices, generator):
        """The `~lenssr.simulate._observe.Observation` of the scenes ``indices``."""
        scenes, points = self.bank.take(self.opened, indices)
        return observe(self.instrument, self.optics, torch.from_numpy(scenes),
                       torch.from_numpy(points), BatchDraws(generator, len(scenes)))

    def batch(self, indices, generator):
        """
        Patches of the scenes ``indices``, cropped at random, turned and flipped.

        Returns
        -------
        lr, hr : `~torch.Tensor`
            In noise units, ``(batch, 1, size, size)`` and ``scale`` times that.
        conditions : `~torch.Tensor`
            What the network is told of the PSF, ``(batch, 5)``.
        """
        seen = self.observe(indices, generator)
        low, high = self.margin // 2, 2 * self.margin - self.margin // 2
        corner = torch.randint(low, high + 1, (len(indices), 2), generator=generator).tolist()
        turns = torch.randint(0, 8, (len(indices),), generator=generator).tolist()
        error = torch.exp(self.noise_error * torch.randn(len(indices), generator=generator))
        unit = seen.sky * error
        known = torch.rand(len(indices), generator=generator) < self.psf_known
        lr = self._crop(seen.lr, corner, turns, 1) / unit.reshape(-1, 1, 1, 1)
        hr = self._crop(seen.hr, corner, turns, self.scale) / unit.reshape(-1, 1, 1, 1)
        psf = self.optics.effective_psf(seen.transfer)
        psf = torch.stack([_turn(p, t) for p, t in zip(psf, turns, strict=True)])
        return lr, hr, describe_psf(psf) * known[:, None]

    def _crop(self, images, corners, turns, scale):
        side, patches = self.size * scale, []
        for image, (y, x), turn in zip(images, corners, turns, strict=True):
            patch = image[y * scale: y * scale + side, x * scale: x * scale + side]
            patches.append(_turn(patch, turn))
        return torch.stack(patches).unsqueeze(1)

    def order(self, step, batch, seed):
        """Indices of the scenes of a step; every scene once before any comes again."""
        per_epoch = self.n_scenes // batch
        epoch, place = divmod(step, per_epoch)
        shuffled = np.random.default_rng([seed, epoch]).permutation(self.n_scenes)
        return shuffled[place * batch: (place + 1) * batch]


def _turn(image, turn):
    """One of the eight symmetries of the square."""
    image = torch.rot90(image, turn % 4, (0, 1))
    return image.flip(1) if turn >= 4 else image
