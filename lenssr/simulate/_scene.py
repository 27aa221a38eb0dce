"""Surface brightness of a scene on a fine grid, rendered by lenstronomy."""

from dataclasses import dataclass

import numpy as np

from lenssr.lensing import quasar_points

# The pixels around the centre of a light profile are integrated: a cusp that is sampled at one
# point per pixel has a flux that depends on the position of the centre within the pixel.
CORE_HALF_WIDTH = 3  # pixels on either side of the central pixel
CORE_STEPS = 7       # points in a pixel along each axis

LINE_POINTS = 100       # point masses of a line, as in the public simulator of vortices
MIN_HALF_LENGTH = 1e-6  # arcsec; a shorter line deflects as a point


@dataclass(frozen=True)
class Grid:
    """
    Square grid of fine pixels, centred on the origin.

    Parameters
    ----------
    n : int
        Number of pixels along a side.
    pixel : float
        Side of a pixel, arcsec.

    Examples
    --------
    >>> from lenssr.simulate import Grid
    >>> Grid(3, 0.5).coordinates()[0][:3]
    array([-0.5,  0. ,  0.5])
    """

    n: int
    pixel: float

    def coordinates(self):
        """Return flat arrays ``x, y`` of the pixel centres, arcsec."""
        axis = (np.arange(self.n) - (self.n - 1) / 2) * self.pixel
        x, y = np.meshgrid(axis, axis)
        return x.ravel(), y.ravel()

    def to_pixel(self, arcsec):
        """Return the zero-based pixel coordinate of a position in arcsec."""
        return np.asarray(arcsec) / self.pixel + (self.n - 1) / 2


def render(scene, grid):
    """
    Render the surface brightness of a scene, without telescope.

    Parameters
    ----------
    scene : `SceneModel`
        Scene, such as ``pair.truth["scene"]``.
    grid : `Grid`
        Pixels to evaluate the scene on.

    Returns
    -------
    image : `~numpy.ndarray`
        Flux per fine pixel without point sources, float64, shape ``(n, n)``.
    points : `~numpy.ndarray`
        Point sources, shape ``(k, 3)``: zero-based fine-pixel ``x`` and ``y``, and flux.

    Examples
    --------
    >>> import numpy as np
    >>> from lenssr.simulate import Grid, Population, render
    >>> scene = Population().draw(np.random.default_rng(1))
    >>> image, points = render(scene, Grid(32, 0.2))
    >>> image.shape, points.shape[1]
    ((32, 32), 3)
    """
    x, y = grid.coordinates()
    image = np.zeros((grid.n, grid.n))
    if scene.light_models:
        image += _light(scene.light_models, scene.light_kwargs, x, y).reshape(image.shape)
        _refine_cores(image, grid, scene.light_models, scene.light_kwargs)
    points = list(scene.points)
    if scene.lens_models:
        shoot_rays = ray_shooting(scene)
        beta = shoot_rays(x, y)
        image += _light(scene.source_models, scene.source_kwargs, *beta).reshape(image.shape)
        if scene.quasar is not None:
            points += quasar_points(scene, shoot_rays, grid,
                                    [b.reshape(image.shape) for b in beta])
    points = np.array(points, dtype=float).reshape(-1, 3)
    points[:, :2] = grid.to_pixel(points[:, :2])
    # lenstronomy's amplitudes are per square arcsec.
    return image * grid.pixel**2, points


def ray_shooting(scene):
    """
    Return a function that maps ``x, y`` (arcsec) to positions in the source plane (arcsec).

    Deflections are lenstronomy's, and closed forms for ``LINE_MASS`` and ``WAVE``.
    """
    from lenstronomy.LensModel.lens_model import LensModel

    lenses = list(zip(scene.lens_models, scene.lens_kwargs, strict=True))
    standard = [lens for lens in lenses if lens[0] not in CLOSED_FORMS]
    model, parameters = LensModel([m for m, _ in standard]), [kwargs for _, kwargs in standard]
    extra = [(CLOSED_FORMS[name], kwargs) for name, kwargs in lenses if name in CLOSED_FORMS]

    def shoot_rays(x, y):
        beta = model.ray_shooting(x, y, parameters)
        for deflection, kwargs in extra:
            beta = [b - a for b, a in zip(beta, deflection(x, y, kwargs), strict=True)]
        return beta

    return shoot_rays


def line_deflection(x, y, kwargs):
    """
    Return the deflection ``(alpha_x, alpha_y)`` (arcsec) by a uniform line of mass.

    A point mass at ``w`` deflects by ``theta_E**2 / conj(z - w)``. The mean over the line from
    ``-h`` to ``h`` is ``theta_E**2 conj(log((z + h) / (z - h)) / (2 h))``, with the branch cut on
    the line.
    """
    first, second = (complex(kwargs[f"x{i}"], kwargs[f"y{i}"]) for i in "12")
    z, half = x + 1j * y - (first + second) / 2, (second - first) / 2
    if abs(half) < MIN_HALF_LENGTH:
        half = MIN_HALF_LENGTH
    # log1p, because the ratio approaches one far from a short line.
    alpha = kwargs["theta_E"] ** 2 * np.conj(np.log1p(2 * half / (z - half)) / (2 * half))
    return alpha.real, alpha.imag


def wave_deflection(x, y, kwargs):
    """
    Return the deflection ``(alpha_x, alpha_y)`` (arcsec) by a plane wave of convergence.

    The convergence is ``amplitude k / 2 cos(k (x - x0))``, with ``amplitude`` in arcsec, the wave
    vector ``k_x``, ``k_y`` in 1 / arcsec, and its maximum at ``center_x``, ``center_y``.
    """
    kx, ky = kwargs["k_x"], kwargs["k_y"]
    phase = kx * (x - kwargs["center_x"]) + ky * (y - kwargs["center_y"])
    alpha = kwargs["amplitude"] / np.hypot(kx, ky) * np.sin(phase)
    return kx * alpha, ky * alpha


CLOSED_FORMS = {"LINE_MASS": line_deflection, "WAVE": wave_deflection}  # not in lenstronomy


def lines_as_points(models, kwargs, n_points=LINE_POINTS):
    """Return lens models with each ``LINE_MASS`` replaced by equally spaced point masses."""
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


def _light(models, kwargs, x, y):
    from lenstronomy.LightModel.light_model import LightModel

    return LightModel(models).surface_brightness(x, y, kwargs)


def _refine_cores(image, grid, models, kwargs):
    """Integrate the light over the pixels around the centre of each profile, in place."""
    half, steps = CORE_HALF_WIDTH, CORE_STEPS
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
