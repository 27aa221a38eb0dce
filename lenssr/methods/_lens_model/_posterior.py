"""Fit of the pixelated lens model, its posterior, and the public lens solution."""

from dataclasses import dataclass

import numpy as np
import torch
from astropy.table import Table
from scipy import ndimage
from skimage.measure import find_contours

from lenssr.image import LensSolution
from lenssr.lensing import LENS_PARAMETERS, sersic_profile
from lenssr.methods._lens_model._fit import component_cost
from lenssr.methods._lens_model._pixelated import SOURCE_SIDE, PixelatedModel, PixelatedState

# Trial widths of the priors of source pixels, and of potential coefficients (convergence).
SOURCE_PRIOR_WIDTHS = (1e-3, 0.03, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
POTENTIAL_PRIOR_WIDTHS = (1e-4, 0.003, 0.01)
MAX_LINEARIZATIONS = 3
STEP_DAMPINGS = (0.0, 0.03, 0.3, 3.0, 30.0)  # tried in order until a step improves the fit
AMPLITUDE_RIDGE = 1e-6   # precision of the amplitudes' priors, relative to the data
MIN_CRITICAL_AREA = 1.0  # input pixels within a critical curve; the cusp of the lens is smaller
SOURCE_UPSAMPLING = 3    # of the returned source image
CONVERGENCE_STEP = 0.1   # input pixels between points at which the convergence is evaluated


@dataclass
class Posterior:
    """
    Gaussian posterior of a `PixelatedModel` about its best state.

    ``image`` and its derivatives ``image_derivs`` ``(n, ny * nx)`` are at the target resolution,
    without margins. ``jacobian`` ``(n, pixels)`` and ``model_data`` refer to the data. ``root`` is
    the Cholesky factor of the inverse covariance, ``fisher`` the contribution of the data,
    ``cost`` -2 ln evidence, and ``lens_covariance`` refers to the lens parameters.
    """

    model: PixelatedModel
    state: PixelatedState
    image: torch.Tensor
    image_derivs: torch.Tensor
    jacobian: torch.Tensor
    model_data: torch.Tensor
    root: torch.Tensor
    fisher: torch.Tensor
    chi2: float
    cost: float
    lens_covariance: torch.Tensor = None

    def __post_init__(self):
        if self.lens_covariance is None and self.model.layout.lens:
            lens = self.model.layout.slices("lens")[0]
            self.lens_covariance = self.covariance[lens, lens]

    @property
    def covariance(self):
        """Covariance of the joined state."""
        return torch.cholesky_inverse(self.root)

    @property
    def effective_parameters(self):
        """Number of parameters that the data determine."""
        return float((self.covariance * self.fisher).sum())

    def stds(self):
        """Standard deviations of the image: from the noise, and in total."""
        scaled = torch.linalg.solve_triangular(self.root, self.image_derivs.double(),
                                               upper=False)
        half = torch.linalg.solve_triangular(self.root, self.fisher, upper=False)
        inner = torch.linalg.solve_triangular(self.root, half.T, upper=False)
        noise = ((inner @ scaled) * scaled).sum(0).clamp(min=0).sqrt()
        return tuple(std.reshape(self.image.shape)
                     for std in (noise, (scaled**2).sum(0).sqrt()))

    def draw_errors(self, count, generator):
        """Posterior samples of the image less its mean, ``(count, ny, nx)``."""
        white = torch.randn(len(self.root), count, generator=generator, dtype=torch.float64)
        step = torch.linalg.solve_triangular(self.root.T, white, upper=True)
        return (step.T @ self.image_derivs.double()).reshape(count, *self.image.shape)


def infer(fits, data, grid, side=SOURCE_SIDE, linearizations=MAX_LINEARIZATIONS):
    """
    Fit a pixelated model of ``side`` source pixels, starting at one `LensFit`.

    Gauss-Newton steps in all parameters. The widths of the priors of source pixels and potential
    maximise the evidence (MacKay 1992, doi:10.1162/neco.1992.4.3.415; for lenses Suyu et al.
    2006MNRAS.371..983S), for which the model is linear.
    """
    model = PixelatedModel(fits, grid, data, side)
    state, widths, objective = model.start, None, None
    low, high = fits.layout.bounds()
    weight = data.weight.ravel().double()
    for iteration in range(linearizations + 1):
        image, derivs = model.linearize(state)
        jacobian = grid.observe(derivs[None])[0].flatten(1).double()
        residual = (data.values - grid.observe(image[None, None])[0, 0]).ravel().double()
        fisher = (jacobian * weight) @ jacobian.T
        right = (jacobian * weight) @ residual
        if widths is None:
            widths = _prior_widths(model, state, fisher, right)
        precision, gradient = _prior(model, state, widths, fisher)
        if iteration == linearizations:
            break
        if objective is None:
            objective = _objective(model, state, data, precision)
        for damping in STEP_DAMPINGS:
            hessian = fisher + precision
            hessian.diagonal().mul_(1 + damping)
            trial = state.moved(torch.linalg.solve(hessian, right - gradient))
            trial.values = trial.values.clamp(low, high)
            trial_objective = _objective(model, trial, data, precision)
            if trial_objective < objective:
                state, objective = trial, trial_objective
                break
        else:
            break
    hessian = fisher + precision
    n, k, _, _ = model.start.group_sizes
    amplitudes = slice(n, n + k)
    cost = (_objective(model, state, data, precision) + component_cost(fits.layout, data)
            + float(torch.logdet(hessian) - torch.logdet(hessian[amplitudes, amplitudes])
                    - torch.logdet(precision[:n, :n])
                    - precision.diagonal()[n + k:].log().sum()))
    return Posterior(model, state, grid.trim(image), grid.trim(derivs).flatten(1), jacobian,
                     data.values - residual.reshape(data.values.shape),
                     torch.linalg.cholesky(hessian), fisher,
                     float((residual**2 * weight).sum()), cost)


def _prior(model, state, widths, fisher):
    """Precision of the joined state, and half the gradient of the priors' chi2."""
    n, k, p, _ = model.start.group_sizes
    precision = torch.zeros_like(fisher)
    precision[:n, :n] = model.priors.precision
    diagonal = precision.diagonal()
    diagonal[n:n + k] = AMPLITUDE_RIDGE * fisher.diagonal()[n:n + k] + 1e-12
    diagonal[n + k:n + k + p] = widths[1] ** -2
    diagonal[n + k + p:] = widths[0] ** -2
    gradient = precision @ state.joined()
    gradient[:n] = model.priors(state.values[None])[1][0]
    gradient[n:n + k] = 0
    return precision, gradient


def _objective(model, state, data, precision):
    """Chi2 of the data and of the priors."""
    n, k, _, _ = model.start.group_sizes
    model_data = model.grid.observe(model.image(state)[None, None])[0, 0]
    chi2 = float(((data.values - model_data) ** 2 * data.weight).double().sum())
    coefficients = state.joined()[n + k:]
    return (chi2 + float(model.priors(state.values[None])[0])
            + float((coefficients**2 * precision.diagonal()[n + k:]).sum()))


def _prior_widths(model, state, fisher, right):
    """Prior widths of source and potential of maximal evidence, by coordinate ascent."""
    if not model.layout.lens:
        return SOURCE_PRIOR_WIDTHS[0], POTENTIAL_PRIOR_WIDTHS[0]

    def evidence(widths):
        precision, gradient = _prior(model, state, widths, fisher)
        root = torch.linalg.cholesky(fisher + precision)
        half = torch.linalg.solve_triangular(root, (right - gradient)[:, None], upper=False)
        _, _, p, q = model.start.group_sizes
        return float(half.square().sum() - 2 * root.diagonal().log().sum()
                     - 2 * p * torch.tensor(widths[1]).log() - 2 * q * torch.tensor(
                         widths[0]).log())

    best = max(((w, POTENTIAL_PRIOR_WIDTHS[0]) for w in SOURCE_PRIOR_WIDTHS), key=evidence)
    best = max(((best[0], w) for w in POTENTIAL_PRIOR_WIDTHS), key=evidence)
    return max(((w, best[1]) for w in SOURCE_PRIOR_WIDTHS), key=evidence)


def critical_curves(beta, x, y):
    """
    Critical curves and caustics, two lists of ``(n, 2)``, by decreasing area.

    ``beta`` holds the source-plane positions ``(ny, nx)`` of rays on the axes ``x`` and ``y``.
    """
    xy, xx = np.gradient(beta[0], y, x)
    yy, yx = np.gradient(beta[1], y, x)
    pairs = []
    for path in find_contours(xx * yy - xy * yx, 0.0):
        curve = np.stack([np.interp(path[:, 1], np.arange(len(x)), x),
                          np.interp(path[:, 0], np.arange(len(y)), y)], axis=1)
        if abs(_area(curve)) >= MIN_CRITICAL_AREA:
            caustic = [ndimage.map_coordinates(b, path.T, order=1) for b in beta]
            pairs.append((curve, np.stack(caustic, axis=1)))
    pairs.sort(key=lambda pair: -abs(_area(pair[0])))
    return [curve for curve, _ in pairs], [caustic for _, caustic in pairs]


def _area(curve):
    """Signed area within a closed curve."""
    x, y = curve.T
    return np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)) / 2


