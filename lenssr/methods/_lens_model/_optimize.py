"""What a fit of a lens has left in an image, and further parts of the model that explain it."""

import math
from dataclasses import replace

import torch
from torch.nn import functional

from lenssr.lensing import LENS_PARAMETERS, LIGHT_PARAMETERS
from lenssr.methods._lens_model._fit import (
    COMPONENT_PRIOR_COST,
    LensFit,
    evidence,
    fit,
    normal_parts,
)
from lenssr.methods._lens_model._posterior import infer
from lenssr.methods._lens_model._scene import ParametricScene, SceneLayout, ScenePriors

MIN_PEAK_SIGNIFICANCE = 4.5  # of a residual peak
# Einstein radii, plus pixels, within which the images of a source lie.
SOURCE_IMAGE_RADIUS = (1.4, 2.0)
TRIAL_STEPS, ACCEPTED_STEPS = 4, 6  # fit steps of each candidate component, and of the best one


def insert(found, kind, values):
    """The best of some fits with another part, behind those of its kind."""
    layout = found.layout
    field = {"source": "sources", "light": "lights", "point": "points"}[kind]
    longer = replace(layout, **{field: getattr(layout, field) + 1})
    place = longer.slices(kind)[-1].start
    old = found.values[:1]
    new = torch.as_tensor(values, dtype=old.dtype)[None]
    return LensFit(longer, torch.cat([old[:, :place], new, old[:, place:]], dim=1))


