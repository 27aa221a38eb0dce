"""Lenses and light as smooth functions of their parameters: for gradients in torch."""

import math
from typing import NamedTuple

import torch

__all__ = ["LIGHT_PARAMETERS", "LENS_PARAMETERS", "deflection", "deflection_derivatives", "sersic_profile", "sersic_derivatives", "series_terms"]

#: Terms of the power law's series: 1e-7 for axis ratios down to a third.
SERIES_TERMS = 20

#: Squared radii, in pixels, within which lens and light are flat.
LENS_CORE, LIGHT_CORE = 1e-8, 1e-4


class Parameter(NamedTuple):
    """Name, mean and standard deviation of the prior of a parameter."""

    name: str
    mean: float
    width: float


#: The macroscopic lens: elliptical power law and external shear. Lengths in pixels of the data.
#: Slopes as of SLACS (Auger et al., 2010ApJ...724..511A), shears and shapes twice as wide as
#: those of mocks that lens finders learn from (Collett, 2015ApJ...811...20C).
LENS_PARAMETERS = (Parameter("log_theta_E", 1.9, 0.7), Parameter("gamma", 2.05, 0.15),
         Parameter("e1", 0.0, 0.2), Parameter("e2", 0.0, 0.2),
         Parameter("x", 0.0, 4.0), Parameter("y", 0.0, 4.0),
         Parameter("gamma1", 0.0, 0.06), Parameter("gamma2", 0.0, 0.06))

#: A Sersic profile; its amplitude is linear.
LIGHT_PARAMETERS = (Parameter("x", 0.0, 4.0), Parameter("y", 0.0, 4.0), Parameter("log_R", 1.0, 0.8),
         Parameter("log_n", 0.6, 0.5), Parameter("e1", 0.0, 0.2), Parameter("e2", 0.0, 0.2))


def _stretched(dx, dy, e1, e2):
    # z - e z*, of which the modulus is the elliptical radius times sqrt(1 - |e|^2).
    return dx - e1 * dx - e2 * dy, dy - e2 * dx + e1 * dy


def deflection(x: torch.Tensor, y: torch.Tensor, macro: torch.Tensor, terms: int = SERIES_TERMS) -> tuple:
    r"""
    Deflection of an elliptical power law with external shear.

    Tessore & Metcalf (2015A&A...580A..79T), eqs. 13 and 23, written for :math:`E = z - e z^*`
    with the complex ellipticity :math:`e`, which holds no angle that were undefined for round
    lenses:

    .. math::
        \alpha = \frac{2 b}{1 + q} \left(\frac{b}{R}\right)^{t - 1} \frac{E}{|E|}
                 \sum_n c_n \left(- e^* \frac{E^2}{|E|^2}\right)^n .
    """
    log_radius, gamma, e1, e2, cx, cy, g1, g2 = (p[..., None, None] for p in macro.unbind(-1))
    t = gamma - 1
    ex, ey = _stretched(x - cx, y - cy, e1, e2)
    square = ex * ex + ey * ey + LENS_CORE
    # u = -e* E^2 / |E|^2
    cos, sin = (ex * ex - ey * ey) / square, 2 * ex * ey / square
    ur, ui = -(e1 * cos + e2 * sin), -(e1 * sin - e2 * cos)
    real, imaginary = torch.ones_like(ur), torch.zeros_like(ur)
    for k in range(terms - 1, -1, -1):
        c = (t / 2 + k) / (2 - t / 2 + k)
        real, imaginary = (1 + c * (ur * real - ui * imaginary),
                           c * (ur * imaginary + ui * real))
    f = (e1 * e1 + e2 * e2 + 1e-12).sqrt()
    # b^t R^(1 - t) 2 / (1 + q) / |E|, with R = |E| (1 + q) / 2 and q = (1 - f) / (1 + f).
    log_b = log_radius + torch.log((1 - f) / (1 + f)) / 2
    factor = torch.exp(t * (log_b + torch.log1p(f) - square.log() / 2))
    ax, ay = (factor * (ex * real - ey * imaginary), factor * (ex * imaginary + ey * real))
    return ax + g1 * x + g2 * y, ay + g2 * x - g1 * y


