"""Posterior samples by diffusion of what a network leaves open, and what their spread says."""

import functools
import warnings

import numpy as np
from astropy import units as u
from tqdm import tqdm

from lenssr._validation import check_fraction, check_positive_int, check_positive_number
from lenssr.exceptions import LensSRWarning
from lenssr.image import band_wavelength, expand_mask, network_tiles, target_psf
from lenssr.methods._base import Restoration
from lenssr.methods._consistency import DataResidual
from lenssr.methods._error_prediction import calibrated_factor, snr_map
from lenssr.methods._network import Network, Unrolled, load_for, psf_conditioning
from lenssr.methods._samplers import (
    SAMPLERS,
    KalmanUpdate,
    check_schedule,
    draw,
    dynamic_schedule,
    latent_spectrum,
    static_schedule,
)
from lenssr.networks import find_architecture
from lenssr.uncertainty import (
    EXCERPT_SIDE,
    calibrated_chi2_range,
    measure_error_correlation,
    monte_carlo_error,
    neighbour_correlation,
)
from lenssr.weights import load_network

BYTES_PER_PIXEL = 20  # of a sample while a result is assembled
MEMORY_FRACTION = 0.8  # of the free memory


def free_memory():
    """Bytes that are free, or None where the system does not tell."""
    try:
        with open("/proc/meminfo") as file:
            lines = dict(line.split(":", 1) for line in file)
        return 1024 * int(lines["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):
        return None


def check_memory(n, shape):
    """`ValueError`, with the size, if so many samples of that shape do not fit."""
    free, sample_bytes = free_memory(), BYTES_PER_PIXEL * shape[0] * shape[1]
    if free is not None and n * sample_bytes > MEMORY_FRACTION * free:
        most = int(MEMORY_FRACTION * free / sample_bytes)
        raise ValueError(
            f"`n_samples` must be at most {most} for {shape[0]} x {shape[1]} output pixels, got "
            f"{n}: they would take {n * sample_bytes / 1e9:.3g} GB, and {free / 1e9:.3g} GB are free; with "
            "keep_samples=False there is the mean and the spread of any number")


RANGE_MARGIN = 0.02  # relative distance from the training range that is accepted


def conditioning_metadata(ranges, metadata, user_metadata):
    """Of what is known beside the pixels, that of which the training knew the like."""
    known = {}
    for name, value in metadata.items():
        label = "band" if name == "wavelength" else name
        if name not in ranges:
            if name in user_metadata:
                warnings.warn(f"`{label}` was not known in the training of the weights, and "
                              "changes nothing", LensSRWarning, stacklevel=4)
            continue
        low, high = ranges[name]
        if not low - RANGE_MARGIN * abs(low) <= value <= high + RANGE_MARGIN * abs(high):
            warnings.warn(f"`{label}` is {value:.3g}, outside the range of the training, "
                          f"{low:.3g} to {high:.3g}; the network is not told of it, and the "
                          "result is an extrapolation", LensSRWarning, stacklevel=4)
            continue
        known[name] = value
    return known


def check_metadata(correlation, pixel_scale, band, z_lens, z_source):
    """Metadata that the user gave, checked, by the names of `METADATA`."""
    metadata_found = {}
    if correlation is not None:
        metadata_found["correlation"] = check_fraction("correlation", correlation)
    if isinstance(pixel_scale, u.Quantity):
        try:
            pixel_scale = float(pixel_scale.to_value(u.arcsec))
        except (u.UnitConversionError, TypeError) as err:
            raise ValueError(f"`pixel_scale` must be an angle, got {pixel_scale}") from err
    for name, value in (("pixel_scale", pixel_scale), ("z_lens", z_lens), ("z_source", z_source)):
        if value is not None:
            metadata_found[name] = check_positive_number(name, value)
    if band is not None:
        metadata_found["wavelength"] = band_wavelength(band)
        if metadata_found["wavelength"] is None:
            raise ValueError("`band` must be a wavelength or the name of a filter, such as 'i' or "
                             f"'F814W', got {band!r}")
    if "z_lens" in metadata_found and "z_source" in metadata_found and metadata_found["z_lens"] >= metadata_found["z_source"]:
        raise ValueError(f"`z_source` must be beyond `z_lens` {z_lens!r}, got {z_source!r}")
    return metadata_found


CELLS_PER_BATCH = 32768  # latent cells that are sampled together
LATENT_TILE = 256  # cells along a side of a tile


class LatentSampler:
    """A diffusion network made ready for an image."""

    def __init__(self, network, observed, run, precision):
        import torch

        from lenssr.networks import LATENT_CELL, encode_metadata, has_fast_bfloat16

        self.torch, self.scale = torch, run.scale
        self.device = torch.device(run.device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.bfloat16 = precision == "bfloat16" or (
            precision == "auto" and has_fast_bfloat16(self.device))
        self.network = network.to(self.device, memory_format=torch.channels_last)
        self.shape = observed["data"].shape
        self.cells = tuple(-(-n // LATENT_CELL) for n in self.shape)
        self.side = min(max(self.cells), LATENT_TILE) if run.tile is None else max(1, run.tile // LATENT_CELL)
        conditions = encode_metadata(observed["numbers"]).to(self.device)
        self.features = self._features(observed, conditions, LATENT_CELL)

    def _features(self, observed, conditions, cell):
        """`Features` of the whole image, tile by tile."""
        torch, network = self.torch, self.network
        planes = {}
        for name, times in (("mean", self.scale), ("data", 1), ("weight", 1), ("residual", 1)):
            missing = [(0, times * (cell * n - m)) for n, m in zip(self.cells, self.shape)]
            planes[name] = np.pad(observed[name], missing, mode="edge")
        maps = variance = None
        for tile in network_tiles(self.cells, self.side, network.encoder_halo):
            parts = []
            for name, times in (("mean", cell * self.scale), ("data", cell), ("weight", cell),
                                ("residual", cell)):
                block = planes[name][tile.around(times)]
                parts.append(torch.from_numpy(block).to(self.device, torch.float32)[None, None])
            with torch.inference_mode(), self._autocast():
                features = network.encode(*parts, conditions)
            if maps is None:
                maps = torch.empty(*features.maps.shape[:3], *self.cells, dtype=features.maps.dtype,
                                   device=self.device)
                variance = torch.empty(*features.log_variance.shape[:2], *self.cells,
                                       device=self.device)
            maps[..., *tile.outer()] = features.maps[..., *tile.inner()]
            variance[..., *tile.outer()] = features.log_variance[..., *tile.inner()]
        return features._replace(maps=maps, log_variance=variance)

    def _autocast(self):
        return self.torch.autocast(self.device.type, self.torch.bfloat16, enabled=self.bfloat16)

    def groups(self, n):
        """Numbers of samples that are drawn together."""
        together = max(1, CELLS_PER_BATCH // (self.cells[0] * self.cells[1]))
        return [range(k, min(k + together, n)) for k in range(0, n, together)]

    def draw(self, sampler, levels, numbers, seed):
        """Samples of what is open."""
        torch = self.torch
        rngs = [np.random.default_rng([seed, number, 13]) for number in numbers]
        shape = (self.network.side**2, *self.cells)

        def fresh(step):
            noise = np.stack([rng.standard_normal(shape, np.float32) for rng in rngs])
            return torch.from_numpy(noise).to(self.device, memory_format=torch.channels_last)

        with torch.inference_mode():
            latent = draw(sampler, levels, self.denoise, fresh(None), fresh)
            errors = self.network.decode_latent(latent, self.features)[:, 0]
        ny, nx = (self.scale * n for n in self.shape)
        return errors[:, :ny, :nx].double().cpu().numpy()

    def denoise(self, latent, level):
        """The expected latents, given themselves with noise, tile by tile."""
        torch, network, features = self.torch, self.network, self.features
        sigma = torch.full((1,), level, device=self.device)
        pieces = network_tiles(self.cells, self.side, network.halo)
        denoised = torch.empty_like(latent) if len(pieces) > 1 else None
        for tile in pieces:
            part = features._replace(maps=features.maps[..., *tile.padded])
            with self._autocast():
                output = network.denoise(latent[..., *tile.padded], sigma, part)
            if denoised is None:
                return output
            denoised[..., *tile.outer()] = output[..., *tile.inner()]
        return denoised

    def spread(self):
        """Predicted standard deviation of each output pixel, noise units."""
        torch, network = self.torch, self.network
        with torch.inference_mode():
            square = torch.nn.functional.conv_transpose2d(
                torch.exp(self.features.log_variance), network.latent.kernel()**2,
                stride=network.side)
        ny, nx = (self.scale * n for n in self.shape)
        return square[0, 0, :ny, :nx].double().sqrt().cpu().numpy()


DEFAULT_SAMPLES = 32
CORRELATION_SAMPLES = 16  # samples from which the error correlation is measured
DIFFUSION_PRECISIONS = ("auto", "float32", "bfloat16")


class DiffusionSampler:
    """Samples of the skies that agree with an image, by diffusion in a latent."""

    def __init__(self, architecture, weights=None, sampler="dpm", schedule="dynamic", steps=None,
                 correlation=None, pixel_scale=None, band=None, z_lens=None, z_source=None,
                 keep_samples=True, n_probes=8, precision="auto", calibrated=True):
        for name, value, known in (("sampler", sampler, SAMPLERS),
                                   ("precision", precision, DIFFUSION_PRECISIONS)):
            if value not in known:
                raise ValueError(f"`{name}` must be one of {', '.join(known)}, got {value!r}")
        if not isinstance(schedule, str):
            schedule = check_schedule(schedule)
        elif schedule not in ("dynamic", "static"):
            check_schedule(schedule)
        self.steps = None if steps is None else check_positive_int("steps", steps)
        if self.steps == 1:
            raise ValueError("`steps` must be at least 2, got 1")
        self.user_metadata = check_metadata(correlation, pixel_scale, band, z_lens, z_source)
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
        network_bound, base = self.bind(image, run)
        restored = network_bound(image)
        factor, result_metadata = self._factor(card.calibration, network_bound, image, restored)
        std, correlation = monte_carlo_error(network_bound, image, self.n_probes, run.seed, mean=restored)
        network_bound.bar.close()
        metadata = {**image.metadata, "correlation": max(
            0.0, neighbour_correlation(image.data, image.mask)), **self.user_metadata}
        known = conditioning_metadata(network.ranges, metadata, self.user_metadata)
        observed = self._observed(image, restored, network_bound.level, run, known, card.psf)
        field = LatentSampler(network, observed, run, self.precision)
        levels = self._levels(image, run.scale, network.side, metadata["correlation"], network_bound.level)
        update = None if image.psf is None else KalmanUpdate(
            image, run, image.noise * factor * field.spread(), metadata["correlation"])
        mean, total_std, samples, differences = self._collect(
            field, levels, n, run, restored, image.noise * factor, update)
        std = np.minimum(std, total_std)
        # Of a single sample, that of the errors of measurement.
        correlation = correlation.with_component(correlation if differences is None else (
            measure_error_correlation(differences, total_std[_central_slices(shape)])))
        result_metadata |= {
            "weights": card.sha256[:16], "base_weights": base.sha256[:16], "n_samples": n,
            "sampler": self.sampler, "n_steps": len(levels), "n_probes": self.n_probes}
        return Restoration(
            mean=mean, measurement_std=std, mask=expand_mask(image.mask, run.scale),
            psf=target_psf(), metadata=result_metadata, samples=samples, predictive_std=total_std,
            correlation=correlation, chi2_range=calibrated_chi2_range(card.calibration, run.scale))

    def bind(self, image, run):
        """The network that restores, made ready for the image, and its card."""
        network, _ = load_for(self, run.scale)
        _, card = self._load(network.base)
        if network.base_sha256 and card.sha256 != network.base_sha256:
            raise ValueError(f"`weights` were trained on what the weights {network.base!r} of "
                             f"sha256 {network.base_sha256[:16]} leave open, and those here are "
                             f"of {card.sha256[:16]}")
        name = card.network["architecture"]
        base = Unrolled if find_architecture(name).inputs == "physics" else Network
        return base(name, weights=network.base, n_probes=self.n_probes).bind(image, run)

    def _factor(self, calibration, network_bound, image, restored):
        """What the samples' distance from the restored image is multiplied by, and cards of it."""
        metadata = {"calibration": "predictive"}
        if not (calibration and self.calibrated):
            return 1.0, metadata
        factor, inflation = calibrated_factor(
            calibration, network_bound.scale, image, snr_map(network_bound, image, restored))
        return factor, metadata | inflation

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
            return static_schedule(steps or SAMPLERS[self.sampler][1])
        snr = float(np.max(np.where(image.mask, 0.0, (image.data - level) / image.sigma)))
        variance = latent_spectrum(image, scale, side, max(snr, 1.0), correlation)
        return dynamic_schedule(variance, steps)

    def _collect(self, field, levels, n, run, restored, noise, update):
        """Mean, standard deviation, and samples if they are to be kept."""
        total, squares = np.zeros(restored.shape), np.zeros(restored.shape)
        samples = np.empty((n, *restored.shape), np.float32) if self.keep_samples else None
        first, part = [], _central_slices(restored.shape)
        bar = tqdm(total=n, desc="drawing", unit="sample", disable=not run.progress, delay=2)
        for numbers in field.groups(n):
            for k, error in zip(numbers, field.draw(self.sampler, levels, numbers, run.seed)):
                error = noise * error
                if update is not None:
                    error = update(restored + error, k) - restored
                if samples is not None:
                    samples[k] = restored + error
                if len(first) < CORRELATION_SAMPLES:
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


def _central_slices(shape):
    return tuple(slice((n - min(n, EXCERPT_SIDE)) // 2, (n + min(n, EXCERPT_SIDE)) // 2) for n in shape)
