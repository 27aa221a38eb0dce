"""A vortex in an axion-like dark-matter halo: a uniform line of mass across the lens."""

from dataclasses import dataclass

import numpy as np
from astropy import constants as const
from astropy import units as u

from lenssr.simulate._cosmology import not_negative

__all__ = ["Vortex", "VortexLine", "de_broglie_wavelength"]

# h c^2, in kpc eV km/s.
ACTION = (const.h * const.c**2).to_value(u.kpc * u.eV * u.km / u.s)


def de_broglie_wavelength(axion_mass, velocity):
    """De Broglie wavelength ``h / (m v)`` of an axion-like particle, kpc."""
    return ACTION / (axion_mass * velocity)


@dataclass(frozen=True)
class VortexLine:
    """
    One vortex: mass spread evenly between two points.

    Attributes
    ----------
    mass : `~astropy.units.Quantity`
        Total mass.
    axion_mass : `~astropy.units.Quantity`
        Mass of the particle times the speed of light squared.
    start, end : `~astropy.units.Quantity`
        Places ``(x, y)`` of its ends on the sky.
    """

    mass: u.Quantity
    axion_mass: u.Quantity
    start: u.Quantity
    end: u.Quantity

    def as_dict(self):
        """The vortex in plain numbers: solar masses, eV and arcsec."""
        return {name: value.value.tolist() for name, value in vars(self).items()}

    @classmethod
    def from_dict(cls, tree):
        """The vortex of `as_dict`."""
        return cls(tree["mass"] * u.Msun, tree["axion_mass"] * u.eV, tree["start"] * u.arcsec,
                   tree["end"] * u.arcsec)


@dataclass(frozen=True)
class Vortex:
    """
    Prior of the vortex in a lens: class ``axion``.

    As Alexander et al. (doi:10.3847/1538-4357/ab7925) have it, a line of mass through the
    centre of the lens at a random angle, as long as the particle's de Broglie
    wavelength.

    Parameters
    ----------
    mass : float
        Total mass, solar masses.
    log_axion_mass : tuple of float
        Range of the decimal logarithm of the particle's mass in eV.
    velocity : float
        Velocity of the particles in the halo, km/s. With 320 a vortex of 1e-22 eV
        in a lens at redshift 0.5 is 0.06 arcsec long, as in the DeepLense sets.

    Raises
    ------
    ValueError
        If a mass is negative or the range is not one.
    """

    mass: float = 3e10
    log_axion_mass: tuple = (-24.0, -22.0)
    velocity: float = 320.0

    name = "axion"

    def __post_init__(self):
        not_negative("mass", self.mass)
        low, high = self.log_axion_mass
        if not low <= high:
            raise ValueError("`log_axion_mass` must be two numbers, the lower one first, "
                             f"got {self.log_axion_mass!r}")
        if not self.velocity > 0:
            raise ValueError(f"`velocity` must be positive, got {self.velocity!r}")

    def draw(self, rng, plane):
        """
        Draw the vortex of one lens.

        Parameters
        ----------
        rng : `~numpy.random.Generator`
            Source of randomness.
        plane : `LensPlane`
            The lens.

        Returns
        -------
        facts : dict
            ``vortex``, a `VortexLine`.
        models, kwargs : list
            The same as lens models.
        """
        axion_mass = 10 ** rng.uniform(*self.log_axion_mass)
        half = de_broglie_wavelength(axion_mass, self.velocity) / 2 / plane.kpc_per_arcsec
        angle = rng.uniform(0, np.pi)
        step = half * np.array([np.cos(angle), np.sin(angle)])
        centre = np.array([plane.x, plane.y])
        start, end = centre - step, centre + step
        kwargs = dict(theta_E=float(np.sqrt(self.mass / np.pi / plane.critical)),
                      x1=float(start[0]), y1=float(start[1]), x2=float(end[0]), y2=float(end[1]))
        line = VortexLine(self.mass * u.Msun, axion_mass * u.eV, start * u.arcsec, end * u.arcsec)
        return dict(vortex=line), ["LINE_MASS"], [kwargs]

    def ring_convergence(self, plane, facts):
        """
        Mean convergence on the Einstein ring of the vortex that was drawn.

        Parameters
        ----------
        plane : `LensPlane`
            The lens.
        facts : dict
            What `draw` gave.
        """
        line = facts["vortex"]
        length = np.hypot(*(line.end - line.start).value)
        if length < 2 * plane.theta_e:
            return 0.0
        # It crosses the ring twice.
        return 2 * self.mass / length / (2 * np.pi * plane.theta_e) / plane.critical
