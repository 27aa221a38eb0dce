"""Dark substructure in the lenses of scenes, by its class, at no change of the total mass."""

from dataclasses import asdict, dataclass, field

import numpy as np
from astropy import units as u
from astropy.table import QTable

from lenssr.simulate._cosmology import LensPlane
from lenssr.simulate._substructure_priors import (
    RandomField,
    Subhalos,
    Vortex,
    VortexLine,
    wave_mass,
)

CLASS_PRIORS = {"no_sub": None, "cdm": Subhalos(), "wdm": Subhalos(half_mode_mass=5e8),
          "axion": Vortex(), "random": RandomField()}

SUBSTRUCTURES = tuple(CLASS_PRIORS)
"""Names of the classes of dark-matter substructure that are known."""

N_RING_POINTS = 1024  # points of the ring on which deflections are averaged
# Around a ring: means of smooth functions are exact to rounding.
SQUARED_COSINES = np.cos(2 * np.pi * np.arange(64) / 64) ** 2
SLOPE_RANGE = (1.3, 2.7)  # of the mass profile that conserves the flux


@dataclass
class Substructure:
    """
    What dark substructure a lens holds.

    Attributes
    ----------
    name : str
        One of `SUBSTRUCTURES`.
    plane : `LensPlane`
        Centre, redshifts, and the Einstein radius of all the mass: that of the
        macroscopic lens before a part of it was turned into substructure.
    mass, x, y : `~numpy.ndarray`
        Subhalos: solar masses, and places on the sky (arcsec).
    vortex : `VortexLine` or None
        The vortex.
    """

    name: str
    plane: LensPlane
    mass: np.ndarray = field(default_factory=lambda: np.zeros(0))
    x: np.ndarray = field(default_factory=lambda: np.zeros(0))
    y: np.ndarray = field(default_factory=lambda: np.zeros(0))
    vortex: VortexLine | None = None

    @property
    def halos(self):
        """Table of subhalos, with units."""
        return QTable({"mass": self.mass * u.Msun, "x": self.x * u.arcsec,
                       "y": self.y * u.arcsec})

    def as_dict(self):
        """The substructure in plain lists and numbers, as JSON takes them."""
        return {"name": self.name, "plane": asdict(self.plane),
                **{k: getattr(self, k).tolist() for k in ("mass", "x", "y")},
                "vortex": None if self.vortex is None else self.vortex.as_dict()}

    @classmethod
    def from_dict(cls, tree):
        """The substructure of `as_dict`."""
        return cls(tree["name"], LensPlane(**tree["plane"]),
                   *(np.array(tree[k], dtype=float) for k in ("mass", "x", "y")),
                   None if tree["vortex"] is None else VortexLine.from_dict(tree["vortex"]))


def parse_substructure(substructure, priors=CLASS_PRIORS):
    """The prior of a class of substructure."""
    if isinstance(substructure, Subhalos | Vortex | RandomField):
        return substructure
    if not isinstance(substructure, str) or substructure not in priors:
        raise ValueError(f"`substructure` must be one of {', '.join(SUBSTRUCTURES)}, a Subhalos, a "
                         f"Vortex or a RandomField, got {substructure!r}")
    return priors[substructure]


def add_substructure(scene, prior, z_lens, z_source, rng, cosmology=None, conserve_mass=True):
    """Turn a part of a lens's mass into substructure."""
    if not scene.lens_models:
        return
    lens_params = scene.lens_kwargs[0]
    plane = LensPlane(lens_params["theta_E"], lens_params["center_x"], lens_params["center_y"], z_lens, z_source,
                      cosmology)
    if prior is None:
        scene.substructure = Substructure("no_sub", plane)
        return
    fields, models, kwargs = prior.draw(rng, plane)
    if models and conserve_mass:
        remaining = _remaining_lens(lens_params, plane, _mass_within(models, kwargs, plane),
                               prior.ring_convergence(plane, fields))
        scene.lens_models = ["EPL", *scene.lens_models[1:]]
        scene.lens_kwargs = [remaining, *scene.lens_kwargs[1:]]
    scene.lens_models, scene.lens_kwargs = scene.lens_models + models, scene.lens_kwargs + kwargs
    scene.substructure = Substructure(prior.name, plane, **fields)


def _mass_within(models, kwargs, plane):
    """Projected mass of substructure within the Einstein radius, solar masses."""
    total, smooth = 0.0, []
    for model, kw in zip(models, kwargs):
        if model == "POINT_MASS":
            distance = np.hypot(kw["center_x"] - plane.x, kw["center_y"] - plane.y)
            total += kw["theta_E"] ** 2 * (distance < plane.theta_e)
        elif model == "LINE_MASS":
            # It passes through the centre of the lens.
            length = np.hypot(kw["x2"] - kw["x1"], kw["y2"] - kw["y1"])
            total += kw["theta_E"] ** 2 * min(1.0, 2 * plane.theta_e / max(length, 1e-12))
        elif model == "WAVE":
            total += plane.theta_e * wave_mass(plane, kw)
        else:
            smooth.append((model, kw))
    if smooth:
        from lenstronomy.LensModel.lens_model import LensModel

        # Gauss's theorem: the mean outward deflection along a ring is that of the mass in it.
        angle = 2 * np.pi * np.arange(N_RING_POINTS) / N_RING_POINTS
        cos, sin = np.cos(angle), np.sin(angle)
        names, shapes = zip(*smooth)
        ax, ay = LensModel(list(names)).alpha(
            plane.x + plane.theta_e * cos, plane.y + plane.theta_e * sin, list(shapes))
        total += plane.theta_e * np.mean(ax * cos + ay * sin)
    return np.pi * plane.critical * total


def _remaining_lens(lens_params, plane, taken, convergence):
    """The elliptical power law that is left of a lens."""
    gamma, ellipticity = lens_params.get("gamma", 2.0), np.hypot(lens_params["e1"], lens_params["e2"])
    q = (1 - ellipticity) / (1 + ellipticity)
    log_radius2 = np.log(q * SQUARED_COSINES + (1 - SQUARED_COSINES) / q)

    def within(slope):
        # Mass in a circle as large as the Einstein radius, over that of a round lens: the mean
        # along it of the convergence's angular part (Tessore & Metcalf, 2015A&A...580A..79T).
        return np.exp((1 - slope) / 2 * log_radius2).mean()

    total_mass = within(gamma)
    mass_fraction = taken / (plane.mass * total_mass)
    if mass_fraction >= 1:
        raise ValueError("`substructure` must leave mass to the lens, got "
                         f"{taken:.3g} solar masses within an Einstein radius of "
                         f"{plane.theta_e:g} arcsec that holds {plane.mass:.3g}")
    # On a ring the mean convergence of a power law is (3 - slope) / 2 of that within.
    new_slope = 3 - (3 - gamma - 2 * convergence / total_mass) / (1 - mass_fraction)
    slope = float(np.clip(new_slope, *SLOPE_RANGE))
    part = (1 - mass_fraction) * total_mass / within(slope)
    return {**lens_params, "gamma": slope,
            "theta_E": float(plane.theta_e * part ** (1 / (slope - 1)))}
