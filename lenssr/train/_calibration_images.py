"""Calibration images with imperfect noise maps, PSFs and bad pixels, and their restorations."""

import warnings
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from lenssr._io import ChunkCache
from lenssr.exceptions import LensSRWarning
from lenssr.image import LensImage, expand_mask, fill_masked, parse_image, widened_psf
from lenssr.methods import (
    DEFAULT_SAMPLES,
    DataResidual,
    RunOptions,
    image_features,
    make_method,
    normalized_residual,
    snr_map,
)
from lenssr.networks import find_architecture
from lenssr.simulate import find_preset
from lenssr.train._batch import random_mask, sample_rng
from lenssr.train._conformal import coverage, cross_validated_factors
from lenssr.train._data import CachedPairs, CatalogPairs
from lenssr.uncertainty import DOMAIN_FEATURES, monte_carlo_error, sky_level, sky_noise


def open_calibration_images(recipe, scale, config, held_out, progress=False):
    """Return the images of a calibration."""
    if held_out:
        config = replace(config, psf_wrong=0.0)
    kind = SceneImages if recipe.data.catalog is None else CatalogImages
    return kind(recipe, scale, config, held_out, progress)


class SceneImages:
    """Scenes of a preset: training scenes or a separate series."""

    def __init__(self, recipe, scale, config, held_out, progress):
        data = replace(recipe.data, scenes=config.held_out if held_out else config.images)
        if held_out:
            data = replace(data, seed=config.seed, size=find_preset(data.preset).size)
        elif recipe.data.scenes:
            data = replace(data, scenes=min(data.scenes, recipe.data.scenes))
        self.scenes, self.data, self.config, self.held_out = data.scenes, data, config, held_out
        self.n = self.scenes + (0 if held_out else config.blank)
        self.conditioned = find_architecture(recipe.network["architecture"]).inputs == "physics"
        self.pairs = CachedPairs(data, scale, progress=progress)

    def take(self, indices):
        """Yield `~lenssr.image.LensImage` and truth array of each index."""
        pairs, seed = self.pairs, self.config.seed
        # Indices beyond the last scene are blank skies.
        observed = pairs.observe(np.asarray(indices) % self.scenes, sample_rng(seed, indices),
                                 blank=np.asarray(indices) >= self.scenes)
        # Without added noise, the noise unit is the noise that was omitted.
        sigma = torch.maximum(observed.sigma, observed.sky_rms.reshape(-1, 1, 1))
        psf = pairs.optics.effective_psf(observed.transfer)
        edge, side = pairs.margin, self.data.size

        def cut(image, factor=1):
            part = slice(edge * factor, (edge + side) * factor)
            return image[part, part].double().numpy()

        for k, index in enumerate(indices):
            rng = np.random.default_rng([seed, index, 9])
            known = self.held_out or self.conditioned or rng.random() < self.data.p_psf_known
            known_psf = psf[k].double().numpy() if known else None
            yield (perturb_observation(cut(observed.lr[k]), cut(sigma[k]), None, known_psf,
                                       self.config, rng),
                   cut(observed.hr[k], pairs.scale) + float(observed.pedestal[k]))


class CatalogImages:
    """Pairs of a catalogue: training pairs or held-out pairs."""

    def __init__(self, recipe, scale, config, held_out, progress):
        is_physics = find_architecture(recipe.network["architecture"]).inputs == "physics"
        self.pairs = CatalogPairs(recipe.data, scale, held_out, telescope=is_physics)
        self.n = min(self.pairs.n, config.held_out if held_out else config.images)
        self.config = config

    def take(self, indices):
        """Yield `~lenssr.image.LensImage` and truth array of each index."""
        for index in indices:
            pair = self.pairs.catalog[int(self.pairs.chosen[index])]
            plane = parse_image(pair.lr).planes[0]
            truth = np.asarray(pair.truth.get("hr", pair.hr).data, float) * self.pairs.brightness
            rng = np.random.default_rng([self.config.seed, index, 9])
            image = perturb_observation(plane.data, plane.sigma, plane.mask, plane.psf, self.config,
                                        rng)
            # Add the sky level of the data, which the truth lacks.
            yield image, truth + sky_level(image.data, image.mask, image.noise)


def perturb_observation(values, sigma, mask, psf, config, rng):
    """Perturb noise map and PSF of an image, and mask random pixels."""
    wrong = rng.random() < config.psf_wrong
    noise, width = np.exp(rng.normal(size=2) * (config.noise_error, wrong * config.psf_error))
    mask = np.zeros(values.shape, bool) if mask is None else mask
    if rng.random() < config.p_masked:
        mask = mask | random_mask(values.shape, rng)
    sigma, unit = sky_noise(values, sigma * noise, mask)
    psf = None if psf is None else widened_psf(psf, width)
    return LensImage(fill_masked(values, mask), sigma, mask, psf, unit)


IMAGES_PER_CHUNK = 25  # images that are restored and stored together
RESTORED = ("data", "mean", "truth", "weight", "conditions", "residual")
"""Arrays of a restored image."""
PROBED = (*RESTORED, "features", "std", "kernels", "level", "probe", "chi2")
"""Arrays of a restored image with noise probes."""
DRAWN = ("error", "spread", "std", "snr", "use", "features", "chi2")
"""Arrays of the posterior samples of an image."""


