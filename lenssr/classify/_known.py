"""Whether an image is like those that a classifier knows, by its features."""

import numpy as np

__all__ = ["distance", "known_images"]

KEPT = 0.995  # share of unseen images of the training's kind that are inside
DIGITS = 5


def known_images(features, labels, classes):
    """Where the features of images that a classifier knows lie."""
    means = np.stack([features[labels == k].mean(axis=0) for k in range(classes)])
    spread = (features - means[labels]).std(axis=0)
    widths = np.maximum(spread, 1e-3 * spread.max() + 1e-12)
    domain = {"means": _short(means), "widths": _short(widths)}
    domain["distance"] = float(np.quantile(distance(features, domain), KEPT))
    return domain


def distance(features, domain):
    r"""
    Distance of images from the nearest class.

    :math:`\sqrt{\min_k \frac{1}{c} \sum_j (f_j - \mu_{kj})^2 / \sigma_j^2}`, that of Mahalanobis
    (Lee et al. 2018, arXiv:1807.03888) with the widths of features alone.
    """
    means, widths = np.asarray(domain["means"]), np.asarray(domain["widths"])
    offset = (features[:, None] - means) / widths
    return np.sqrt((offset**2).mean(axis=-1).min(axis=1))


def _short(values):
    """Numbers for a card, which need no sixteen digits."""
    return [_short(v) if np.ndim(v) else float(f"{v:.{DIGITS}g}") for v in values]
