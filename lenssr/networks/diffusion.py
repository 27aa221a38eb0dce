"""Diffusion model of the error of a restored image, in an orthonormal latent space."""

import math
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from lenssr.networks._architecture import Architecture
from lenssr.networks._inputs import N_METADATA_CHANNELS, asinh_scale
from lenssr.networks._layers import GeluBlock, check_scale, concat_conditions, conv3

LATENT_CELL = 2          # input pixels along a side of a cell of the latent
MAX_LOG_VARIANCE = 30.0  # bound of the predicted logarithm, in squared noise units
MAX_LATENT = 12.0        # bound of a latent in training, standard deviations
# Initial error: noise standard deviations, and fraction of the mean of a cell.
INITIAL_NOISE, INITIAL_FRACTION = 0.3, 0.03
N_FREQUENCIES = 16       # of the Fourier features of the logarithmic noise level


class LatentBasis(nn.Module):
    """
    Orthonormal transform between images and coefficients of cells of ``side`` output pixels.

    The encoder is a convolution with stride ``side`` and an orthogonal matrix, initialised as a
    discrete cosine transform; its transpose, the decoder, is its inverse. White noise in the
    image is white noise in the latent.
    """

    def __init__(self, side: int):
        super().__init__()
        self.side = side
        k = torch.arange(side, dtype=torch.float64)
        cosine = torch.cos(math.pi / side * (k + 0.5) * k[:, None]) * math.sqrt(2 / side)
        cosine[0] /= math.sqrt(2)
        basis = torch.einsum("ay,bx->abyx", cosine, cosine).reshape(side**2, side**2)
        self.register_buffer("basis", basis.float(), persistent=False)
        self.rotation = nn.Parameter(torch.zeros(side**2, side**2))

    def kernel(self) -> torch.Tensor:
        """Kernel of the convolution, ``(side**2, 1, side, side)``."""
        rotation = torch.matrix_exp(self.rotation - self.rotation.T)
        return (rotation @ self.basis.to(rotation.dtype)).reshape(-1, 1, self.side, self.side)

    def encode(self, image: torch.Tensor) -> torch.Tensor:
        """Coefficients ``(batch, side**2, n, m)`` of images ``(batch, 1, side n, side m)``."""
        with torch.autocast(image.device.type, enabled=False):
            return functional.conv2d(image, self.kernel(), stride=self.side)

    def decode(self, coefficients: torch.Tensor) -> torch.Tensor:
        """Images of coefficients."""
        with torch.autocast(coefficients.device.type, enabled=False):
            return functional.conv_transpose2d(coefficients, self.kernel(), stride=self.side)


class DiffusionFeatures(NamedTuple):
    """
    Features of an observed image that condition the denoiser.

    ``log_variance`` of the coefficients ``(batch, k, n, m)``; ``maps`` for each block of the
    denoiser ``(batch, blocks + 1, features, n, m)``; ``embedding`` of PSF features and metadata
    ``(batch, features)``.
    """

    log_variance: torch.Tensor
    maps: torch.Tensor
    embedding: torch.Tensor

    def repeated(self, times: int):
        """Repeat each image ``times`` times, next to each other."""
        return DiffusionFeatures(*(array.repeat_interleave(times, dim=0) for array in self))


class DenoiserBlock(nn.Module):
    """Residual block conditioned on a feature map, and by scale and shift on the noise level."""

    def __init__(self, features: int):
        super().__init__()
        self.first, self.second = conv3(features, features), conv3(features, features)

    def forward(self, x, condition, scale, shift):
        inner = (self.first(x) + condition) * (1 + scale) + shift
        return x + self.second(functional.gelu(inner))