def make_solution(posterior, scale, noise):
    """`LensSolution` in output pixels of a posterior in input pixels and units of ``noise``."""
    model, state = posterior.model, posterior.state
    lens, grid = model.layout.slices("lens")[0], model.grid
    centre = [(n * scale - 1) / 2 for n in grid.shape[::-1]]
    values = state.values[lens].numpy()
    # From logarithm and input pixels to output pixels.
    radius = scale * np.exp(values[0])
    factors = np.array([radius, 1, 1, 1, scale, scale, 1, 1])
    covariance = posterior.lens_covariance.numpy() * np.outer(factors, factors)
    names = ["theta_E", *(p.name for p in LENS_PARAMETERS[1:])]
    table = Table({
        "name": names,
        "value": np.array([radius, *values[1:4], *(scale * values[4:6] + centre), *values[6:]]),
        "error": np.sqrt(np.diag(covariance)),
        "unit": ["pix" if name in ("theta_E", "x", "y") else "" for name in names]})
    beta = [b.double().numpy() for b in model.trace_rays(state)]
    curves, caustics = critical_curves(beta, grid.x.ravel().double().numpy(),
                                       grid.y.ravel().double().numpy())
    image, axes = _source_image(model, state)
    return LensSolution(
        table, covariance, noise * image.numpy(),
        tuple(float(axis[0]) * scale + c for axis, c in zip(axes, centre)),
        float(axes[0][1] - axes[0][0]) * scale,
        *([scale * curve + centre for curve in group] for group in (curves, caustics)),
        potential=_rms_convergence(model, state, values))


