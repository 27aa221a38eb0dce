"""Batches of pairs in noise units, and random masks."""

import dataclasses
import math
from typing import NamedTuple

import numpy as np
import torch

from lenssr.image import fill_masked
from lenssr.networks import (
    N_PSF_FEATURES,
    apply_symmetry,
    asinh_scale,
    psf_feature_range,
    psf_features,
)
from lenssr.simulate import SeriesRandom

BAD_PIXEL_FRACTION = (0.001, 0.02)  # fraction of single bad pixels
MAX_COSMIC_RAYS = 4  # tracks in an image
TRACK_LENGTH = (2.0, 12.0)  # pixels
BLOT_RADIUS = (1.0, 3.5)  # pixels
P_COLUMN, P_BLOT = 0.2, 0.25  # probabilities of a bad column and of a blot in a masked image


def apply_random_mask(images, sigma, probability, draws):
    """Mask random pixels of images and fill them."""
    if not probability:
        return images, sigma
    chosen = (draws.uniform(0, 1) < probability).tolist()
    seeds = draws.integers(2**31).tolist()
    images, sigma = images.clone(), sigma.clone()
    for k, (hit, seed) in enumerate(zip(chosen, seeds)):
        if hit:
            mask = random_mask(images.shape[-2:], np.random.default_rng(seed))
            images[k, 0] = torch.from_numpy(fill_masked(images[k, 0].numpy(), mask)).float()
            sigma[k, 0][torch.from_numpy(mask)] = math.inf
    return images, sigma


def random_mask(shape, rng):
    """Draw a mask of bad pixels, columns and cosmic rays; half of the pixels stay valid."""
    mask = rng.random(shape) < np.exp(rng.uniform(*np.log(BAD_PIXEL_FRACTION)))
    y, x = np.indices(shape)
    for _ in range(rng.integers(MAX_COSMIC_RAYS + 1)):
        angle, length = rng.uniform(0, np.pi), rng.uniform(*TRACK_LENGTH)
        dy, dx = y - rng.uniform(0, shape[0]), x - rng.uniform(0, shape[1])
        along = dx * np.cos(angle) + dy * np.sin(angle)
        across = -dx * np.sin(angle) + dy * np.cos(angle)
        mask |= (np.abs(across) < 0.7) & (np.abs(along) < length / 2)
    if rng.random() < P_COLUMN:
        mask[:, rng.integers(shape[1])] = True
    if rng.random() < P_BLOT:
        centre = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        mask |= np.hypot(y - centre[0], x - centre[1]) < rng.uniform(*BLOT_RADIUS)
    return mask if mask.mean() < 0.5 else np.zeros(shape, bool)


CORRELATION_ERROR = 0.04  # of the noise correlation that a network is conditioned on
EVALUATION_BATCH = 64  # validation pairs that are restored together


class Batch(NamedTuple):
    """Pairs in units of the sky noise."""

    lr: torch.Tensor
    hr: torch.Tensor
    conditions: torch.Tensor
    truth: torch.Tensor
    indices: list
    telescope: tuple | None = None

    def inputs(self, device):
        """Return the inputs of a network on a device."""
        image = asinh_scale(self.lr).to(device, memory_format=torch.channels_last)
        if self.telescope is None:
            return image, self.conditions.to(device)
        return image, *(part.to(device) for part in self.telescope), self.scale

    @property
    def scale(self):
        """Output pixels per input pixel."""
        return self.hr.shape[-1] // self.lr.shape[-1]


class Pairs:
    """Base class of the sources of pairs."""

    n, scale, seed, window = None, None, 0, None

    def batch(self, step, batch, rank=0, world=1):
        """Return the `Batch` of one process at one step."""
        numbers = sample_indices(step, batch, rank, world)
        indices = epoch_order(numbers, self.n, batch * world, self.seed, self.window)
        return self.take(indices, sample_rng(self.seed, numbers))

    def take(self, indices, draws):
        """Return the `Batch` of pair numbers."""
        raise NotImplementedError

    def batches(self):
        """Yield all validation pairs with fixed noise."""
        raise NotImplementedError

    def psfs(self):
        """Return the range of the PSF features of the validation pairs."""
        return psf_feature_range(torch.cat([batch.conditions for batch in self.batches()]))


def sample_indices(step, batch, rank, world):
    """Return the pair numbers of a process at a step."""
    first = (step * world + rank) * batch
    return range(first, first + batch)


def epoch_order(numbers, n, batch, seed, window=None):
    """Return pair numbers such that each pair comes once per epoch."""
    length = n // batch * batch
    epoch, position = divmod(numbers.start, length)
    rng = np.random.default_rng([seed, epoch])
    if window is None:
        order = rng.permutation(n)
    else:
        windows = [np.arange(k, min(k + window, n)) for k in range(0, n, window)]
        windows = [windows[k] for k in rng.permutation(len(windows))]
        order = np.concatenate([rng.permutation(np.concatenate(windows[k:k + 2]))
                                for k in range(0, len(windows), 2)])
    return order[position: position + len(numbers)]


def sample_rng(seed, numbers):
    """Return a random source for pair numbers."""
    return SeriesRandom([np.random.default_rng([seed, int(i), 3]) for i in numbers], torch.float32)


def exact_config(data):
    """Return the data options with exact noise and PSF, for validation."""
    return dataclasses.replace(data, noise_error=0.0, p_psf_known=1.0)


def make_batch(indices, images, unit, psf, corner, data, scale, draws, telescope=None):
    """Cut, flip and rotate patches, and convert them to noise units."""
    turns = draws.integers(8).tolist()
    unit = unit * torch.exp(data.noise_error * draws.normal())
    known = draws.uniform(0, 1) < data.p_psf_known

    def patches(images, factor):
        side, cuts = data.size * factor, []
        for image, (y, x), turn in zip(images, corner.tolist(), turns):
            cuts.append(apply_symmetry(image[y * factor: y * factor + side,
                                             x * factor: x * factor + side], turn))
        return (torch.stack(cuts).unsqueeze(1) / unit.reshape(-1, 1, 1, 1)).float()

    lr, hr = patches(images[0], 1), patches(images[1], scale)
    truth = hr if images[2] is images[1] else patches(images[2], scale)
    if psf is None:
        conditions = torch.zeros(len(lr), N_PSF_FEATURES)
    else:
        psf = torch.stack([apply_symmetry(p, t) for p, t in zip(psf, turns)]).float()
        conditions = psf_features(psf) * known[:, None]
    batch = Batch(lr, hr, conditions, truth, [int(i) for i in indices])
    if not telescope:
        return batch
    sigma, kernel, correlation = telescope
    kernel = torch.stack([apply_symmetry(k, t) for k, t in zip(kernel, turns)]).float()
    lr, sigma = apply_random_mask(lr, patches(sigma, 1), data.p_masked, draws)
    # Error of a sky noise estimate from some hundred pixels.
    known = correlation + CORRELATION_ERROR * draws.normal() * (data.noise_error > 0)
    return batch._replace(lr=lr, telescope=(sigma, kernel, known.clamp(0, 1).float()))