class Diffusion(nn.Module):
    r"""
    Posterior samples of the error of a restored image.

    The error :math:`x - m` of a restored image :math:`m` becomes a latent :math:`u`: the
    coefficients of `LatentBasis` over their standard deviation :math:`s`, which the encoder
    predicts from the observed image. The latent has unit variance everywhere, and a sample is
    :math:`m + E^\mathsf{T} s u`. The denoiser :math:`D(u + \sigma n; \sigma)` follows Karras et
    al. (2022, arXiv:2206.00364) for data of unit variance. It is conditioned on the features of
    the encoder and, by scale and shift (Perez et al. 2018, arXiv:1709.07871), on the noise level
    and the metadata.

    ``base`` and ``base_sha256`` are the name and digest of the weights of the restoring network;
    ``features`` and ``blocks`` belong to the denoiser, ``depth`` blocks to the encoder; ``ranges``
    are the limits of the `METADATA` known in training. All layers work on cells of 2x2 input
    pixels.
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
        self.log_variance = conv3(features, k)
        self.maps = nn.Conv2d(features, features * (blocks + 1), 1)
        self.first, self.last = conv3(k, features), conv3(features, k)
        self.blocks = nn.ModuleList(DenoiserBlock(features) for _ in range(blocks))
        self.condition_embedding = nn.Linear(N_METADATA_CHANNELS, features)
        self.noise_level = nn.Linear(2 * N_FREQUENCIES, features)
        self.film = nn.Linear(features, 2 * features * blocks)
        for layer in (self.log_variance, self.last, self.film):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    @property
    def halo(self) -> int:
        """Cells around a cell that influence its denoised latent."""
        return 2 + 2 * len(self.blocks)

    @property
    def encoder_halo(self) -> int:
        """Cells around a cell that influence its features."""
        return 2 + 2 * (len(self.encoder) - 1)

    def encode(self, mean, data, weight, residual, conditions) -> DiffusionFeatures:
        """
        Features of observed images.

        ``mean`` ``(batch, 1, scale ny, scale nx)`` and ``data`` ``(batch, 1, ny, nx)``, both sides
        even, in noise units; ``weight``, sky noise over the noise of each pixel, zero for bad
        pixels; ``residual``, data less model over the noise, zero without a PSF; ``conditions`` as
        `encode_metadata` returns them.
        """
        planes = torch.cat([functional.pixel_unshuffle(asinh_scale(mean), self.side), *(
            functional.pixel_unshuffle(plane, LATENT_CELL)
            for plane in (asinh_scale(data), weight, asinh_scale(residual)))], dim=1)
        features = self.encoder(self.head(concat_conditions(planes, conditions,
                                                            N_METADATA_CHANNELS)))
        rms = functional.avg_pool2d(mean**2, self.side).sqrt()
        initial = 2 * torch.log(INITIAL_NOISE + INITIAL_FRACTION * rms)
        log_variance = initial + self.log_variance(features).float()
        return DiffusionFeatures(MAX_LOG_VARIANCE * torch.tanh(log_variance / MAX_LOG_VARIANCE),
                                 self.maps(features).unflatten(1, (len(self.blocks) + 1, -1)),
                                 self.condition_embedding(conditions))

    def denoise(self, noisy, sigma, features: DiffusionFeatures) -> torch.Tensor:
        r"""
        Expected latent given ``noisy`` :math:`u + \sigma n`, shape ``(batch, k, n, m)``.

        ``sigma`` has shape ``(batch,)`` or ``(1,)``, ``features`` as many images or one.
        """
        sigma = sigma.reshape(-1, 1, 1, 1).to(noisy.dtype)
        total = torch.sqrt(1 + sigma**2)
        scales, shifts = self._film(sigma, features)
        x = self.first(noisy / total) + features.maps[:, 0]
        for k, block in enumerate(self.blocks):
            x = block(x, features.maps[:, k + 1], scales[k], shifts[k])
        return noisy / total**2 + sigma / total * self.last(functional.gelu(x)).to(noisy.dtype)

    def _film(self, sigma, features):
        """Scales and shifts of the blocks."""
        frequencies = math.pi * torch.arange(1, N_FREQUENCIES + 1, device=sigma.device) / 16
        phase = torch.log(sigma).reshape(-1, 1) * frequencies.to(sigma.dtype)
        embedding = self.noise_level(torch.cat([phase.sin(), phase.cos()], dim=1))
        film = self.film(functional.gelu(embedding + features.embedding))[:, :, None, None]
        return (half.unflatten(1, (len(self.blocks), -1)).unbind(1) for half in film.chunk(2, 1))

    def encode_residual(self, error, features: DiffusionFeatures) -> torch.Tensor:
        """Latent of errors ``(batch, 1, scale ny, scale nx)`` in noise units."""
        return self.latent.encode(error) * torch.exp(-features.log_variance / 2)

    def decode_latent(self, latent, features: DiffusionFeatures) -> torch.Tensor:
        """Errors of a latent, in noise units."""
        return self.latent.decode(latent * torch.exp(features.log_variance / 2))

    def forward(self, mean, data, weight, residual, conditions, error, noise, sigma):
        """
        Features, coefficients of ``error``, latent and denoised latent for a training step.

        ``noise``, standard normal, has shape ``(batch * draws, k, n, m)`` and ``sigma``
        ``(batch * draws,)``; other inputs as in `encode`. The latent is detached, so
        that the encoder is not trained to make it easy to denoise.
        """
        features = self.encode(mean, data, weight, residual, conditions)
        coefficients = self.latent.encode(error)
        latent = coefficients.detach() * torch.exp(-features.log_variance.detach() / 2)
        latent = latent.clamp(-MAX_LATENT, MAX_LATENT).repeat_interleave(
            len(sigma) // len(mean), 0)
        noisy = latent + sigma.reshape(-1, 1, 1, 1) * noise
        return features, coefficients, latent, self.denoise(
            noisy, sigma, features.repeated(len(sigma) // len(mean)))


ARCHITECTURE = Architecture("diffusion", Diffusion, inputs="residual", trainer="diffusion",
                            reference="arXiv:2206.00364")
