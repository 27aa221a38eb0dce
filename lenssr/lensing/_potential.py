"""A small lensing potential on a coarse grid, in cubic splines: its deflection is its gradient."""

import torch

__all__ = ["Potential"]


class Potential:
    r"""Potentials :math:`\psi = \sum_{jk} c_{jk} B(x / h - j)\, B(y / h - k)` with cubic B-splines."""

    def __init__(self, centre: tuple, step: float, side: int):
        self.centre, self.step, self.side = tuple(centre), float(step), side

    @property
    def count(self) -> int:
        """Number of coefficients."""
        return self.side**2

    def _basis(self, places, middle, slope):
        nodes = torch.arange(self.side, dtype=places.dtype, device=places.device)
        d = (places[..., None] - middle) / self.step - nodes + (self.side - 1) / 2
        r = d.abs()
        inner, outer = (2 - r).clamp(min=0), (1 - r).clamp(min=0)
        if slope:
            return d.sign() * (-inner**2 / 2 + 2 * outer**2) / self.step
        return (inner**3 - 4 * outer**3) / 6

    def slopes(self, x: torch.Tensor, y: torch.Tensor) -> tuple:
        """Derivatives of the deflection in the coefficients, on axes ``x`` ``(nx,)``, ``y``."""
        bx, by = (self._basis(p, c, False) for p, c in zip((x, y), self.centre))
        dx, dy = (self._basis(p, c, True) for p, c in zip((x, y), self.centre))
        return tuple(torch.einsum("yk,xj->kjyx", one, two).flatten(0, 1)
                     for one, two in ((by, dx), (dy, bx)))

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
