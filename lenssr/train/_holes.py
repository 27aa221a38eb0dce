"""Holes in images to train on: bad pixels and columns, cosmic rays, blots on stars."""

import math

import numpy as np
import torch

from lenssr.image import fill_masked

__all__ = ["punch"]

BAD = (0.001, 0.02)   # share of single bad pixels
RAYS = 4              # most tracks of cosmic rays
LENGTH = (2.0, 12.0)  # of a track, pixels
BLOT = (1.0, 3.5)     # radius of a blot
COLUMN, BLOTTED = 0.2, 0.25  # share of the images with holes that have such


def punch(images, sigma, share, draws):
    """Images with holes, filled as users' images are."""
    if not share:
        return images, sigma
    chosen = (draws.uniform(0, 1) < share).tolist()
    seeds = draws.integers(2**31).tolist()
    images, sigma = images.clone(), sigma.clone()
    for k, (hit, seed) in enumerate(zip(chosen, seeds)):
        if hit:
            mask = holes(images.shape[-2:], np.random.default_rng(seed))
            images[k, 0] = torch.from_numpy(fill_masked(images[k, 0].numpy(), mask)).float()
            sigma[k, 0][torch.from_numpy(mask)] = math.inf
    return images, sigma


def holes(shape, rng):
    """A mask as detectors have it; at least half of the image is left."""
    mask = rng.random(shape) < np.exp(rng.uniform(*np.log(BAD)))
    y, x = np.indices(shape)
    for _ in range(rng.integers(RAYS + 1)):
        angle, length = rng.uniform(0, np.pi), rng.uniform(*LENGTH)
        dy, dx = y - rng.uniform(0, shape[0]), x - rng.uniform(0, shape[1])
        along = dx * np.cos(angle) + dy * np.sin(angle)
        across = -dx * np.sin(angle) + dy * np.cos(angle)
        mask |= (np.abs(across) < 0.7) & (np.abs(along) < length / 2)
    if rng.random() < COLUMN:
        mask[:, rng.integers(shape[1])] = True
    if rng.random() < BLOTTED:
        centre = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        mask |= np.hypot(y - centre[0], x - centre[1]) < rng.uniform(*BLOT)
    return mask if mask.mean() < 0.5 else np.zeros(shape, bool)
