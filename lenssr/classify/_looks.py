"""What a classifier is shown of pairs: sharp, observed, or restored images, with their classes."""


import numpy as np
import torch
from torch.nn import functional

from lenssr.networks import sinh_scale
from lenssr.simulate import open_catalog
from lenssr.train import open_pairs
from lenssr.weights import load_network

__all__ = ["Labels", "Viewer", "open_views"]

DECADES = 2.0  # of the noise that is added


class Viewer:
    """Images of a batch of pairs as a classifier is shown them."""

    def __init__(self, looks, device):
        self.looks, self.device, self.restorer, self.sizes = looks, device, None, None
        self.restored_by = "none"
        if looks.input == "sr":
            network, card = load_network(looks.weights)
            if looks.scale not in card.scales:
                raise ValueError(f"recipe key `weights` must be of scale {looks.scale}, "
                                 f"{card.name!r} is of {' or '.join(map(str, card.scales))}")
            self.restorer = network.to(device, memory_format=torch.channels_last)
            self.sizes = {**card.network, "scale": looks.scale}
            self.restored_by = card.sha256[:16]

    @torch.no_grad()
    def __call__(self, batch, noisy=False):
        """The images, linear, shape ``(batch, 1, n, n)``."""
        if self.looks.input == "hr":
            image = batch.truth
        elif self.looks.input == "lr":
            image = functional.interpolate(batch.lr, scale_factor=batch.scale, mode="bilinear",
                                           align_corners=False)
        else:
            image = sinh_scale(self.restorer(*batch.inputs(self.device)).float())
        image = image.to(self.device)
        return self._with_noise(image) if noisy and self.looks.noise else image

    def _with_noise(self, image):
        peak = image.abs().amax(dim=(1, 2, 3), keepdim=True)
        decades = DECADES * torch.rand_like(peak)
        return image + peak * self.looks.noise * 10**-decades * torch.randn_like(image)


class Labels:
    """Classes of pairs by their numbers."""

    def __init__(self, classes, catalog=None):
        self.classes, self.known = classes, None
        if catalog is not None:
            self.known = labels_of(open_catalog(catalog), classes)

    def __call__(self, indices):
        numbers = np.asarray(indices)
        found = numbers % len(self.classes) if self.known is None else self.known[numbers]
        return torch.as_tensor(found, dtype=torch.int64)


def labels_of(catalog, classes):
    """Number of the class of each pair of a catalogue, `ValueError` where it does not tell."""
    table = getattr(catalog, "table", None)
    if table is None or "substructure" not in table.colnames:
        raise ValueError("`catalog` must have labels, a column `substructure` in its table of "
                         f"truths, {str(catalog.path)!r} has none")
    names = [str(name) for name in table["substructure"]]
    other = sorted(set(names) - set(classes))
    if other:
        raise ValueError(f"`catalog` must hold the classes {', '.join(classes)} only, got "
                         f"{', '.join(other)} in {str(catalog.path)!r}")
    return np.array([classes.index(name) for name in names])


def open_views(recipe, device, progress=False):
    """Pairs to train with and to validate with, their viewer, and their labels."""
    viewer = Viewer(recipe.looks, device)
    source = recipe.pairs(viewer.sizes)
    pairs, unseen = (open_pairs(source, validation, progress) for validation in (False, True))
    return pairs, unseen, viewer, Labels(recipe.classes, recipe.data.catalog)
