"""Fidelity tests with lens models: subhalo twins and Einstein radii."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
from scipy.optimize import least_squares

from lenssr._forward_model import PSFConvolution
from lenssr.evaluate._fidelity._base import FidelityTest, make_table, robust_statistics
from lenssr.evaluate._fidelity._scenes import lens_population, lenses
from lenssr.image import target_psf
from lenssr.simulate import Grid, SceneModel, draw_model, ray_shooting, render, truncated_nfw


def compare(difference, truth):
    """Compute the amplitude and the correlation of a restored difference against the true one."""
    product, power = (difference * truth).sum(), (truth**2).sum()
    if not power:
        return np.nan, np.nan
    size = np.sqrt(power * (difference**2).sum())
    return float(product / power), float(product / size) if size else 0.0


# Order, derivative steps and bounds of the parameters of lens, shear and source, in arcsec.
FIT_PARAMETERS = ("theta_E", "e1", "e2", "x", "y", "gamma1", "gamma2",
                  "R_sersic", "n_sersic", "s1", "s2", "sx", "sy")
DERIVATIVE_STEPS = np.array([1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-2, 2e-3, 2e-3, 1e-3,
                             1e-3])
LOWER_BOUNDS = np.array([0.1, -0.7, -0.7, -2, -2, -0.5, -0.5, 0.005, 0.3, -0.7, -0.7, -4, -4])
UPPER_BOUNDS = np.array([6, 0.7, 0.7, 2, 2, 0.5, 0.5, 3, 8, 0.7, 0.7, 4, 4])
MAX_FIT_STEPS = 30  # Levenberg-Marquardt steps


def fit_parameters(model):
    """Return the parameters of a scene in the order of `FIT_PARAMETERS`."""
    lens, shear = model.lens_kwargs
    (source,) = model.source_kwargs
    return np.array([lens["theta_E"], lens["e1"], lens["e2"], lens["center_x"], lens["center_y"],
                     shear["gamma1"], shear["gamma2"], source["R_sersic"], source["n_sersic"],
                     source["e1"], source["e2"], source["center_x"], source["center_y"]])


def fit_scene(values):
    """Return the scene of parameters, with unit amplitude."""
    p = dict(zip(FIT_PARAMETERS, values))
    return SceneModel(
        "lens", lens_models=["SIE", "SHEAR"],
        lens_kwargs=[dict(theta_E=p["theta_E"], e1=p["e1"], e2=p["e2"], center_x=p["x"],
                          center_y=p["y"]),
                     dict(gamma1=p["gamma1"], gamma2=p["gamma2"], ra_0=0.0, dec_0=0.0)],
        source_models=["SERSIC_ELLIPSE"],
        source_kwargs=[dict(amp=1.0, R_sersic=p["R_sersic"], n_sersic=p["n_sersic"], e1=p["s1"],
                            e2=p["s2"], center_x=p["sx"], center_y=p["sy"])])


def fit_lens(image, psf, pixel, fine, start):
    """Fit lens and source to an image of the arcs by least squares."""
    blur = PSFConvolution(psf, fine, image.shape)
    grid = Grid(fine * len(image), pixel / fine)
    unit = np.linalg.norm(image)

    def residuals(values):
        model = blur.forward(render(fit_scene(values), grid)[0])
        # The amplitude of the source is linear and has a closed-form solution.
        power = (model**2).sum()
        return (image - (model * image).sum() / power * model).ravel() / unit

    def slopes(values):
        # Step away from the nearer bound.
        steps = np.where(values + DERIVATIVE_STEPS > UPPER_BOUNDS, -DERIVATIVE_STEPS,
                         DERIVATIVE_STEPS)
        start_residual = residuals(values)
        return np.stack([(residuals(values + step * unit_vector) - start_residual) / step
                         for step, unit_vector in zip(steps, np.eye(len(values)))], axis=1)

    inside = np.clip(start, LOWER_BOUNDS + 1e-6, UPPER_BOUNDS - 1e-6)
    return least_squares(residuals, inside, slopes, bounds=(LOWER_BOUNDS, UPPER_BOUNDS),
                         x_scale=30 * DERIVATIVE_STEPS,
                         max_nfev=MAX_FIT_STEPS, ftol=1e-6, xtol=1e-6).x


TWIN_MASSES = (1e9, 1e10)  # solar masses
"""Masses of the subhalos, solar masses."""

ARC_SNR = 100.0  # peak of the arcs over the sky noise
SUBHALO_RADII = np.linspace(0.8, 1.2, 9)  # Einstein radii
N_ANGLES = 128  # positions of a subhalo around the lens


def add_subhalo(scene, mass):
    """Add a truncated NFW halo to a lens at the position of the brightest arc."""
    from lenstronomy.LightModel.light_model import LightModel

    plane, scene = scene.substructure.plane, deepcopy(scene)
    angle = 2 * np.pi * np.arange(N_ANGLES) / N_ANGLES
    radius = plane.theta_e * SUBHALO_RADII[:, None]
    x, y = (plane.x + radius * np.cos(angle)).ravel(), (plane.y + radius * np.sin(angle)).ravel()
    light = LightModel(scene.source_models).surface_brightness(
        *ray_shooting(scene)(x, y), scene.source_kwargs)
    best = np.argmax(light)
    scene.lens_models.append("TNFW")
    scene.lens_kwargs.append(truncated_nfw(mass, plane, 1.0) | {
        "center_x": float(x[best]), "center_y": float(y[best])})
    return scene


def twins(site, n, seed):
    """Yield groups of images of a lens with and without a subhalo, one group for five of ``n``."""
    population, rng = lens_population(site), np.random.default_rng(seed)
    for k in range(-(-n // 5)):
        scene = draw_model(population, seed, k)
        instrument = _fixed_conditions(site.instrument, rng)
        # Observe once to measure the peak of the arcs, and again at the depth that this
        # peak needs.
        observed = site.observe([scene], seed + k, instrument=instrument).batch([0]).observation
        sky, depth = float(observed.sky_rms[0]), float(observed.sky_electrons[0])
        magnitude = 25 - 2.5 * np.log10(depth / sky)
        instrument = replace(instrument, zero_point=25.0, read_noise=depth, exposures=1,
                             exposure_time=1.0, sky_brightness=np.inf, magnitude=2 * (magnitude,))
        group = []
        for twin in (scene, *(add_subhalo(scene, mass) for mass in TWIN_MASSES)):
            group += site.observe([twin] * 2, seed + k, instrument=instrument)
        yield group


def _fixed_conditions(instrument, rng):
    """Fix the PSF and the depth of an instrument."""
    if instrument.kernels is not None:
        return replace(instrument, kernels=(instrument.kernels[rng.integers(
            len(instrument.kernels))],), snr=(ARC_SNR, ARC_SNR))
    seeing = 2 * (rng.uniform(*instrument.seeing),)
    # Uniform in the reciprocal of beta, which is zero for a Gaussian.
    flat = rng.uniform(*sorted(1 / b for b in instrument.beta))
    beta = 2 * (1 / flat if flat else np.inf,)
    return replace(instrument, seeing=seeing, beta=beta, ellipticity=0.0, snr=(ARC_SNR, ARC_SNR))


class Twins(FidelityTest):
    """Test of the image difference that a subhalo causes."""

    groups = staticmethod(twins)

    def measure(self, restored):
        without, again, *others_restored = restored
        noise = without.sample.noise.min()
        rows = []
        for k, mass in enumerate(TWIN_MASSES):
            same, fresh = others_restored[2 * k: 2 * k + 2]
            true = same.sample.truth - without.sample.truth
            row = {"mass": mass, "contrast": np.abs(true).max() / noise}
            for name, image in (("same", same), ("fresh", fresh), ("false", again)):
                amplitude_and_correlation = compare(image.image - without.image, true)
                row |= dict(zip((f"{name}_amplitude", f"{name}_correlation"),
                                amplitude_and_correlation))
            rows.append(row)
        return rows

    def tables(self, rows, rng):
        table_rows = []
        for label, lines in rows.items():
            for mass in TWIN_MASSES:
                part = [line for line in lines if line["mass"] == mass]
                values = {key: np.array([line[key] for line in part]) for key in part[0]}
                amplitude, _, scatter, n = robust_statistics(values["same_amplitude"])
                rms = {key: np.sqrt(np.nanmean(values[f"false_{key}"] ** 2))
                       for key in ("amplitude", "correlation")}
                table_rows.append({
                    "method": label, "mass": mass, "n": n,
                    "contrast": robust_statistics(values["contrast"])[0], "amplitude": amplitude,
                    "amplitude_scatter": scatter,
                    "correlation": robust_statistics(values["same_correlation"])[0],
                    "fresh_correlation": robust_statistics(values["fresh_correlation"])[0],
                    "false_amplitude": rms["amplitude"],
                    "false_correlation": rms["correlation"]})
        return {"twins": make_table(table_rows)}


MODEL_SUBPIXELS = 2  # model points per output pixel and axis
START_PERTURBATION = 0.02  # of the true parameters, relative or absolute
LENS_FIT_REFERENCES = "target", "input"


class Einstein(FidelityTest):
    """Test of the Einstein radii fitted to results, relative to fits of the targets."""

    groups = staticmethod(lenses)

    def references(self, samples):
        (sample,) = samples
        plane = sample.ready.plane
        images = (sample.pair.hr.data, target_psf(), 1), (plane.data, plane.psf, sample.scale)
        return {name: [_fit_row(sample, *image)]
                for name, image in zip(LENS_FIT_REFERENCES, images)}

    def measure(self, restored):
        (restored_pair,) = restored
        if restored_pair.result.psf is None:
            return []
        return [_fit_row(restored_pair.sample, restored_pair.image, restored_pair.result.psf, 1)]

    def tables(self, rows, rng):
        table_rows, target = [], {line["index"]: line["radius"]
                                  for line in rows[LENS_FIT_REFERENCES[0]]}
        for label in (*LENS_FIT_REFERENCES,
                      *(label for label in rows if label not in LENS_FIT_REFERENCES)):
            if not rows[label]:
                continue
            radius, true, hr = np.transpose([
                (line["radius"], line["true"], target[line["index"]]) for line in rows[label]])
            ratio, error, scatter, n = robust_statistics(radius / hr)
            table_rows.append({"method": label, "n": n, "to_hr": ratio, "error": error,
                               "scatter": scatter, "to_truth": robust_statistics(radius / true)[0]})
        return {"einstein": make_table(table_rows)}


def _fit_row(sample, image, psf, step):
    """Fit the Einstein radius of an image with pixels of ``step`` output pixels."""
    pixel = sample.pair.truth["instrument"].pixel_scale * step / sample.scale
    true = fit_parameters(sample.pair.truth["scene"])
    # Start near the truth, and at the same point for all images of a lens.
    start = true + START_PERTURBATION * np.maximum(np.abs(true),
                                                   0.1) * sample.rng().standard_normal(13)
    fit = fit_lens(np.asarray(image, dtype=float), psf, pixel, step * MODEL_SUBPIXELS, start)
    return {"index": sample.index, "radius": fit[0], "true": true[0]}
