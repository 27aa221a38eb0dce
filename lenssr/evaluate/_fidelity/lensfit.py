"""The lens that an image shows: an isothermal ellipsoid with shear before a Sersic source."""

import numpy as np
from scipy.optimize import least_squares

from lenssr._forward_model import PSFConvolution
from lenssr.simulate import Grid, SceneModel, render

__all__ = ["fit_lens", "parameters", "scene"]

# Order, steps of derivatives, and bounds of the parameters: lens, shear, source. Arcsec.
NAMES = ("theta_E", "e1", "e2", "x", "y", "gamma1", "gamma2",
         "R_sersic", "n_sersic", "s1", "s2", "sx", "sy")
STEPS = np.array([1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-2, 2e-3, 2e-3, 1e-3, 1e-3])
LOWER = np.array([0.1, -0.7, -0.7, -2, -2, -0.5, -0.5, 0.005, 0.3, -0.7, -0.7, -4, -4])
UPPER = np.array([6, 0.7, 0.7, 2, 2, 0.5, 0.5, 3, 8, 0.7, 0.7, 4, 4])
TRIALS = 30  # steps at most


def parameters(model):
    """Parameters of a `SceneModel` of this kind, in the order of ``NAMES``."""
    lens, shear = model.lens_kwargs
    (source,) = model.source_kwargs
    return np.array([lens["theta_E"], lens["e1"], lens["e2"], lens["center_x"], lens["center_y"],
                     shear["gamma1"], shear["gamma2"], source["R_sersic"], source["n_sersic"],
                     source["e1"], source["e2"], source["center_x"], source["center_y"]])


def scene(values):
    """The `SceneModel` of such parameters, of unit amplitude."""
    p = dict(zip(NAMES, values))
    return SceneModel(
        "lens", lens_models=["SIE", "SHEAR"],
        lens_kwargs=[dict(theta_E=p["theta_E"], e1=p["e1"], e2=p["e2"], center_x=p["x"],
                          center_y=p["y"]),
                     dict(gamma1=p["gamma1"], gamma2=p["gamma2"], ra_0=0.0, dec_0=0.0)],
        source_models=["SERSIC_ELLIPSE"],
        source_kwargs=[dict(amp=1.0, R_sersic=p["R_sersic"], n_sersic=p["n_sersic"], e1=p["s1"],
                            e2=p["s2"], center_x=p["sx"], center_y=p["sy"])])


def fit_lens(image, psf, pixel, fine, start):
    """Fit lens and source to an image of the arcs."""
    blur = PSFConvolution(psf, fine, image.shape)
    grid = Grid(fine * len(image), pixel / fine)
    unit = np.linalg.norm(image)

    def misfit(values):
        model = blur.forward(render(scene(values), grid)[0])
        # The amplitude of the source is linear: its best value is in closed form.
        power = (model**2).sum()
        return (image - (model * image).sum() / power * model).ravel() / unit

    def slopes(values):
        # Away from the bound that is near.
        steps = np.where(values + STEPS > UPPER, -STEPS, STEPS)
        here = misfit(values)
        return np.stack([(misfit(values + step * unit_vector) - here) / step
                         for step, unit_vector in zip(steps, np.eye(len(values)))], axis=1)

    inside = np.clip(start, LOWER + 1e-6, UPPER - 1e-6)
    return least_squares(misfit, inside, slopes, bounds=(LOWER, UPPER), x_scale=30 * STEPS,
                         max_nfev=TRIALS, ftol=1e-6, xtol=1e-6).x
