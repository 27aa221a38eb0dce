"""The same lenses seen in different ways: sharp, interpolated, restored."""

import warnings
from functools import partial

import numpy as np

from lenssr.exceptions import LensSRWarning
from lenssr.image import LensImage
from lenssr.methods import (
    DataResidual,
    RegularisedInverse,
    RunOptions,
    discrepancy_variance,
    make_method,
)
from lenssr.weights import read_card

__all__ = ["MOVED", "Sights", "consistent", "lens_images", "way_of_method", "way_of_weights"]

MOVED = ", data-consistent"
"""What is added to the label of a way whose images are moved to agree with the data."""


def lens_images(batch):
    """Observed images of a batch of pairs, as methods receive them, and their truths."""
    sky = batch.seen.electrons.double().numpy()
    scale = batch.truth.shape[-1] // batch.lr.shape[-1]
    images = []
    for k, unit in enumerate(sky):
        lr, sigma, psf = (part[k].double().numpy() for part in (batch.lr, batch.sigma, batch.psf))
        images.append(LensImage(lr / unit, sigma / unit, np.zeros(lr.shape, bool),
                                psf / psf.sum(), 1.0))
    truths = batch.truth.double().numpy() * scale**2 / sky[:, None, None]
    return images, truths


def way_of_method(name, scale=2, device=None, **options):
    """The map from a `~lenssr.image.LensImage` to its restored image, by a method's name."""
    return _way(make_method(name, scale, options), scale, device)


def way_of_weights(file, scale=2, device=None):
    """The same, by a file of weights."""
    architecture = read_card(file).network["architecture"]
    return _way(make_method(architecture, scale, {"weights": file}), scale, device)


def _way(method, scale, device):
    run = RunOptions(scale=scale, device=device)
    if hasattr(method, "prepare"):
        # Without the noise probes, which cost many times as much as the image.
        return lambda image: method.prepare(image, run)[0](image)
    if hasattr(method, "n_probes"):
        method.n_probes = 1
    return lambda image: method.restore(image, run).mean


def consistent(way, image, scale=2):
    """What a way makes of an image, moved to the nearest that agrees with the data."""
    mean, misfit = way(image), DataResidual(image, scale)
    residual = misfit.residual(mean)
    if np.sum(residual**2) <= misfit.count:
        return mean
    variance = discrepancy_variance(misfit, residual)
    return mean if variance is None else mean + RegularisedInverse(misfit, variance)(residual)


class Sights:
    """Images of pairs by all ways."""

    def __init__(self, ways):
        self.ways = {"HR": None, **ways}

    @classmethod
    def with_consistent(cls, ways, labels):
        """Those of ``labels`` also moved to agree with the data."""
        moved = {f"{label}{MOVED}": partial(consistent, ways[label]) for label in labels}
        return cls({**ways, **moved})

    @classmethod
    def only(cls, ways):
        """Some of the ways, as `ways` has them: None is the truth."""
        found = cls({})
        found.ways = dict(ways)
        return found

    def __call__(self, batch):
        """Images by label, each ``(n, scale m, scale m)``, of a batch of pairs."""
        images, truths = lens_images(batch)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LensSRWarning)
            return {label: truths if way is None else np.stack([way(image) for image in images])
                    for label, way in self.ways.items()}
