"""Training of the diffusion autoencoder on what a network leaves of simulated scenes."""

from typing import NamedTuple

import numpy as np
import torch

from lenssr.networks import (
    METADATA,
    N_PSF_FEATURES,
    asinh_scale,
    encode_metadata,
    exact_float32,
    psf_feature_range,
)
from lenssr.train._batch import Pairs, apply_symmetry
from lenssr.train._error_head import turned_numbers
from lenssr.train._losses import training_loss
from lenssr.train._residuals import ResidualBank
from lenssr.train._trainer import Trainer

__all__ = ["DiffusionTrainer", "ResidualPairs", "open_residuals", "sampling_figures"]

AT_ONCE = 16                       # images of a validation that are looked at together
FORGET, FORGET_ALL = 0.25, 0.1     # chances that one number, or all, are not told
DRAWS = 4                          # noisy latents of each image of a step
MIDDLE, SPREAD = -0.7, 1.4         # of the logarithms of their noise levels
LEVELS = (0.05, 0.2, 0.8, 3.0)     # noise levels of the validation
FAR = 25.0                         # square from which an error counts by its logarithm
HIGHEST = 20.0                     # the level at which nothing but noise is seen


class ResidualBatch(NamedTuple):
    """Images as `~lenssr.networks.diffusion.Diffusion.encode` takes them, and their errors."""

    mean: torch.Tensor
    data: torch.Tensor
    weight: torch.Tensor
    residual: torch.Tensor
    told: torch.Tensor
    error: torch.Tensor
    indices: list

    def to(self, device):
        """All tensors, on a device."""
        return self._replace(**{key: part.to(device, memory_format=torch.channels_last)
                                if part.dim() == 4 else part.to(device)
                                for key, part in zip(self._fields[:-1], self)})


class ResidualPairs(Pairs):
    """Images of a `ResidualBank`, turned and flipped."""

    def __init__(self, bank, seed=0, validation=False):
        self.arrays, self.n, self.scale = bank.read(), bank.n, bank.scale
        self.sha256, self.seed, self.validation = bank.sha256, seed, validation

    @property
    def ranges(self):
        """Least and largest value, by name, of the metadata that are known."""
        found = {}
        for name, values in zip(METADATA, self.arrays["numbers"][:, N_PSF_FEATURES:].T):
            values = values[values.isfinite()]
            if len(values):
                found[name] = [round(values.min().item(), 4), round(values.max().item(), 4)]
        return found

    def take(self, indices, draws):
        """The `ResidualBatch` of these images."""
        indices = [int(i) for i in indices]
        turns = [0] * len(indices) if self.validation else draws.integers(8).tolist()
        numbers = torch.stack([
            torch.cat([turned_numbers(row[:N_PSF_FEATURES], turn), row[N_PSF_FEATURES:]])
            for row, turn in zip(self.arrays["numbers"][indices], turns)])
        if not self.validation:
            numbers = forget(numbers, draws)
        planes = {key: torch.stack([apply_symmetry(self.arrays[key][i], turn)
                                    for i, turn in zip(indices, turns)])[:, None].float()
                  for key in ("mean", "data", "weight", "residual", "error")}
        # What is left of the data is not known without the PSF.
        planes["residual"] = planes["residual"] * numbers[:, 0].reshape(-1, 1, 1, 1)
        return ResidualBatch(**planes, told=encode_metadata(numbers), indices=indices)

    def batches(self):
        for start in range(0, self.n, AT_ONCE):
            yield self.take(range(start, min(start + AT_ONCE, self.n)), None)

    def psfs(self):
        return psf_feature_range(self.arrays["numbers"][:, :N_PSF_FEATURES])


def forget(numbers, draws):
    """Metadata of which some, or all, are not told."""
    chance = torch.where(draws.uniform(0, 1) < FORGET_ALL, 1.0, FORGET)
    kept = draws.normal(len(METADATA))
    kept = 0.5 * torch.erfc(-kept / 2**0.5) >= chance[:, None]
    values = torch.where(kept, numbers[:, N_PSF_FEATURES:], torch.nan)
    return torch.cat([numbers[:, :N_PSF_FEATURES], values], dim=1)


def open_residuals(recipe, validation=False, progress=False):
    """The `ResidualPairs` that a recipe names."""
    bank = ResidualBank(recipe.data, recipe.network["base"], validation, progress)
    if bank.scale != recipe.network["scale"]:
        raise ValueError(f"recipe key `scale` must be that of `base`, {bank.scale}, got "
                         f"{recipe.network['scale']!r}")
    return ResidualPairs(bank, recipe.training.seed, validation)


