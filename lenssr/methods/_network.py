"""Methods that apply a trained network: image networks and physics networks."""

import functools
import warnings

import numpy as np
from tqdm import tqdm

from lenssr._forward_model import LOG_AREA_OFFSET, covered_area
from lenssr._validation import check_fraction, check_name, check_positive_int, resolve_device
from lenssr.exceptions import LensSRWarning
from lenssr.image import expand_mask, network_tiles, psf_fwhm, relative_kernel, target_psf
from lenssr.methods._base import Restoration, require_psf
from lenssr.methods._error_prediction import predict_error, snr_map
from lenssr.uncertainty import (
    calibrated_chi2_range,
    monte_carlo_error,
    neighbour_correlation,
    prior_error_correlation,
    sky_level,
)
from lenssr.weights import load_error_head, load_network, shipped_weights

# Range of the PSF features for weights without a training range.
DEFAULT_PSF_LIMITS = {"low": [-3.0] * 4, "high": [3.0] * 4}
PSF_MARGIN = 1.5  # extension of the training range of the PSF features
NETWORK_PRECISIONS = ("float32", "float64", "bfloat16")


class Network:
    """
    Feed-forward network from an image to an image ``scale`` times finer.

    The network is applied to ``asinh(data / 3 sigma)`` with the noise of the sky ``sigma``, and is
    conditioned on features of the PSF. Calibrated weights also predict the total error. Options:
    ``weights`` (name or path), ``n_probes`` noise realisations of the measurement error, and
    ``precision``; bfloat16 is accurate to about one per cent.
    """

    def __init__(self, architecture, weights=None, n_probes=8, precision="float32"):
        self.n_probes = check_positive_int("n_probes", n_probes)
        self.precision = check_name("precision", precision, NETWORK_PRECISIONS)
        self.architecture, self.weights = architecture, weights
        # Cached, to load weights once for all bands of a cube.
        self._load = functools.cache(load_network)
        self._load_head = functools.cache(load_error_head)

    def restore(self, image, run):
        """Restore one plane."""
        inference, card = self.bind(image, run)
        mean = inference(image)
        std, correlation = monte_carlo_error(
            inference, image, self.n_probes, run.seed, mean=mean)
        inference.bar.close()
        metadata = {"weights": card.sha256[:16], "weights_name": card.name,
                    "n_probes": self.n_probes, **inference.metadata}
        total_std, calibration = None, card.calibration
        if calibration:
            head = self._load_head(weights_for(self, run.scale))
            snr = snr_map(inference, image, mean)
            total_std, error_metadata = predict_error(
                head, calibration, inference, image, mean, snr, std)
            metadata |= error_metadata
            # Realisations add noise to noisy data and overestimate the error of a network that
            # suppresses noise; the measurement error cannot exceed the total error.
            std = np.minimum(std, total_std)
            correlation = correlation.with_component(prior_error_correlation(
                calibration, run.scale, snr, np.sqrt(total_std**2 - std**2)))
        return Restoration(
            mean=mean, measurement_std=std, mask=expand_mask(image.mask, run.scale),
            psf=target_psf(), metadata=metadata, predictive_std=total_std, correlation=correlation,
            estimator=inference, chi2_range=calibrated_chi2_range(calibration, run.scale))

    def bind(self, image, run):
        """Bind the network to an image; return the `TiledInference` and the model card."""
        network, card = load_for(self, run.scale)
        inference = self._inference(network, image, run, card.psf)
        if not card.calibration:
            # Calibrated weights check the training domain of the whole image instead.
            inference.check_psf(image.psf)
        return inference, card

    def _inference(self, network, image, run, limits):
        """Make the map from an image to its estimate."""
        return TiledInference(network, image, run, self.precision, 1 + self.n_probes, limits)


def weights_for(method, scale):
    """Return the weights chosen by the user, or the shipped weights for a scale."""
    return method.weights or shipped_weights(method.architecture).get(
        scale, f"{method.architecture}-x{scale}")


def load_for(method, scale):
    """Load the network and the model card of a method for a scale."""
    network, card = method._load(weights_for(method, scale), method.architecture)
    if scale not in card.scales:
        raise ValueError(f"`scale` must be {' or '.join(map(str, card.scales))}, for which "
                         f"the weights {card.name!r} were trained, got {scale}")
    return network, card


def psf_conditioning(psf, limits=None):
    """Return PSF features clipped to the training range, and whether they differ."""
    import torch

    from lenssr.networks import psf_features

    limits, margin = (limits, PSF_MARGIN) if limits else (DEFAULT_PSF_LIMITS, 0.0)
    low, high = (torch.tensor([1.0, *limits[end]], dtype=torch.float64) for end in ("low", "high"))
    features = psf_features(torch.from_numpy(psf)[None])
    clipped = features.clamp((low - margin).to(features), (high + margin).to(features))
    return clipped, not torch.equal(clipped, features)


