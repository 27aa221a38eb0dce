"""Images as a user would have them: noise and PSF known with some error, and holes."""

from dataclasses import replace

import numpy as np
import torch

from lenssr.image import LensImage, fill_masked, parse_image, widened_psf
from lenssr.networks import PHYSICS_ARCHITECTURES
from lenssr.simulate import find_preset
from lenssr.train._batch import sample_rng
from lenssr.train._catalog import CatalogPairs
from lenssr.train._data import BankPairs
from lenssr.train._holes import holes
from lenssr.uncertainty import sky_level, sky_noise

__all__ = ["open_images"]


def open_images(recipe, scale, how, held_out, progress=False):
    """Images to learn the errors of a network from."""
    if held_out:
        how = replace(how, psf_wrong=0.0)
    kind = BankImages if recipe.data.catalog is None else CatalogImages
    return kind(recipe, scale, how, held_out, progress)


class BankImages:
    """Scenes of a preset: those of the training, or a series of their own."""

    def __init__(self, recipe, scale, how, held_out, progress):
        data = replace(recipe.data, scenes=how.held_out if held_out else how.images)
        if held_out:
            data = replace(data, seed=how.seed, size=find_preset(data.preset).size)
        elif recipe.data.scenes:
            data = replace(data, scenes=min(data.scenes, recipe.data.scenes))
        self.scenes, self.data, self.how, self.held_out = data.scenes, data, how, held_out
        self.n = self.scenes + (0 if held_out else how.blank)
        self.told = recipe.network["architecture"] in PHYSICS_ARCHITECTURES
        self.pairs = BankPairs(data, scale, progress=progress)

    def take(self, indices):
        """Yield image and truth, a `~lenssr.image.LensImage` and an array, of each of these."""
        pairs, seed = self.pairs, self.how.seed
        # Beyond the last scene there is sky alone.
        seen = pairs.observe(np.asarray(indices) % self.scenes, sample_rng(seed, indices),
                             blank=np.asarray(indices) >= self.scenes)
        # Where the noise was left out, the unit is that which was.
        sigma = torch.maximum(seen.sigma, seen.sky.reshape(-1, 1, 1))
        psf = pairs.optics.effective_psf(seen.transfer)
        edge, side = pairs.margin, self.data.size

        def cut(image, factor=1):
            part = slice(edge * factor, (edge + side) * factor)
            return image[part, part].double().numpy()

        for k, index in enumerate(indices):
            rng = np.random.default_rng([seed, index, 9])
            known = self.held_out or self.told or rng.random() < self.data.psf_known
            told = psf[k].double().numpy() if known else None
            yield (as_known(cut(seen.lr[k]), cut(sigma[k]), None, told, self.how, rng),
                   cut(seen.hr[k], pairs.scale) + float(seen.pedestal[k]))


class CatalogImages:
    """The pairs of a catalogue: those to train with, or those that are held out."""

    def __init__(self, recipe, scale, how, held_out, progress):
        told = recipe.network["architecture"] in PHYSICS_ARCHITECTURES
        self.pairs = CatalogPairs(recipe.data, scale, held_out, telescope=told)
        self.n = min(self.pairs.n, how.held_out if held_out else how.images)
        self.how = how

    def take(self, indices):
        """As that of `BankImages`."""
        for index in indices:
            pair = self.pairs.catalog[int(self.pairs.chosen[index])]
            plane = parse_image(pair.lr).planes[0]
            truth = np.asarray(pair.truth.get("hr", pair.hr).data, float) * self.pairs.brightness
            rng = np.random.default_rng([self.how.seed, index, 9])
            image = as_known(plane.data, plane.sigma, plane.mask, plane.psf, self.how, rng)
            # What the sky of the data has that the truth has not is not known.
            yield image, truth + sky_level(image.data, image.mask, image.noise)


def as_known(values, sigma, mask, psf, how, rng):
    """An image with noise and PSF as far as they are known, and perhaps with holes."""
    wrong = rng.random() < how.psf_wrong
    noise, width = np.exp(rng.normal(size=2) * (how.noise_error, wrong * how.psf_error))
    mask = np.zeros(values.shape, bool) if mask is None else mask
    if rng.random() < how.masked:
        mask = mask | holes(values.shape, rng)
    sigma, unit = sky_noise(values, sigma * noise, mask)
    psf = None if psf is None else widened_psf(psf, width)
    return LensImage(fill_masked(values, mask), sigma, mask, psf, unit)