def significance(residual, lattice, data):
    """What is left at each pixel, as a point source's share of it, over its error."""
    with torch.no_grad():
        model = ParametricScene(SceneLayout(False, 0, 0, 1), lattice)
        odd = [1 - n % 2 for n in lattice.shape]
        at = torch.tensor([[0.5 * odd[1], 0.5 * odd[0]]], dtype=torch.float64)
        psf = lattice.data(model.planes(at)[0][:, :1])[0, 0]
        middle = [n // 2 for n in lattice.shape]
        half = min(7, *(n - 1 - m for m, n in zip(middle, lattice.shape)), *middle)
        psf = psf[tuple(slice(m - half, m + half + 1) for m in middle)][None, None]
        light = functional.conv2d((residual * data.weight)[None, None], psf, padding=half)
        power = functional.conv2d(data.weight[None, None], psf**2, padding=half)
        return (light / power.clamp(min=1e-6).sqrt())[0, 0]


def candidates(found, place, lattice, anywhere=True):
    """Fits with one part more, begun at a place of the image."""
    x, y = place
    shape = [0.5, 0.3, 0.0, 0.0]
    near = False
    if found.layout.lens:
        radius, _, _, _, cx, cy = found.values[0, found.layout.slices("lens")[0]][:6].tolist()
        near = math.hypot(x - cx, y - cy) < SOURCE_IMAGE_RADIUS[0] * math.exp(radius) + SOURCE_IMAGE_RADIUS[1]
    tried = [] if near and not anywhere else [
        insert(found, "point", [x, y]), insert(found, "light", [x, y, *shape])]
    if found.layout.lens and (near or anywhere):
        model, lens = ParametricScene(found.layout, lattice), found.layout.slices("lens")[0]
        beta = model.shoot(found.values[:1, lens].to(model.dtype))
        # The ray that starts nearest to the place.
        i = int((lattice.y.ravel() - y).abs().argmin())
        j = int((lattice.x.ravel() - x).abs().argmin())
        behind = [float(b[0, i, j]) for b in beta]
        tried.append(insert(found, "source", [*behind, -0.5, 0.0, 0.0, 0.0]))
    return tried


def add_components(found, lattice, data, most, anywhere=True):
    """Add profiles and points for as long as what is left has significant peaks."""
    found = evidence(found, lattice, data)
    closed = torch.zeros(lattice.shape, dtype=torch.bool)
    for _ in range(most):
        residual, _, _ = normal_parts(found, ParametricScene(found.layout, lattice), data)
        peak = torch.where(closed, -torch.inf, significance(residual[0], lattice, data))
        if peak.max() < MIN_PEAK_SIGNIFICANCE:
            break
        i, j = divmod(int(peak.argmax()), lattice.shape[1])
        place = [k - (n - 1) / 2 for k, n in zip((j, i), lattice.shape[::-1])]
        tried = [evidence(fit(one, lattice, data, TRIAL_STEPS), lattice, data)
                 for one in candidates(found, place, lattice, anywhere)]
        best = min(tried, key=lambda one: float(one.cost[0]))
        best = evidence(fit(best, lattice, data, ACCEPTED_STEPS), lattice, data)
        if best.cost[0] < found.cost[0]:
            found = best
        else:
            closed[max(i - 1, 0):i + 2, max(j - 1, 0):j + 2] = True
    return found


ROUGH_FITS = ((0.1, 8), (0.03, 6))  # (relative model error, steps) of the first fits
RADIUS_GRID = (2.5, 0.42)  # further Einstein radii: from pixels to a fraction of the image side
SOURCE_OFFSET = 0.3  # Einstein radii between the lens and the source behind it
# Radii, source positions for each radius, and fits that continue.
FIRST_SEARCH, SECOND_SEARCH = (6, 3, 3), (12, 5, 6)
MAX_REDUCED_CHI2 = 1.08  # above which a second search follows
# Relative and absolute excess of chi-squared of a fit that continues.
MAX_CHI2_EXCESS = (1.5, 200.0)
MIN_PARAM_DISTANCE = (0.04, 0.04, 0.04, 0.7, 0.7)  # by which two fits differ
REFINE_STEPS = 12    # steps
COARSE_SOURCE_SIDE = 14  # source pixels along a side for the comparison of models
EVIDENCE_TEMPERATURE = 16.0  # divides differences of log evidence, since no model is exact


def starts(guesses, side, radius=None, fan=FIRST_SEARCH):
    """Where fits begin: at the guesses, and at others for what all of them have missed."""
    macro, galaxy, source = guesses.double().split([len(LENS_PARAMETERS), len(LIGHT_PARAMETERS), len(LIGHT_PARAMETERS)], dim=-1)
    values = torch.cat([macro, source, galaxy], dim=-1)
    (low, share), (count, turns, _) = RADIUS_GRID, fan
    radii = [low * (share * side / low) ** (k / (count - 1)) for k in range(count)]
    others = [values]
    for each in radii + ([] if radius is None else [radius]):
        for turn in range(turns):
            # A round lens in the middle.
            other, angle = ScenePriors(SceneLayout()).mean[None].clone(), 2 * math.pi * turn / turns
            other[0, 0] = math.log(each)
            for k, component in enumerate((math.cos(angle), math.sin(angle))):
                other[0, len(LENS_PARAMETERS) + k] = other[0, 4 + k] + SOURCE_OFFSET * each * component
            others.append(other)
    return torch.cat(others)


def distinct(found, count):
    """The best fits that differ, as far as they are not much worse than the best one."""
    order, kept = found.objective.argsort().tolist(), []
    # Radius, shear and place of the source.
    told = found.values[:, [0, 6, 7, 8, 9]] / torch.tensor(MIN_PARAM_DISTANCE, dtype=torch.float64)
    limit = MAX_CHI2_EXCESS[0] * found.objective.min() + MAX_CHI2_EXCESS[1]
    for k in order:
        if found.objective[k] < limit and all((told[k] - told[j]).abs().max() > 1 for j in kept):
            kept.append(k)
    return kept[:count]


def search(guesses, radius, coarse, fine, data, parts=6):
    """The best model of an image."""
    side = min(data.values.shape)
    galaxy = guesses[:1, len(LENS_PARAMETERS):len(LENS_PARAMETERS) + len(LIGHT_PARAMETERS)].double()
    tried = [_fit_galaxy(galaxy, coarse, data, parts)]
    for fan, holes in ((FIRST_SEARCH, False), (SECOND_SEARCH, True)):
        data = replace(data, holes=holes)
        for one in _rough_fits(starts(guesses, side, radius, fan), coarse, data, fan[-1]):
            one = add_components(one, coarse, data, parts, anywhere=False)
            tried.append((one, _compare_evidence(one, coarse, data)))
        best, posterior = min(tried, key=lambda pair: pair[1].cost)
        odds = (tried[0][1].cost - min(pair[1].cost for pair in tried[1:]) + COMPONENT_PRIOR_COST["lens"]) / 2
        if best.layout.lens:
            best = _refit(best, posterior, coarse, data, parts)
        posterior = infer(fit(best, fine, data, REFINE_STEPS), fine, data)
        if posterior.chi2 < MAX_REDUCED_CHI2 * (data.count - posterior.freedom):
            break
    if posterior.model.layout.lens:
        others = [one for _, one in tried if one.model.layout.lens]
        posterior = replace(posterior, lens=_model_averaged_errors(posterior, others))
    return posterior, odds


def _model_averaged_errors(best, others):
    r"""
    Covariance of the lens about the best one, over all models that were compared.

    Several lenses explain an image: :math:`\sum w (C + d d^T)`, :math:`C` being the covariance of
    each, :math:`d` how far it is from the best, and :math:`w` the share of its evidence to the
    power of 1/16, chosen on 55 simulated lenses, of whose Einstein radii 67 and 84 per cent were
    within one and two errors then; of all 335 that were found in 500 images 65 and 82.
    """
    costs = torch.tensor([one.cost for one in others], dtype=torch.float64)
    # That of the best one, evaluated more finely, is no less.
    costs = torch.cat([costs.amin()[None], costs])
    shares = torch.softmax(-costs / (2 * EVIDENCE_TEMPERATURE), dim=0)
    middle = best.state.values[best.model.layout.slices("lens")[0]]
    whole = 0.0
    for share, one in zip(shares, [best, *others]):
        off = one.state.values[one.model.layout.slices("lens")[0]] - middle
        whole = whole + share * (one.lens + torch.outer(off, off))
    return whole


def _fit_galaxy(galaxy, lattice, data, parts):
    """The model without a lens, and its weight."""
    alone = fit(LensFit(SceneLayout(False, 0, 1, 0), galaxy), lattice, data.forgiving(0.03), REFINE_STEPS)
    alone = add_components(fit(alone, lattice, data, REFINE_STEPS), lattice, data, parts)
    return alone, _compare_evidence(alone, lattice, data)


def _compare_evidence(found, lattice, data):
    """The whole model of a fit, coarser than the last one: to be compared with others."""
    return infer(found, lattice, data, side=COARSE_SOURCE_SIDE, rounds=1)


def _rough_fits(values, lattice, data, kept):
    """Fits with a single source, with the light of the lens galaxy and without, the best few."""
    found = []
    for layout, start in ((SceneLayout(), values),
                          (SceneLayout(lights=0, galaxy=False), values[:, :-len(LIGHT_PARAMETERS)])):
        rough = LensFit(layout, start)
        for share, steps in ROUGH_FITS:
            rough = fit(rough, lattice, data.forgiving(share), steps)
            rough = LensFit(layout, rough.values[distinct(rough, 3 * kept)])
        rough = evidence(fit(rough, lattice, data, REFINE_STEPS), lattice, data)
        found += [(float(rough.cost[k]), layout, rough.values[k:k + 1])
                  for k in distinct(rough, kept)]
    found.sort(key=lambda each: each[0])
    limit = MAX_CHI2_EXCESS[0] * found[0][0] + MAX_CHI2_EXCESS[1]
    return [fit(LensFit(layout, start), lattice, data, 0)
            for cost, layout, start in found[:kept] if cost < limit]


def _refit(found, posterior, lattice, data, parts):
    """With parts in front of the source, too, for what its pixels can't explain."""
    model = ParametricScene(found.layout, lattice)
    state = LensFit(found.layout, posterior.state.values[None], posterior.state.amplitudes[None])
    profiles = data.values - normal_parts(state, model, data)[0][0]
    rest = replace(data, values=data.values - (posterior.expected - profiles).float())
    more = add_components(fit(state, lattice, rest, 2), lattice, rest, parts)
    if more.layout == found.layout:
        return found
    return min((found, more), key=lambda one: _compare_evidence(one, lattice, data).cost)
