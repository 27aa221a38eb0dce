"""Dark substructure in the lenses of scenes, with the total mass of the lens conserved."""

from dataclasses import asdict, dataclass, field

import numpy as np
from astropy import units as u
from astropy.table import QTable

from lenssr.simulate._cosmology import LensPlane
from lenssr.simulate._substructure_priors import (
    RandomField,
    Subhalos,
    SubstructurePrior,
    Vortex,
    VortexLine,
)

CLASS_PRIORS = {"no_sub": None, "cdm": Subhalos(), "wdm": Subhalos(half_mode_mass=5e8),
                "axion": Vortex(), "random": RandomField()}

CLASSES = ("no_sub", "cdm", "axion")  # classes of catalogues, classifiers and benchmarks
SUBSTRUCTURES = tuple(CLASS_PRIORS)
"""Names of the classes of dark-matter substructure."""

RING_POINTS = 1024  # points of a ring over which deflections are averaged
# Squares of cosines around a ring: means of smooth functions over them are exact to rounding.
RING_COS2 = np.cos(2 * np.pi * np.arange(64) / 64) ** 2
SLOPE_LIMITS = (1.3, 2.7)  # limits of the mass slope that compensates for substructure


@dataclass
class Substructure:
    """
    Dark substructure of one lens.

    Parameters
    ----------
    name : str
        Class, one of `SUBSTRUCTURES`.
    plane : `LensPlane`
        Position and redshifts of the lens, and the Einstein radius of its total mass: of the
        smooth lens before a part of its mass became substructure.
    mass : `~numpy.ndarray`
        Masses of the subhalos, solar masses; by default none.
    x, y : `~numpy.ndarray`
        Positions of the subhalos on the sky, arcsec; by default none.
    vortex : `VortexLine`, optional
        Vortex.

    Examples
    --------
    >>> from lenssr.simulate import simulate_pair
    >>> pair = simulate_pair(substructure="cdm", seed=7, size=16)
    >>> pair.truth["scene"].substructure.name
    'cdm'
    """

    name: str
    plane: LensPlane
    mass: np.ndarray = field(default_factory=lambda: np.zeros(0))
    x: np.ndarray = field(default_factory=lambda: np.zeros(0))
    y: np.ndarray = field(default_factory=lambda: np.zeros(0))
    vortex: VortexLine | None = None

    @property
    def halos(self):
        """Table of the subhalos: mass and position, with units."""
        return QTable({"mass": self.mass * u.Msun, "x": self.x * u.arcsec,
                       "y": self.y * u.arcsec})

    def as_dict(self):
        """Return plain lists and numbers, for JSON."""
        return {"name": self.name, "plane": asdict(self.plane),
                **{k: getattr(self, k).tolist() for k in ("mass", "x", "y")},
                "vortex": None if self.vortex is None else self.vortex.as_dict()}

    @classmethod
    def from_dict(cls, tree):
        """Restore the substructure from the dictionary of `as_dict`."""
        return cls(tree["name"], LensPlane(**tree["plane"]),
                   *(np.array(tree[k], dtype=float) for k in ("mass", "x", "y")),
                   None if tree["vortex"] is None else VortexLine.from_dict(tree["vortex"]))


def parse_substructure(substructure, priors=CLASS_PRIORS):
    """Return the prior of a class name (`None` for ``no_sub``); return a prior unchanged."""
    if isinstance(substructure, SubstructurePrior):
        return substructure
    if not isinstance(substructure, str) or substructure not in priors:
        raise ValueError(f"`substructure` must be one of {', '.join(SUBSTRUCTURES)}, a Subhalos, a "
                         f"Vortex or a RandomField, got {substructure!r}")
    return priors[substructure]


