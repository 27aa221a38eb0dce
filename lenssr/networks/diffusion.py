"""The diffusion autoencoder: what a network leaves open, in a latent that is drawn step by step."""

import math
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from lenssr.networks._architecture import Architecture
from lenssr.networks._inputs import N_METADATA_CHANNELS, asinh_scale
from lenssr.networks._layers import GeluBlock, check_scale, concat_conditions, conv3

#: Input pixels along a side of a cell of the latent.
LATENT_CELL = 2

MAX_LOG_VARIANCE = 30.0  # noise units

MAX_LATENT = 12.0  # standard deviations at which a latent is clipped in training

# Error of a fresh network: sky noises, and fraction of the mean.
INITIAL_ERROR, INITIAL_ERROR_FRACTION = 0.3, 0.03

N_FREQUENCIES = 16  # of the embedding of the logarithm of the noise level


class LatentBasis(nn.Module):
    """
    Images as coefficients of an orthonormal basis of their cells, and back: nothing is lost.

    The encoder is a convolution whose stride is its size; its matrix is orthogonal, learned
    from that of the discrete cosine transform on. So its transpose, the decoder, is its inverse,
    and white noise on the image is white noise in the latent.

    Parameters
    ----------
    side : int
        Output pixels along a side of a cell; a cell has ``side**2`` coefficients.
    """

    def __init__(self, side: int):
        super().__init__()
        self.side = side
        k = torch.arange(side, dtype=torch.float64)
        wave = torch.cos(math.pi / side * (k + 0.5) * k[:, None]) * math.sqrt(2 / side)
        wave[0] /= math.sqrt(2)
        basis = torch.einsum("ay,bx->abyx", wave, wave).reshape(side**2, side**2)
        self.register_buffer("basis", basis.float(), persistent=False)
        self.turn = nn.Parameter(torch.zeros(side**2, side**2))

    def kernel(self) -> torch.Tensor:
        """The convolution's kernel, ``(side**2, 1, side, side)``."""
        turn = torch.matrix_exp(self.turn - self.turn.T)
        return (turn @ self.basis.to(turn.dtype)).reshape(-1, 1, self.side, self.side)

    def encode(self, image: torch.Tensor) -> torch.Tensor:
        """Coefficients, ``(batch, side**2, n, m)``, of images ``(batch, 1, side n, side m)``."""
        with torch.autocast(image.device.type, enabled=False):
            return functional.conv2d(image, self.kernel(), stride=self.side)

    def decode(self, coefficients: torch.Tensor) -> torch.Tensor:
        """The images of coefficients."""
        with torch.autocast(coefficients.device.type, enabled=False):
            return functional.conv_transpose2d(coefficients, self.kernel(), stride=self.side)


class DiffusionFeatures(NamedTuple):
    """
    What is known of an image before anything is drawn; found once.

    Attributes
    ----------
    log_variance : `~torch.Tensor`
        Logarithm of the expected squares of the coefficients, ``(batch, k, n, m)``.
    maps : `~torch.Tensor`
        What each block of the denoiser is given, ``(batch, blocks + 1, features, n, m)``.
    conditions : `~torch.Tensor`
        Embedding of the numbers that were told, ``(batch, features)``.
    """

    log_variance: torch.Tensor
    maps: torch.Tensor
    conditions: torch.Tensor

    def repeated(self, times: int):
        """Each image so many times, one after the other."""
        return DiffusionFeatures(*(part.repeat_interleave(times, dim=0) for part in self))


class DiffusionBlock(nn.Module):
    """Residual block that is given a map of the image, and a scale and shift by the noise level."""

    def __init__(self, features: int):
        super().__init__()
        self.first, self.second = conv3(features, features), conv3(features, features)

    def forward(self, x, conditions, scale, shift):
        """The image after the block."""
        inner = (self.first(x) + conditions) * (1 + scale) + shift
        return x + self.second(functional.gelu(inner))


