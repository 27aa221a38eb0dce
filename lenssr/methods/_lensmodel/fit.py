"""Fits of lens models to an image: amplitudes solved for, the rest by Levenberg and Marquardt."""

import math
from dataclasses import dataclass, replace

import torch

from lenssr.methods._lensmodel.scene import Layout, Priors, SceneModel

__all__ = ["Data", "Fit", "evidence", "fit", "normal_parts",
           "parts_cost"]

AMPLITUDE = 1e-6  # ridge of the amplitudes, relative
GAIN, LOSS = 0.3, 6.0  # of the damping, after a good step and a bad one
# Costs of parts; that of a lens, since whoever asks for one has seen it.
RARE = {"lens": -75.0, "sources": 0.0, "lights": 7.0, "points": 9.0}
CLIP_STEP = 2.5   # widths of the prior that one step may go


@dataclass(frozen=True)
class Data:
    """An image in units of the noise of its sky."""

    values: torch.Tensor
    weight: torch.Tensor
    holes: bool = False

    def forgiving(self, share):
        """With ``share`` of each value added to its error: for models that are coarse still."""
        valid = self.weight > 0
        variance = 1 / torch.where(valid, self.weight, 1.0) + (share * self.values) ** 2
        return replace(self, weight=torch.where(valid, 1 / variance, 0.0))

    @property
    def count(self):
        """Valid pixels."""
        return int((self.weight > 0).sum())


@dataclass
class Fit:
    """Where fits are, a batch of them."""

    layout: Layout
    values: torch.Tensor
    amplitudes: torch.Tensor = None
    chi2: torch.Tensor = None
    objective: torch.Tensor = None
    cost: torch.Tensor = None

    def best(self, count=1):
        """The best of them, the best one first."""
        order = self.objective.argsort()[:count]
        return Fit(self.layout, *(part[order] for part in (
            self.values, self.amplitudes, self.chi2, self.objective)), None)


def solve_amplitudes(seen, data, signed):
    """Best amplitudes ``(batch, k)`` of planes seen through the telescope; not negative."""
    planes, weight = seen.flatten(2).double(), data.weight.ravel().double()
    weighted = planes * weight
    normal = weighted @ planes.transpose(1, 2)
    right = weighted @ data.values.ravel().double()
    scale = normal.diagonal(dim1=1, dim2=2).clamp(min=1e-12)
    eye = torch.eye(normal.shape[-1], dtype=normal.dtype)
    normal = normal + AMPLITUDE * eye * scale[:, None]
    used = torch.ones_like(right, dtype=torch.bool)
    for _ in range(3):
        both = used[:, :, None] & used[:, None, :]
        system = torch.where(both, normal, eye * scale[:, None])
        found = torch.linalg.solve(system, torch.where(used, right, 0.0))
        negative = (found < 0) & ~signed
        if not negative.any():
            break
        used = used & ~negative
    return torch.where(signed, found, found.clamp(min=0))


def signs(layout, holes):
    """Which amplitudes may be negative: the sky's, and if there may be holes the lens galaxy's."""
    n = layout.sources + layout.lights + layout.points + 1
    signed = torch.zeros(n, dtype=torch.bool)
    signed[-1] = True
    if holes and layout.lens and layout.galaxy:
        signed[layout.sources] = True
    return signed


def evaluate(found, model, data, priors):
    """Fill in the amplitudes and the objective of fits."""
    planes, _ = model.planes(found.values)
    seen = model.lattice.data(planes)
    found.amplitudes = solve_amplitudes(seen, data, signs(found.layout, data.holes))
    image = torch.einsum("bk,bkyx->byx", found.amplitudes.to(seen.dtype), seen)
    found.chi2 = ((data.values - image) ** 2 * data.weight).double().sum((1, 2))
    found.objective = found.chi2 + priors(found.values)[0]
    return found


