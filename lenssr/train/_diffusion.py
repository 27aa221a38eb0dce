"""Training of the diffusion autoencoder on the residuals of a base network."""

import hashlib
import json
from dataclasses import asdict, replace
from typing import NamedTuple

import numpy as np
import torch

from lenssr._forward_model import BatchForwardModel
from lenssr._io import ChunkCache
from lenssr.image import band_wavelength
from lenssr.networks import (
    METADATA,
    N_PSF_FEATURES,
    apply_symmetry,
    asinh_scale,
    encode_metadata,
    exact_float32,
    find_architecture,
    psf_feature_range,
    psf_features,
    sinh_scale,
)
from lenssr.simulate import PSF_RADIUS, draw_model, find_preset, kernel_neighbour_correlation
from lenssr.train._batch import (
    CORRELATION_ERROR,
    Batch,
    Pairs,
    apply_random_mask,
    exact_config,
    sample_rng,
)
from lenssr.train._data import CachedPairs, cache_folder
from lenssr.train._error_head import rotate_psf_features
from lenssr.train._losses import training_loss
from lenssr.train._trainer import Trainer
from lenssr.weights import load_network

SCENES_PER_CHUNK = 250  # scenes that are restored and stored together
OBSERVED_BATCH = 50  # scenes that are observed together
MAX_HALF_VALUE = 6e4  # sky noises, within the range of half precision


class ResidualCache(ChunkCache):
    """Cached results and errors of a base network on observed scenes."""

    def __init__(self, data, base, validation=False, progress=False):
        self.network, card = load_network(base)
        if len(card.scales) > 1:
            raise ValueError(f"recipe key `base` must be weights of one scale, got {base!r} of "
                             f"scales {', '.join(map(str, card.scales))}")
        if data.catalog is not None or data.scenes == 0:
            raise ValueError("recipe keys `catalog` and `scenes` must be left out and positive: "
                             "residuals need rendered scenes")
        self.physical = find_architecture(card.network["architecture"]).inputs == "physics"
        self.scale, self.sha256, self.progress = card.scales[0], card.sha256, progress
        self.pairs = CachedPairs(data, self.scale, validation, progress)
        self.data = replace(exact_config(data), p_masked=0.0) if validation else data
        preset = find_preset(data.preset)
        self.population, self.band = preset.population, preset.instrument.band
        self.pixel_scale = preset.instrument.pixel_scale
        key = json.dumps({**asdict(data), "base": card.sha256, "validation": validation,
                          "telescope": preset.instrument.as_dict(), "psf": PSF_RADIUS},
                         sort_keys=True)
        name = f"{data.preset}-{card.name}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
        super().__init__(cache_folder() / name, self.pairs.n, SCENES_PER_CHUNK, self._observe_chunk,
                         ("data", "weight", "residual", "mean", "error", "numbers"),
                         "restoring scenes")

    def read(self):
        """Return all scenes as tensors."""
        arrays = super().read(progress=self.progress)
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    def _observe_chunk(self, indices):
        parts = [self.observe(indices[first: first + OBSERVED_BATCH])
                 for first in range(0, len(indices), OBSERVED_BATCH)]
        return {name: torch.cat([part[name] for part in parts]).numpy() for name in self.names}

    @torch.inference_mode()
    def observe(self, indices):
        """Observe and restore scenes."""
        pairs, data, size = self.pairs, self.data, self.data.size
        draws = sample_rng(pairs.scene_seed, indices)
        observed = pairs.observe(indices, draws)
        factor = torch.exp(data.noise_error * draws.normal())
        known = draws.uniform(0, 1) < data.p_psf_known
        unit = (observed.sky_rms * factor).reshape(-1, 1, 1)
        low, high = pairs.margin // 2, 2 * pairs.margin - pairs.margin // 2
        corners = (low + draws.integers(high + 1 - low, 2)).tolist()

        def patches(images, times=1):
            return torch.stack([
                image[y * times: (y + size) * times, x * times: (x + size) * times]
                for image, (y, x) in zip(images, corners)])[:, None].float()

        sigma = torch.maximum(observed.sigma,
                              observed.sky_rms.reshape(-1, 1, 1)) * factor.reshape(-1, 1, 1)
        truth = patches(observed.hr / unit, self.scale)
        lr, sigma = apply_random_mask(patches(observed.lr / unit), patches(sigma / unit),
                                      data.p_masked, draws)
        kernel = pairs.optics.relative_kernel(observed.transfer).float()
        psf = psf_features(pairs.optics.effective_psf(observed.transfer).float()) * known[:, None]
        correlation = kernel_neighbour_correlation(observed.kernel_width)
        correlation_known = (correlation + CORRELATION_ERROR * draws.normal()
                             * (data.noise_error > 0)).clamp(
            0, 1).float()
        batch = Batch(lr, truth, psf, truth, list(indices),
                      (sigma, kernel, correlation_known) if self.physical else None)
        mean = sinh_scale(self.network(*batch.inputs("cpu")).float())
        seen_mean = BatchForwardModel(kernel, self.scale, lr.shape[-2:]).forward(mean)
        residual = (lr - seen_mean) / sigma * known.reshape(-1, 1, 1, 1)
        halves = {"data": lr, "weight": 1 / sigma, "residual": residual, "mean": mean,
                  "error": truth - mean}
        halves = {key: value[:, 0].clamp(-MAX_HALF_VALUE, MAX_HALF_VALUE).half()
                  for key, value in halves.items()}
        return {**halves,
                "numbers": torch.cat([psf, self._metadata(indices, correlation_known)], dim=1)}

    def _metadata(self, indices, correlation):
        """Return the `METADATA` values of scenes, NaN if unknown."""
        values = dict.fromkeys(METADATA, torch.full(correlation.shape, torch.nan))
        values["correlation"] = correlation
        values["pixel_scale"] = torch.full_like(correlation, self.pixel_scale)
        wavelength = band_wavelength(self.band)
        if wavelength is not None:
            values["wavelength"] = torch.full_like(correlation, wavelength)
        if self.population.sigma_v is not None:
            # Without velocity dispersions, redshifts carry no information.
            models = [draw_model(self.population, self.pairs.scene_seed, i) for i in indices]
            for key in ("z_lens", "z_source"):
                values[key] = torch.tensor([getattr(model, key) or torch.nan for model in models])
        return torch.stack(list(values.values()), dim=1)


