"""The part about subhalos: the same lens with one and without, restored and subtracted."""

from copy import deepcopy
from dataclasses import replace

import numpy as np

from lenssr.evaluate._fidelity.differences import compare
from lenssr.evaluate._fidelity.part import Part, make_table, middle
from lenssr.evaluate._fidelity.scenes import lens_population
from lenssr.simulate import draw_model, ray_shooting, truncated_nfw

__all__ = ["MASSES", "Twins", "twins", "add_subhalo"]

MASSES = (1e9, 1e10)
"""Masses of the subhalos, solar masses."""

SNR = 100.0  # peak of the arcs over the noise of the sky
RINGS = np.linspace(0.8, 1.2, 9)  # Einstein radii at which a subhalo may be
ANGLES = 128


def add_subhalo(scene, mass):
    """A lens with one more truncated NFW halo, where the arcs are brightest."""
    from lenstronomy.LightModel.light_model import LightModel

    plane, scene = scene.substructure.plane, deepcopy(scene)
    angle = 2 * np.pi * np.arange(ANGLES) / ANGLES
    radius = plane.theta_e * RINGS[:, None]
    x, y = (plane.x + radius * np.cos(angle)).ravel(), (plane.y + radius * np.sin(angle)).ravel()
    light = LightModel(scene.source_models).surface_brightness(
        *ray_shooting(scene)(x, y), scene.source_kwargs)
    best = np.argmax(light)
    scene.lens_models.append("TNFW")
    scene.lens_kwargs.append(truncated_nfw(mass, plane, 1.0) | {
        "center_x": float(x[best]), "center_y": float(y[best])})
    return scene


def twins(site, n, seed):
    """Groups of images of a lens, one for each five of ``n``."""
    population, rng = lens_population(site), np.random.default_rng(seed)
    for k in range(-(-n // 5)):
        scene = draw_model(population, seed, k)
        instrument = _one_sight(site.instrument, rng)
        # Once to see how bright the arcs are, and then at that depth, whatever is in the lens.
        seen = site.observe([scene], seed + k, instrument=instrument).batch([0]).seen
        sky, depth = float(seen.sky[0]), float(seen.electrons[0])
        magnitude = 25 - 2.5 * np.log10(depth / sky)
        instrument = replace(instrument, zero_point=25.0, read_noise=depth, exposures=1,
                             exposure_time=1.0, sky_brightness=np.inf, magnitude=2 * (magnitude,))
        group = []
        for each in (scene, *(add_subhalo(scene, mass) for mass in MASSES)):
            group += site.observe([each] * 2, seed + k, instrument=instrument)
        yield group


def _one_sight(instrument, rng):
    """The instrument on one night: one PSF, one depth."""
    if instrument.kernels is not None:
        return replace(instrument, kernels=(instrument.kernels[rng.integers(
            len(instrument.kernels))],), snr=(SNR, SNR))
    seeing = 2 * (rng.uniform(*instrument.seeing),)
    # Uniform in its reciprocal, which is zero for a Gaussian.
    flat = rng.uniform(*sorted(1 / b for b in instrument.beta))
    beta = 2 * (1 / flat if flat else np.inf,)
    return replace(instrument, seeing=seeing, beta=beta, ellipticity=0.0, snr=(SNR, SNR))


class Twins(Part):
    """What of the difference that a subhalo makes is in the difference of two results."""

    groups = staticmethod(twins)

    def measure(self, restored):
        without, again, *rest = restored
        noise = without.sample.noise.min()
        rows = []
        for k, mass in enumerate(MASSES):
            same, fresh = rest[2 * k: 2 * k + 2]
            true = same.sample.truth - without.sample.truth
            facts = {"mass": mass, "contrast": np.abs(true).max() / noise}
            for name, image in (("same", same), ("fresh", fresh), ("false", again)):
                found = compare(image.image - without.image, true)
                facts |= dict(zip((f"{name}_amplitude", f"{name}_correlation"), found))
            rows.append(facts)
        return rows

    def tables(self, rows, rng):
        found = []
        for label, lines in rows.items():
            for mass in MASSES:
                part = [line for line in lines if line["mass"] == mass]
                values = {key: np.array([line[key] for line in part]) for key in part[0]}
                amplitude, _, scatter, n = middle(values["same_amplitude"])
                rms = {key: np.sqrt(np.nanmean(values[f"false_{key}"] ** 2))
                       for key in ("amplitude", "correlation")}
                found.append({
                    "method": label, "mass": mass, "n": n,
                    "contrast": middle(values["contrast"])[0], "amplitude": amplitude,
                    "amplitude_scatter": scatter,
                    "correlation": middle(values["same_correlation"])[0],
                    "fresh_correlation": middle(values["fresh_correlation"])[0],
                    "false_amplitude": rms["amplitude"],
                    "false_correlation": rms["correlation"]})
        return {"twins": make_table(found)}
