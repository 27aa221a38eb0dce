"""Surface brightness of the light models that scenes are made of, in torch."""

import math

import numpy as np
import torch

from lenssr.lensing._lens_profiles import CENTRE, Profile

__all__ = ["INTERPOL", "LIGHTS", "interpol"]

INTERPOL = "INTERPOL"

# As in lenstronomy: the core of a Sersic profile is flat.
SERSIC_CORE = 1e-4


def _radius2(dx, dy, p):
    # Square of the elliptical radius, the product average of the axes: a quadratic form.
    e1, e2 = p["e1"], p["e2"]
    norm = (1 - e1**2 - e2**2).abs().clamp(min=1e-6)
    xx, yy = ((1 - e1) ** 2 + e2**2) / norm, ((1 + e1) ** 2 + e2**2) / norm
    cross = -4 * e2 / norm * dx
    if dx.shape[-2] == 1:
        # On axes: squares where they are short.
        return (xx * dx * dx + yy * dy * dy).addcmul_(cross, dy)
    return (xx * dx).mul_(dx).addcmul_(cross, dy).addcmul_(yy * dy, dy)


def sersic_ellipse(dx, dy, p):
    """Elliptical Sersic profile, ``amp`` at the half-light radius."""
    radius = p["R_sersic"].clamp(min=SERSIC_CORE)
    b = (1.9992 * p["n_sersic"] - 0.3271).clamp(min=1e-5)
    # (r / R)^(1/n) through the logarithm: two to three times faster than pow.
    power = _radius2(dx, dy, p).clamp_(min=SERSIC_CORE**2).log_().mul_(0.5 / p["n_sersic"]).exp_()
    exponent = power.mul_(-b * radius ** (-1 / p["n_sersic"]))
    # Exponentials that underflow are a hundred times slower than others.
    exponent.clamp_(min=-700.0 if dx.dtype == torch.float64 else -80.0)
    return exponent.exp_().mul_(p["amp"] * torch.exp(b))


def ellipsoid(dx, dy, p):
    """Uniform ellipse of total flux ``amp``."""
    inside = _radius2(dx, dy, p) <= p["radius"] ** 2
    return inside * (p["amp"] / (math.pi * p["radius"] ** 2))


def interpol(dx, dy, kwargs):
    """Image of a source, bilinear between its pixels and falling to zero over one pixel."""
    # FITS files give big-endian arrays, of which torch knows nothing.
    image = np.asarray(kwargs["image"], dtype=float)
    image = torch.as_tensor(image, dtype=dx.dtype, device=dx.device)
    image = torch.nn.functional.pad(image, (1, 1, 1, 1))
    angle, scale = kwargs.get("phi_G", 0.0), kwargs.get("scale", 1.0)
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    # From the centre of the image to its edge pixel is one in the grid that torch samples.
    x = (cos * dx + sin * dy) * (2 / (image.shape[1] - 1))
    y = (cos * dy - sin * dx) * (2 / (image.shape[0] - 1))
    grid = torch.stack([x, y], dim=-1)
    values = torch.nn.functional.grid_sample(image[None, None], grid[None], mode="bilinear",
                                             padding_mode="zeros", align_corners=True)
    return values[0, 0] * kwargs.get("amp", 1.0)


LIGHTS = {
    "SERSIC_ELLIPSE": Profile(("amp", "R_sersic", "n_sersic", "e1", "e2"), CENTRE, sersic_ellipse),
    "ELLIPSOID": Profile(("amp", "radius", "e1", "e2"), CENTRE, ellipsoid),
}