class Diffusion(nn.Module):
    r"""
    Posterior samples of what a network's restored image leaves open.

    The error :math:`x - m` of a restored image :math:`m` becomes a latent :math:`u`: the
    coefficients of `Latent`, each over its standard deviation as the encoder of the observed
    image predicts it. So the latent has a variance of about one everywhere, in the sky and on
    the brightest arc, and a sample is :math:`m + E^\mathsf{T} s u`. The denoiser
    :math:`D(u + \sigma n; \sigma)` is that of Karras et al. (2022, arXiv:2206.00364) with data of
    variance one; it is given the encoder's features, and, by scale and shift of its channels
    (Perez et al. 2018, arXiv:1709.07871), the noise level and what is told of the observation.

    Parameters
    ----------
    base : str
        Name or file of the weights of the network that restores.
    base_sha256 : str
        Their digest, where it is known.
    scale : int
        Output pixels per input pixel, those of the base.
    features, blocks : int
        Channels, and residual blocks of the denoiser.
    depth : int
        Residual blocks of the encoder.
    ranges : dict, optional
        Least and largest value, by name, of the `METADATA` that were known in the training.

    Notes
    -----
    All layers work on cells of two by two input pixels.
    """

    def __init__(self, base: str, base_sha256: str = "", scale: int = 2, features: int = 96,
                 blocks: int = 4, depth: int = 3, ranges: dict | None = None):
        super().__init__()
        self.base, self.base_sha256, self.scale = base, base_sha256, check_scale(scale)
        self.ranges = ranges or {}
        self.side = LATENT_CELL * scale
        k = self.side**2
        self.latent = LatentBasis(self.side)
        self.head = conv3(k + 3 * LATENT_CELL**2 + N_METADATA_CHANNELS, features)
        self.encoder = nn.Sequential(*(GeluBlock(features) for _ in range(depth)), nn.GELU())
        self.spread = conv3(features, k)
        self.given = nn.Conv2d(features, features * (blocks + 1), 1)
        self.first, self.last = conv3(k, features), conv3(features, k)
        self.blocks = nn.ModuleList(DiffusionBlock(features) for _ in range(blocks))
        self.condition_embedding = nn.Linear(N_METADATA_CHANNELS, features)
        self.level = nn.Linear(2 * N_FREQUENCIES, features)
        self.film = nn.Linear(features, 2 * features * blocks)
        for layer in (self.spread, self.last, self.film):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    @property
    def halo(self) -> int:
        """Cells beyond which nothing influences the denoised latent."""
        return 2 + 2 * len(self.blocks)

    @property
    def encoder_halo(self) -> int:
        """Cells beyond which nothing influences the features."""
        return 2 + 2 * (len(self.encoder) - 1)

    def encode(self, mean, data, weight, residual, conditions) -> DiffusionFeatures:
        """Features of observed images."""
        planes = torch.cat([functional.pixel_unshuffle(asinh_scale(mean), self.side), *(
            functional.pixel_unshuffle(plane, LATENT_CELL)
            for plane in (asinh_scale(data), weight, asinh_scale(residual)))], dim=1)
        features = self.encoder(self.head(concat_conditions(planes, conditions, N_METADATA_CHANNELS)))
        square = functional.avg_pool2d(mean**2, self.side).sqrt()
        guess = 2 * torch.log(INITIAL_ERROR + INITIAL_ERROR_FRACTION * square)
        log_variance = guess + self.spread(features).float()
        return DiffusionFeatures(MAX_LOG_VARIANCE * torch.tanh(log_variance / MAX_LOG_VARIANCE),
                        self.given(features).unflatten(1, (len(self.blocks) + 1, -1)),
                        self.condition_embedding(conditions))

    def denoise(self, noisy, sigma, features: DiffusionFeatures) -> torch.Tensor:
        r"""The expected latent, given itself with noise."""
        sigma = sigma.reshape(-1, 1, 1, 1).to(noisy.dtype)
        total = torch.sqrt(1 + sigma**2)
        scales, shifts = self._film(sigma, features)
        x = self.first(noisy / total) + features.maps[:, 0]
        for k, block in enumerate(self.blocks):
            x = block(x, features.maps[:, k + 1], scales[k], shifts[k])
        return noisy / total**2 + sigma / total * self.last(functional.gelu(x)).to(noisy.dtype)

    def _film(self, sigma, features):
        """Scales and shifts of the blocks."""
        waves = math.pi * torch.arange(1, N_FREQUENCIES + 1, device=sigma.device) / 16
        phase = torch.log(sigma).reshape(-1, 1) * waves.to(sigma.dtype)
        level = self.level(torch.cat([phase.sin(), phase.cos()], dim=1))
        film = self.film(functional.gelu(level + features.conditions))[:, :, None, None]
        return (part.unflatten(1, (len(self.blocks), -1)).unbind(1) for part in film.chunk(2, 1))

    def encode_residual(self, image, features: DiffusionFeatures) -> torch.Tensor:
        """The latent of errors, ``(batch, 1, scale ny, scale nx)``."""
        return self.latent.encode(image) * torch.exp(-features.log_variance / 2)

    def decode_latent(self, latent, features: DiffusionFeatures) -> torch.Tensor:
        """The errors that a latent means: the inverse of `whitened`."""
        return self.latent.decode(latent * torch.exp(features.log_variance / 2))

    def forward(self, mean, data, weight, residual, conditions, error, noise, sigma):
        """All that a step of the training needs."""
        features = self.encode(mean, data, weight, residual, conditions)
        coefficients = self.latent.encode(error)
        latent = coefficients.detach() * torch.exp(-features.log_variance.detach() / 2)
        latent = latent.clamp(-MAX_LATENT, MAX_LATENT).repeat_interleave(len(sigma) // len(mean), 0)
        noisy = latent + sigma.reshape(-1, 1, 1, 1) * noise
        return features, coefficients, latent, self.denoise(
            noisy, sigma, features.repeated(len(sigma) // len(mean)))


ARCHITECTURE = Architecture("diffusion", Diffusion, inputs="residual", trainer="diffusion",
                            reference="arXiv:2206.00364")
