"""From the parameters of a scene to its surface brightness on a fine grid (lenstronomy)."""

from dataclasses import dataclass

import numpy as np

from lenssr.lensing import quasar_points
from lenssr.simulate._substructure_priors import wave_deflection

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


# Deflections that lenstronomy does not have.
EXTRA_LENS_MODELS = {"LINE_MASS": line_deflection, "WAVE": wave_deflection}


@dataclass(frozen=True)
class Grid:
    """
    A square grid of fine pixels centred on the origin.

    Parameters
    ----------
    n : int
        Pixels along a side.
    pixel : float
        Side of a pixel, arcsec.
    """

    n: int
    pixel: float

    def coordinates(self):
        """Flat arrays ``x, y`` of the pixel centres, arcsec."""
        axis = (np.arange(self.n) - (self.n - 1) / 2) * self.pixel
        x, y = np.meshgrid(axis, axis)
        return x.ravel(), y.ravel()

    def to_pixel(self, arcsec):
        """Zero-based pixel coordinate of a position."""
        return np.asarray(arcsec) / self.pixel + (self.n - 1) / 2


def _light(models, kwargs, x, y):
    from lenstronomy.LightModel.light_model import LightModel

    return LightModel(models).surface_brightness(x, y, kwargs)


def _refine_centres(image, grid, models, kwargs, half=3, steps=7):
    # A cusp sampled at one point per pixel puts the flux of its core at the mercy of
    # where the centre falls; there the pixel is integrated.
    offset = ((np.arange(steps) + 0.5) / steps - 0.5) * grid.pixel
    for kw in kwargs:
        ix, iy = (int(round(float(grid.to_pixel(kw[c])))) for c in ("center_x", "center_y"))
        xs = np.arange(max(ix - half, 0), min(ix + half + 1, grid.n))
        ys = np.arange(max(iy - half, 0), min(iy + half + 1, grid.n))
        if not (xs.size and ys.size):
            continue
        fine_x = ((xs - (grid.n - 1) / 2) * grid.pixel)[:, None] + offset
        fine_y = ((ys - (grid.n - 1) / 2) * grid.pixel)[:, None] + offset
        x, y = np.meshgrid(fine_x.ravel(), fine_y.ravel())
        values = _light(models, kwargs, x.ravel(), y.ravel())
        blocks = values.reshape(ys.size, steps, xs.size, steps)
        image[np.ix_(ys, xs)] = blocks.mean(axis=(1, 3))


def ray_shooting(scene):
    """A function of ``x, y``: where rays from the image plane meet the source plane (arcsec)."""
    from lenstronomy.LensModel.lens_model import LensModel

    lenses = list(zip(scene.lens_models, scene.lens_kwargs, strict=True))
    known = [lens for lens in lenses if lens[0] not in EXTRA_LENS_MODELS]
    model, parameters = LensModel([m for m, _ in known]), [kwargs for _, kwargs in known]
    extra_models = [(EXTRA_LENS_MODELS[name], kwargs) for name, kwargs in lenses if name in EXTRA_LENS_MODELS]

    def shoot(x, y):
        beta = model.ray_shooting(x, y, parameters)
        for deflection, kwargs in extra_models:
            beta = [b - a for b, a in zip(beta, deflection(x, y, kwargs), strict=True)]
        return beta

    return shoot


def render(scene, grid):
    """
    Surface brightness of a scene, before any telescope.

    Parameters
    ----------
    scene : `SceneModel`
        What is on the sky.
    grid : `Grid`
        Where to evaluate it.

    Returns
    -------
    image : `~numpy.ndarray`
        Flux per fine pixel, float64, shape ``(n, n)``; point sources are not in it.
    points : `~numpy.ndarray`
        Point sources, shape ``(k, 3)``: zero-based fine-pixel ``x``, ``y``, flux.
    """
    x, y = grid.coordinates()
    image = np.zeros((grid.n, grid.n))
    if scene.light_models:
        image += _light(scene.light_models, scene.light_kwargs, x, y).reshape(image.shape)
        _refine_centres(image, grid, scene.light_models, scene.light_kwargs)
    points = list(scene.points)
    if scene.lens_models:
        shoot = ray_shooting(scene)
        beta = shoot(x, y)
        image += _light(scene.source_models, scene.source_kwargs, *beta).reshape(image.shape)
        if scene.quasar is not None:
            points += quasar_points(scene, shoot, grid,
                                    [b.reshape(image.shape) for b in beta])
    points = np.array(points, dtype=float).reshape(-1, 3)
    points[:, :2] = grid.to_pixel(points[:, :2])
    # lenstronomy's amplitudes are per square arcsec.
    return image * grid.pixel**2, points
