"""Methods that apply a trained network: image networks and unrolled physics networks."""

import functools
import warnings

import numpy as np
from tqdm import tqdm

from lenssr._validation import check_fraction, check_positive_int
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

DEFAULT_PSF_LIMITS = {"low": [-3.0] * 4, "high": [3.0] * 4}
"""Between what networks were told of PSFs whose cards do not say."""
PSF_MARGIN = 1.5
"""By which what a card says is made wider: seeing of 3 to 5 pixels is as far within `LIMITS`."""
NETWORK_PRECISIONS = ("float32", "float64", "bfloat16")


class Network:
    """A feed-forward network that maps an image to a finer one."""

    def __init__(self, architecture, weights=None, n_probes=8, precision="float32"):
        self.n_probes = check_positive_int("n_probes", n_probes)
        if precision not in NETWORK_PRECISIONS:
            raise ValueError(f"`precision` must be one of {', '.join(NETWORK_PRECISIONS)}, "
                             f"got {precision!r}")
        self.architecture, self.weights = architecture, weights
        self.precision = precision
        # Once for all the bands of a cube.
        self._load = functools.cache(load_network)
        self._load_head = functools.cache(load_error_head)

    def restore(self, image, run):
        """Restore one plane."""
        inference, card = self.bind(image, run)
        mean = inference(image)
        std, correlation = monte_carlo_error(
            inference, image, self.n_probes, run.seed, mean=mean)
        inference.bar.close()
        metadata = {"weights": card.sha256[:16], "n_probes": self.n_probes, **inference.metadata}
        total_std, calibration = None, card.calibration
        if calibration:
            head = self._load_head(weights_for(self, run.scale))
            snr = snr_map(inference, image, mean)
            total_std, error_metadata = predict_error(head, calibration, inference, image, mean, snr, std)
            metadata |= error_metadata
            # A part cannot be larger than the whole: where noise is shrunk, probes, which add
            # noise to noise, say too much.
            std = np.minimum(std, total_std)
            correlation = correlation.with_component(prior_error_correlation(
                calibration, run.scale, snr, np.sqrt(total_std**2 - std**2)))
        return Restoration(
            mean=mean, measurement_std=std, mask=expand_mask(image.mask, run.scale),
            psf=target_psf(), metadata=metadata, predictive_std=total_std, correlation=correlation,
            estimator=inference, chi2_range=calibrated_chi2_range(calibration, run.scale))

    def bind(self, image, run):
        """The network, made ready for a plane."""
        network, card = load_for(self, run.scale)
        inference = self._apply(network, image, run, card.psf)
        if not card.calibration:
            # One that is calibrated knows its domain better.
            inference.check_psf(image.psf)
        return inference, card

    def _apply(self, network, image, run, limits):
        """The network as a map from a plane to its mean."""
        return TiledInference(network, image, run, self.precision, 1 + self.n_probes, limits)


def weights_for(method, scale):
    """The weights that a method was given, or those that come with lenssr for a scale."""
    return method.weights or shipped_weights(method.architecture).get(
        scale, f"{method.architecture}-x{scale}")


def load_for(method, scale):
    """Network and card of the weights of a method."""
    network, card = method._load(weights_for(method, scale), method.architecture)
    if scale not in card.scales:
        raise ValueError(f"`scale` must be {' or '.join(map(str, card.scales))}, for which "
                         f"the weights {card.name!r} were trained, got {scale}")
    return network, card


def psf_conditioning(psf, limits=None):
    """What a network is told of a PSF: little more than it was told of any in training."""
    import torch

    from lenssr.networks import psf_features

    limits, margin = (limits, PSF_MARGIN) if limits else (DEFAULT_PSF_LIMITS, 0.0)
    low, high = (torch.tensor([1.0, *limits[end]], dtype=torch.float64) for end in ("low", "high"))
    features = psf_features(torch.from_numpy(psf)[None])
    clipped = features.clamp((low - margin).to(features), (high + margin).to(features))
    return clipped, not torch.equal(clipped, features)


