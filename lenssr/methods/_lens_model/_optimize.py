"""Global search for the lens model of an image: starts, added components, model comparison."""

import math
from dataclasses import replace
from typing import NamedTuple

import torch
from torch.nn import functional

from lenssr.lensing import LENS_PARAMETERS, LIGHT_PARAMETERS
from lenssr.methods._lens_model._fit import (
    COMPONENT_PRIOR_COST,
    LensFit,
    add_evidence,
    fit,
    residual_jacobian,
)
from lenssr.methods._lens_model._posterior import infer
from lenssr.methods._lens_model._scene import ParametricScene, SceneLayout, ScenePriors

MIN_PEAK_SIGNIFICANCE = 4.5  # of a residual peak, in standard deviations
MAX_PSF_RADIUS = 7           # pixels of the PSF in the matched filter of residuals
# Einstein radii, plus pixels, from the lens within which the images of a source lie.
SOURCE_IMAGE_RADIUS = (1.4, 2.0)
TRIAL_STEPS, ACCEPTED_STEPS = 4, 6  # fit steps of each trial component, and of the best
NEW_PROFILE = (0.5, 0.3, 0.0, 0.0)   # size, index and ellipticity of an added light profile
NEW_SOURCE = (-0.5, 0.0, 0.0, 0.0)   # size, index and ellipticity of an added source

ROUGH_FITS = ((0.1, 8), (0.03, 6))  # relative model error and steps of the first fits
LIGHT_ONLY_MODEL_ERROR = 0.03  # relative model error of the first fit without a lens
RADIUS_RANGE = (2.5, 0.42)  # Einstein radii of further starts: pixels, fraction of the image side
SOURCE_OFFSET = 0.3    # Einstein radii between lens and source of further starts
MAX_REDUCED_CHI2 = 1.08  # above which the next search follows
MAX_CHI2_EXCESS = (1.5, 200.0)  # relative and absolute excess of a fit that is kept
# Indices of radius, shear and source position, and the distances by which two fits differ.
DISTINCT_PARAMS = [0, 6, 7, 8, 9]
MIN_PARAM_DISTANCE = (0.04, 0.04, 0.04, 0.7, 0.7)
REFINE_STEPS = 12
COARSE_SOURCE_SIDE = 14  # source pixels along a side for the comparison of models
EVIDENCE_TEMPERATURE = 16.0  # divides differences of ln evidence, as no model is exact


class SearchGrid(NamedTuple):
    """Starts of a search: Einstein radii, source positions of each, fits kept, network guesses."""

    radii: int
    positions: int
    kept: int
    guesses: bool = True


SEARCHES = (SearchGrid(6, 3, 3), SearchGrid(12, 5, 6))


def _insert(fits, component_type, values):
    """Add a component with parameters ``values`` to the first fit, after others of its type."""
    layout = fits.layout
    field = f"{component_type}s"
    longer = replace(layout, **{field: getattr(layout, field) + 1})
    start = longer.slices(component_type)[-1].start
    old = fits.values[:1]
    new = torch.as_tensor(values, dtype=old.dtype)[None]
    return LensFit(longer, torch.cat([old[:, :start], new, old[:, start:]], dim=1))