def _source_image(model, state):
    """Profiles plus pixels of the source on a finer grid, and the axes of that grid."""
    source = model.source_grid
    count = SOURCE_UPSAMPLING * (source.side - 1) + 1
    axes = [float(c) + torch.linspace(-source.half, source.half, count, dtype=torch.float64)
            for c in source.centre]
    x, y = torch.meshgrid(axes[0], axes[1], indexing="xy")
    # The outermost points must lie within the grid in spite of rounding.
    inside = [float(c) + (b - float(c)) * (1 - 1e-9) for b, c in zip((x, y), source.centre)]
    image = source.light(inside, model.source_pixels(state))[0]
    for params, amplitude in zip(model.layout.slices("source"), state.amplitudes):
        image = image + amplitude * sersic_profile(x, y, state.values[None, params])[0]
    return image, axes


def _rms_convergence(model, state, lens_params):
    """Root mean square of the potential correction's convergence in the Einstein radius."""
    radius, step = np.exp(lens_params[0]), CONVERGENCE_STEP
    axis = torch.arange(-radius, radius + step, step, dtype=torch.float64)
    ax, ay = model.potential.deflect(axis + lens_params[4], axis + lens_params[5],
                                     state.potential * model.potential_unit)
    kappa = (np.gradient(ax.numpy(), step, axis=1) + np.gradient(ay.numpy(), step, axis=0)) / 2
    inside = np.hypot(*np.meshgrid(axis.numpy(), axis.numpy())) < radius
    return float(np.sqrt(np.mean(kappa[inside] ** 2)))
