"""Posterior samples by diffusion of what a network leaves open, and what their spread says."""

import functools

import numpy as np
from tqdm import tqdm

from lenssr._validation import check_positive_int
from lenssr.image import expand_mask, target_psf
from lenssr.methods._base import Restoration
from lenssr.methods._consistency import DataResidual
from lenssr.methods._error_prediction import calibrated_factor, snr_map
from lenssr.methods._latent import LatentField
from lenssr.methods._levels import check_levels, dynamic_levels, spectrum_of, static_levels
from lenssr.methods._memory import check_memory
from lenssr.methods._network import load_for, psf_conditioning
from lenssr.methods._samplers import SAMPLERS
from lenssr.methods._told import given_metadata, told
from lenssr.methods._update import KalmanUpdate
from lenssr.uncertainty import (
    EXCERPT,
    calibrated_chi2_range,
    measure_error_correlation,
    monte_carlo_error,
    neighbour_correlation,
)
from lenssr.weights import load_network

__all__ = ["DEFAULT_SAMPLES", "DiffusionSampler"]

DEFAULT_SAMPLES = 32
KEPT = 16         # samples by which the correlation of the errors is measured
PRECISIONS = ("auto", "float32", "bfloat16")


class DiffusionSampler:
    """Samples of the skies that agree with an image, by diffusion in a latent."""

    def __init__(self, architecture, weights=None, sampler="dpm", schedule="dynamic", steps=None,
                 correlation=None, pixel_scale=None, band=None, z_lens=None, z_source=None,
                 keep_samples=True, n_probes=8, precision="auto", calibrated=True):
        for name, value, known in (("sampler", sampler, SAMPLERS),
                                   ("precision", precision, PRECISIONS)):
            if value not in known:
                raise ValueError(f"`{name}` must be one of {', '.join(known)}, got {value!r}")
        if not isinstance(schedule, str):
            schedule = check_levels(schedule)
        elif schedule not in ("dynamic", "static"):
            check_levels(schedule)
        self.steps = None if steps is None else check_positive_int("steps", steps)
        if self.steps == 1:
            raise ValueError("`steps` must be at least 2, got 1")
        self.given = given_metadata(correlation, pixel_scale, band, z_lens, z_source)
        self.n_probes = check_positive_int("n_probes", n_probes)
        self.architecture, self.weights, self.precision = architecture, weights, precision
        self.sampler, self.schedule, self.keep_samples = sampler, schedule, bool(keep_samples)
        self.calibrated = bool(calibrated)
        self._load = functools.cache(load_network)

    def restore(self, image, run):
        """Draw samples of one plane."""
        n = run.n_samples or DEFAULT_SAMPLES
        shape = tuple(run.scale * side for side in image.shape)
        if self.keep_samples:
            check_memory(n, shape)
        network, card = load_for(self, run.scale)
        apply, base = self.prepare(image, run)
        restored = apply(image)
        factor, facts = self._factor(card.calibration, apply, image, restored)
        std, correlation = monte_carlo_error(apply, image, self.n_probes, run.seed, mean=restored)
        apply.bar.close()
        metadata = {**image.metadata, "correlation": max(
            0.0, neighbour_correlation(image.data, image.mask)), **self.given}
        known = told(network.ranges, metadata, self.given)
        observed = self._observed(image, restored, apply.level, run, known, card.psf)
        field = LatentField(network, observed, run, self.precision)
        levels = self._levels(image, run.scale, network.side, metadata["correlation"], apply.level)
        update = None if image.psf is None else KalmanUpdate(
            image, run, image.noise * factor * field.spread(), metadata["correlation"])
        mean, whole, samples, differences = self._collect(
            field, levels, n, run, restored, image.noise * factor, update)
        std = np.minimum(std, whole)
        # Of a single sample, that of the errors of measurement.
        correlation = correlation.and_rest(correlation if differences is None else (
            measure_error_correlation(differences, whole[_middle(shape)])))
        facts |= {
            "SRWEIGHT": (card.sha256[:16], f"sha256 of the weights {card.name}"),
            "SRBASE": (base.sha256[:16], f"sha256 of the weights {base.name} below"),
            "SRNSAMP": (n, "posterior samples of which this is the mean"),
            "SRSAMPLR": (self.sampler, "sampler of the diffusion"),
            "SRSTEPS": (len(levels), "evaluations of the denoiser for a sample"),
            "SRNPROBE": (self.n_probes, "noise probes of the measurement error")}
        return Restoration(
            mean=mean, measurement_std=std, missing=expand_mask(image.mask, run.scale),
            psf=target_psf(), facts=facts, samples=samples, predictive_std=whole,
            correlation=correlation, chi2_range=calibrated_chi2_range(card.calibration, run.scale))

    def prepare(self, image, run):
        """The network that restores, made ready for the image, and its card."""
        from lenssr.methods._registry import make_method

        network, _ = load_for(self, run.scale)
        _, card = self._load(network.base)
        if network.base_sha256 and card.sha256 != network.base_sha256:
            raise ValueError(f"`weights` were trained on what the weights {network.base!r} of "
                             f"sha256 {network.base_sha256[:16]} leave open, and those here are "
                             f"of {card.sha256[:16]}")
        method = make_method(card.network["architecture"], run.scale,
                             {"weights": network.base, "n_probes": self.n_probes})
        return method.prepare(image, run)

    def _factor(self, calibration, apply, image, restored):
        """What the samples' distance from the restored image is multiplied by, and cards of it."""
        what = "spread of posterior samples"
        if not (calibration and self.calibrated):
            return 1.0, {"SRCALIB": ("predictive", what)}
        factor, facts = calibrated_factor(
            calibration, apply.scale, image, snr_map(apply, image, restored))
        return factor, {"SRCALIB": ("predictive", f"{what}, calibrated on {calibration['on']}"),
                        **facts}

    def _observed(self, image, restored, level, run, known, limits):
        """What the network is told of the image: planes in noise units, and numbers."""
        import torch

        from lenssr.networks import METADATA, N_PSF_FEATURES

        residual, psf = np.zeros(image.shape), torch.zeros(1, N_PSF_FEATURES)
        if image.psf is not None:
            residual = DataResidual(image, run.scale, run.tile).residual(restored)
            psf, _ = psf_conditioning(image.psf, limits)
        values = [known.get(name, np.nan) for name in METADATA]
        return {"mean": (restored - level) / image.noise,
                "data": (image.data - level) / image.noise,
                "weight": np.where(image.mask, 0.0, image.noise / image.sigma),
                "residual": residual,
                "numbers": torch.cat([psf, torch.tensor([values])], dim=1).float()}

    def _levels(self, image, scale, side, correlation, level):
        """Noise levels of the image."""
        if not isinstance(self.schedule, str):
            return self.schedule
        steps = self.steps or (None if self.sampler == "dpm" else SAMPLERS[self.sampler][1])
        if self.schedule == "static":
            return static_levels(steps or SAMPLERS[self.sampler][1])
        snr = float(np.max(np.where(image.mask, 0.0, (image.data - level) / image.sigma)))
        variance = spectrum_of(image, scale, side, max(snr, 1.0), correlation)
        return dynamic_levels(variance, steps)

    def _collect(self, field, levels, n, run, restored, noise, update):
        """Mean, standard deviation, and samples if they are to be kept."""
        total, squares = np.zeros(restored.shape), np.zeros(restored.shape)
        samples = np.empty((n, *restored.shape), np.float32) if self.keep_samples else None
        first, part = [], _middle(restored.shape)
        bar = tqdm(total=n, desc="drawing", unit="sample", disable=not run.progress, delay=2)
        for numbers in field.groups(n):
            for k, error in zip(numbers, field.draw(self.sampler, levels, numbers, run.seed)):
                error = noise * error
                if update is not None:
                    error = update(restored + error, k) - restored
                if samples is not None:
                    samples[k] = restored + error
                if len(first) < KEPT:
                    first.append(error[part])
                # About the restored image, not zero: nothing is lost to rounding.
                total += error
                squares += error**2
                bar.update()
        bar.close()
        mean = total / n
        if n == 1:
            return restored + mean, noise * np.sqrt(2) * field.spread(), samples, None
        variance = np.maximum(squares - n * mean**2, 0) / (n - 1)
        differences = [(error - mean[part]) * np.sqrt(n / (n - 1)) for error in first]
        # The mean of n samples is itself a draw, with a share of the variance.
        return restored + mean, np.sqrt(variance * (1 + 1 / n)), samples, differences


def _middle(shape):
    return tuple(slice((n - min(n, EXCERPT)) // 2, (n + min(n, EXCERPT)) // 2) for n in shape)
