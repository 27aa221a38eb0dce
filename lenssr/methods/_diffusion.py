"""Posterior samples by diffusion of the residual of a base network."""

import functools
import warnings

import numpy as np
from astropy import units as u
from tqdm import tqdm

from lenssr._validation import (
    check_fraction,
    check_name,
    check_positive_int,
    check_positive_number,
    resolve_device,
)
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
    MAX_CORRELATED_SIDE,
    calibrated_chi2_range,
    central_cutout,
    measure_error_correlation,
    monte_carlo_error,
    neighbour_correlation,
)
from lenssr.weights import load_network

BYTES_PER_PIXEL = 20  # bytes for each pixel of a sample while a result is assembled
MEMORY_FRACTION = 0.8  # fraction of the free memory that samples may use


def free_memory():
    """Return the free memory in bytes, or `None` if the system does not report it."""
    try:
        with open("/proc/meminfo") as file:
            lines = dict(line.split(":", 1) for line in file)
        return 1024 * int(lines["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):
        return None


def check_memory(n, shape, free=None):
    """Raise `ValueError` if ``n`` samples of a shape exceed the free memory."""
    free = free_memory() if free is None else free
    sample_bytes = BYTES_PER_PIXEL * shape[0] * shape[1]
    if free is not None and n * sample_bytes > MEMORY_FRACTION * free:
        maximum = int(MEMORY_FRACTION * free / sample_bytes)
        raise ValueError(
            f"`n_samples` must be at most {maximum} for {shape[0]} x {shape[1]} output pixels, got "
            f"{n}: the samples need {n * sample_bytes / 1e9:.3g} GB, and {free / 1e9:.3g} GB are "
            "free; keep_samples=False keeps the mean and the uncertainty alone")


RANGE_MARGIN = 0.02  # accepted relative distance from the training range


def conditioning_metadata(ranges, metadata, user_metadata):
    """Return the metadata within the training ranges; warn of other values."""
    known = {}
    for name, value in metadata.items():
        label = "band" if name == "wavelength" else name
        if name not in ranges:
            if name in user_metadata:
                warnings.warn(f"`{label}` has no effect: the weights were trained without it",
                              LensSRWarning, stacklevel=4)
            continue
        low, high = ranges[name]
        if not low - RANGE_MARGIN * abs(low) <= value <= high + RANGE_MARGIN * abs(high):
            warnings.warn(f"`{label}` is {value:.3g}, outside the range of the training, "
                          f"{low:.3g} to {high:.3g}; it is ignored, and the result is an "
                          "extrapolation", LensSRWarning, stacklevel=4)
            continue
        known[name] = value
    return known


def check_metadata(correlation, pixel_scale, band, z_lens, z_source):
    """Validate the metadata given by the user; return them by their network names."""
    checked = {}
    if correlation is not None:
        checked["correlation"] = check_fraction("correlation", correlation)
    if isinstance(pixel_scale, u.Quantity):
        try:
            pixel_scale = float(pixel_scale.to_value(u.arcsec))
        except (u.UnitConversionError, TypeError) as err:
            raise ValueError(f"`pixel_scale` must be an angle, got {pixel_scale}") from err
    for name, value in (("pixel_scale", pixel_scale), ("z_lens", z_lens), ("z_source", z_source)):
        if value is not None:
            checked[name] = check_positive_number(name, value)
    if band is not None:
        checked["wavelength"] = band_wavelength(band)
        if checked["wavelength"] is None:
            raise ValueError("`band` must be a wavelength or the name of a filter, such as 'i' or "
                             f"'F814W', got {band!r}")
    if {"z_lens", "z_source"} <= checked.keys() and checked["z_lens"] >= checked["z_source"]:
        raise ValueError(f"`z_source` must be larger than `z_lens` {z_lens!r}, got {z_source!r}")
    return checked


CELLS_PER_BATCH = 32768  # latent cells that are sampled together
LATENT_TILE = 256  # cells along a side of a tile


class LatentSampler:
    """
    Diffusion network bound to an image, evaluated tile by tile.

    Noise is drawn for the whole image and every evaluation of the denoiser covers all tiles with
    their halos, so that samples do not depend on the tiles.
    """

    def __init__(self, network, observed, run, precision):
        import torch

        from lenssr.networks import LATENT_CELL, encode_metadata, has_fast_bfloat16

        self.torch, self.scale = torch, run.scale
        self.device = resolve_device(run.device)
        self.bfloat16 = precision == "bfloat16" or (
            precision == "auto" and has_fast_bfloat16(self.device))
        self.network = network.to(self.device, memory_format=torch.channels_last)
        self.shape = observed["data"].shape
        self.cells = tuple(-(-n // LATENT_CELL) for n in self.shape)
        self.side = (min(max(self.cells), LATENT_TILE) if run.tile is None
                     else max(1, run.tile // LATENT_CELL))
        conditions = encode_metadata(observed["numbers"]).to(self.device)
        self.features = self._features(observed, conditions, LATENT_CELL)

    def _features(self, observed, conditions, cell):
        """Encode the whole image tile by tile."""
        torch, network = self.torch, self.network
        planes = {}
        for name, times in (("mean", self.scale), ("data", 1), ("weight", 1), ("residual", 1)):
            padding = [(0, times * (cell * n - m)) for n, m in zip(self.cells, self.shape)]
            planes[name] = np.pad(observed[name], padding, mode="edge")
        maps = variance = None
        for tile in network_tiles(self.cells, self.side, network.encoder_halo):
            blocks = []
            for name, times in (("mean", cell * self.scale), ("data", cell), ("weight", cell),
                                ("residual", cell)):
                block = planes[name][tile.around(times)]
                blocks.append(torch.from_numpy(block).to(self.device, torch.float32)[None, None])
            with torch.inference_mode(), self._autocast():
                features = network.encode(*blocks, conditions)
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
        """Return the ranges of sample numbers that are drawn in one batch."""
        batch = max(1, CELLS_PER_BATCH // (self.cells[0] * self.cells[1]))
        return [range(k, min(k + batch, n)) for k in range(0, n, batch)]

    def draw(self, sampler, levels, numbers, seed):
        """
        Draw residuals in noise units, shape ``(n, scale * ny, scale * nx)``.

        ``numbers`` are the numbers of the samples; each sample depends on its number and ``seed``
        alone.
        """
        torch = self.torch
        rngs = [np.random.default_rng([seed, number, 13]) for number in numbers]
        shape = (self.network.side**2, *self.cells)

        def new_noise(step):
            noise = np.stack([rng.standard_normal(shape, np.float32) for rng in rngs])
            return torch.from_numpy(noise).to(self.device, memory_format=torch.channels_last)

        with torch.inference_mode():
            latent = draw(sampler, levels, self.denoise, new_noise(None), new_noise)
            errors = self.network.decode_latent(latent, self.features)[:, 0]
        ny, nx = (self.scale * n for n in self.shape)
        return errors[:, :ny, :nx].double().cpu().numpy()

    def denoise(self, latent, level):
        """Return the expected latent of a noisy latent, tile by tile."""
        torch, network, features = self.torch, self.network, self.features
        sigma = torch.full((1,), level, device=self.device)
        tiles = network_tiles(self.cells, self.side, network.halo)
        denoised = torch.empty_like(latent) if len(tiles) > 1 else None
        for tile in tiles:
            tile_features = features._replace(maps=features.maps[..., *tile.padded])
            with self._autocast():
                output = network.denoise(latent[..., *tile.padded], sigma, tile_features)
            if denoised is None:
                return output
            denoised[..., *tile.outer()] = output[..., *tile.inner()]
        return denoised

    def spread(self):
        """Return the predicted standard deviation of each output pixel, noise units."""
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
    """
    Posterior samples by diffusion in the latent space of the residual of a base network.

    The base network, named in the model card, restores the image; the residual is sampled. The
    result is the mean of the samples. Its error is their standard deviation; the error of one
    sample is larger by the square root of two. Noise levels follow ``schedule``: ``"dynamic"``
    chooses them by PSF, signal-to-noise ratio and noise correlation, ``"static"`` is the same for
    all images.
    """

    def __init__(self, architecture, weights=None, sampler="dpm", schedule="dynamic", steps=None,
                 correlation=None, pixel_scale=None, band=None, z_lens=None, z_source=None,
                 keep_samples=True, n_probes=8, precision="auto", calibrated=True):
        check_name("sampler", sampler, SAMPLERS)
        check_name("precision", precision, DIFFUSION_PRECISIONS)
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
        inference, base = self.bind(image, run)
        restored = inference(image)
        factor, result_metadata = self._factor(card.calibration, inference, image, restored)
        std, correlation = monte_carlo_error(
            inference, image, self.n_probes, run.seed, mean=restored)
        inference.bar.close()
        metadata = {**image.metadata, "correlation": max(
            0.0, neighbour_correlation(image.data, image.mask)), **self.user_metadata}
        known = conditioning_metadata(network.ranges, metadata, self.user_metadata)
        observed = self._observed(image, restored, inference.level, run, known, card.psf)
        latent = LatentSampler(network, observed, run, self.precision)
        levels = self._noise_levels(
            image, run.scale, network.side, metadata["correlation"], inference.level)
        update = None if image.psf is None else KalmanUpdate(
            image, run, image.noise * factor * latent.spread(), metadata["correlation"])
        mean, total_std, samples, differences = self._collect(
            latent, levels, n, run, restored, image.noise * factor, update)
        std = np.minimum(std, total_std)
        # A single sample has the correlation of the measurement error.
        prior_correlation = correlation if differences is None else measure_error_correlation(
            differences, total_std[central_cutout(shape, MAX_CORRELATED_SIDE)])
        result_metadata |= {
            "weights": card.sha256[:16], "weights_name": card.name,
            "base_weights": base.sha256[:16], "n_samples": n, "sampler": self.sampler,
            "n_steps": len(levels), "n_probes": self.n_probes}
        return Restoration(
            mean=mean, measurement_std=std, mask=expand_mask(image.mask, run.scale),
            psf=target_psf(), metadata=result_metadata, samples=samples, predictive_std=total_std,
            correlation=correlation.with_component(prior_correlation),
            chi2_range=calibrated_chi2_range(card.calibration, run.scale))

    def bind(self, image, run):
        """Bind the base network to an image; return it with its model card."""
        network, _ = load_for(self, run.scale)
        _, card = self._load(network.base)
        if network.base_sha256 and card.sha256 != network.base_sha256:
            raise ValueError(f"`weights` must have the base weights {network.base!r} of sha256 "
                             f"{network.base_sha256[:16]} of their training, got sha256 "
                             f"{card.sha256[:16]}")
        name = card.network["architecture"]
        base = Unrolled if find_architecture(name).inputs == "physics" else Network
        return base(name, weights=network.base, n_probes=self.n_probes).bind(image, run)

    def _factor(self, calibration, inference, image, restored):
        """Return the calibration factor of the samples, and named values."""
        metadata = {"calibration": "predictive"}
        if not (calibration and self.calibrated):
            return 1.0, metadata
        factor, inflation = calibrated_factor(
            calibration, inference.scale, image, snr_map(inference, image, restored))
        return factor, metadata | inflation

    def _observed(self, image, restored, level, run, known, limits):
        """Return the inputs of the denoiser: planes in noise units, numbers."""
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

    def _noise_levels(self, image, scale, side, correlation, level):
        """Return the noise levels for an image."""
        if not isinstance(self.schedule, str):
            return self.schedule
        steps = self.steps or (None if self.sampler == "dpm" else SAMPLERS[self.sampler][1])
        if self.schedule == "static":
            return static_schedule(steps or SAMPLERS[self.sampler][1])
        snr = float(np.max(np.where(image.mask, 0.0, (image.data - level) / image.sigma)))
        variance = latent_spectrum(image, scale, side, max(snr, 1.0), correlation)
        return dynamic_schedule(variance, steps)

    def _collect(self, latent, levels, n, run, restored, noise, update):
        """Draw samples; return mean, standard deviation, samples and deviations."""
        total, squares = np.zeros(restored.shape), np.zeros(restored.shape)
        samples = np.empty((n, *restored.shape), np.float32) if self.keep_samples else None
        first, cutout = [], central_cutout(restored.shape, MAX_CORRELATED_SIDE)
        bar = tqdm(total=n, desc="drawing", unit="sample", disable=not run.progress, delay=2)
        for numbers in latent.groups(n):
            for k, error in zip(numbers, latent.draw(self.sampler, levels, numbers, run.seed)):
                error = noise * error
                if update is not None:
                    error = update(restored + error, k) - restored
                if samples is not None:
                    samples[k] = restored + error
                if len(first) < CORRELATION_SAMPLES:
                    first.append(error[cutout])
                # Relative to the restored image, to avoid rounding errors.
                total += error
                squares += error**2
                bar.update()
        bar.close()
        mean = total / n
        if n == 1:
            return restored + mean, noise * np.sqrt(2) * latent.spread(), samples, None
        variance = np.maximum(squares - n * mean**2, 0) / (n - 1)
        differences = [(error - mean[cutout]) * np.sqrt(n / (n - 1)) for error in first]
        # The mean of n samples scatters by 1 / n of their variance.
        return restored + mean, np.sqrt(variance * (1 + 1 / n)), samples, differences
