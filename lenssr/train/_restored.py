"""Images and what a network makes of them, kept in pieces: a run that is stopped goes on."""

import warnings
from dataclasses import replace

import numpy as np
from tqdm import tqdm

from lenssr._io import atomic_write
from lenssr.exceptions import LensSRWarning
from lenssr.methods import DataResidual, RunOptions, image_features, normalized_residual
from lenssr.uncertainty import DOMAIN_FEATURES, monte_carlo_error

__all__ = ["features_in_order", "features_of", "in_pieces", "restored_images", "usual"]

PIECE = 25  # images that are restored, and written, together


def restored_images(images, method, scale, folder, probes, *, device=None, progress=False,
                    words="restoring"):
    """Restore images, or read what was restored before."""
    run = RunOptions(scale, device)

    def restore(index, image, truth):
        return _restore(image, truth, method, run, index if probes else None)

    return in_pieces(images, folder, restore, progress, words)


def in_pieces(images, folder, make, progress=False, words="restoring"):
    """What is made of images, each piece of them kept as it is done."""
    folder.mkdir(parents=True, exist_ok=True)
    pieces = []
    for start in tqdm(range(0, images.n, PIECE), desc=words, disable=not progress, delay=2):
        path = folder / f"{start:06d}.npz"
        if not path.exists():
            rows = [make(start + k, image, truth) for k, (image, truth) in enumerate(
                images.take(range(start, min(start + PIECE, images.n))))]
            with atomic_write(path) as beside, open(beside, "wb") as file:
                np.savez(file, **{name: np.stack([row[name] for row in rows]).astype(np.float32)
                                  for name in rows[0]})
        with np.load(path) as piece:
            pieces.append(dict(piece))
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def _restore(image, truth, method, run, seed):
    with warnings.catch_warnings():
        # That there is no PSF, for one, is as it should be.
        warnings.simplefilter("ignore", LensSRWarning)
        apply, _ = method.prepare(image, run)
    mean, level, noise = apply(image), apply.level, image.noise
    row = {"data": (image.data - level) / noise, "mean": (mean - level) / noise,
           "truth": (truth - level) / noise,
           "weight": np.where(image.mask, 0.0, noise / image.sigma),
           "told": apply.summary[0].cpu().numpy(),
           "misfit": normalized_residual(image, run.scale, mean)}
    if seed is None:
        return row
    row["features"] = features_in_order(image)
    std, correlation = monte_carlo_error(apply, image, method.n_probes, seed, mean=mean)
    row["std"], row["kernels"] = std / noise, correlation.kernels[0]
    row["level"] = correlation.levels[0] / noise
    drawn = np.random.default_rng([seed, 1]).standard_normal(image.shape) * image.sigma
    drawn[image.mask] = 0
    row["probe"] = (apply(replace(image, data=image.data + drawn)) - mean) / noise
    row["chi2"] = np.nan
    if image.psf is not None:
        row["chi2"] = DataResidual(image, run.scale).chi2(mean)
    return row


def features_of(arrays):
    """What `describe_image` gave, of each image."""
    return [{name: float(value) for name, value in zip(DOMAIN_FEATURES, row) if np.isfinite(value)}
            for row in arrays["features"]]


def features_in_order(image):
    """What `describe_image` gives of an image, as an array; NaN for what it lacks."""
    features = image_features(image)
    return np.array([features.get(name, np.nan) for name in DOMAIN_FEATURES])


def usual(chi2):
    """Percentiles 1, 50 and 99 of the reduced chi2 of results, those that have one."""
    chi2 = chi2[np.isfinite(chi2)]
    return [round(float(value), 3) for value in np.percentile(chi2, [1, 50, 99])] if len(
        chi2) else []
