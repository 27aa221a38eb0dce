"""Grid on which scenes are evaluated, and the maps to the target resolution and to the data."""

import math

import torch
from astropy.stats import gaussian_fwhm_to_sigma
from scipy.fft import next_fast_len
from torch.nn import functional

from lenssr._forward_model import BatchForwardModel

TARGET_SIGMA = 2 * gaussian_fwhm_to_sigma  # of the Gaussian target PSF, output pixels


class SceneGrid:
    """
    Points at which scenes are evaluated, with PSF convolution and binning of the result.

    Lengths are pixels of the data, from the image centre. The grid exceeds the data of ``shape``
    ``(ny, nx)`` by ``margin`` pixels or up to four more, where FFTs are faster; it has
    ``oversampling`` points per output pixel, and ``scale`` output pixels per data pixel and axis.
    ``kernel`` holds PSFs relative to the target resolution, ``(batch, scale n, scale m)``.
    """

    def __init__(self, shape: tuple, scale: int, oversampling: int, kernel: torch.Tensor,
                 margin: int = 3):
        margin = _fast_margin(shape, [n // scale // 2 for n in kernel.shape[-2:]], margin)
        self.shape, self.scale, self.margin = tuple(shape), scale, margin
        self.step = 1 / (scale * oversampling)
        options = dict(dtype=kernel.dtype, device=kernel.device)
        padded = tuple(n + 2 * margin for n in shape)
        self._model = BatchForwardModel(kernel, scale, padded)
        points = [_positions(n, scale * oversampling, options) for n in padded]
        pixels = [_positions(n, scale, options) for n in padded]
        self.y, self.x = points[0][:, None], points[1][None, :]
        self._pixels = dict(zip("yx", pixels))
        self.blur = [self._gaussian(p[:, None] - q[None, :]) * self.step
                     for p, q in zip(pixels, points)]

    def _gaussian(self, distance):
        width = TARGET_SIGMA / self.scale
        values = torch.exp(-0.5 * (distance / width) ** 2)
        # Denormal numbers in the wings would slow down the products forty-fold.
        values = functional.threshold(values, torch.finfo(values.dtype).eps ** 2, 0.0)
        return values / (width * math.sqrt(2 * math.pi))

    def point_profile(self, axis: str, position: torch.Tensor) -> torch.Tensor:
        """Target PSF of unit integral about positions ``(batch,)`` along an axis."""
        return self._gaussian(self._pixels[axis] - position[:, None])

    def point_derivative(self, axis: str, position: torch.Tensor) -> torch.Tensor:
        """Derivative of `point_profile` in the position."""
        distance = self._pixels[axis] - position[:, None]
        return self._gaussian(distance) * distance * (self.scale / TARGET_SIGMA) ** 2

    @property
    def target_shape(self) -> tuple:
        """Shape of images at the target resolution, margins included."""
        return tuple(len(self._pixels[axis]) for axis in "yx")

    def to_target(self, scene: torch.Tensor) -> torch.Tensor:
        """Convolve surface brightness on the grid to the target resolution, margins included."""
        return self.blur[0] @ scene @ self.blur[1].T

    def observe(self, image: torch.Tensor) -> torch.Tensor:
        """Data ``(batch, k, ny, nx)`` of images ``(batch, k, ...)`` from `to_target`."""
        # As pixel_unshuffle, in half the time.
        phases = self._extended(image).unflatten(-1, (-1, self.scale)).unflatten(
            -3, (-1, self.scale)).permute(0, 1, 3, 5, 2, 4).flatten(2, 3)
        spectrum = (torch.fft.rfft2(phases) * self._model.transfer[:, None]).sum(dim=2)
        m, (my, mx) = self.margin, self._model.margin
        data = torch.fft.irfft2(spectrum, s=self._model.sides)[..., 2 * my:, 2 * mx:]
        return data[..., m:-m, m:-m]

    def _extended(self, image):
        (my, mx), s = self._model.margin, self.scale
        return functional.pad(image, (s * mx, s * mx, s * my, s * my), mode="replicate")

    def trim(self, image: torch.Tensor) -> torch.Tensor:
        """Remove the margins of an image at the target resolution."""
        m = self.margin * self.scale
        return image[..., m:-m, m:-m]


def _positions(n, points, options):
    """Positions of ``points`` per pixel along an axis of ``n`` pixels."""
    return (torch.arange(n * points, **options) + 0.5) / points - n / 2


def _fast_margin(shape, radius, minimum):
    """Margin from ``minimum`` to four more at which the padded sides are fast FFT lengths."""
    def excess(margin):
        sides = [n + 2 * (margin + r) for n, r in zip(shape, radius)]
        return sum(next_fast_len(side, real=True) - side for side in sides), margin

    return min(range(minimum, minimum + 5), key=excess)