SAMPLING_BATCH = 16  # validation images that are sampled together
P_DROP_ONE, P_DROP_ALL = 0.25, 0.1  # probabilities to drop one or all conditions
LATENTS_PER_IMAGE = 4  # noisy latents of each image in a step
LOG_SIGMA_MEAN, LOG_SIGMA_STD = -0.7, 1.4  # of the training noise levels
VALIDATION_SIGMAS = (0.05, 0.2, 0.8, 3.0)  # noise levels
OUTLIER_CHI2 = 25.0  # squared error above which an error counts by its logarithm
SAMPLING_SIGMA = 20.0  # noise level that hides the image


class ResidualBatch(NamedTuple):
    """Inputs of the diffusion network, and errors of the base network."""

    mean: torch.Tensor
    data: torch.Tensor
    weight: torch.Tensor
    residual: torch.Tensor
    conditions: torch.Tensor
    error: torch.Tensor
    indices: list

    def to(self, device):
        """Move all tensors to a device."""
        return self._replace(**{key: part.to(device, memory_format=torch.channels_last)
                                if part.dim() == 4 else part.to(device)
                                for key, part in zip(self._fields[:-1], self)})


class ResidualPairs(Pairs):
    """Images of a `ResidualCache` with random symmetries."""

    def __init__(self, bank, seed=0, validation=False):
        self.arrays, self.n, self.scale = bank.read(), bank.n, bank.scale
        self.sha256, self.seed, self.validation = bank.sha256, seed, validation

    @property
    def ranges(self):
        """Range of the known metadata, by name."""
        limits = {}
        for name, values in zip(METADATA, self.arrays["numbers"][:, N_PSF_FEATURES:].T):
            values = values[values.isfinite()]
            if len(values):
                limits[name] = [round(values.min().item(), 4), round(values.max().item(), 4)]
        return limits

    def take(self, indices, draws):
        """Return the `ResidualBatch` of images."""
        indices = [int(i) for i in indices]
        turns = [0] * len(indices) if self.validation else draws.integers(8).tolist()
        numbers = torch.stack([
            torch.cat([rotate_psf_features(row[:N_PSF_FEATURES], turn), row[N_PSF_FEATURES:]])
            for row, turn in zip(self.arrays["numbers"][indices], turns)])
        if not self.validation:
            numbers = drop_conditions(numbers, draws)
        planes = {key: torch.stack([apply_symmetry(self.arrays[key][i], turn)
                                    for i, turn in zip(indices, turns)])[:, None].float()
                  for key in ("mean", "data", "weight", "residual", "error")}
        # Without the PSF, the residual is unknown.
        planes["residual"] = planes["residual"] * numbers[:, 0].reshape(-1, 1, 1, 1)
        return ResidualBatch(**planes, conditions=encode_metadata(numbers), indices=indices)

    def batches(self):
        for start in range(0, self.n, SAMPLING_BATCH):
            yield self.take(range(start, min(start + SAMPLING_BATCH, self.n)), None)

    def psfs(self):
        return psf_feature_range(self.arrays["numbers"][:, :N_PSF_FEATURES])


def drop_conditions(numbers, draws):
    """Drop random metadata."""
    chance = torch.where(draws.uniform(0, 1) < P_DROP_ALL, 1.0, P_DROP_ONE)
    kept = draws.normal(len(METADATA))
    kept = 0.5 * torch.erfc(-kept / 2**0.5) >= chance[:, None]
    values = torch.where(kept, numbers[:, N_PSF_FEATURES:], torch.nan)
    return torch.cat([numbers[:, :N_PSF_FEATURES], values], dim=1)