def noise_levels(batch):
    """
    Noise levels of the draws of a batch, spread evenly over their distribution for each image.

    Their logarithms are normal (Karras et al. 2022, arXiv:2206.00364).
    """
    place = (torch.arange(DRAWS) + torch.rand(batch, DRAWS)) / DRAWS
    return torch.exp(MIDDLE + SPREAD * torch.special.ndtri(place.clamp(1e-4, 1 - 1e-4)))


class DiffusionTrainer(Trainer):
    """A `Trainer` by denoising score matching, the likelihood of the errors, and the losses of images."""

    open_pairs = staticmethod(open_residuals)

    @staticmethod
    def measure(network, pairs, device):
        """What `sampling_figures` gives."""
        return sampling_figures(network, pairs, device)

    def plan(self, pairs):
        super().plan(pairs)
        self.facts = {"base_sha256": pairs.sha256, "ranges": pairs.ranges}

    def loss(self, batch):
        training, images = self.training, batch.to(self.device)
        sigma = noise_levels(len(batch.data))
        least = torch.arange(0, sigma.numel(), DRAWS)
        sigma = sigma.flatten().to(self.device)
        side = self.network.side
        noise = torch.randn(len(sigma), side**2, *(n // side for n in batch.mean.shape[-2:]))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            features, coefficients, latent, denoised = self.model(
                *images[:6], noise.to(self.device, memory_format=torch.channels_last), sigma)
        loss = matching(denoised, latent, sigma) + bounded_likelihood(
            features.log_variance, coefficients)
        spread = torch.exp(features.log_variance.detach() / 2)
        image = images.mean + self.network.latent.decode(denoised[least] * spread)
        return loss + training_loss(asinh_scale(image), images.mean + images.error, self.network.scale,
                                    training, self.step, self.team.mean)


@torch.no_grad()
@exact_float32()
def sampling_figures(network, pairs, device):
    """Figures of a network on images that it was not trained on, in float32."""
    rows, seen, generator = [], [], torch.Generator().manual_seed(0)
    for batch in pairs.batches():
        images = batch.to(device)
        features = network.encode(*images[:5])
        latent = network.whitened(images.error, features)
        noise = torch.randn(latent.shape, generator=generator).to(device)

        score = 0.0
        for level in torch.tensor(LEVELS, device=device):
            denoised = network.denoise(latent + level * noise, level, features)
            score += matching(denoised, latent, level).item() / len(LEVELS)
        likelihood = bounded_likelihood(
            features.log_variance, network.latent.encode(images.error)).item()
        rows.append([score, likelihood, latent.square().mean().item()])
        highest = torch.tensor(HIGHEST, device=device)
        mean = network.coloured(network.denoise(highest * noise, highest, features), features)
        peak = (images.mean + images.error).amax(dim=(1, 2, 3))
        seen.append(torch.stack([
            10 * torch.log10(peak**2 / left.square().mean(dim=(1, 2, 3)))
            for left in (images.error - mean, images.error)], 1)[peak > 1].cpu())
    psnr, base = torch.cat(seen).mean(dim=0).tolist()
    names = ("matching", "likelihood", "variance")
    return {"psnr": psnr, "psnr_base": base, **dict(zip(names, np.mean(rows, axis=0).tolist()))}


def bounded_likelihood(log_variance, coefficients):
    r"""
    Mean of :math:`(\log s^2 + \rho(c^2 / s^2)) / 2`, where :math:`\rho` is logarithmic from far on.

    Least where :math:`s^2` is the mean of the squares, but for those beyond five standard
    deviations: an image of which a star was lost is not to outweigh all others (Huber 1964,
    doi:10.1214/aoms/1177703732).
    """
    square = coefficients.square() * torch.exp(-log_variance)
    bounded = torch.where(square < FAR, square, FAR * (1 + (square.clamp(min=FAR) / FAR).log()))
    return (log_variance + bounded).mean() / 2


def matching(denoised, latent, sigma):
    r"""
    Denoising score matching: the mean of :math:`(1 + 1/\sigma^2)\,(D - u)^2`.

    The weight makes the target of the network itself one of unit variance at all levels
    (Karras et al. 2022, arXiv:2206.00364).
    """
    weight = (1 + sigma**-2.0).reshape(-1, 1, 1, 1)
    return (weight * (denoised - latent).square()).mean()
