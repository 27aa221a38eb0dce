"""Probabilities that mean what they say: temperature scaling, and how far off they are."""

import numpy as np

__all__ = ["calibration_error", "find_temperature", "probabilities"]

BINS = 10
RANGE = (0.05, 20.0)  # of temperatures


def probabilities(logits, temperature=1.0):
    """Softmax of logits over a temperature."""
    z = np.asarray(logits, dtype=float) / temperature
    z = np.exp(z - z.max(axis=-1, keepdims=True))
    return z / z.sum(axis=-1, keepdims=True)


def find_temperature(logits, labels):
    """The temperature that makes labels most likely (Guo et al. 2017, arXiv:1706.04599)."""
    from scipy.optimize import minimize_scalar

    rows = np.arange(len(labels))

    def likelihood(log_t):
        p = probabilities(logits, np.exp(log_t))[rows, labels]
        return -np.log(np.clip(p, 1e-12, None)).mean()

    found = minimize_scalar(likelihood, bounds=np.log(RANGE), method="bounded")
    return float(np.exp(found.x))


def calibration_error(chances, labels, bins=BINS):
    """Expected calibration error: how far confidence is from accuracy (Naeini et al. 2015)."""
    confidence, right = chances.max(axis=1), chances.argmax(axis=1) == labels
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gap = np.bincount(place, confidence - right, minlength=bins)
    return float(np.abs(gap).sum() / len(labels))