def sersic_profile(x: torch.Tensor, y: torch.Tensor, light: torch.Tensor) -> torch.Tensor:
    """Elliptical Sersic profile, one at its half-light radius."""
    cx, cy, log_radius, log_n, e1, e2 = (p[..., None, None] for p in light.unbind(-1))
    ex, ey = _stretched(x - cx, y - cy, e1, e2)
    square = (ex * ex + ey * ey) / (1 - e1 * e1 - e2 * e2) + LIGHT_CORE
    n = log_n.exp()
    b = 1.9992 * n - 0.3271
    power = torch.exp((square.log() / 2 - log_radius) / n)
    return torch.exp((b * (1 - power)).clamp(min=-60.0))


def deflection_derivatives(x: torch.Tensor, y: torch.Tensor, macro: torch.Tensor,
                   terms: int = SERIES_TERMS) -> tuple:
    """Deflections of `deflect` and their derivatives, in closed form."""
    log_radius, gamma, e1, e2, cx, cy, g1, g2 = (p[..., None, None] for p in macro.unbind(-1))
    t = gamma - 1
    z, e = torch.complex(x - cx, y - cy), torch.complex(e1, e2)
    axis = z - e * z.conj()
    square = axis.real**2 + axis.imag**2 + LENS_CORE
    turn = axis * axis / square
    u = -e.conj() * turn
    total, by_u, by_t = torch.ones_like(u), torch.zeros_like(u), torch.zeros_like(u)
    for k in range(terms - 1, -1, -1):
        c = (t / 2 + k) / (2 - t / 2 + k)
        by_t = u * (c * by_t + (1 + k) / (2 - t / 2 + k) ** 2 * total)
        by_u = c * (total + u * by_u)
        total = 1 + c * u * total
    f = (e1 * e1 + e2 * e2 + 1e-12).sqrt()
    log_ratio = (log_radius + torch.log((1 - f) / (1 + f)) / 2 + torch.log1p(f)
                 - square.log() / 2)
    factor = torch.exp(t * log_ratio)
    alpha = factor * axis * total
    found = [t * alpha, alpha * log_ratio + factor * axis * by_t]
    for part, unit in ((e1, 1.0), (e2, 1j)):
        d_axis = -unit * z.conj()
        d_log = 2 * (axis.conj() * d_axis).real / square
        d_u = (-complex(unit).conjugate() * turn
               - e.conj() * (2 * axis * d_axis / square - turn * d_log))
        d_f = part / f
        found.append(alpha * t * (d_f * (1 / (1 + f) - 1 / (1 - f * f)) - d_log / 2)
                     + factor * (d_axis * total + axis * by_u * d_u))
    # Convergence and shear of the power law: Tessore & Metcalf, eqs. 2 and 17.
    kappa = (2 - t) / 2 * factor
    distance = (z.real**2 + z.imag**2 + LENS_CORE)
    gamma_z = -kappa * z * z / distance + (1 - t) * z * alpha / distance
    plane = torch.complex(x + 0 * y, y + 0 * x).expand_as(z)
    found += [-(kappa + gamma_z), -1j * (kappa - gamma_z), plane.conj(), 1j * plane.conj()]
    return alpha + torch.complex(g1, g2) * plane.conj(), torch.stack(found)


def sersic_derivatives(x: torch.Tensor, y: torch.Tensor, light: torch.Tensor) -> tuple:
    """The profile of `sersic`, and its derivatives in closed form, ``(6, batch, ny, nx)``."""
    cx, cy, log_radius, log_n, e1, e2 = (p[..., None, None] for p in light.unbind(-1))
    dx, dy = x - cx, y - cy
    ex, ey = _stretched(dx, dy, e1, e2)
    norm = 1 - e1 * e1 - e2 * e2
    inner = (ex * ex + ey * ey) / norm
    square = inner + LIGHT_CORE
    n = log_n.exp()
    b = 1.9992 * n - 0.3271
    distance = (square.log() / 2 - log_radius) / n
    power = torch.exp(distance)
    value = torch.exp((b * (1 - power)).clamp(min=-60.0))
    slope = value * b * power / n
    by_square = -slope / (2 * square) * (2 / norm)
    return value, torch.stack([
        by_square * (ex * (e1 - 1) + ey * e2), by_square * (ex * e2 - ey * (1 + e1)),
        slope, value * (1.9992 * n * (1 - power) + b * power * distance),
        by_square * (ey * dy - ex * dx + inner * e1),
        by_square * (-ex * dy - ey * dx + inner * e2)])


def series_terms(macro: torch.Tensor, accuracy: float = 1e-6) -> int:
    """Terms of the series that the most elliptical of lenses needs."""
    worst = float(macro[..., 2:4].norm(dim=-1).max().clamp(0.02, 0.95))
    return max(3, math.ceil(math.log(accuracy) / math.log(worst)))
