"""What a network leaves of simulated scenes, kept on disk: found once, trained on many times."""

import hashlib
import json
from dataclasses import asdict, replace

import numpy as np
import torch
from tqdm import tqdm

from lenssr._forward_model import BatchForwardModel
from lenssr._io import atomic_write
from lenssr.image import band_wavelength
from lenssr.networks import METADATA, PHYSICS_ARCHITECTURES, psf_features, sinh_scale
from lenssr.simulate import PSF_REACH, draw_model, find_preset, kernel_neighbour_correlation
from lenssr.train._batch import CORRELATION_ERROR, Batch, exact_config, sample_rng
from lenssr.train._data import BankPairs, cache_folder
from lenssr.train._holes import punch
from lenssr.weights import load_network

__all__ = ["PIECE", "ResidualBank"]

PIECE = 250   # scenes that are restored, and written, together
AT_ONCE = 50  # scenes that are observed together
MOST = 6e4    # noises, within half precision


class ResidualBank:
    """Observed scenes, what a network made of them, and what it left."""

    def __init__(self, data, base, validation=False, progress=False):
        self.network, card = load_network(base)
        if len(card.scales) > 1:
            raise ValueError(f"recipe key `base` must be weights of one scale, got {base!r} of "
                             f"scales {', '.join(map(str, card.scales))}")
        if data.catalog is not None or data.scenes == 0:
            raise ValueError("recipe keys `catalog` and `scenes` must be left out and positive: "
                             "residuals are those of rendered scenes")
        self.physical = card.network["architecture"] in PHYSICS_ARCHITECTURES
        self.scale, self.sha256, self.progress = card.scales[0], card.sha256, progress
        self.pairs = BankPairs(data, self.scale, validation, progress)
        self.n = self.pairs.n
        self.data = replace(exact_config(data), masked=0.0) if validation else data
        preset = find_preset(data.preset)
        self.population, self.band = preset.population, preset.instrument.band
        self.pixel_scale = preset.instrument.pixel_scale
        facts = json.dumps({**asdict(data), "base": card.sha256, "validation": validation,
                            "telescope": preset.instrument.as_dict(), "psf": PSF_REACH},
                           sort_keys=True)
        name = f"{data.preset}-{card.name}-{hashlib.sha256(facts.encode()).hexdigest()[:12]}"
        self.folder = cache_folder() / name

    @property
    def pieces(self):
        """First scenes of the pieces."""
        return range(0, self.n, PIECE)

    def build(self, starts=None):
        """Make the pieces that are not there, by default of all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        starts = self.pieces if starts is None else starts
        missing = [start for start in starts if not self._path(start).exists()]
        for start in tqdm(missing, desc="restoring scenes", disable=not self.progress, delay=2):
            stop = min(start + PIECE, self.n)
            parts = [self.observe(range(first, min(first + AT_ONCE, stop)))
                     for first in range(start, stop, AT_ONCE)]
            with atomic_write(self._path(start)) as beside, open(beside, "wb") as file:
                np.savez(file, **{key: torch.cat([part[key] for part in parts]).numpy()
                                  for key in parts[0]})

    def read(self):
        """All scenes, as `observe` gives them."""
        self.build()
        pieces = []
        for start in self.pieces:
            with np.load(self._path(start)) as piece:
                pieces.append({key: torch.from_numpy(piece[key]) for key in piece})
        return {key: torch.cat([piece[key] for piece in pieces]) for key in pieces[0]}

    def _path(self, start):
        return self.folder / f"{start:06d}.npz"

    @torch.inference_mode()
    def observe(self, indices):
        """Some scenes, observed and restored."""
        pairs, data, size = self.pairs, self.data, self.data.size
        draws = sample_rng(pairs.scene_seed, indices)
        seen = pairs.observe(indices, draws)
        factor = torch.exp(data.noise_error * draws.normal())
        known = draws.uniform(0, 1) < data.psf_known
        unit = (seen.sky * factor).reshape(-1, 1, 1)
        low, high = pairs.margin // 2, 2 * pairs.margin - pairs.margin // 2
        corners = (low + draws.integers(high + 1 - low, 2)).tolist()

        def patches(images, times=1):
            return torch.stack([
                image[y * times: (y + size) * times, x * times: (x + size) * times]
                for image, (y, x) in zip(images, corners)])[:, None].float()

        sigma = torch.maximum(seen.sigma, seen.sky.reshape(-1, 1, 1)) * factor.reshape(-1, 1, 1)
        truth = patches(seen.hr / unit, self.scale)
        lr, sigma = punch(patches(seen.lr / unit), patches(sigma / unit), data.masked, draws)
        kernel = pairs.optics.relative_kernel(seen.transfer).float()
        psf = psf_features(pairs.optics.effective_psf(seen.transfer).float()) * known[:, None]
        correlation = kernel_neighbour_correlation(seen.correlation)
        found = (correlation + CORRELATION_ERROR * draws.normal() * (data.noise_error > 0)).clamp(
            0, 1).float()
        batch = Batch(lr, truth, psf, truth, list(indices),
                      (sigma, kernel, found) if self.physical else None)
        mean = sinh_scale(self.network(*batch.inputs("cpu")).float())
        seen_mean = BatchForwardModel(kernel, self.scale, lr.shape[-2:]).forward(mean)
        residual = (lr - seen_mean) / sigma * known.reshape(-1, 1, 1, 1)
        halves = {"data": lr, "weight": 1 / sigma, "residual": residual, "mean": mean,
                  "error": truth - mean}
        halves = {key: value[:, 0].clamp(-MOST, MOST).half() for key, value in halves.items()}
        return {**halves, "numbers": torch.cat([psf, self._metadata(indices, found)], dim=1)}

    def _metadata(self, indices, correlation):
        """Values of `METADATA` of scenes, NaN where they are not known."""
        values = dict.fromkeys(METADATA, torch.full(correlation.shape, torch.nan))
        values["correlation"] = correlation
        values["pixel_scale"] = torch.full_like(correlation, self.pixel_scale)
        wavelength = band_wavelength(self.band)
        if wavelength is not None:
            values["wavelength"] = torch.full_like(correlation, wavelength)
        if self.population.sigma_v is not None:
            # Elsewhere Einstein radii are drawn as they are, and redshifts tell nothing.
            models = [draw_model(self.population, self.pairs.scene_seed, i) for i in indices]
            for key in ("z_lens", "z_source"):
                values[key] = torch.tensor([getattr(model, key) or torch.nan for model in models])
        return torch.stack(list(values.values()), dim=1)