def normal_parts(found, model, data):
    """Residuals and the derivatives of the data, of fits whose amplitudes are known."""
    planes, changes = model.planes(found.values, with_slopes=True)
    amplitudes = found.amplitudes.to(planes.dtype)
    sharp = planes.new_zeros(len(planes), found.layout.size, *planes.shape[2:])
    for plane, part, change in changes:
        sharp[:, part] += change.movedim(0, 1) * amplitudes[:, plane, None, None, None]
    sharp = torch.cat([sharp, planes], dim=1)
    jacobian = model.lattice.data(sharp)
    n = found.layout.size
    image = torch.einsum("bk,bkyx->byx", amplitudes, jacobian[:, n:])
    return data.values - image, jacobian, sharp


def fit(found, lattice, data, steps, damping=1e-2):
    """
    Refine fits, all of them at once.

    Levenberg-Marquardt steps in parameters and amplitudes together, of which the amplitudes are
    then solved for anew: variable projection (Kaufman 1975, doi:10.1007/BF01932995).
    """
    model, priors = SceneModel(found.layout, lattice), Priors(found.layout)
    low, high = found.layout.bounds()
    found = evaluate(replace(found, values=found.values.clamp(low, high)), model, data, priors)
    n, widths = found.layout.size, priors.precision.diagonal().rsqrt()
    damping = torch.full_like(found.objective, damping)
    for _ in range(steps):
        residual, jacobian, _ = normal_parts(found, model, data)
        j = jacobian.flatten(2).double() * data.weight.ravel().double().sqrt()
        r = residual.flatten(1).double() * data.weight.ravel().double().sqrt()
        normal = j @ j.transpose(1, 2)
        right = (j @ r[..., None])[..., 0]
        normal[:, :n, :n] += priors.precision
        right[:, :n] -= priors(found.values)[1]
        diagonal = normal.diagonal(dim1=1, dim2=2)
        lift = diagonal * AMPLITUDE + 1e-12
        lift[:, :n] += damping[:, None] * diagonal[:, :n]
        step = torch.linalg.solve(normal + torch.diag_embed(lift), right)[:, :n]
        step = step.clamp(-CLIP_STEP * widths, CLIP_STEP * widths)
        trial = evaluate(Fit(found.layout, (found.values + step).clamp(low, high)), model, data,
                         priors)
        better = trial.objective < found.objective
        gained = (found.objective - trial.objective)[better]
        damping = torch.where(better, damping * GAIN, damping * LOSS).clamp(1e-6, 1e6)
        for name in ("values", "amplitudes", "chi2", "objective"):
            old, new = getattr(found, name), getattr(trial, name)
            keep = better.reshape(-1, *[1] * (old.ndim - 1))
            setattr(found, name, torch.where(keep, new, old))
        if better.all() and (gained < 0.02).all() or (damping > 1e4).all():
            break
    return found


def evidence(found, lattice, data):
    r"""
    Minus twice the logarithm of the evidence of fits, up to a constant of the data.

    Laplace's approximation: the objective, :math:`\log\det(F P^{-1})` of the inverse covariance
    :math:`F` of the parameters, amplitudes eliminated, and the precision :math:`P` of their
    priors; each amplitude costs the logarithm of the number of data (Schwarz 1978,
    doi:10.1214/aos/1176344136), each part what it is rare.
    """
    model, priors = SceneModel(found.layout, lattice), Priors(found.layout)
    _, jacobian, _ = normal_parts(found, model, data)
    j = jacobian.flatten(2).double() * data.weight.ravel().double().sqrt()
    normal, n = j @ j.transpose(1, 2), found.layout.size
    normal[:, :n, :n] += priors.precision
    normal = normal + torch.diag_embed(normal.diagonal(dim1=1, dim2=2) * AMPLITUDE + 1e-9)
    # Of the parameters alone, the amplitudes eliminated (Schur): of all less that of these.
    found.cost = (found.objective + torch.logdet(normal) - torch.logdet(normal[:, n:, n:])
                  - torch.logdet(priors.precision))
    found.cost = found.cost + parts_cost(found.layout, data)
    return found


def parts_cost(layout, data):
    """What the amplitudes of a layout cost, and that some of its parts are rare."""
    parts = layout.sources + layout.lights + layout.points
    return parts * math.log(data.count) + sum(
        cost * getattr(layout, kind) for kind, cost in RARE.items())
