"""From several guesses of a lens to the best model of an image."""

import math

import torch

from lenssr.networks._lensing import LIGHT, MACRO

from .fit import Fit, fit
from .posterior import infer
from .pursuit import grow
from .scene import Layout

__all__ = ["search", "starts"]

ROUGH = ((0.1, 6), (0.03, 6))  # relative errors forgiven, and steps
FURTHER = (-0.35, 0.35)  # logarithm of further Einstein radii over that of the first guess
KEPT = 2       # fits that go on
APART = 0.04   # logarithm of the Einstein radius by which two fits differ
POLISH = 12


def starts(guesses, radius=None):
    """
    Where fits begin: at the guesses, and at others for those that all of them have missed.

    Parameters
    ----------
    guesses : `~torch.Tensor`
        Parameters of lens, galaxy and source ``(k, 20)``, as the network says them.
    radius : float, optional
        An Einstein radius to begin with, too.

    Returns
    -------
    values : `~torch.Tensor`
        Those of the layout of one lens, source and galaxy.
    """
    macro, galaxy, source = guesses.double().split([len(MACRO), len(LIGHT), len(LIGHT)], dim=-1)
    values = torch.cat([macro, source, galaxy], dim=-1)
    others = [values]
    for log_radius in [values[:1, 0] + f for f in FURTHER] + (
            [] if radius is None else [torch.tensor([math.log(radius)]).double()]):
        # The source stays behind the same part of the lens.
        other = values[:1].clone()
        place = slice(len(MACRO), len(MACRO) + 2)
        other[:, place] = other[:, 4:6] + (other[:, place] - other[:, 4:6]) * (
            log_radius - other[:, 0]).exp()[:, None]
        other[:, 0] = log_radius
        others.append(other)
    return torch.cat(others)


def distinct(found, count):
    """The best fits whose Einstein radii differ."""
    order, kept = found.objective.argsort().tolist(), []
    for k in order:
        radius = found.values[k, 0]
        if all(abs(radius - found.values[j, 0]) > APART for j in kept):
            kept.append(k)
    return kept[:count]


def search(values, coarse, fine, data, parts=6):
    """
    The best model of an image.

    The guesses are fitted roughly first, all of them; those of the best with different Einstein
    radii get further parts for what they leave, and that of the greatest evidence, or the model
    without a lens, is fitted in full.

    Parameters
    ----------
    values : `~torch.Tensor`
        Guesses, as `starts` gives them.
    coarse, fine : `~lenssr.networks._lattice.Lattice`
        Where scenes are evaluated at first, and in the end.
    data : `~lenssr.methods._lensmodel.fit.Data`
        The image.
    parts : int
        Parts that may be added.

    Returns
    -------
    posterior : `~lenssr.methods._lensmodel.posterior.Posterior`
    """
    rough = Fit(Layout(), values)
    for share, steps in ROUGH:
        rough = fit(rough, coarse, data.forgiving(share), steps)
        kept = distinct(rough, 2 * KEPT)
        rough = Fit(rough.layout, rough.values[kept])
    rough = fit(rough, coarse, data, POLISH)
    tried = []
    for k in distinct(rough, KEPT):
        one = fit(Fit(rough.layout, rough.values[k:k + 1]), coarse, data, 0)
        tried.append(grow(one, coarse, data, parts))
    alone = fit(Fit(Layout(False, 0, 1, 0), values[:1, -len(LIGHT):]), coarse,
                data.forgiving(0.03), POLISH)
    tried.append(grow(fit(alone, coarse, data, POLISH), coarse, data, parts))
    best = min(tried, key=lambda one: infer(one, coarse, data).cost)
    return infer(fit(best, fine, data, POLISH), fine, data)
