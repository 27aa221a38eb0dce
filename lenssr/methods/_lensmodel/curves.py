"""What a fitted lens is, in plain arrays: parameters, source, critical curves and caustics."""

import numpy as np
import torch
from astropy.table import Table
from scipy import ndimage
from skimage.measure import find_contours

from lenssr.image import LensSolution
from lenssr.lensing import LENS_PARAMETERS, sersic_profile

__all__ = ["critical_curves", "solution"]

LEAST = 1.0    # area within a critical curve, input pixels: less is the cusp of the lens
FINER = 3      # pixels of the source that is returned to one that was fitted


def critical_curves(beta, x, y):
    """Where the magnification is infinite, and what is behind."""
    xy, xx = np.gradient(beta[0], y, x)
    yy, yx = np.gradient(beta[1], y, x)
    found = []
    for path in find_contours(xx * yy - xy * yx, 0.0):
        curve = np.stack([np.interp(path[:, 1], np.arange(len(x)), x),
                          np.interp(path[:, 0], np.arange(len(y)), y)], axis=1)
        if abs(_area(curve)) < LEAST:
            continue
        behind = [ndimage.map_coordinates(b, path.T, order=1) for b in beta]
        found.append((curve, np.stack(behind, axis=1)))
    found.sort(key=lambda pair: -abs(_area(pair[0])))
    return [curve for curve, _ in found], [caustic for _, caustic in found]


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
    found = np.array([radius, *values[1:4], *(scale * values[4:6] + middle), *values[6:]])
    covariance = covariance * np.outer(unit, unit)
    names = ["theta_E", *(p.name for p in LENS_PARAMETERS[1:])]
    table = Table({"name": names, "value": found, "error": np.sqrt(np.diag(covariance)),
                   "unit": ["pix" if name in ("theta_E", "x", "y") else "" for name in names]})
    beta = [b.double().numpy() for b in model.rays(state)]
    curves, caustics = critical_curves(beta, lattice.x.ravel().double().numpy(),
                                       lattice.y.ravel().double().numpy())
    image, axes = _source(model, state)
    return LensSolution(
        table, covariance, noise * image.numpy(),
        tuple(float(axis[0]) * scale + m for axis, m in zip(axes, middle)),
        float(axes[0][1] - axes[0][0]) * scale,
        *([scale * curve + middle for curve in several] for several in (curves, caustics)),
        potential=_convergence(model, state, values))


def _source(model, state):
    """Profiles and pixels of the source together, on a finer grid, and its axes."""
    grid = model.grid
    count = FINER * (grid.side - 1) + 1
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


def _convergence(model, state, macro):
    """Root mean square of the convergence of the potential within the Einstein radius."""
    radius, step = np.exp(macro[0]), 0.1
    place = torch.arange(-radius, radius + step, step, dtype=torch.float64)
    ax, ay = model.potential.deflect(place + macro[4], place + macro[5],
                                     state.bent * model.bent_unit)
    kappa = (np.gradient(ax.numpy(), step, axis=1) + np.gradient(ay.numpy(), step, axis=0)) / 2
    inside = np.hypot(*np.meshgrid(place.numpy(), place.numpy())) < radius
    return float(np.sqrt(np.mean(kappa[inside] ** 2)))
