"""A uniform line of mass as a row of points, for lens codes that know no lines."""

import numpy as np

__all__ = ["LINE_POINTS", "lines_as_points"]

LINE_POINTS = 100  # as many as the public simulator of vortices has


def lines_as_points(models, kwargs, n_points=LINE_POINTS):
    """
    Replace every ``LINE_MASS`` by equal point masses in the middles of equal pieces of it.

    Parameters
    ----------
    models, kwargs : list
        Lens models and their parameters; those of a line are its ends ``x1``, ``y1``,
        ``x2``, ``y2`` and the Einstein radius ``theta_E`` of all its mass (arcsec).
    n_points : int
        Points in a line.

    Returns
    -------
    models, kwargs : list
        The same lenses without lines.
    """
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
