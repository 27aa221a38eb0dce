"""What a fit of a lens has left in an image, and further parts of the model that explain it."""

import math
from dataclasses import replace

import torch
from torch.nn import functional

from lenssr.methods._lensmodel.fit import Fit, evidence, fit, normal_parts
from lenssr.methods._lensmodel.scene import Layout, SceneModel

__all__ = ["grow"]

LEAST = 4.5   # significance of a peak of what is left
NEAR = (1.4, 2.0)  # Einstein radii, and pixels beyond, where the images of a source are
FIRST, STEPS = 4, 6  # with each part that is tried, and with the best of them


def insert(found, kind, values):
    """The best of some fits with another part, behind those of its kind."""
    layout = found.layout
    field = {"source": "sources", "light": "lights", "point": "points"}[kind]
    longer = replace(layout, **{field: getattr(layout, field) + 1})
    place = longer.slices(kind)[-1].start
    old = found.values[:1]
    new = torch.as_tensor(values, dtype=old.dtype)[None]
    return Fit(longer, torch.cat([old[:, :place], new, old[:, place:]], dim=1))


def significance(residual, lattice, data):
    """What is left at each pixel, as a point source's share of it, over its error."""
    with torch.no_grad():
        model = SceneModel(Layout(False, 0, 0, 1), lattice)
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
        near = math.hypot(x - cx, y - cy) < NEAR[0] * math.exp(radius) + NEAR[1]
    tried = [] if near and not anywhere else [
        insert(found, "point", [x, y]), insert(found, "light", [x, y, *shape])]
    if found.layout.lens and (near or anywhere):
        model, lens = SceneModel(found.layout, lattice), found.layout.slices("lens")[0]
        beta = model.shoot(found.values[:1, lens].to(model.dtype))
        # The ray that starts nearest to the place.
        i = int((lattice.y.ravel() - y).abs().argmin())
        j = int((lattice.x.ravel() - x).abs().argmin())
        behind = [float(b[0, i, j]) for b in beta]
        tried.append(insert(found, "source", [*behind, -0.5, 0.0, 0.0, 0.0]))
    return tried


def grow(found, lattice, data, most, anywhere=True):
    """Add profiles and points for as long as what is left has significant peaks."""
    found = evidence(found, lattice, data)
    closed = torch.zeros(lattice.shape, dtype=torch.bool)
    for _ in range(most):
        residual, _, _ = normal_parts(found, SceneModel(found.layout, lattice), data)
        peak = torch.where(closed, -torch.inf, significance(residual[0], lattice, data))
        if peak.max() < LEAST:
            break
        i, j = divmod(int(peak.argmax()), lattice.shape[1])
        place = [k - (n - 1) / 2 for k, n in zip((j, i), lattice.shape[::-1])]
        tried = [evidence(fit(one, lattice, data, FIRST), lattice, data)
                 for one in candidates(found, place, lattice, anywhere)]
        best = min(tried, key=lambda one: float(one.cost[0]))
        best = evidence(fit(best, lattice, data, STEPS), lattice, data)
        if best.cost[0] < found.cost[0]:
            found = best
        else:
            closed[max(i - 1, 0):i + 2, max(j - 1, 0):j + 2] = True
    return found
