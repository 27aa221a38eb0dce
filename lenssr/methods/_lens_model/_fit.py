"""Fits of lens models to an image: amplitudes solved for, the rest by Levenberg and Marquardt."""

import math
from dataclasses import dataclass, replace

import torch

from lenssr.lensing import Potential, deflection_derivatives, series_terms, sersic_derivatives
from lenssr.methods._lens_model._scene import ParametricScene, SceneLayout, ScenePriors, SourceGrid

AMPLITUDE_RIDGE = 1e-6  # relative ridge of the normal equations of the amplitudes
DAMPING_DECREASE, DAMPING_INCREASE = 0.3, 6.0  # factors of the damping after a good and a bad step
# Costs of parts; that of a lens, since whoever asks for one has seen it.
COMPONENT_PRIOR_COST = {"lens": -75.0, "sources": 0.0, "lights": 7.0, "points": 9.0}
MAX_STEP = 2.5  # prior widths of one step


@dataclass(frozen=True)
class LensData:
    """An image in units of the noise of its sky."""

    values: torch.Tensor
    weight: torch.Tensor
    holes: bool = False

    def forgiving(self, fraction):
        """With ``share`` of each value added to its error: for models that are coarse still."""
        valid = self.weight > 0
        variance = 1 / torch.where(valid, self.weight, 1.0) + (fraction * self.values) ** 2
        return replace(self, weight=torch.where(valid, 1 / variance, 0.0))

    @property
    def count(self):
        """Valid pixels."""
        return int((self.weight > 0).sum())


@dataclass
class LensFit:
    """Where fits are, a batch of them."""

    layout: SceneLayout
    values: torch.Tensor
    amplitudes: torch.Tensor = None
    chi2: torch.Tensor = None
    objective: torch.Tensor = None
    cost: torch.Tensor = None

    def best(self, count=1):
        """The best of them, the best one first."""
        order = self.objective.argsort()[:count]
        return LensFit(self.layout, *(part[order] for part in (
            self.values, self.amplitudes, self.chi2, self.objective)), None)


def solve_amplitudes(predicted_planes, data, signed):
    """Best amplitudes ``(batch, k)`` of planes seen through the telescope; not negative."""
    planes, weight = predicted_planes.flatten(2).double(), data.weight.ravel().double()
    weighted = planes * weight
    normal = weighted @ planes.transpose(1, 2)
    right = weighted @ data.values.ravel().double()
    scale = normal.diagonal(dim1=1, dim2=2).clamp(min=1e-12)
    eye = torch.eye(normal.shape[-1], dtype=normal.dtype)
    normal = normal + AMPLITUDE_RIDGE * eye * scale[:, None]
    used = torch.ones_like(right, dtype=torch.bool)
    for _ in range(3):
        both = used[:, :, None] & used[:, None, :]
        system = torch.where(both, normal, eye * scale[:, None])
        amplitudes = torch.linalg.solve(system, torch.where(used, right, 0.0))
        negative = (amplitudes < 0) & ~signed
        if not negative.any():
            break
        used = used & ~negative
    return torch.where(signed, amplitudes, amplitudes.clamp(min=0))


def amplitude_signs(layout, holes):
    """Which amplitudes may be negative: the sky's, and if there may be holes the lens galaxy's."""
    n = layout.sources + layout.lights + layout.points + 1
    signed = torch.zeros(n, dtype=torch.bool)
    signed[-1] = True
    if holes and layout.lens and layout.galaxy:
        signed[layout.sources] = True
    return signed


def evaluate(fit_state, model, data, priors):
    """Fill in the amplitudes and the objective of fits."""
    planes, _ = model.planes(fit_state.values)
    predicted = model.lattice.data(planes)
    fit_state.amplitudes = solve_amplitudes(predicted, data, amplitude_signs(fit_state.layout, data.holes))
    image = torch.einsum("bk,bkyx->byx", fit_state.amplitudes.to(predicted.dtype), predicted)
    fit_state.chi2 = ((data.values - image) ** 2 * data.weight).double().sum((1, 2))
    fit_state.objective = fit_state.chi2 + priors(fit_state.values)[0]
    return fit_state


def normal_parts(fit_state, model, data):
    """Residuals and the derivatives of the data, of fits whose amplitudes are known."""
    planes, changes = model.planes(fit_state.values, with_slopes=True)
    amplitudes = fit_state.amplitudes.to(planes.dtype)
    target_images = planes.new_zeros(len(planes), fit_state.layout.size, *planes.shape[2:])
    for plane, part, change in changes:
        target_images[:, part] += change.movedim(0, 1) * amplitudes[:, plane, None, None, None]
    target_images = torch.cat([target_images, planes], dim=1)
    jacobian = model.lattice.data(target_images)
    n = fit_state.layout.size
    image = torch.einsum("bk,bkyx->byx", amplitudes, jacobian[:, n:])
    return data.values - image, jacobian, target_images