def _residual_significance(residual, grid, data):
    """Significance ``(ny, nx)`` of a point source in the residual, in standard deviations."""
    scene = ParametricScene(SceneLayout(False, 0, 0, 1), grid)
    offset = [0.5 * (1 - n % 2) for n in grid.shape[::-1]]
    position = torch.tensor([offset], dtype=torch.float64)
    psf = grid.observe(scene.planes(position)[0][:, :1])[0, 0]
    centre = [n // 2 for n in grid.shape]
    half = min(MAX_PSF_RADIUS, *(n - 1 - c for c, n in zip(centre, grid.shape)), *centre)
    psf = psf[tuple(slice(c - half, c + half + 1) for c in centre)][None, None]
    signal = functional.conv2d((residual * data.weight)[None, None], psf, padding=half)
    variance = functional.conv2d(data.weight[None, None], psf**2, padding=half)
    return (signal / variance.clamp(min=1e-6).sqrt())[0, 0]


def _candidates(fits, x, y, grid, foreground_anywhere):
    """Fits with one more component at a position: point, light profile, or source."""
    layout, near_lens = fits.layout, False
    if layout.lens:
        lens = layout.slices("lens")[0]
        log_radius, _, _, _, cx, cy = fits.values[0, lens][:6].tolist()
        limit = SOURCE_IMAGE_RADIUS[0] * math.exp(log_radius) + SOURCE_IMAGE_RADIUS[1]
        near_lens = math.hypot(x - cx, y - cy) < limit
    candidates = []
    if foreground_anywhere or not near_lens:
        candidates += [_insert(fits, "point", [x, y]),
                       _insert(fits, "light", [x, y, *NEW_PROFILE])]
    if layout.lens and (near_lens or foreground_anywhere):
        scene = ParametricScene(layout, grid)
        beta = scene.trace_rays(fits.values[:1, lens].to(scene.dtype))
        i = int((grid.y.ravel() - y).abs().argmin())
        j = int((grid.x.ravel() - x).abs().argmin())
        source_position = [float(b[0, i, j]) for b in beta]
        candidates.append(_insert(fits, "source", [*source_position, *NEW_SOURCE]))
    return candidates


def add_components(fits, grid, data, max_components, foreground_anywhere=True):
    """
    Add profiles and points at significant residual peaks while the evidence improves.

    Unless ``foreground_anywhere`` is set, only sources are added where a lens has its images.
    """
    fits = add_evidence(fits, grid, data)
    excluded = torch.zeros(grid.shape, dtype=torch.bool)
    for _ in range(max_components):
        residual, _ = residual_jacobian(fits, ParametricScene(fits.layout, grid), data)
        peaks = torch.where(excluded, -torch.inf,
                            _residual_significance(residual[0], grid, data))
        if peaks.max() < MIN_PEAK_SIGNIFICANCE:
            break
        i, j = divmod(int(peaks.argmax()), grid.shape[1])
        x, y = (k - (n - 1) / 2 for k, n in zip((j, i), grid.shape[::-1]))
        trials = [add_evidence(fit(trial, grid, data, TRIAL_STEPS), grid, data)
                  for trial in _candidates(fits, x, y, grid, foreground_anywhere)]
        best = min(trials, key=lambda trial: float(trial.cost[0]))
        best = add_evidence(fit(best, grid, data, ACCEPTED_STEPS), grid, data)
        if best.cost[0] < fits.cost[0]:
            fits = best
        else:
            excluded[max(i - 1, 0):i + 2, max(j - 1, 0):j + 2] = True
    return fits


def _starts(guesses, side, radius, search_grid):
    """
    Start values ``(k, n)`` of the layout of one lens, source and galaxy.

    The ``guesses`` ``(k, 20)`` of the network, and round lenses of several Einstein radii, among
    them the user's ``radius`` (pixels or `None`), in case that all guesses are far off.
    """
    (low, side_fraction), count, n_angles = (RADIUS_RANGE, search_grid.radii,
                                             search_grid.positions)
    radii = [low * (side_fraction * side / low) ** (k / max(count - 1, 1)) for k in range(count)]
    n_lens, n_light = len(LENS_PARAMETERS), len(LIGHT_PARAMETERS)
    lens_params, galaxy, source = guesses.double().split([n_lens, n_light, n_light], dim=-1)
    starts = [torch.cat([lens_params, source, galaxy], dim=-1)] if search_grid.guesses else []
    for start_radius in radii + ([] if radius is None else [radius]):
        for k in range(n_angles):
            start, angle = ScenePriors(SceneLayout()).mean[None].clone(), 2 * math.pi * k / n_angles
            start[0, 0] = math.log(start_radius)
            for axis, component in enumerate((math.cos(angle), math.sin(angle))):
                start[0, n_lens + axis] = (start[0, 4 + axis]
                                           + SOURCE_OFFSET * start_radius * component)
            starts.append(start)
    return torch.cat(starts)


def _select_distinct(fits, count):
    """Indices of at most ``count`` best fits that differ and are not much worse than the best."""
    order, kept = fits.objective.argsort().tolist(), []
    scaled = (fits.values[:, DISTINCT_PARAMS]
              / torch.tensor(MIN_PARAM_DISTANCE, dtype=torch.float64))
    limit = MAX_CHI2_EXCESS[0] * fits.objective.min() + MAX_CHI2_EXCESS[1]
    for k in order:
        if fits.objective[k] < limit and all((scaled[k] - scaled[j]).abs().max() > 1
                                             for j in kept):
            kept.append(k)
    return kept[:count]


def search(guesses, radius, coarse, fine, data, max_components, searches=SEARCHES):
    """
    Find the best model of an image: its `Posterior`, and ln odds of a lens over light alone.

    All starts are fitted roughly. The best fits of different Einstein radii get components for
    their residuals, and the model of greatest evidence, perhaps without a lens, is fitted in full.
    If its chi2 is poor, the next of ``searches`` follows, in which the lens galaxy may be
    negative. ``coarse`` and ``fine`` are the grids of the first and the last fits.
    """
    side = min(data.values.shape)
    n_lens, n_light = len(LENS_PARAMETERS), len(LIGHT_PARAMETERS)
    light_only = _fit_light_only(guesses[:1, n_lens:n_lens + n_light].double(), coarse, data,
                                 max_components)
    models = [light_only]
    for k, search_grid in enumerate(searches):
        data = replace(data, allow_negative=k > 0)
        for fits in _rough_fits(_starts(guesses, side, radius, search_grid), coarse, data,
                                search_grid.kept):
            fits = add_components(fits, coarse, data, max_components, foreground_anywhere=False)
            models.append((fits, _infer_coarse(fits, coarse, data)))
        best, posterior = min(models, key=lambda model: model[1].cost)
        log_odds = (light_only[1].cost - min(model[1].cost for model in models[1:])
                    + COMPONENT_PRIOR_COST["lens"]) / 2
        if best.layout.lens:
            best = _add_foreground(best, posterior, coarse, data, max_components)
        posterior = infer(fit(best, fine, data, REFINE_STEPS), data, fine)
        if posterior.chi2 < MAX_REDUCED_CHI2 * (data.count - posterior.effective_parameters):
            break
    if posterior.model.layout.lens:
        alternatives = [model for _, model in models if model.model.layout.lens]
        posterior = replace(posterior,
                            lens_covariance=averaged_covariance(posterior, alternatives))
    return posterior, log_odds


def averaged_covariance(best, alternatives):
    r"""
    Covariance of the lens parameters about the best model, averaged over all models.

    :math:`\sum w (C + d d^T)` with the covariance :math:`C` of each model, its distance :math:`d`
    from the best and a weight :math:`w`, its evidence to the power of 1/16. The exponent was
    chosen on 55 simulated lenses, where 67 and 84 % of the Einstein radii were within one and two
    errors; for 335 lenses found in 500 images it is 65 and 82 %.
    """
    costs = torch.tensor([model.cost for model in alternatives], dtype=torch.float64)
    # The best model was refined on a finer grid; its cost is taken as the lowest.
    costs = torch.cat([costs.amin()[None], costs])
    weights = torch.softmax(-costs / (2 * EVIDENCE_TEMPERATURE), dim=0)
    centre = best.state.values[best.model.layout.slices("lens")[0]]
    covariance = 0.0
    for weight, model in zip(weights, [best, *alternatives]):
        offset = model.state.values[model.model.layout.slices("lens")[0]] - centre
        covariance = covariance + weight * (model.lens_covariance + torch.outer(offset, offset))
    return covariance


def _fit_light_only(galaxy, grid, data, max_components):
    """Fit without a lens, and its coarse posterior."""
    fits = fit(LensFit(SceneLayout(False, 0, 1, 0), galaxy), grid,
               data.with_model_error(LIGHT_ONLY_MODEL_ERROR), REFINE_STEPS)
    fits = add_components(fit(fits, grid, data, REFINE_STEPS), grid, data, max_components)
    return fits, _infer_coarse(fits, grid, data)


def _infer_coarse(fits, grid, data):
    """Posterior with a coarse source, for the comparison of models."""
    return infer(fits, data, grid, side=COARSE_SOURCE_SIDE, linearizations=1)


def _rough_fits(starts, grid, data, kept):
    """Best fits of a single source, with and without the light of the lens galaxy."""
    fits = []
    for layout, values in ((SceneLayout(), starts),
                           (SceneLayout(lights=0, galaxy=False),
                            starts[:, :-len(LIGHT_PARAMETERS)])):
        rough = LensFit(layout, values)
        for model_error, steps in ROUGH_FITS:
            rough = fit(rough, grid, data.with_model_error(model_error), steps)
            rough = LensFit(layout, rough.values[_select_distinct(rough, 3 * kept)])
        rough = add_evidence(fit(rough, grid, data, REFINE_STEPS), grid, data)
        fits += [(float(rough.cost[k]), layout, rough.values[k:k + 1])
                 for k in _select_distinct(rough, kept)]
    fits.sort(key=lambda entry: entry[0])
    limit = MAX_CHI2_EXCESS[0] * fits[0][0] + MAX_CHI2_EXCESS[1]
    return [fit(LensFit(layout, values), grid, data, 0)
            for cost, layout, values in fits[:kept] if cost < limit]


def _add_foreground(fits, posterior, grid, data, max_components):
    """Add components in front of the source for the residual of the pixelated model."""
    state = LensFit(fits.layout, posterior.state.values[None], posterior.state.amplitudes[None])
    profiles = data.values - residual_jacobian(
        state, ParametricScene(fits.layout, grid), data)[0][0]
    # Data from which the pixels of the source are subtracted.
    corrected = replace(data, values=data.values - (posterior.model_data - profiles).float())
    extended = add_components(fit(state, grid, corrected, 2), grid, corrected, max_components)
    if extended.layout == fits.layout:
        return fits
    return min((fits, extended), key=lambda trial: _infer_coarse(trial, grid, data).cost)
