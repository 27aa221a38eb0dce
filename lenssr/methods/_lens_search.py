"""From several guesses of a lens to the best model of an image."""

import torch

from lenssr.networks._lensing import LIGHT, MACRO

from ._lens_fit import Fit, fit
from ._lens_posterior import infer
from ._lens_pursuit import grow
from ._lens_scene import Layout

__all__ = ["search", "starts"]

PARTS = 6      # that are added at most
ROUGH = ((0.1, 6), (0.03, 6))  # relative errors forgiven, and steps
KEPT = 2       # fits that go on
APART = 0.04   # logarithm of the Einstein radius by which two fits differ
POLISH = 12


def starts(guesses):
    """
    The guesses as they are, and with further Einstein radii.

    Parameters
    ----------
    guesses : `~torch.Tensor`
        Parameters of lens, galaxy and source ``(k, 20)``, as the network says them.

    Returns
    -------
    values : `~torch.Tensor`
        Those of the layout of one lens, source and galaxy.
    """
    macro, galaxy, source = guesses.double().split([len(MACRO), len(LIGHT), len(LIGHT)], dim=-1)
    return torch.cat([macro, source, galaxy], dim=-1)


def distinct(found, count):
    """The best fits whose Einstein radii differ."""
    order, kept = found.objective.argsort().tolist(), []
    for k in order:
        radius = found.values[k, 0]
        if all(abs(radius - found.values[j, 0]) > APART for j in kept):
            kept.append(k)
    return kept[:count]


def search(values, galaxy, coarse, fine, data):
    """
    The best model of an image.

    The guesses are fitted roughly first, all of them; those of the best with different Einstein
    radii get further parts for what they leave, and that of the greatest evidence, or the model
    without a lens, is fitted in full.

    Parameters
    ----------
    values : `~torch.Tensor`
        Guesses, as `starts` gives them.
    galaxy : `~torch.Tensor`
        Where a model without a lens begins: a profile, ``(6,)``.
    coarse, fine : `~lenssr.networks._lattice.Lattice`
        Where scenes are evaluated at first, and in the end.
    data : `~lenssr.methods._lens_fit.Data`
        The image.

    Returns
    -------
    posterior : `~lenssr.methods._lens_posterior.Posterior`
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
        tried.append(grow(one, coarse, data, PARTS))
    alone = fit(Fit(Layout(False, 0, 1, 0), galaxy[None].double()), coarse,
                data.forgiving(0.03), POLISH)
    tried.append(grow(fit(alone, coarse, data, POLISH), coarse, data, PARTS))
    best = min(tried, key=lambda one: infer(one, coarse, data).cost)
    return infer(fit(best, fine, data, POLISH), fine, data)