def open_residuals(recipe, validation=False, progress=False):
    """Return the `ResidualPairs` of a recipe."""
    bank = ResidualCache(recipe.data, recipe.network["base"], validation, progress)
    if bank.scale != recipe.network["scale"]:
        raise ValueError(f"recipe key `scale` must be the scale of `base`, {bank.scale}, got "
                         f"{recipe.network['scale']!r}")
    return ResidualPairs(bank, recipe.training.seed, validation)


def noise_levels(batch):
    """
    Draw stratified noise levels for the latents of a batch.

    The logarithm of the noise level is normal (Karras et al. 2022, arXiv:2206.00364).
    """
    quantile = (torch.arange(LATENTS_PER_IMAGE)
                + torch.rand(batch, LATENTS_PER_IMAGE)) / LATENTS_PER_IMAGE
    return torch.exp(LOG_SIGMA_MEAN + LOG_SIGMA_STD
                     * torch.special.ndtri(quantile.clamp(1e-4, 1 - 1e-4)))


class DiffusionTrainer(Trainer):
    """Trainer with denoising score matching, the likelihood of the errors, and image losses."""

    open_pairs = staticmethod(open_residuals)

    @staticmethod
    def measure(network, pairs, device):
        """Measure the sampling metrics of a network."""
        return sampling_metrics(network, pairs, device)

    def set_schedule(self, pairs):
        super().set_schedule(pairs)
        self.card_fields = {"base_sha256": pairs.sha256, "ranges": pairs.ranges}

    def loss(self, batch):
        training, images = self.training, batch.to(self.device)
        sigma = noise_levels(len(batch.data))
        smallest = torch.arange(0, sigma.numel(), LATENTS_PER_IMAGE)
        sigma = sigma.flatten().to(self.device)
        side = self.network.side
        noise = torch.randn(len(sigma), side**2, *(n // side for n in batch.mean.shape[-2:]))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            features, coefficients, latent, denoised = self.model(
                *images[:6], noise.to(self.device, memory_format=torch.channels_last), sigma)
        loss = score_matching_loss(denoised, latent, sigma) + bounded_likelihood(
            features.log_variance, coefficients)
        spread = torch.exp(features.log_variance.detach() / 2)
        image = images.mean + self.network.latent.decode(denoised[smallest] * spread)
        return loss + training_loss(asinh_scale(image), images.mean + images.error,
                                    self.network.scale,
                                    training, self.step, self.distributed.mean)


@torch.no_grad()
@exact_float32()
def sampling_metrics(network, pairs, device):
    """Measure metrics of posterior samples on validation images, in float32."""
    rows, chi2_rows, generator = [], [], torch.Generator().manual_seed(0)
    for batch in pairs.batches():
        images = batch.to(device)
        features = network.encode(*images[:5])
        latent = network.encode_residual(images.error, features)
        noise = torch.randn(latent.shape, generator=generator).to(device)

        score = 0.0
        for level in torch.tensor(VALIDATION_SIGMAS, device=device):
            denoised = network.denoise(latent + level * noise, level, features)
            score += score_matching_loss(denoised, latent, level).item() / len(VALIDATION_SIGMAS)
        likelihood = bounded_likelihood(
            features.log_variance, network.latent.encode(images.error)).item()
        rows.append([score, likelihood, latent.square().mean().item()])
        highest = torch.tensor(SAMPLING_SIGMA, device=device)
        mean = network.decode_latent(network.denoise(highest * noise, highest, features), features)
        peak = (images.mean + images.error).amax(dim=(1, 2, 3))
        chi2_rows.append(torch.stack([
            10 * torch.log10(peak**2 / remaining.square().mean(dim=(1, 2, 3)))
            for remaining in (images.error - mean, images.error)], 1)[peak > 1].cpu())
    psnr, base = torch.cat(chi2_rows).mean(dim=0).tolist()
    names = ("matching", "likelihood", "variance")
    return {"psnr": psnr, "psnr_base": base, **dict(zip(names, np.mean(rows, axis=0).tolist()))}


def bounded_likelihood(log_variance, coefficients):
    r"""
    Compute the mean of :math:`(\log s^2 + \rho(c^2 / s^2)) / 2` with a :math:`\rho` that is
    logarithmic for outliers.

    The robust likelihood limits the weight of images in which a star was lost (Huber 1964,
    doi:10.1214/aoms/1177703732).
    """
    square = coefficients.square() * torch.exp(-log_variance)
    bounded = torch.where(square < OUTLIER_CHI2, square, OUTLIER_CHI2
                          * (1 + (square.clamp(min=OUTLIER_CHI2) / OUTLIER_CHI2).log()))
    return (log_variance + bounded).mean() / 2


def score_matching_loss(denoised, latent, sigma):
    r"""
    Compute the denoising score matching loss, the mean of :math:`(1 + 1/\sigma^2)\,(D - u)^2`.

    The weight gives the network output unit variance at all noise levels (Karras et al. 2022,
    arXiv:2206.00364).
    """
    weight = (1 + sigma**-2.0).reshape(-1, 1, 1, 1)
    return (weight * (denoised - latent).square()).mean()
