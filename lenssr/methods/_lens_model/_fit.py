"""Least-squares fits of parametric lens models: linear amplitudes, Levenberg-Marquardt steps."""

import math
from dataclasses import dataclass, replace

import torch

from lenssr.methods._lens_model._scene import ParametricScene, SceneLayout, ScenePriors

AMPLITUDE_RIDGE = 1e-6  # relative ridge of the normal equations of the amplitudes
DAMPING_DECREASE, DAMPING_INCREASE = 0.3, 6.0  # factors of the damping after a good and a bad step
MAX_STEP = 2.5          # prior widths of a step
MIN_IMPROVEMENT = 0.02  # of chi2, by which a step must improve a fit for it to continue
# Prior cost of components, in units of chi2. Negative for a lens: the user asks for a lens model.
COMPONENT_PRIOR_COST = {"lens": -75.0, "sources": 0.0, "lights": 7.0, "points": 9.0}


@dataclass(frozen=True)
class LensData:
    """
    Image ``values`` in sky noise units and its inverse variance ``weight``, ``(ny, nx)``.

    The weight is zero for bad pixels. ``allow_negative`` permits a negative lens galaxy, where
    too much of the lens light was subtracted.
    """

    values: torch.Tensor
    weight: torch.Tensor
    allow_negative: bool = False

    def with_model_error(self, fraction):
        """Add ``fraction`` of each value to its error, for models that are still coarse."""
        valid = self.weight > 0
        variance = 1 / torch.where(valid, self.weight, 1.0) + (fraction * self.values) ** 2
        return replace(self, weight=torch.where(valid, 1 / variance, 0.0))

    @property
    def count(self):
        """Number of valid pixels."""
        return int((self.weight > 0).sum())


@dataclass
class LensFit:
    """
    Batch of fits of one layout: ``values`` ``(batch, n)`` and ``amplitudes`` ``(batch, k)``.

    ``objective`` is chi2 of the data and the priors; ``cost`` is -2 ln evidence plus a constant.
    """

    layout: SceneLayout
    values: torch.Tensor
    amplitudes: torch.Tensor = None
    chi2: torch.Tensor = None
    objective: torch.Tensor = None
    cost: torch.Tensor = None


def solve_amplitudes(models, data, signed):
    """Best amplitudes ``(batch, k)`` of model planes; not negative unless ``signed``."""
    planes, weight = models.flatten(2).double(), data.weight.ravel().double()
    weighted = planes * weight
    normal = weighted @ planes.transpose(1, 2)
    right = weighted @ data.values.ravel().double()
    scale = normal.diagonal(dim1=1, dim2=2).clamp(min=1e-12)
    eye = torch.eye(normal.shape[-1], dtype=normal.dtype)
    normal = normal + AMPLITUDE_RIDGE * eye * scale[:, None]
    active = torch.ones_like(right, dtype=torch.bool)
    for _ in range(3):
        both = active[:, :, None] & active[:, None, :]
        system = torch.where(both, normal, eye * scale[:, None])
        amplitudes = torch.linalg.solve(system, torch.where(active, right, 0.0))
        negative = (amplitudes < 0) & ~signed
        if not negative.any():
            break
        active = active & ~negative
    return torch.where(signed, amplitudes, amplitudes.clamp(min=0))


def signed_amplitudes(layout, allow_negative):
    """Flags ``(k,)`` of amplitudes that may be negative: the sky, and perhaps the lens galaxy."""
    signed = torch.zeros(layout.n_planes, dtype=torch.bool)
    signed[-1] = True
    if allow_negative and layout.lens and layout.galaxy:
        signed[layout.sources] = True
    return signed


def evaluate(fits, scene, data, priors):
    """Set the amplitudes, chi2 and objective of fits."""
    models = scene.grid.observe(scene.planes(fits.values)[0])
    fits.amplitudes = solve_amplitudes(models, data,
                                       signed_amplitudes(fits.layout, data.allow_negative))
    image = torch.einsum("bk,bkyx->byx", fits.amplitudes.to(models.dtype), models)
    fits.chi2 = ((data.values - image) ** 2 * data.weight).double().sum((1, 2))
    fits.objective = fits.chi2 + priors(fits.values)[0]
    return fits


