"""
Deflection and light profiles in torch.

The simulator evaluates many components at once, in place and without gradients. The lens model
needs derivatives in the parameters, which the second half of the module has in closed form.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

EPL_CORE = 1e-9     # arcsec; softening of singular profiles, as in lenstronomy
TNFW_CORE = 1e-3    # scale radii; softening, as in lenstronomy
SERSIC_CORE = 1e-4  # arcsec; softening of Sersic profiles, as in lenstronomy
LENS_CORE, LIGHT_CORE = 1e-8, 1e-4  # squared softening radii of the lens model, pixels
SERIES_TERMS = 20   # terms of the power-law series: accurate to 1e-7 for axis ratios above 1/3
SERSIC_SLOPE, SERSIC_OFFSET = 1.9992, 0.3271  # b = SLOPE n - OFFSET, the fit of lenstronomy
CENTRE_PARAMETERS = ("center_x", "center_y")
INTERPOL = "INTERPOL"  # name of the light model that is an image


def sersic_b(n):
    """Coefficient ``b`` of a Sersic profile of index ``n``."""
    return SERSIC_SLOPE * n - SERSIC_OFFSET


class TorchProfile(NamedTuple):
    """
    Lens or light model, evaluated for many components at once.

    ``names`` are the parameters other than the ``centre``, as in lenstronomy.
    ``evaluate(dx, dy, p)`` takes offsets from the centres (arcsec) that broadcast to
    ``(m, ny, nx)`` and parameters ``(m, 1, 1)``. If ``summed`` is set, it takes the ``slot`` of
    each component and the number of slots, too, and returns sums over slots. ``record`` converts
    the parameters of one component of a scene.
    """

    names: tuple
    centre: tuple
    evaluate: Callable
    record: Callable = dict
    summed: bool = False


def _axis_ratio(e1, e2):
    """Modulus of the ellipticity (1 - q) / (1 + q), cosine and sine of its angle, and q."""
    modulus = torch.sqrt(e1**2 + e2**2).clamp(max=0.9999)
    angle = torch.atan2(e2, e1) / 2
    return modulus, torch.cos(angle), torch.sin(angle), (1 - modulus) / (1 + modulus)


def epl(dx, dy, p):
    """
    Elliptical power law: Tessore & Metcalf (2015A&A...580A..79T), eqs. 22 and 23.

    The series of the hypergeometric function in the elliptical angle has real coefficients, which
    fall as powers of (1 - q) / (1 + q); Clenshaw's recursion sums sines and cosines together.
    """
    f, cos, sin, q = _axis_ratio(p["e1"], p["e2"])
    t = p["gamma"] - 1
    x, y = cos * dx + sin * dy, cos * dy - sin * dx
    u = q * x
    inverse = (u * u).addcmul_(y, y).clamp_(min=EPL_CORE**2).reciprocal_()
    cos2 = (u * u).addcmul_(y, y, value=-1).mul_(inverse)
    accuracy = 1e-12 if dx.dtype == torch.float64 else 1e-8
    max_modulus = max(float(f.max()), 1e-6)
    n_terms = max(2, math.ceil(math.log(accuracy) / math.log(max_modulus)))
    k = torch.arange(n_terms, dtype=t.dtype, device=t.device).reshape(-1, 1, 1, 1)
    series = torch.cumprod(-f * (t / 2 + k) / (2 - t / 2 + k), dim=0)
    double, last, previous = 2 * cos2, torch.zeros_like(cos2), torch.zeros_like(cos2)
    for coefficient in series.flip(0):
        last, previous = (
            torch.sub(coefficient, previous, out=previous).addcmul_(double, last), last)
    # sum c_n cos(n a) = c_0 + b_1 cos(a) - b_2 and sum c_n sin(n a) = b_1 sin(a), with
    # sin(a) = 2 u y / r^2.
    even = previous.neg_().addcmul_(last, cos2).add_(1)
    odd = last.mul_(2).mul_(u).mul_(y).mul_(inverse)
    b = p["theta_E"] * torch.sqrt(q)
    factor = inverse.log_().mul_(t / 2).exp_().mul_(2 / (1 + q) * b**t)
    ax = (u * even).addcmul_(y, odd, value=-1).mul_(factor)
    ay = (u * odd).addcmul_(y, even).mul_(factor)
    return cos * ax - sin * ay, cos * ay + sin * ax


def sie(dx, dy, p):
    """Isothermal ellipsoid: Kormann, Schneider & Bartelmann (1994A&A...284..285K)."""
    f, cos, sin, q = _axis_ratio(p["e1"], p["e2"])
    # sqrt(1 - q^2) from the ellipticity, which is precise for nearly round lenses.
    f = f.clamp(min=1e-12)
    flattening = 2 * f.sqrt() / (1 + f)
    x, y = cos * dx + sin * dy, cos * dy - sin * dx
    psi = (q * x).square_().addcmul_(y, y).clamp_(min=EPL_CORE**2).sqrt_()
    y.mul_(flattening)
    ax = x.mul_(flattening).div_(psi).atan_()
    ay = (2 * y).div_(psi.sub_(y)).log1p_().mul_(0.5)
    factor = p["theta_E"] * q.sqrt() / flattening
    return factor * (cos * ax - sin * ay), factor * (cos * ay + sin * ax)


def shear(dx, dy, p):
    """External shear."""
    return p["gamma1"] * dx + p["gamma2"] * dy, p["gamma2"] * dx - p["gamma1"] * dy


def convergence(dx, dy, p):
    """Uniform mass sheet."""
    return torch.broadcast_tensors(p["kappa"] * dx, p["kappa"] * dy)


def point_masses(dx, dy, p, slot, n_slots):
    """
    Summed deflections of point masses, one sum for each ``slot``.

    Takes offsets on axes. Offsets from two masses differ by a constant, so that all sums over
    masses are one matrix product.
    """
    weight = (dx * dx + dy * dy).reciprocal_()
    on_x, on_y = dx == 0, dy == 0
    if (on_x.any(dim=2) & on_y.any(dim=1)).any():
        # The deflection at the position of a mass is zero by symmetry.
        weight.masked_fill_(on_x & on_y, 0.0)
    theta2 = p["theta_E"].ravel() ** 2
    moments = torch.stack(
        [theta2, theta2 * (dx - dx[:1])[:, 0, 0], theta2 * (dy - dy[:1])[:, 0, 0]])
    table = dx.new_zeros(3, n_slots, len(dx))
    table[:, slot, torch.arange(len(dx), device=dx.device)] = moments
    sums = (table.reshape(3 * n_slots, -1) @ weight.flatten(1)).reshape(3, n_slots,
                                                                        *weight.shape[1:])
    return sums[1].addcmul_(sums[0], dx[0]), sums[2].addcmul_(sums[0], dy[0])


def line_mass(dx, dy, p):
    """
    Uniform line of mass of Einstein radius ``theta_E`` between two points.

    A point mass at ``w`` deflects by ``theta_E^2 / conj(z - w)``; the mean over the line from
    ``-h`` to ``h`` is ``theta_E^2 / (2 conj(h)) conj(log((z + h) / (z - h)))``, whose branch cut
    is the line. The real part is written so that it stays precise far from a short line and near
    the ends of a long line.
    """
    hx, hy = p["half_x"], p["half_y"]
    # A line shorter than two microarcseconds is treated as a point.
    is_point = hx * hx + hy * hy < 1e-12
    hx, hy = torch.where(is_point, 1e-6, hx), torch.where(is_point, 0.0, hy)
    h2 = hx * hx + hy * hy
    u, v = (hx * dx + hy * dy) / h2, (hx * dy - hy * dx) / h2
    gap = (u.abs() - 1).square_().addcmul_(v, v).clamp_(min=torch.finfo(dx.dtype).tiny)
    along = torch.log1p(u.abs().mul_(4).div_(gap)).mul_(0.5).copysign_(u)
    across = torch.atan2(2 * v, (u * u).addcmul_(v, v).sub_(1))
    factor = p["theta_E"] ** 2 / (2 * h2)
    return factor * (hx * along - hy * across), factor * (hy * along + hx * across)


def _line_record(kwargs):
    """Convert the ends of a line to its centre and half-length vector."""
    record = {"theta_E": kwargs["theta_E"]}
    for c in "xy":
        first, second = kwargs[f"{c}1"], kwargs[f"{c}2"]
        record |= {f"middle_{c}": (first + second) / 2, f"half_{c}": (second - first) / 2}
    return record


def wave(dx, dy, p):
    """Plane wave of convergence, with a maximum at its centre."""
    kx, ky = p["k_x"], p["k_y"]
    alpha = (kx * dx + ky * dy).sin_().mul_(p["amplitude"] / torch.sqrt(kx**2 + ky**2))
    return kx * alpha, ky * alpha


def tnfw(dx, dy, p):
    """
    Truncated NFW halo: Baltz, Marshall & Oguri (2009JCAP...01..015B), appendix A.

    Double precision throughout, as terms of order one cancel to the square of a small radius.
    """
    dtype = dx.dtype
    dx, dy = dx.double(), dy.double()
    scale, alpha, cut = (p[name].double() for name in ("Rs", "alpha_Rs", "r_trunc"))
    rho0 = alpha / (4 * scale**2 * (1 + math.log(0.5)))
    u, v, tau = dx / scale, dy / scale, cut / scale
    x2, t2 = (u * u + v * v).clamp_(min=TNFW_CORE**2), tau * tau
    # F of eq. A5: arctan(s)/s outside the scale radius, artanh(s)/s inside.
    s = torch.sub(x2, 1).abs_().clamp_(min=1e-24).sqrt_()
    nfw = torch.atan(s)
    inside = (x2 < 1).nonzero(as_tuple=True)
    near = s[inside]
    nfw[inside] = torch.log1p(2 * near * (1 + near) / x2[inside]) / 2
    nfw.div_(s)
    root = (x2 + t2).sqrt_()
    # L = log(x / (tau + root)) with both radii under one logarithm.
    logarithm = torch.div(x2, (root + tau).square_()).log_().mul_((t2 - 1) / (2 * tau))
    g = logarithm.sub_(math.pi).mul_(root).add_(tau * math.pi + (t2 - 1) * torch.log(tau))
    g.addcmul_((2 * x2).add_(t2 - 1), nfw)
    factor = g.div_(x2).mul_(4 * rho0 * scale * t2 / (t2 + 1) ** 2)
    return (factor * dx).to(dtype), factor.mul_(dy).to(dtype)


LENS_PROFILES = {
    "EPL": TorchProfile(("theta_E", "gamma", "e1", "e2"), CENTRE_PARAMETERS, epl),
    "SIE": TorchProfile(("theta_E", "e1", "e2"), CENTRE_PARAMETERS, sie),
    "SHEAR": TorchProfile(("gamma1", "gamma2"), ("ra_0", "dec_0"), shear),
    "CONVERGENCE": TorchProfile(("kappa",), ("ra_0", "dec_0"), convergence),
    "POINT_MASS": TorchProfile(("theta_E",), CENTRE_PARAMETERS, point_masses, summed=True),
    "LINE_MASS": TorchProfile(("theta_E", "half_x", "half_y"), ("middle_x", "middle_y"), line_mass,
                              _line_record),
    "WAVE": TorchProfile(("amplitude", "k_x", "k_y"), CENTRE_PARAMETERS, wave),
    "TNFW": TorchProfile(("Rs", "alpha_Rs", "r_trunc"), CENTRE_PARAMETERS, tnfw),
}


def _radius2(dx, dy, p):
    """Squared elliptical radius, a quadratic form with the product average of the axes."""
    e1, e2 = p["e1"], p["e2"]
    norm = (1 - e1**2 - e2**2).abs().clamp(min=1e-6)
    xx, yy = ((1 - e1) ** 2 + e2**2) / norm, ((1 + e1) ** 2 + e2**2) / norm
    cross = -4 * e2 / norm * dx
    if dx.shape[-2] == 1:
        # Offsets on axes: the squares are one-dimensional.
        return (xx * dx * dx + yy * dy * dy).addcmul_(cross, dy)
    return (xx * dx).mul_(dx).addcmul_(cross, dy).addcmul_(yy * dy, dy)


def sersic_ellipse(dx, dy, p):
    """
    Elliptical Sersic profile, ``amp`` at the half-light radius.

    lenstronomy's cut at a thousand radii is left out; for n < 8 at most 1e-9 of ``amp`` remains
    there.
    """
    radius = p["R_sersic"].clamp(min=SERSIC_CORE)
    b = sersic_b(p["n_sersic"]).clamp(min=1e-5)
    # (r / R)^(1/n) through the logarithm: two to three times faster than pow.
    power = _radius2(dx, dy, p).clamp_(min=SERSIC_CORE**2).log_().mul_(0.5 / p["n_sersic"]).exp_()
    exponent = power.mul_(-b * radius ** (-1 / p["n_sersic"]))
    # Exponentials that underflow are a hundred times slower.
    exponent.clamp_(min=-700.0 if dx.dtype == torch.float64 else -80.0)
    return exponent.exp_().mul_(p["amp"] * torch.exp(b))


def ellipsoid(dx, dy, p):
    """Uniform ellipse of total flux ``amp``."""
    inside = _radius2(dx, dy, p) <= p["radius"] ** 2
    return inside * (p["amp"] / (math.pi * p["radius"] ** 2))


def interpol(dx, dy, kwargs):
    """
    Surface brightness ``(ny, nx)`` of an image, bilinear, zero one pixel outside its frame.

    ``kwargs`` are lenstronomy's: ``image``, ``amp``, ``phi_G`` (radian), ``scale`` (arcsec).
    """
    # FITS arrays are big-endian, which torch does not support.
    image = np.asarray(kwargs["image"], dtype=float)
    image = torch.as_tensor(image, dtype=dx.dtype, device=dx.device)
    image = torch.nn.functional.pad(image, (1, 1, 1, 1))
    angle, scale = kwargs.get("phi_G", 0.0), kwargs.get("scale", 1.0)
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    # grid_sample has the edge pixels at -1 and 1.
    x = (cos * dx + sin * dy) * (2 / (image.shape[1] - 1))
    y = (cos * dy - sin * dx) * (2 / (image.shape[0] - 1))
    grid = torch.stack([x, y], dim=-1)
    values = torch.nn.functional.grid_sample(image[None, None], grid[None], mode="bilinear",
                                             padding_mode="zeros", align_corners=True)
    return values[0, 0] * kwargs.get("amp", 1.0)


LIGHT_PROFILES = {
    "SERSIC_ELLIPSE": TorchProfile(("amp", "R_sersic", "n_sersic", "e1", "e2"), CENTRE_PARAMETERS,
                                   sersic_ellipse),
    "ELLIPSOID": TorchProfile(("amp", "radius", "e1", "e2"), CENTRE_PARAMETERS, ellipsoid),
}


class Parameter(NamedTuple):
    """Name, mean and standard deviation of the Gaussian prior of a parameter."""

    name: str
    mean: float
    width: float


# Elliptical power law and external shear, lengths in pixels of the data. Slopes as in SLACS
# (Auger et al. 2010ApJ...724..511A), shears and ellipticities twice as wide as in the mock lenses
# of Collett (2015ApJ...811...20C).
LENS_PARAMETERS = (
    Parameter("log_theta_E", 1.9, 0.7), Parameter("gamma", 2.05, 0.15),
    Parameter("e1", 0.0, 0.2), Parameter("e2", 0.0, 0.2),
    Parameter("x", 0.0, 4.0), Parameter("y", 0.0, 4.0),
    Parameter("gamma1", 0.0, 0.06), Parameter("gamma2", 0.0, 0.06))

# Sersic profile of unit amplitude at the half-light radius.
LIGHT_PARAMETERS = (
    Parameter("x", 0.0, 4.0), Parameter("y", 0.0, 4.0), Parameter("log_R", 1.0, 0.8),
    Parameter("log_n", 0.6, 0.5), Parameter("e1", 0.0, 0.2), Parameter("e2", 0.0, 0.2))


def _elliptical(dx, dy, e1, e2):
    """Vector z - e conj(z), whose modulus is the elliptical radius times sqrt(1 - |e|^2)."""
    return dx - e1 * dx - e2 * dy, dy - e2 * dx + e1 * dy


def _log_radius_ratio(log_radius, e1, e2, square):
    """Logarithm of b / R, with R = |E| (1 + q) / 2 and q = (1 - f) / (1 + f), and f."""
    f = (e1 * e1 + e2 * e2 + 1e-12).sqrt()
    log_b = log_radius + torch.log((1 - f) / (1 + f)) / 2
    return log_b + torch.log1p(f) - square.log() / 2, f


def deflection(x: torch.Tensor, y: torch.Tensor, lens_params: torch.Tensor,
               terms: int = SERIES_TERMS) -> tuple:
    r"""
    Deflection of an elliptical power law with external shear about the origin.

    Tessore & Metcalf (2015A&A...580A..79T), eqs. 13 and 23, written for :math:`E = z - e z^*`
    with the complex ellipticity :math:`e`, so that no angle is undefined for round lenses:

    .. math::
        \alpha = \frac{2 b}{1 + q} \left(\frac{b}{R}\right)^{t - 1} \frac{E}{|E|}
                 \sum_n c_n \left(- e^* \frac{E^2}{|E|^2}\right)^n .

    ``x`` and ``y`` broadcast with ``lens_params[..., k, None, None]``.
    """
    log_radius, gamma, e1, e2, cx, cy, g1, g2 = (
        p[..., None, None] for p in lens_params.unbind(-1))
    t = gamma - 1
    ex, ey = _elliptical(x - cx, y - cy, e1, e2)
    square = ex * ex + ey * ey + LENS_CORE
    # u = -e* E^2 / |E|^2
    cos, sin = (ex * ex - ey * ey) / square, 2 * ex * ey / square
    ur, ui = -(e1 * cos + e2 * sin), -(e1 * sin - e2 * cos)
    real, imaginary = torch.ones_like(ur), torch.zeros_like(ur)
    for k in range(terms - 1, -1, -1):
        c = (t / 2 + k) / (2 - t / 2 + k)
        real, imaginary = (1 + c * (ur * real - ui * imaginary),
                           c * (ur * imaginary + ui * real))
    factor = torch.exp(t * _log_radius_ratio(log_radius, e1, e2, square)[0])
    ax, ay = (factor * (ex * real - ey * imaginary), factor * (ex * imaginary + ey * real))
    return ax + g1 * x + g2 * y, ay + g2 * x - g1 * y


def deflection_derivatives(x: torch.Tensor, y: torch.Tensor, lens_params: torch.Tensor,
                           terms: int = SERIES_TERMS) -> tuple:
    """
    Complex `deflection` ``(batch, ny, nx)`` and its derivatives ``(8, batch, ny, nx)``.

    Closed forms; automatic differentiation of the series takes several times longer.
    """
    log_radius, gamma, e1, e2, cx, cy, g1, g2 = (
        p[..., None, None] for p in lens_params.unbind(-1))
    t = gamma - 1
    z, e = torch.complex(x - cx, y - cy), torch.complex(e1, e2)
    axis = z - e * z.conj()
    square = axis.real**2 + axis.imag**2 + LENS_CORE
    phase = axis * axis / square
    u = -e.conj() * phase
    total, by_u, by_t = torch.ones_like(u), torch.zeros_like(u), torch.zeros_like(u)
    for k in range(terms - 1, -1, -1):
        c = (t / 2 + k) / (2 - t / 2 + k)
        by_t = u * (c * by_t + (1 + k) / (2 - t / 2 + k) ** 2 * total)
        by_u = c * (total + u * by_u)
        total = 1 + c * u * total
    log_ratio, f = _log_radius_ratio(log_radius, e1, e2, square)
    factor = torch.exp(t * log_ratio)
    alpha = factor * axis * total
    derivatives = [t * alpha, alpha * log_ratio + factor * axis * by_t]
    for component, unit in ((e1, 1.0), (e2, 1j)):
        d_axis = -unit * z.conj()
        d_log = 2 * (axis.conj() * d_axis).real / square
        d_u = (-complex(unit).conjugate() * phase
               - e.conj() * (2 * axis * d_axis / square - phase * d_log))
        d_f = component / f
        derivatives.append(
            alpha * t * (d_f * (1 / (1 + f) - 1 / (1 - f * f)) - d_log / 2)
            + factor * (d_axis * total + axis * by_u * d_u))
    # Convergence and shear of the power law: Tessore & Metcalf, eqs. 2 and 17.
    kappa = (2 - t) / 2 * factor
    distance = (z.real**2 + z.imag**2 + LENS_CORE)
    gamma_z = -kappa * z * z / distance + (1 - t) * z * alpha / distance
    plane = torch.complex(x + 0 * y, y + 0 * x).expand_as(z)
    derivatives += [-(kappa + gamma_z), -1j * (kappa - gamma_z), plane.conj(), 1j * plane.conj()]
    return alpha + torch.complex(g1, g2) * plane.conj(), torch.stack(derivatives)


def series_terms(lens_params: torch.Tensor, accuracy: float = 1e-6) -> int:
    """Number of series terms for the most elliptical lens of a batch."""
    modulus = float(lens_params[..., 2:4].norm(dim=-1).max().clamp(0.02, 0.95))
    return max(3, math.ceil(math.log(accuracy) / math.log(modulus)))


def _sersic_terms(x, y, light):
    """Value of a Sersic profile, and terms that its derivatives share."""
    cx, cy, log_radius, log_n, e1, e2 = (p[..., None, None] for p in light.unbind(-1))
    dx, dy = x - cx, y - cy
    ex, ey = _elliptical(dx, dy, e1, e2)
    norm = 1 - e1 * e1 - e2 * e2
    inner = (ex * ex + ey * ey) / norm
    square = inner + LIGHT_CORE
    n = log_n.exp()
    b = sersic_b(n)
    log_power = (square.log() / 2 - log_radius) / n
    power = torch.exp(log_power)
    value = torch.exp((b * (1 - power)).clamp(min=-60.0))
    return value, dx, dy, ex, ey, e1, e2, norm, inner, square, n, b, log_power, power


def sersic_profile(x: torch.Tensor, y: torch.Tensor, light: torch.Tensor) -> torch.Tensor:
    """
    Elliptical Sersic profile of parameters ``LIGHT_PARAMETERS``, one at its half-light radius.

    ``x`` and ``y`` broadcast with ``light[..., k, None, None]``.
    """
    return _sersic_terms(x, y, light)[0]


def sersic_derivatives(x: torch.Tensor, y: torch.Tensor, light: torch.Tensor) -> tuple:
    """`sersic_profile` and its derivatives in closed form, ``(6, batch, ny, nx)``."""
    value, dx, dy, ex, ey, e1, e2, norm, inner, square, n, b, log_power, power = _sersic_terms(
        x, y, light)
    slope = value * b * power / n
    by_square = -slope / (2 * square) * (2 / norm)
    return value, torch.stack([
        by_square * (ex * (e1 - 1) + ey * e2), by_square * (ex * e2 - ey * (1 + e1)),
        slope, value * (SERSIC_SLOPE * n * (1 - power) + b * power * log_power),
        by_square * (ey * dy - ex * dx + inner * e1),
        by_square * (-ex * dy - ey * dx + inner * e2)])


class SplinePotential:
    r"""
    Potential :math:`\psi = \sum_{jk} c_{jk} B(x / h - j)\, B(y / h - k)` of cubic B-splines.

    The deflection is the gradient in closed form, and thus curl-free; the convergence is
    continuous. ``centre`` ``(x, y)`` and ``step`` of the nodes are in pixels; ``side`` is the
    number of nodes along a side. Axes ``x`` ``(nx,)`` and ``y`` ``(ny,)`` are in pixels, too.
    """

    def __init__(self, centre: tuple, step: float, side: int):
        self.centre, self.step, self.side = tuple(centre), float(step), side

    @property
    def count(self) -> int:
        """Number of coefficients."""
        return self.side**2

    def _basis(self, x, y, derivative=False):
        """B-splines, or their derivatives, at positions along both axes, ``(n, side)`` each."""
        basis = []
        for positions, centre in zip((x, y), self.centre):
            nodes = torch.arange(self.side, dtype=positions.dtype, device=positions.device)
            d = (positions[..., None] - centre) / self.step - nodes + (self.side - 1) / 2
            r = d.abs()
            inner, outer = (2 - r).clamp(min=0), (1 - r).clamp(min=0)
            basis.append(d.sign() * (-inner**2 / 2 + 2 * outer**2) / self.step if derivative
                         else (inner**3 - 4 * outer**3) / 6)
        return basis

    def derivatives(self, x: torch.Tensor, y: torch.Tensor) -> tuple:
        """Derivatives of the deflection in the coefficients, two arrays ``(side**2, ny, nx)``."""
        (bx, by), (dx, dy) = self._basis(x, y), self._basis(x, y, derivative=True)
        return tuple(torch.einsum("yk,xj->kjyx", along_y, along_x).flatten(0, 1)
                     for along_y, along_x in ((by, dx), (dy, bx)))

    def deflect(self, x: torch.Tensor, y: torch.Tensor, coefficients: torch.Tensor) -> tuple:
        """Deflection in pixels, two arrays ``(ny, nx)``."""
        c = coefficients.reshape(self.side, self.side).to(x.dtype)
        (bx, by), (dx, dy) = self._basis(x, y), self._basis(x, y, derivative=True)
        return by @ c @ dx.T, dy @ c @ bx.T

    def value(self, x: torch.Tensor, y: torch.Tensor, coefficients: torch.Tensor) -> torch.Tensor:
        """Potential in squared pixels, ``(ny, nx)``."""
        bx, by = self._basis(x, y)
        return by @ coefficients.reshape(self.side, self.side).to(x.dtype) @ bx.T
