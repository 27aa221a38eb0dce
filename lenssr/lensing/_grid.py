"""Scenes on a lattice of points, brought to the declared resolution and to the data."""

import math

import torch
from scipy.fft import next_fast_len
from torch.nn import functional

from lenssr._forward_model import BatchForwardModel

# Standard deviation of the target PSF, output pixels.
TARGET_SIGMA = 2 / (2 * math.sqrt(2 * math.log(2)))


class SceneGrid:
    """Points at which scenes are evaluated, and what becomes of them."""

    def __init__(self, shape: tuple, scale: int, fine: int, kernel: torch.Tensor, margin: int = 3):
        margin = _fast_margin(shape, [n // scale // 2 for n in kernel.shape[-2:]], margin)
        self.shape, self.scale, self.margin = tuple(shape), scale, margin
        self.step = 1 / (scale * fine)
        like = dict(dtype=kernel.dtype, device=kernel.device)
        padded = tuple(n + 2 * margin for n in shape)
        self.observation = BatchForwardModel(kernel, scale, padded)
        points = [self._places(n, scale * fine, like) for n in padded]
        pixels = [self._places(n, scale, like) for n in padded]
        self.y, self.x = points[0][:, None], points[1][None, :]
        self.pixels = dict(zip("yx", pixels))
        self.blur = [self._gauss(p[:, None] - q[None, :]) * self.step
                     for p, q in zip(pixels, points)]

    def _gauss(self, distance):
        width = TARGET_SIGMA / self.scale
        weights = torch.exp(-0.5 * (distance / width) ** 2)
        # What no sum can show, lest wings be denormal numbers: these are forty times as slow.
        weights = functional.threshold(weights, torch.finfo(weights.dtype).eps ** 2, 0.0)
        return weights / (width * math.sqrt(2 * math.pi))

    def profile(self, axis: str, position: torch.Tensor) -> torch.Tensor:
        """The declared Gaussian about places ``(batch,)`` along an axis, of integral one."""
        return self._gauss(self.pixels[axis] - position[:, None])

    def profile_slope(self, axis: str, position: torch.Tensor) -> torch.Tensor:
        """Its derivative in the place."""
        distance = self.pixels[axis] - position[:, None]
        return self._gauss(distance) * distance * (self.scale / TARGET_SIGMA) ** 2

    @property
    def target_shape(self) -> tuple:
        """Shape of images of the declared resolution, margins included."""
        return tuple(len(self.pixels[axis]) for axis in "yx")

    @staticmethod
    def _places(n, parts, like):
        return (torch.arange(n * parts, **like) + 0.5) / parts - n / 2

    def target_image(self, scene: torch.Tensor) -> torch.Tensor:
        """Images at the declared resolution, margins included, of surface brightnesses."""
        return self.blur[0] @ scene @ self.blur[1].T

    def data(self, image: torch.Tensor) -> torch.Tensor:
        """The data, ``(batch, k, ny, nx)``, that images ``(batch, k, ...)`` of `sharp` mean."""
        m = self.margin
        transfer = self.observation.transfer
        # What pixel_unshuffle gives, in half the time.
        parts = self._extended(image).unflatten(-1, (-1, self.scale)).unflatten(
            -3, (-1, self.scale)).permute(0, 1, 3, 5, 2, 4).flatten(2, 3)
        spectrum = (torch.fft.rfft2(parts) * transfer[:, None]).sum(dim=2)
        my, mx = self.observation.margin
        blurred = torch.fft.irfft2(spectrum, s=self.observation.sides)[..., 2 * my:, 2 * mx:]
        return blurred[..., m:-m, m:-m]

    def _extended(self, image):
        (my, mx), s = self.observation.margin, self.scale
        return functional.pad(image, (s * mx, s * mx, s * my, s * my), mode="replicate")

    def inner(self, image: torch.Tensor) -> torch.Tensor:
        """Without the margins."""
        m = self.margin * self.scale
        return image[..., m:-m, m:-m]


def _fast_margin(shape, reach, minimum):
    """The margin, or a little more, at which the sides that are transformed are good ones."""
    def wasted(margin):
        sides = [n + 2 * (margin + r) for n, r in zip(shape, reach)]
        return sum(next_fast_len(side, real=True) - side for side in sides), margin

    return min(range(minimum, minimum + 5), key=wasted)


class Potential:
    r"""Potentials :math:`\psi = \sum_{jk} c_{jk} B(x / h - j)\, B(y / h - k)` with cubic B-splines."""

    def __init__(self, centre: tuple, step: float, side: int):
        self.centre, self.step, self.side = tuple(centre), float(step), side

    @property
    def count(self) -> int:
        """Number of coefficients."""
        return self.side**2

    def _basis(self, positions, middle, slope):
        nodes = torch.arange(self.side, dtype=positions.dtype, device=positions.device)
        d = (positions[..., None] - middle) / self.step - nodes + (self.side - 1) / 2
        r = d.abs()
        inner, outer = (2 - r).clamp(min=0), (1 - r).clamp(min=0)
        if slope:
            return d.sign() * (-inner**2 / 2 + 2 * outer**2) / self.step
        return (inner**3 - 4 * outer**3) / 6

    def slopes(self, x: torch.Tensor, y: torch.Tensor) -> tuple:
        """Derivatives of the deflection in the coefficients, on axes ``x`` ``(nx,)``, ``y``."""
        bx, by = (self._basis(p, c, False) for p, c in zip((x, y), self.centre))
        dx, dy = (self._basis(p, c, True) for p, c in zip((x, y), self.centre))
        return tuple(torch.einsum("yk,xj->kjyx", first, two).flatten(0, 1)
                     for first, two in ((by, dx), (dy, bx)))

    def deflect(self, x: torch.Tensor, y: torch.Tensor, coefficients: torch.Tensor) -> tuple:
        """Deflection on axes ``x`` ``(nx,)``, ``y`` ``(ny,)``, two arrays ``(ny, nx)``."""
        c = coefficients.reshape(self.side, self.side).to(x.dtype)
        bx, by = (self._basis(p, m, False) for p, m in zip((x, y), self.centre))
        dx, dy = (self._basis(p, m, True) for p, m in zip((x, y), self.centre))
        return by @ c @ dx.T, dy @ c @ bx.T

    def value(self, x: torch.Tensor, y: torch.Tensor, coefficients: torch.Tensor) -> torch.Tensor:
        """The potential on axes ``x`` ``(nx,)``, ``y`` ``(ny,)``."""
        c = coefficients.reshape(self.side, self.side).to(x.dtype)
        bx, by = (self._basis(p, m, False) for p, m in zip((x, y), self.centre))
        return by @ c @ bx.T