class TiledInference:
    """The network as a map from a plane to its mean, in tiles where it is large."""

    def __init__(self, network, image, run, precision, runs, limits=None):
        import torch

        self.torch, self.scale, self.metadata = torch, run.scale, {}
        self.limits, self.outside = limits, False
        self.device = torch.device(run.device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.autocast = precision == "bfloat16"
        self.dtype = torch.float64 if precision == "float64" else torch.float32
        self.network = network.to(self.device, self.dtype, memory_format=torch.channels_last)
        self._conditioning(image)
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
        """Input pixels around a tile on which it depends."""
        return self.network.halo

    def _conditioning(self, image):
        """Make ready what the network is told of the whole image."""
        self.conditions = self._conditions(image.psf).to(self.device, self.dtype)

    def _inputs(self, image, tile):
        """What the network is called with beside the pixels of a tile."""
        return (self.conditions,)

    @property
    def summary(self):
        """What is told of the image in a few numbers, ``(1, n)``: to the head of its errors."""
        return self.conditions

    def _conditions(self, psf):
        from lenssr.networks import N_PSF_FEATURES

        if psf is None:
            warnings.warn("no `psf` was given: the network guesses its width from the image",
                          LensSRWarning, stacklevel=5)
            return self.torch.zeros(1, N_PSF_FEATURES)
        conditions, self.outside = psf_conditioning(psf, self.limits)
        return conditions

    def check_psf(self, psf):
        """Warn of a PSF unlike those of the training."""
        if self.outside:
            warnings.warn(f"`psf` of FWHM {psf_fwhm(psf):.1f} pixels lies outside the "
                          "range of the training of the weights, in its width, its wings or its "
                          "ellipticity; the result is an extrapolation", LensSRWarning,
                          stacklevel=4)

    def _forward(self, block, *inputs):
        torch = self.torch
        from lenssr.networks import asinh_scale, exact_float32, sinh_scale

        with torch.inference_mode(), exact_float32(), torch.autocast(
                self.device.type, torch.bfloat16, enabled=self.autocast):
            x = torch.from_numpy(block).to(self.device, self.dtype)[None, None]
            output = self.network(
                asinh_scale(x).contiguous(memory_format=torch.channels_last), *inputs)
            return sinh_scale(output[0, 0].double()).cpu().numpy()


MAX_PSF_SIDE = 31  # input pixels; the wings of larger PSFs are cut
MAX_CUT_FLUX = 2e-3  # fraction of the PSF flux that may be cut


class Unrolled(Network):
    """A network with the observation inside: any PSF, noise that varies, masked pixels."""

    def __init__(self, architecture, weights=None, n_probes=8, precision="float32",
                 correlation=None):
        super().__init__(architecture, weights, n_probes, precision)
        self.correlation = None if correlation is None else check_fraction("correlation", correlation)

    def restore(self, image, run):
        """Restore one plane."""
        require_psf(image, f"method {self.architecture!r}")
        return super().restore(image, run)

    def _apply(self, network, image, run, limits):
        correlation = self.correlation
        if correlation is None:
            correlation = max(0.0, neighbour_correlation(image.data, image.mask))
        inference = PhysicsInference(network, image, run, self.precision, 1 + self.n_probes,
                                 correlation)
        inference.metadata = {"noise_correlation": round(correlation, 3)}
        return inference


class PhysicsInference(TiledInference):
    """The map from a plane to its mean of a network that is told of the telescope."""

    def __init__(self, network, image, run, precision, runs, correlation):
        self.kernel = relative_kernel(truncate_psf(image.psf), run.scale)
        self.correlation = correlation
        super().__init__(network, image, run, precision, runs)

    @property
    def halo(self):
        """Input pixels around a tile on which it depends."""
        return self.network.halo(max(self.kernel.shape) // self.scale // 2)

    def _conditioning(self, image):
        tensor = self.torch.as_tensor
        self.told = tuple(tensor(value, dtype=self.dtype, device=self.device)
                          for value in (self.kernel[None], np.array([self.correlation])))

    @property
    def summary(self):
        """Logarithm of the area that the PSF covers, and the correlation of the noise."""
        from lenssr._forward_model import LOG_AREA_OFFSET, covered_area

        kernel, correlation = self.told
        return self.torch.stack([covered_area(kernel, self.scale).log() - LOG_AREA_OFFSET,
                                 correlation], dim=1)

    def check_psf(self, psf):
        """Nothing to warn of: it was trained on all of them."""

    def _inputs(self, image, tile):
        part = tile.padded
        sigma = np.where(image.mask[part], np.inf, image.sigma[part] / image.noise)
        sigma = self.torch.as_tensor(sigma, dtype=self.dtype, device=self.device)
        return sigma[None, None], *self.told, self.scale


def truncate_psf(psf):
    """A PSF without the rim that holds next to none of its light, which costs time."""
    for side in range(9, MAX_PSF_SIDE + 1, 2):
        if side >= max(psf.shape):
            return psf
        edges = [max(0, (n - side) // 2) for n in psf.shape]
        core = psf[edges[0]:psf.shape[0] - edges[0], edges[1]:psf.shape[1] - edges[1]]
        if np.abs(psf).sum() - np.abs(core).sum() < MAX_CUT_FLUX:
            return core
    return core