def fit(fit_state, lattice, data, steps, damping=1e-2):
    """
    Refine fits, all of them at once.

    Levenberg-Marquardt steps in parameters and amplitudes together, of which the amplitudes are
    then solved for anew: variable projection (Kaufman 1975, doi:10.1007/BF01932995).
    """
    model, priors = ParametricScene(fit_state.layout, lattice), ScenePriors(fit_state.layout)
    low, high = fit_state.layout.bounds()
    fit_state = evaluate(replace(fit_state, values=fit_state.values.clamp(low, high)), model, data, priors)
    n, widths = fit_state.layout.size, priors.precision.diagonal().rsqrt()
    damping = torch.full_like(fit_state.objective, damping)
    for _ in range(steps):
        residual, jacobian, _ = normal_parts(fit_state, model, data)
        j = jacobian.flatten(2).double() * data.weight.ravel().double().sqrt()
        r = residual.flatten(1).double() * data.weight.ravel().double().sqrt()
        normal = j @ j.transpose(1, 2)
        right = (j @ r[..., None])[..., 0]
        normal[:, :n, :n] += priors.precision
        right[:, :n] -= priors(fit_state.values)[1]
        diagonal = normal.diagonal(dim1=1, dim2=2)
        lift = diagonal * AMPLITUDE_RIDGE + 1e-12
        lift[:, :n] += damping[:, None] * diagonal[:, :n]
        step = torch.linalg.solve(normal + torch.diag_embed(lift), right)[:, :n]
        step = step.clamp(-MAX_STEP * widths, MAX_STEP * widths)
        trial = evaluate(LensFit(fit_state.layout, (fit_state.values + step).clamp(low, high)), model, data,
                         priors)
        better = trial.objective < fit_state.objective
        gained = (fit_state.objective - trial.objective)[better]
        damping = torch.where(better, damping * DAMPING_DECREASE, damping * DAMPING_INCREASE).clamp(1e-6, 1e6)
        for name in ("values", "amplitudes", "chi2", "objective"):
            old, new = getattr(fit_state, name), getattr(trial, name)
            keep = better.reshape(-1, *[1] * (old.ndim - 1))
            setattr(fit_state, name, torch.where(keep, new, old))
        if better.all() and (gained < 0.02).all() or (damping > 1e4).all():
            break
    return fit_state


def evidence(fit_state, lattice, data):
    r"""
    Minus twice the logarithm of the evidence of fits, up to a constant of the data.

    Laplace's approximation: the objective, :math:`\log\det(F P^{-1})` of the inverse covariance
    :math:`F` of the parameters, amplitudes eliminated, and the precision :math:`P` of their
    priors; each amplitude costs the logarithm of the number of data (Schwarz 1978,
    doi:10.1214/aos/1176344136), each part what it is rare.
    """
    model, priors = ParametricScene(fit_state.layout, lattice), ScenePriors(fit_state.layout)
    _, jacobian, _ = normal_parts(fit_state, model, data)
    j = jacobian.flatten(2).double() * data.weight.ravel().double().sqrt()
    normal, n = j @ j.transpose(1, 2), fit_state.layout.size
    normal[:, :n, :n] += priors.precision
    normal = normal + torch.diag_embed(normal.diagonal(dim1=1, dim2=2) * AMPLITUDE_RIDGE + 1e-9)
    # Of the parameters alone, the amplitudes eliminated (Schur): of all less that of these.
    fit_state.cost = (fit_state.objective + torch.logdet(normal) - torch.logdet(normal[:, n:, n:])
                  - torch.logdet(priors.precision))
    fit_state.cost = fit_state.cost + component_cost(fit_state.layout, data)
    return fit_state


def component_cost(layout, data):
    """What the amplitudes of a layout cost, and that some of its parts are rare."""
    parts = layout.sources + layout.lights + layout.points
    return parts * math.log(data.count) + sum(
        cost * getattr(layout, kind) for kind, cost in COMPONENT_PRIOR_COST.items())


POTENTIAL_NODES = 7  # along a side of the potential correction
POTENTIAL_RADIUS = 1.5  # Einstein radii that the potential correction covers
PIXEL_AMPLITUDE_RIDGE = 1e-5  # ridge of the amplitudes, relative to their data


@dataclass
class PixelatedState:
    """Values of the whole model."""

    values: torch.Tensor
    amplitudes: torch.Tensor
    bent: torch.Tensor
    pixels: torch.Tensor

    def joined(self):
        """All in one vector."""
        return torch.cat([self.values, self.amplitudes, self.bent, self.pixels])

    def moved(self, step):
        """The state a step further."""
        lengths = [len(part) for part in vars(self).values()]
        return PixelatedState(*(part + move for part, move in zip(vars(self).values(), step.split(lengths))))


