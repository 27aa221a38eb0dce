"""The whole model fitted, its regularisation chosen by the evidence, and its errors."""

from dataclasses import dataclass

import numpy as np
import torch
from astropy.table import Table
from scipy import ndimage
from skimage.measure import find_contours

from lenssr.image import LensSolution
from lenssr.lensing import LENS_PARAMETERS, sersic_profile
from lenssr.methods._lens_model._fit import PixelatedModel, PixelatedState, component_cost
from lenssr.methods._lens_model._scene import SOURCE_SIDE

# Of source pixels, in units of `SourceGrid.root`.
SOURCE_PRIOR_WIDTHS = (1e-3, 0.03, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)

POTENTIAL_PRIOR_WIDTHS = (1e-4, 0.003, 0.01)  # convergence

N_LINEARIZATIONS = 3
STEP_DAMPINGS = (0.0, 0.03, 0.3, 3.0, 30.0)  # tried in order until a step improves the fit
RELATIVE_RIDGE = 1e-6  # of the largest amplitude


@dataclass
class Posterior:
    """Best values of the whole model, and how well they are known."""

    model: PixelatedModel
    state: PixelatedState
    image: torch.Tensor
    slopes: torch.Tensor
    jacobian: torch.Tensor
    expected: torch.Tensor
    root: torch.Tensor
    fisher: torch.Tensor
    chi2: float
    widths: tuple
    cost: float
    lens: torch.Tensor = None

    def __post_init__(self):
        if self.lens is None and self.model.layout.lens:
            lens = self.model.layout.slices("lens")[0]
            self.lens = self.covariance[lens, lens]

    @property
    def covariance(self):
        """Of the joined state."""
        return torch.cholesky_inverse(self.root)

    @property
    def freedom(self):
        """Parameters that the data determine."""
        return float((self.covariance * self.fisher).sum())

    def stds(self):
        """Standard deviations of the image, of noise carried through and in whole."""
        moved = torch.linalg.solve_triangular(self.root, self.slopes.double(), upper=False)
        half = torch.linalg.solve_triangular(self.root, self.fisher, upper=False)
        inner = torch.linalg.solve_triangular(self.root, half.T, upper=False)
        shape = self.image.shape
        noise = ((inner @ moved) * moved).sum(0).clamp(min=0).sqrt().reshape(shape)
        return noise, (moved**2).sum(0).sqrt().reshape(shape)

    def draws(self, count, generator):
        """Images drawn from the posterior, less the best one, ``(count, ny, nx)``."""
        size = len(self.root)
        white = torch.randn(size, count, generator=generator, dtype=torch.float64)
        moved = torch.linalg.solve_triangular(self.root.T, white, upper=True)
        return (moved.T @ self.slopes.double()).reshape(count, *self.image.shape)