def residual_jacobian(fits, scene, data):
    """Residual ``(batch, ny, nx)`` and derivatives in parameters and amplitudes, ``n + k``."""
    planes, changes = scene.planes(fits.values, derivatives=True)
    amplitudes, n = fits.amplitudes.to(planes.dtype), fits.layout.size
    derivs = planes.new_zeros(len(planes), n, *planes.shape[2:])
    for plane, params, change in changes:
        derivs[:, params] += change.movedim(0, 1) * amplitudes[:, plane, None, None, None]
    jacobian = scene.grid.observe(torch.cat([derivs, planes], dim=1))
    return data.values - torch.einsum("bk,bkyx->byx", amplitudes, jacobian[:, n:]), jacobian


def _normal_equations(fits, scene, data, priors):
    """Fisher matrix with priors ``(batch, n + k, n + k)``, and the whitened J and residual."""
    residual, jacobian = residual_jacobian(fits, scene, data)
    root = data.weight.ravel().double().sqrt()
    j, r = jacobian.flatten(2).double() * root, residual.flatten(1).double() * root
    normal, n = j @ j.transpose(1, 2), fits.layout.size
    normal[:, :n, :n] += priors.precision
    return normal, j, r


def fit(fits, grid, data, steps, damping=1e-2):
    """
    Refine fits by at most ``steps`` Levenberg-Marquardt steps, starting with ``damping``.

    Steps are taken in parameters and amplitudes together; the amplitudes are then solved for:
    variable projection (Kaufman 1975, doi:10.1007/BF01932995).
    """
    scene, priors = ParametricScene(fits.layout, grid), ScenePriors(fits.layout)
    low, high = fits.layout.bounds()
    fits = evaluate(replace(fits, values=fits.values.clamp(low, high)), scene, data, priors)
    n, widths = fits.layout.size, priors.precision.diagonal().rsqrt()
    damping = torch.full_like(fits.objective, damping)
    for _ in range(steps):
        normal, j, r = _normal_equations(fits, scene, data, priors)
        right = (j @ r[..., None])[..., 0]
        right[:, :n] -= priors(fits.values)[1]
        diagonal = normal.diagonal(dim1=1, dim2=2)
        ridge = diagonal * AMPLITUDE_RIDGE + 1e-12
        ridge[:, :n] += damping[:, None] * diagonal[:, :n]
        step = torch.linalg.solve(normal + torch.diag_embed(ridge), right)[:, :n]
        step = step.clamp(-MAX_STEP * widths, MAX_STEP * widths)
        trial = evaluate(LensFit(fits.layout, (fits.values + step).clamp(low, high)), scene, data,
                         priors)
        better = trial.objective < fits.objective
        improvement = (fits.objective - trial.objective)[better]
        damping = torch.where(better, damping * DAMPING_DECREASE,
                              damping * DAMPING_INCREASE).clamp(1e-6, 1e6)
        for name in ("values", "amplitudes", "chi2", "objective"):
            old, new = getattr(fits, name), getattr(trial, name)
            keep = better.reshape(-1, *[1] * (old.ndim - 1))
            setattr(fits, name, torch.where(keep, new, old))
        if better.all() and (improvement < MIN_IMPROVEMENT).all() or (damping > 1e4).all():
            break
    return fits


def add_evidence(fits, grid, data):
    r"""
    Set the ``cost`` of fits: -2 ln evidence up to a constant of the data.

    Laplace approximation: the objective plus :math:`\ln\det(F P^{-1})`, with the inverse
    covariance :math:`F` of the parameters, amplitudes marginalised, and the precision :math:`P`
    of the priors. Each amplitude costs the logarithm of the number of data (Schwarz 1978,
    doi:10.1214/aos/1176344136).
    """
    scene, priors = ParametricScene(fits.layout, grid), ScenePriors(fits.layout)
    normal, n = _normal_equations(fits, scene, data, priors)[0], fits.layout.size
    normal = normal + torch.diag_embed(normal.diagonal(dim1=1, dim2=2) * AMPLITUDE_RIDGE + 1e-9)
    # Schur complement of the amplitudes.
    fits.cost = (fits.objective + torch.logdet(normal) - torch.logdet(normal[:, n:, n:])
                 - torch.logdet(priors.precision))
    fits.cost = fits.cost + component_cost(fits.layout, data)
    return fits


def component_cost(layout, data):
    """Cost of the amplitudes of a layout, and prior cost of its components."""
    return (layout.n_planes - 1) * math.log(data.count) + sum(
        cost * getattr(layout, name) for name, cost in COMPONENT_PRIOR_COST.items())
