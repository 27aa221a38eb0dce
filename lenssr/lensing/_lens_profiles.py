"""Deflections of the lens models that scenes are made of, in torch."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch

__all__ = ["LENSES", "Profile"]

# As in lenstronomy: where singular profiles are cut off, so that both engines agree there too.
EPL_CORE = 1e-9
TNFW_CORE = 1e-3


class Profile(NamedTuple):
    """A model of lens or light for many components at once."""

    names: tuple
    centre: tuple
    evaluate: Callable
    record: Callable = dict
    summed: bool = False


def _axis_ratio(e1, e2):
    # Modulus of the ellipticity (1 - q) / (1 + q), its direction, and q.
    modulus = torch.sqrt(e1**2 + e2**2).clamp(max=0.9999)
    angle = torch.atan2(e2, e1) / 2
    return modulus, torch.cos(angle), torch.sin(angle), (1 - modulus) / (1 + modulus)


def epl(dx, dy, p):
    """Elliptical power law: Tessore & Metcalf (2015A&A...580A..79T), eqs. 22 and 23."""
    f, cos, sin, q = _axis_ratio(p["e1"], p["e2"])
    t = p["gamma"] - 1
    x, y = cos * dx + sin * dy, cos * dy - sin * dx
    u = q * x
    inverse = (u * u).addcmul_(y, y).clamp_(min=EPL_CORE**2).reciprocal_()
    cos2 = (u * u).addcmul_(y, y, value=-1).mul_(inverse)
    accuracy = 1e-12 if dx.dtype == torch.float64 else 1e-8
    worst = max(float(f.max()), 1e-6)
    n_terms = max(2, math.ceil(math.log(accuracy) / math.log(worst)))
    k = torch.arange(n_terms, dtype=t.dtype, device=t.device).reshape(-1, 1, 1, 1)
    series = torch.cumprod(-f * (t / 2 + k) / (2 - t / 2 + k), dim=0)
    double, last, before = 2 * cos2, torch.zeros_like(cos2), torch.zeros_like(cos2)
    for coefficient in series.flip(0):
        last, before = torch.sub(coefficient, before, out=before).addcmul_(double, last), last
    # sum c_n cos(n a) = c_0 + b_1 cos(a) - b_2, sum c_n sin(n a) = b_1 sin(a), of which
    # sin(a) = 2 u y / r^2.
    even = before.neg_().addcmul_(last, cos2).add_(1)
    odd = last.mul_(2).mul_(u).mul_(y).mul_(inverse)
    b = p["theta_E"] * torch.sqrt(q)
    factor = inverse.log_().mul_(t / 2).exp_().mul_(2 / (1 + q) * b**t)
    ax = (u * even).addcmul_(y, odd, value=-1).mul_(factor)
    ay = (u * odd).addcmul_(y, even).mul_(factor)
    return cos * ax - sin * ay, cos * ay + sin * ax


def sie(dx, dy, p):
    """Isothermal ellipsoid in closed form: Kormann, Schneider & Bartelmann (1994A&A...284..285K)."""
    f, cos, sin, q = _axis_ratio(p["e1"], p["e2"])
    # sqrt(1 - q^2), of the ellipticity itself: precise for nearly round lenses.
    f = f.clamp(min=1e-12)
    flat = 2 * f.sqrt() / (1 + f)
    x, y = cos * dx + sin * dy, cos * dy - sin * dx
    psi = (q * x).square_().addcmul_(y, y).clamp_(min=EPL_CORE**2).sqrt_()
    y.mul_(flat)
    ax = x.mul_(flat).div_(psi).atan_()
    ay = (2 * y).div_(psi.sub_(y)).log1p_().mul_(0.5)
    factor = p["theta_E"] * q.sqrt() / flat
    return factor * (cos * ax - sin * ay), factor * (cos * ay + sin * ax)


def shear(dx, dy, p):
    """External shear."""
    return p["gamma1"] * dx + p["gamma2"] * dy, p["gamma2"] * dx - p["gamma1"] * dy


def convergence(dx, dy, p):
    """Uniform sheet of mass."""
    return torch.broadcast_tensors(p["kappa"] * dx, p["kappa"] * dy)


def point_masses(dx, dy, p, slot, n_slots):
    """Summed deflections of point masses, those of the same ``slot`` together."""
    weight = (dx * dx + dy * dy).reciprocal_()
    on_x, on_y = dx == 0, dy == 0
    if (on_x.any(dim=2) & on_y.any(dim=1)).any():
        # A mass deflects nothing that is right in front of it.
        weight.masked_fill_(on_x & on_y, 0.0)
    theta2 = p["theta_E"].ravel() ** 2
    parts = torch.stack([theta2, theta2 * (dx - dx[:1])[:, 0, 0], theta2 * (dy - dy[:1])[:, 0, 0]])
    table = dx.new_zeros(3, n_slots, len(dx))
    table[:, slot, torch.arange(len(dx), device=dx.device)] = parts
    sums = (table.reshape(3 * n_slots, -1) @ weight.flatten(1)).reshape(3, n_slots,
                                                                        *weight.shape[1:])
    return sums[1].addcmul_(sums[0], dx[0]), sums[2].addcmul_(sums[0], dy[0])


def line_mass(dx, dy, p):
    """Uniform line of mass of Einstein radius ``theta_E`` between two points."""
    hx, hy = p["half_x"], p["half_y"]
    # A line of no length is a point, and so is one of two microarcseconds.
    is_point = hx * hx + hy * hy < 1e-12
    hx, hy = torch.where(is_point, 1e-6, hx), torch.where(is_point, 0.0, hy)
    h2 = hx * hx + hy * hy
    u, v = (hx * dx + hy * dy) / h2, (hx * dy - hy * dx) / h2
    gap = (u.abs() - 1).square_().addcmul_(v, v).clamp_(min=torch.finfo(dx.dtype).tiny)
    along = torch.log1p(u.abs().mul_(4).div_(gap)).mul_(0.5).copysign_(u)
    across = torch.atan2(2 * v, (u * u).addcmul_(v, v).sub_(1))
    factor = p["theta_E"] ** 2 / (2 * h2)
    return factor * (hx * along - hy * across), factor * (hy * along + hx * across)


def line_record(kwargs):
    """Middle and half of a line, of its two ends."""
    ends = {c: (kwargs[f"{c}1"], kwargs[f"{c}2"]) for c in "xy"}
    record = {"theta_E": kwargs["theta_E"]}
    for c, (first, second) in ends.items():
        record |= {f"middle_{c}": (first + second) / 2, f"half_{c}": (second - first) / 2}
    return record


def wave(dx, dy, p):
    """Plane wave of convergence about the place where that is highest."""
    kx, ky = p["k_x"], p["k_y"]
    alpha = (kx * dx + ky * dy).sin_().mul_(p["amplitude"] / torch.sqrt(kx**2 + ky**2))
    return kx * alpha, ky * alpha


def tnfw(dx, dy, p):
    """Truncated NFW halo: Baltz, Marshall & Oguri (2009JCAP...01..015B), appendix A."""
    dtype = dx.dtype
    dx, dy = dx.double(), dy.double()
    scale, alpha, cut = (p[name].double() for name in ("Rs", "alpha_Rs", "r_trunc"))
    rho0 = alpha / (4 * scale**2 * (1 + math.log(0.5)))
    u, v, tau = dx / scale, dy / scale, cut / scale
    x2, t2 = (u * u + v * v).clamp_(min=TNFW_CORE**2), tau * tau
    # F of their eq. A5: arctan(s)/s outside the scale radius, artanh(s)/s in the few pixels
    # inside, one on it.
    s = torch.sub(x2, 1).abs_().clamp_(min=1e-24).sqrt_()
    nfw = torch.atan(s)
    inside = (x2 < 1).nonzero(as_tuple=True)
    near = s[inside]
    nfw[inside] = torch.log1p(2 * near * (1 + near) / x2[inside]) / 2
    nfw.div_(s)
    root = (x2 + t2).sqrt_()
    # Of L = log(x / (tau + root)) both radii under one logarithm.
    logarithm = torch.div(x2, (root + tau).square_()).log_().mul_((t2 - 1) / (2 * tau))
    g = logarithm.sub_(math.pi).mul_(root).add_(tau * math.pi + (t2 - 1) * torch.log(tau))
    g.addcmul_((2 * x2).add_(t2 - 1), nfw)
    factor = g.div_(x2).mul_(4 * rho0 * scale * t2 / (t2 + 1) ** 2)
    return (factor * dx).to(dtype), factor.mul_(dy).to(dtype)


CENTRE = ("center_x", "center_y")
LENSES = {
    "EPL": Profile(("theta_E", "gamma", "e1", "e2"), CENTRE, epl),
    "SIE": Profile(("theta_E", "e1", "e2"), CENTRE, sie),
    "SHEAR": Profile(("gamma1", "gamma2"), ("ra_0", "dec_0"), shear),
    "CONVERGENCE": Profile(("kappa",), ("ra_0", "dec_0"), convergence),
    "POINT_MASS": Profile(("theta_E",), CENTRE, point_masses, summed=True),
    "LINE_MASS": Profile(("theta_E", "half_x", "half_y"), ("middle_x", "middle_y"), line_mass,
                         line_record),
    "WAVE": Profile(("amplitude", "k_x", "k_y"), CENTRE, wave),
    "TNFW": Profile(("Rs", "alpha_Rs", "r_trunc"), CENTRE, tnfw),
}