def add_substructure(scene, prior, z_lens, z_source, rng, cosmology=None, conserve_mass=True):
    """
    Turn a part of the mass of the lens of ``scene`` into substructure, in place.

    The smooth lens loses the mass of the substructure within the Einstein radius, so that the
    mean radius of the arcs is the same for all classes. Its slope changes such that the mean
    convergence on that ring stays: otherwise the arcs of a lens with concentrated mass would be
    thinner, and the total flux would reveal the class. With ``conserve_mass`` false the
    substructure is added to the lens, as in the public simulators.
    """
    if not scene.lens_models:
        return
    smooth = scene.lens_kwargs[0]
    plane = LensPlane(smooth["theta_E"], smooth["center_x"], smooth["center_y"], z_lens, z_source,
                      cosmology)
    if prior is None:
        scene.substructure = Substructure("no_sub", plane)
        return
    fields, models, kwargs = prior.draw(rng, plane)
    if models and conserve_mass:
        remaining = _remaining_lens(smooth, plane, _mass_within(models, kwargs, plane),
                                    prior.ring_convergence(plane, fields))
        scene.lens_models = ["EPL", *scene.lens_models[1:]]
        scene.lens_kwargs = [remaining, *scene.lens_kwargs[1:]]
    scene.lens_models, scene.lens_kwargs = scene.lens_models + models, scene.lens_kwargs + kwargs
    scene.substructure = Substructure(prior.name, plane, **fields)


def _wave_deflection(plane, kwargs):
    """Return the mean outward deflection (arcsec) of a ``WAVE`` on the Einstein ring."""
    # The mean over a circle of the outward component of a plane wave is a Bessel function.
    from scipy.special import j1

    kx, ky = kwargs["k_x"], kwargs["k_y"]
    phase = kx * (plane.x - kwargs["center_x"]) + ky * (plane.y - kwargs["center_y"])
    return kwargs["amplitude"] * j1(np.hypot(kx, ky) * plane.theta_e) * np.cos(phase)


def _mass_within(models, kwargs, plane):
    """Return the projected mass of substructure within the Einstein radius, solar masses."""
    total, extended = 0.0, []
    for model, kw in zip(models, kwargs):
        if model == "POINT_MASS":
            distance = np.hypot(kw["center_x"] - plane.x, kw["center_y"] - plane.y)
            total += kw["theta_E"] ** 2 * (distance < plane.theta_e)
        elif model == "LINE_MASS":
            # The line passes through the centre of the lens.
            length = np.hypot(kw["x2"] - kw["x1"], kw["y2"] - kw["y1"])
            total += kw["theta_E"] ** 2 * min(1.0, 2 * plane.theta_e / max(length, 1e-12))
        elif model == "WAVE":
            total += plane.theta_e * _wave_deflection(plane, kw)
        else:
            extended.append((model, kw))
    if extended:
        from lenstronomy.LensModel.lens_model import LensModel

        # Gauss's theorem: the mean outward deflection on a ring gives the mass within.
        angle = 2 * np.pi * np.arange(RING_POINTS) / RING_POINTS
        cos, sin = np.cos(angle), np.sin(angle)
        names, shapes = zip(*extended)
        ax, ay = LensModel(list(names)).alpha(
            plane.x + plane.theta_e * cos, plane.y + plane.theta_e * sin, list(shapes))
        total += plane.theta_e * np.mean(ax * cos + ay * sin)
    return np.pi * plane.critical * total


def _remaining_lens(smooth, plane, mass, convergence):
    """
    Return the parameters of the ``EPL`` that remains of a lens.

    ``mass`` (solar masses) is the mass of the substructure within the Einstein radius,
    ``convergence`` its mean convergence on the ring.
    """
    gamma, ellipticity = smooth.get("gamma", 2.0), np.hypot(smooth["e1"], smooth["e2"])
    q = (1 - ellipticity) / (1 + ellipticity)
    log_radius2 = np.log(q * RING_COS2 + (1 - RING_COS2) / q)

    def mass_factor(slope):
        # Mass within a circle of the Einstein radius relative to a round lens: the mean along the
        # circle of the angular part of the convergence (Tessore & Metcalf, 2015A&A...580A..79T).
        return np.exp((1 - slope) / 2 * log_radius2).mean()

    factor = mass_factor(gamma)
    fraction = mass / (plane.mass * factor)
    if fraction >= 1:
        raise ValueError("`substructure` must leave mass to the lens, got "
                         f"{mass:.3g} solar masses within an Einstein radius of "
                         f"{plane.theta_e:g} arcsec that holds {plane.mass:.3g}")
    # The mean convergence of a power law on a ring is (3 - slope) / 2 of the mean within it.
    slope = 3 - (3 - gamma - 2 * convergence / factor) / (1 - fraction)
    slope = float(np.clip(slope, *SLOPE_LIMITS))
    ratio = (1 - fraction) * factor / mass_factor(slope)
    return {**smooth, "gamma": slope,
            "theta_E": float(plane.theta_e * ratio ** (1 / (slope - 1)))}
