"""What is measured on one result, and what of it is the noise of the target."""

import numpy as np

from lenssr.evaluate._metrics import image_metrics

__all__ = ["FIGURES", "floor", "score", "score_both"]

FIGURES = ("mse", "ssim", "mse_arc", "mse_matched", "ssim_matched", "mse_arc_matched")
"""What `score` gives, in this order."""


def score(estimate, reference, mask, arc):
    """Figures of a result whose range is one."""
    if estimate.shape != reference.shape:
        raise ValueError(f"the result has the shape {estimate.shape}, not {reference.shape}")
    if not np.isfinite(estimate).all():
        raise ValueError("the result has values that are not finite")
    figures, bright = {}, arc & ~mask
    constant = np.mean((reference - estimate)[~mask])
    for name, image in (("", estimate), ("_matched", estimate + constant)):
        found = image_metrics(image, reference, data_range=1.0, mask=mask)
        figures[f"mse{name}"], figures[f"ssim{name}"] = found["mse"], found["ssim"]
        figures[f"mse_arc{name}"] = float(np.mean((image - reference)[bright] ** 2))
    return {name: figures[name] for name in FIGURES}


def score_both(estimate, pair):
    """Figures against the target, and against the truth where that is another image."""
    found = {f"target_{name}": value for name, value in score(
        estimate, pair.target, pair.mask, pair.arc).items()}
    if pair.truth is not None:
        found |= {f"truth_{name}": value for name, value in score(
            estimate, pair.truth, pair.mask, pair.arc).items()}
    return found


def floor(pair):
    """What the truth itself scores against the target: its noise; NaN where nobody knows."""
    if pair.truth is not None:
        return score(pair.truth, pair.target, pair.mask, pair.arc)
    if pair.noise is None:
        return dict.fromkeys(FIGURES, np.nan)
    mse = pair.noise**2
    ssim = 1.0 if mse == 0 else np.nan  # it depends on what lies below the noise
    return {name: ssim if name.startswith("ssim") else mse for name in FIGURES}