class TiledInference:
    """Network bound to an image: the map from the image to its estimate, in tiles."""

    def __init__(self, network, image, run, precision, runs, limits=None):
        import torch

        self.torch, self.scale, self.metadata = torch, run.scale, {}
        self.limits, self.outside = limits, False
        self.device = resolve_device(run.device)
        self.autocast = precision == "bfloat16"
        self.dtype = torch.float64 if precision == "float64" else torch.float32
        self.network = network.to(self.device, self.dtype, memory_format=torch.channels_last)
        self._condition(image)
        self.level = sky_level(image.data, image.mask, image.noise)
        self.tile, self.tiles = run.tile, network_tiles(image.shape, run.tile, self.halo)
        self.bar = tqdm(total=runs * len(self.tiles), desc="restoring", unit="tile",
                        disable=not run.progress, delay=2)

    def __call__(self, image):
        noise = image.noise
        mean = np.empty(tuple(self.scale * n for n in image.shape))
        for tile in self.tiles:
            block = (image.data[tile.padded] - self.level) / noise
            output = self._forward(block, *self._inputs(image, tile))
            mean[tile.outer(self.scale)] = output[tile.inner(self.scale)]
            self.bar.update()
        mean *= noise
        mean += self.level
        return mean

    @property
    def halo(self):
        """Input pixels around a tile that influence it."""
        return self.network.halo

    def _condition(self, image):
        """Prepare the conditioning on the whole image."""
        self.conditions = self._conditions(image.psf).to(self.device, self.dtype)

    def _inputs(self, image, tile):
        """Return the inputs of the network besides the pixels of a tile."""
        return (self.conditions,)

    @property
    def summary(self):
        """Features of the image for the error head, shape ``(1, n)``."""
        return self.conditions

    def _conditions(self, psf):
        from lenssr.networks import N_PSF_FEATURES

        if psf is None:
            warnings.warn("no `psf` was given: the network infers its width from the image",
                          LensSRWarning, stacklevel=5)
            return self.torch.zeros(1, N_PSF_FEATURES)
        conditions, self.outside = psf_conditioning(psf, self.limits)
        return conditions

    def check_psf(self, psf):
        """Warn of a PSF outside the training range."""
        if self.outside:
            warnings.warn(f"`psf` of FWHM {psf_fwhm(psf):.1f} pixels lies outside the "
                          "range of the training of the weights, in its width, its wings or its "
                          "ellipticity; the result is an extrapolation", LensSRWarning,
                          stacklevel=4)

    def _forward(self, block, *inputs):
        from lenssr.networks import asinh_scale, exact_float32, sinh_scale

        torch = self.torch
        with torch.inference_mode(), exact_float32(), torch.autocast(
                self.device.type, torch.bfloat16, enabled=self.autocast):
            x = torch.from_numpy(block).to(self.device, self.dtype)[None, None]
            output = self.network(
                asinh_scale(x).contiguous(memory_format=torch.channels_last), *inputs)
            return sinh_scale(output[0, 0].double()).cpu().numpy()


MAX_PSF_SIDE = 31  # input pixels; larger PSFs are cropped
MAX_CUT_FLUX = 2e-3  # fraction of the PSF flux that may be cropped


class Unrolled(Network):
    """
    Physics network, which contains the forward model: any PSF, noise map and mask.

    Options are those of `Network` and ``correlation``, the noise correlation of neighbouring pixels
    from 0 to 1, by default measured on the sky.
    """

    def __init__(self, architecture, weights=None, n_probes=8, precision="float32",
                 correlation=None):
        super().__init__(architecture, weights, n_probes, precision)
        if correlation is not None:
            correlation = check_fraction("correlation", correlation)
        self.correlation = correlation

    def restore(self, image, run):
        """Restore one plane."""
        require_psf(image, f"method {self.architecture!r}")
        return super().restore(image, run)

    def _inference(self, network, image, run, limits):
        correlation = self.correlation
        if correlation is None:
            correlation = max(0.0, neighbour_correlation(image.data, image.mask))
        inference = PhysicsInference(network, image, run, self.precision, 1 + self.n_probes,
                                     correlation)
        inference.metadata = {"noise_correlation": round(correlation, 3)}
        return inference


class PhysicsInference(TiledInference):
    """Physics network bound to an image."""

    def __init__(self, network, image, run, precision, runs, correlation):
        self.kernel = relative_kernel(truncate_psf(image.psf), run.scale)
        self.correlation = correlation
        super().__init__(network, image, run, precision, runs)

    @property
    def halo(self):
        """Input pixels around a tile that influence it."""
        return self.network.halo(max(self.kernel.shape) // self.scale // 2)

    def _condition(self, image):
        tensor = self.torch.as_tensor
        self.conditions = tuple(tensor(value, dtype=self.dtype, device=self.device)
                                for value in (self.kernel[None], np.array([self.correlation])))

    @property
    def summary(self):
        """Logarithm of the PSF area, and the noise correlation, ``(1, 2)``."""
        kernel, correlation = self.conditions
        return self.torch.stack([covered_area(kernel, self.scale).log() - LOG_AREA_OFFSET,
                                 correlation], dim=1)

    def check_psf(self, psf):
        """Accept any PSF, since the training covers all widths."""

    def _inputs(self, image, tile):
        region = tile.padded
        sigma = np.where(image.mask[region], np.inf, image.sigma[region] / image.noise)
        sigma = self.torch.as_tensor(sigma, dtype=self.dtype, device=self.device)
        return sigma[None, None], *self.conditions, self.scale


def truncate_psf(psf):
    """Crop the faint outer rim of a PSF to save computing time."""
    for side in range(9, MAX_PSF_SIDE + 1, 2):
        if side >= max(psf.shape):
            return psf
        edges = [max(0, (n - side) // 2) for n in psf.shape]
        core = psf[edges[0]:psf.shape[0] - edges[0], edges[1]:psf.shape[1] - edges[1]]
        if np.abs(psf).sum() - np.abs(core).sum() < MAX_CUT_FLUX:
            return core
    return core