def restore_images(images, method, scale, folder, probes, *, device=None, progress=False,
                   label="restoring"):
    """Restore images, or read stored restorations."""
    run = RunOptions(scale, device)

    def restore(index, image, truth):
        return _restore(image, truth, method, run, index if probes else None)

    return compute_in_chunks(images, folder, restore, PROBED if probes else RESTORED, progress,
                             label)


def compute_in_chunks(images, folder, make, names, progress=False, label="restoring"):
    """Compute the arrays ``names`` of images in chunks that are stored on disk."""
    def compute(indices):
        rows = [make(index, image, truth)
                for index, (image, truth) in zip(indices, images.take(indices))]
        return {name: np.stack([row[name] for row in rows]).astype(np.float32) for name in names}

    cache = ChunkCache(folder, images.n, IMAGES_PER_CHUNK, compute, names, label)
    return cache.read(progress=progress)


def _restore(image, truth, method, run, seed):
    with warnings.catch_warnings():
        # A missing PSF is intended here.
        warnings.simplefilter("ignore", LensSRWarning)
        inference, _ = method.bind(image, run)
    mean, level, noise = inference(image), inference.level, image.noise
    row = {"data": (image.data - level) / noise, "mean": (mean - level) / noise,
           "truth": (truth - level) / noise,
           "weight": np.where(image.mask, 0.0, noise / image.sigma),
           "conditions": inference.summary[0].cpu().numpy(),
           "residual": normalized_residual(image, run.scale, mean)}
    if seed is None:
        return row
    row["features"] = feature_array(image)
    std, correlation = monte_carlo_error(inference, image, method.n_probes, seed, mean=mean)
    row["std"], row["kernels"] = std / noise, correlation.kernels[0]
    row["level"] = correlation.levels[0] / noise
    drawn = np.random.default_rng([seed, 1]).standard_normal(image.shape) * image.sigma
    drawn[image.mask] = 0
    row["probe"] = (inference(replace(image, data=image.data + drawn)) - mean) / noise
    row["chi2"] = np.nan
    if image.psf is not None:
        row["chi2"] = DataResidual(image, run.scale).chi2(mean)
    return row


def stored_features(arrays):
    """Return the stored features of each image."""
    return [{name: float(value) for name, value in zip(DOMAIN_FEATURES, row) if np.isfinite(value)}
            for row in arrays["features"]]


def feature_array(image):
    """Return the domain features of an image as an array, NaN for missing features."""
    features = image_features(image)
    return np.array([features.get(name, np.nan) for name in DOMAIN_FEATURES])


def chi2_percentiles(chi2):
    """Return percentiles 1, 50 and 99 of the reduced chi-squared of results."""
    chi2 = chi2[np.isfinite(chi2)]
    return [round(float(value), 3) for value in np.percentile(chi2, [1, 50, 99])] if len(
        chi2) else []


class SampleCalibration:
    """Calibration of posterior samples."""

    def __init__(self, path, card, recipe, config, folder, distributed, progress):
        self.recipe, self.config, self.folder = recipe, config, folder
        self.distributed, self.progress, self.features = distributed, progress, []
        self.method = make_method(card.network["architecture"], card.scales[0], {
            "weights": path, "n_probes": config.n_probes, "calibrated": False,
            "keep_samples": False})

    def calibrate_scale(self, head, scale):
        """Compute factors and metrics at a scale."""
        images = open_calibration_images(self.recipe, scale, self.config, True, self.progress)
        arrays = compute_in_chunks(images, self.folder / f"drawn-x{scale}",
                                   partial(self._draw, scale), DRAWN, self.progress, "drawing")
        self.features += stored_features(arrays)
        use = arrays["use"] > 0
        planes = arrays["error"], arrays["spread"], arrays["snr"]
        factors, _, fractions = cross_validated_factors(*planes, use, scale)
        return {"factors": factors, "coverage": fractions,
                "measurement": coverage(arrays["error"][use], arrays["std"][use],
                                        arrays["snr"][use]),
                "chi2": chi2_percentiles(arrays["chi2"])}

    def _draw(self, scale, index, image, truth):
        """Return mean and standard deviation of posterior samples in noise units."""
        run = RunOptions(scale, str(self.distributed.device), n_samples=DEFAULT_SAMPLES, seed=index)
        with warnings.catch_warnings():
            # A missing PSF is intended here.
            warnings.simplefilter("ignore", LensSRWarning)
            restoration = self.method.restore(image, run)
            inference, _ = self.method.bind(image, run)
        noise = image.noise
        return {"error": (restoration.mean - truth) / noise,
                "spread": restoration.predictive_std / noise,
                "std": restoration.measurement_std / noise,
                "snr": snr_map(inference, image, inference(image)),
                "use": ~expand_mask(image.mask, scale), "features": feature_array(image),
                "chi2": np.nan if image.psf is None
                else DataResidual(image, scale).chi2(restoration.mean)}
