"""Arcs that a generator makes, and pairs of them."""

import numpy as np
import torch

from lenssr._validation import check_nonnegative_int, check_positive_int
from lenssr.networks import from_asinh
from lenssr.train._batch import EVALUATION_BATCH
from lenssr.weights import load_network

__all__ = ["GeneratedScenes", "draw_arcs"]


class GeneratedScenes:
    """Scenes that a generator makes, in place of a share of those that were drawn."""

    def __init__(self, weights, share, optics):
        self.network, card = load_network(weights, "arcs")
        self.share, self.optics = share, optics
        needed = optics.n // optics.fine
        if self.network.scale != optics.scale:
            raise ValueError(f"recipe key `generator` must be weights of scale {optics.scale}, got "
                             f"{weights!r} of scale {self.network.scale}")
        if needed > self.network.side:
            raise ValueError(f"recipe key `generator` must be weights that make images of "
                             f"{needed} pixels, margins included, got {weights!r} of "
                             f"{self.network.side}")

    def mix(self, scenes, points, draws):
        """Scenes and point sources as `Optics.transform` takes them, some of them replaced."""
        made = draws.uniform(0, 1) < self.share
        seeds = draws.integers(2**31).tolist()
        if made.any():
            z = [latent(self.network, seed) for seed, one in zip(seeds, made) if one]
            scenes, points = scenes.clone(), points.clone()
            scenes[made], points[made] = self.scenes(torch.stack(z)), 0.0
        return scenes, points

    @torch.no_grad()
    def scenes(self, z):
        """Flux on the fine grid, each output pixel's spread evenly over its own."""
        images, fine = from_asinh(self.network(z))[:, 0], self.optics.fine
        side = self.optics.n // fine
        edge = (self.network.side - side) // 2
        images = images[:, edge: edge + side, edge: edge + side] / fine**2
        return images.repeat_interleave(fine, 1).repeat_interleave(fine, 2)


def latent(network, seed):
    """The random numbers of an image."""
    return torch.randn(network.latent, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def draw_arcs(n, *, seed=0, weights="arcs-x2"):
    """
    Draw arcs from a generative adversarial network.

    Parameters
    ----------
    n : int
        How many.
    seed : int
        Seed of the series; arc ``i`` depends on this and ``i`` alone.
    weights : str or path-like
        Weights of the generator.

    Returns
    -------
    arcs : `~numpy.ndarray`
        Light on output pixels, before any telescope, in units of about its peak, shape
        ``(n, side, side)``.

    Raises
    ------
    ValueError
        If a number is out of its range, or the weights are of no generator.
    """
    check_positive_int("n", n)
    check_nonnegative_int("seed", seed)
    network, _ = load_network(weights, "arcs")
    seeds = [int(np.random.default_rng([seed, i]).integers(2**31)) for i in range(n)]
    made = [from_asinh(network(torch.stack([latent(network, s) for s in seeds[k:k + EVALUATION_BATCH]])))
            for k in range(0, n, EVALUATION_BATCH)]
    return torch.cat(made)[:, 0].numpy()