def infer(fit_state, lattice, data, side=SOURCE_SIDE, rounds=N_LINEARIZATIONS):
    """
    Fit the whole model, beginning with profiles.

    Gauss-Newton steps in all parameters together. The widths of the priors of the pixels of the
    source and of the potential are those of the greatest evidence (MacKay 1992,
    doi:10.1162/neco.1992.4.3.415; for lenses Suyu et al. 2006, 2006MNRAS.371..983S), the
    model being linear there.
    """
    model = PixelatedModel(fit_state, lattice, data, side)
    state, widths, objective = model.start, None, None
    low, high = fit_state.layout.bounds()
    weight = data.weight.ravel().double()
    for round_ in range(rounds + 1):
        image, target_images = model.slopes(state)
        jacobian = lattice.data(target_images[None])[0].flatten(1).double()
        residual = (data.values - lattice.data(image[None, None])[0, 0]).ravel().double()
        fisher = (jacobian * weight) @ jacobian.T
        right = (jacobian * weight) @ residual
        if widths is None:
            widths = _widths(model, state, fisher, right)
        precision, slope = _prior(model, state, widths, fisher)
        if round_ == rounds:
            break
        if objective is None:
            objective = _objective(model, state, data, lattice, precision)
        for damping in STEP_DAMPINGS:
            hessian = fisher + precision
            hessian.diagonal().mul_(1 + damping)
            trial = state.moved(torch.linalg.solve(hessian, right - slope))
            trial.values = trial.values.clamp(low, high)
            value = _objective(model, trial, data, lattice, precision)
            if value < objective:
                state, objective = trial, value
                break
        else:
            break
    chi2 = float((residual**2 * weight).sum())
    inner, hessian = lattice.inner(target_images).flatten(1), fisher + precision
    n, k, _, _ = _sizes(model)
    amplitudes = slice(n, n + k)
    cost = (_objective(model, state, data, lattice, precision) + component_cost(fit_state.layout, data)
            + float(torch.logdet(hessian) - torch.logdet(hessian[amplitudes, amplitudes])
                    - torch.logdet(precision[:n, :n])
                    - precision.diagonal()[n + k:].log().sum()))
    return Posterior(model, state, lattice.inner(image), inner, jacobian,
                     data.values - residual.reshape(data.values.shape),
                     torch.linalg.cholesky(hessian), fisher, chi2, widths, cost)


def _sizes(model):
    layout = model.layout
    k = layout.sources + layout.lights + layout.points + 1
    return layout.size, k, len(model.start.bent), len(model.start.pixels)


def _prior(model, state, widths, fisher):
    """Precision of the joined state, and the slope of the priors' share."""
    n, k, p, _ = _sizes(model)
    precision = torch.zeros_like(fisher)
    precision[:n, :n] = model.priors.precision
    diagonal = precision.diagonal()
    diagonal[n:n + k] = RELATIVE_RIDGE * fisher.diagonal()[n:n + k] + 1e-12
    diagonal[n + k:n + k + p] = widths[1] ** -2
    diagonal[n + k + p:] = widths[0] ** -2
    slope = precision @ state.joined()
    slope[:n] = model.priors(state.values[None])[1][0]
    slope[n:n + k] = 0
    return precision, slope


def _objective(model, state, data, lattice, precision):
    n, k, _, _ = _sizes(model)
    predicted = lattice.data(model.image(state)[None, None])[0, 0]
    chi2 = float(((data.values - predicted) ** 2 * data.weight).double().sum())
    pixels = state.joined()[n + k:]
    return (chi2 + float(model.priors(state.values[None])[0])
            + float((pixels**2 * precision.diagonal()[n + k:]).sum()))


def _widths(model, state, fisher, right):
    """Widths of the priors of the greatest evidence, one after the other."""
    if not model.layout.lens:
        return SOURCE_PRIOR_WIDTHS[0], POTENTIAL_PRIOR_WIDTHS[0]

    def evidence(widths):
        precision, slope = _prior(model, state, widths, fisher)
        root = torch.linalg.cholesky(fisher + precision)
        half = torch.linalg.solve_triangular(root, (right - slope)[:, None], upper=False)
        _, _, p, q = _sizes(model)
        return float(half.square().sum() - 2 * root.diagonal().log().sum()
                     - 2 * p * torch.tensor(widths[1]).log() - 2 * q * torch.tensor(
                         widths[0]).log())

    best = max(((w, POTENTIAL_PRIOR_WIDTHS[0]) for w in SOURCE_PRIOR_WIDTHS), key=evidence)
    best = max(((best[0], b) for b in POTENTIAL_PRIOR_WIDTHS), key=evidence)
    return max(((w, best[1]) for w in SOURCE_PRIOR_WIDTHS), key=evidence)


MIN_CRITICAL_AREA = 1.0  # input pixels within a critical curve; the cusp of the lens is smaller
SOURCE_UPSAMPLING = 3  # of the returned source image


