"""A uniform line of mass: its deflection, and a row of points for codes that know no lines."""

import numpy as np

__all__ = ["LINE_POINTS", "line_deflection", "lines_as_points"]

LINE_POINTS = 100  # as many as the public simulator of vortices has


def lines_as_points(models, kwargs, n_points=LINE_POINTS):
    """Replace every ``LINE_MASS`` by equal point masses in the middles of equal pieces of it."""
    new_models, new_kwargs = [], []
    along = (np.arange(n_points) + 0.5) / n_points
    for model, kw in zip(models, kwargs, strict=True):
        if model != "LINE_MASS":
            new_models.append(model)
            new_kwargs.append(kw)
            continue
        x, y = (kw[f"{c}1"] + along * (kw[f"{c}2"] - kw[f"{c}1"]) for c in "xy")
        new_models += ["POINT_MASS"] * n_points
        new_kwargs += [dict(theta_E=kw["theta_E"] / n_points**0.5, center_x=float(a),
                            center_y=float(b)) for a, b in zip(x, y)]
    return new_models, new_kwargs


def line_deflection(x, y, kwargs):
    """Deflection by a uniform line of mass, in closed form."""
    first, second = (complex(kwargs[f"x{i}"], kwargs[f"y{i}"]) for i in "12")
    z, half = x + 1j * y - (first + second) / 2, (second - first) / 2
    if abs(half) < 1e-6:
        half = 1e-6  # a line of no length is a point, and so is one of two microarcseconds
    # As log1p of a small number: far from a short line the ratio is close to one.
    alpha = kwargs["theta_E"] ** 2 * np.conj(np.log1p(2 * half / (z - half)) / (2 * half))
    return alpha.real, alpha.imag