class PixelatedModel:
    """Image and slopes of the whole model."""

    def __init__(self, fit_state, lattice, data, side):
        self.layout, self.lattice, self.data = fit_state.layout, lattice, data
        self.scene, self.priors = ParametricScene(fit_state.layout, lattice), ScenePriors(fit_state.layout)
        self.grid = self.potential = None
        counts = [0, 0]
        if fit_state.layout.lens:
            lens, *_ = fit_state.layout.slices("lens")
            lens_params = fit_state.values[0, lens]
            radius = float(lens_params[0].exp())
            step = 2 * POTENTIAL_RADIUS * radius / (POTENTIAL_NODES - 3)
            self.potential = Potential((float(lens_params[4]), float(lens_params[5])), step, POTENTIAL_NODES)
            self.bent_unit = step**2
            profiles = torch.stack([fit_state.values[0, part]
                                    for part in fit_state.layout.slices("source")])
            self.grid = SourceGrid(profiles, fit_state.amplitudes[0, :fit_state.layout.sources], side)
            self.root = self.grid.root()
            counts = [self.potential.count, self.grid.side**2]
        self.start = PixelatedState(fit_state.values[0].clone(), fit_state.amplitudes[0].clone(),
                           *(torch.zeros(n, dtype=torch.float64) for n in counts))

    def rays(self, state, with_slopes=False):
        """Where rays meet the source plane, and the slopes of the deflection of the lens."""
        lattice, lens = self.lattice, self.layout.slices("lens")[0]
        lens_params = state.values[None, lens].to(self.scene.dtype)
        alpha, slopes = deflection_derivatives(lattice.x, lattice.y, lens_params, series_terms(lens_params))
        more = self.potential.deflect(lattice.x.ravel(), lattice.y.ravel(),
                                      state.bent * self.bent_unit)
        beta = (lattice.x - alpha.real[0] - more[0], lattice.y - alpha.imag[0] - more[1])
        return (beta, slopes[:, 0]) if with_slopes else beta

    def source(self, state):
        """Pixels of the source beyond its profiles, ``(side, side)``."""
        return (self.root @ state.pixels).reshape(self.grid.side, self.grid.side)

    def image(self, state):
        """The image at the declared resolution, margins included."""
        planes = self._unlensed(state)[0]
        n = self.layout.sources
        target_image = torch.einsum("k,kyx->yx", state.amplitudes[n:].to(planes.dtype), planes)
        if not self.layout.lens:
            return target_image
        beta = self.rays(state)
        light = self.grid.light(beta, self.source(state))[0]
        for part, amplitude in zip(self.layout.slices("source"), state.amplitudes):
            light = light + amplitude.to(light.dtype) * sersic_derivatives(
                *beta, state.values[None, part].to(light.dtype))[0][0]
        return target_image + self.lattice.target_image(light)

    def _unlensed(self, state, with_slopes=False):
        values = state.values[None].to(self.scene.dtype)
        planes, changes = [], []
        for kind, image in (("light", self.scene._galaxy), ("point", self.scene._point)):
            for part in self.layout.slices(kind):
                plane, change = image(values[:, part], with_slopes)
                planes.append(plane[0])
                changes.append((part, change))
        planes.append(torch.ones(self.lattice.target_shape, dtype=self.scene.dtype))
        return torch.stack(planes), changes

    def slopes(self, state):
        """The image, and its derivatives ``(n + k + ...)`` in the joined state."""
        lattice, layout, dtype = self.lattice, self.layout, self.scene.dtype
        planes, changes = self._unlensed(state, True)
        amplitudes = state.amplitudes.to(dtype)
        parts = planes.new_zeros(layout.size, *planes.shape[1:])
        for (part, change), amplitude in zip(changes, amplitudes[layout.sources:]):
            parts[part] = amplitude * change[:, 0]
        if not layout.lens:
            target_images = torch.cat([parts, planes])
            return torch.einsum("k,kyx->yx", amplitudes, planes), target_images
        beta, deflection_derivs = self.rays(state, True)
        value, by_x, by_y = self.grid.light(beta, self.source(state))
        lensed = []
        for part, amplitude in zip(layout.slices("source"), amplitudes):
            light, light_derivs = sersic_derivatives(*beta, state.values[None, part].to(dtype))
            parts[part] = lattice.target_image(amplitude * light_derivs[:, 0])
            lensed.append(lattice.target_image(light[0]))
            by_x, by_y = by_x - amplitude * light_derivs[0, 0], by_y - amplitude * light_derivs[1, 0]
        parts[layout.slices("lens")[0]] = lattice.target_image(-(by_x * deflection_derivs.real + by_y * deflection_derivs.imag))
        nodes = self.potential.slopes(lattice.x.ravel(), lattice.y.ravel())
        nodes = lattice.target_image(-self.bent_unit * (by_x * nodes[0] + by_y * nodes[1]))
        pixels = lattice.target_image(self.grid.planes(beta))
        pixels = torch.einsum("kyx,kj->jyx", pixels, self.root.to(dtype))
        planes = torch.cat([torch.stack(lensed), planes])
        image = torch.einsum("k,kyx->yx", amplitudes, planes) + lattice.target_image(value)
        return image, torch.cat([parts, planes, nodes, pixels])