def critical_curves(beta, x, y):
    """Where the magnification is infinite, and what is behind."""
    xy, xx = np.gradient(beta[0], y, x)
    yy, yx = np.gradient(beta[1], y, x)
    curves = []
    for path in find_contours(xx * yy - xy * yx, 0.0):
        curve = np.stack([np.interp(path[:, 1], np.arange(len(x)), x),
                          np.interp(path[:, 0], np.arange(len(y)), y)], axis=1)
        if abs(_area(curve)) < MIN_CRITICAL_AREA:
            continue
        behind = [ndimage.map_coordinates(b, path.T, order=1) for b in beta]
        curves.append((curve, np.stack(behind, axis=1)))
    curves.sort(key=lambda pair: -abs(_area(pair[0])))
    return [curve for curve, _ in curves], [caustic for _, caustic in curves]


def _area(curve):
    x, y = curve.T
    return np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)) / 2


def solution(posterior, scale, noise):
    """The lens of a posterior."""
    model, state = posterior.model, posterior.state
    lens, lattice, shape = model.layout.slices("lens")[0], model.lattice, model.lattice.shape
    middle = [(n * scale - 1) / 2 for n in shape[::-1]]
    values, covariance = state.values[lens].numpy(), posterior.lens.numpy()
    # From logarithm and input pixels to output pixels.
    radius = scale * np.exp(values[0])
    unit = np.array([radius, 1, 1, 1, scale, scale, 1, 1])
    parameters = np.array([radius, *values[1:4], *(scale * values[4:6] + middle), *values[6:]])
    covariance = covariance * np.outer(unit, unit)
    names = ["theta_E", *(p.name for p in LENS_PARAMETERS[1:])]
    table = Table({"name": names, "value": parameters, "error": np.sqrt(np.diag(covariance)),
                   "unit": ["pix" if name in ("theta_E", "x", "y") else "" for name in names]})
    beta = [b.double().numpy() for b in model.rays(state)]
    curves, caustics = critical_curves(beta, lattice.x.ravel().double().numpy(),
                                       lattice.y.ravel().double().numpy())
    image, axes = _source(model, state)
    return LensSolution(
        table, covariance, noise * image.numpy(),
        tuple(float(axis[0]) * scale + m for axis, m in zip(axes, middle)),
        float(axes[0][1] - axes[0][0]) * scale,
        *([scale * curve + middle for curve in curve_list] for curve_list in (curves, caustics)),
        potential=_convergence(model, state, values))


def _source(model, state):
    """Profiles and pixels of the source together, on a finer grid, and its axes."""
    grid = model.grid
    count = SOURCE_UPSAMPLING * (grid.side - 1) + 1
    axes = [float(c) + torch.linspace(-grid.half, grid.half, count, dtype=torch.float64)
            for c in grid.centre]
    x, y = torch.meshgrid(axes[0], axes[1], indexing="xy")
    edge = 1 - 1e-9
    middle = [float(c) for c in grid.centre]
    inside = [m + (b - m) * edge for b, m in zip((x, y), middle)]
    image = grid.light(inside, model.source(state))[0]
    for part, amplitude in zip(model.layout.slices("source"), state.amplitudes):
        image = image + amplitude * sersic_profile(x, y, state.values[None, part])[0]
    return image, axes


def _convergence(model, state, lens_params):
    """Root mean square of the convergence of the potential within the Einstein radius."""
    radius, step = np.exp(lens_params[0]), 0.1
    position = torch.arange(-radius, radius + step, step, dtype=torch.float64)
    ax, ay = model.potential.deflect(position + lens_params[4], position + lens_params[5],
                                     state.bent * model.bent_unit)
    kappa = (np.gradient(ax.numpy(), step, axis=1) + np.gradient(ay.numpy(), step, axis=0)) / 2
    inside = np.hypot(*np.meshgrid(position.numpy(), position.numpy())) < radius
    return float(np.sqrt(np.mean(kappa[inside] ** 2)))
