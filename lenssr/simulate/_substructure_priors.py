"""Priors of the dark substructure of a lens: subhalos, vortices, and random fields of mass."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from astropy import constants as const
from astropy import units as u

from lenssr._validation import check_name, check_range
from lenssr.simulate._cosmology import check_nonnegative

PROFILES = ("point", "tnfw")
POSITIONS = ("area", "radius")
COUNTS = ("poisson", "fixed")

# Lovell et al. (2014MNRAS.439..300L): number of subhalos in warm relative to cold dark matter,
# (1 + WARM_SCALE m_hm / m)**WARM_SLOPE.
WARM_SCALE, WARM_SLOPE = 2.7, -0.99

# Duffy et al. (2008MNRAS.390L..64D), table 1: NFW, M200 of the critical density, full sample,
# z = 0-2; amplitude, power of the mass (in 2e12 solar masses / h) and power of 1 + z.
CONCENTRATION = 5.71, -0.084, -0.47

PLANCK_C2 = (const.h * const.c**2).to_value(u.kpc * u.eV * u.km / u.s)  # h c^2, kpc eV km/s


class SubstructurePrior(ABC):
    """Base class of the priors of substructure; ``name`` is the class of dark matter."""

    name = ""

    @abstractmethod
    def draw(self, rng, plane):
        """
        Draw the substructure of one lens.

        Parameters
        ----------
        rng : `~numpy.random.Generator`
            Source of randomness.
        plane : `LensPlane`
            Position, Einstein radius and redshifts of the lens.

        Returns
        -------
        fields : dict
            Attributes of `Substructure`: masses and positions of halos, or the vortex.
        models, kwargs : list
            Lens models and their parameters, in lenstronomy's conventions.
        """

    def ring_convergence(self, plane, fields):
        """Return the convergence of ``fields`` averaged over the Einstein ring and positions."""
        return 0.0


@dataclass(frozen=True)
class Subhalos(SubstructurePrior):
    r"""
    Prior of the subhalos of a lens: classes ``cdm`` and ``wdm``.

    Numbers follow a Poisson distribution. Masses follow
    :math:`dN/dm \propto m^{slope} (1 + 2.7\, m_{hm}/m)^{-0.99}` (Lovell et al.,
    2014MNRAS.439..300L), where the half-mode mass :math:`m_{hm}` is zero in cold dark matter.

    Parameters
    ----------
    mean_number : float
        Mean number of halos before the suppression of small halos in ``wdm``; default 25.
    mass_fraction : float, optional
        Mean fraction of the mass within the Einstein radius that halos hold there, before the
        suppression; replaces ``mean_number``.
    mass_range : tuple of float
        Lowest and highest mass, solar masses; default (1e6, 1e10).
    slope : float
        Power of the mass function; default -1.9, as in simulations of cold dark matter (Springel
        et al., 2008MNRAS.391.1685S).
    half_mode_mass : float
        Half-mode mass, solar masses; default 0. A thermal relic of about 3 keV has 5e8 (Nadler
        et al., 2021, doi:10.3847/1538-4357/abf9a3; 4e8 by Gilman et al., 2020MNRAS.491.6077G).
    profile : {"point", "tnfw"}
        Point masses (default), or truncated NFW halos (Baltz et al., 2009JCAP...01..015B) of the
        same total mass, with the concentrations of Duffy et al. (2008MNRAS.390L..64D),
        extrapolated from masses above 1e11.
    positions : {"area", "radius"}
        Positions are uniform in area (default) or in radius.
    radii : tuple of float
        Inner and outer radius of the ring around the lens that has halos, arcsec; default
        (0.25, 2).
    truncation : float
        Truncation radius of ``tnfw`` in units of the halo's virial radius R200; default 1.
    counts : {"poisson", "fixed"}
        Numbers of halos follow a Poisson distribution (default) or equal the rounded mean, as in
        the public simulators of DeepLense.

    Raises
    ------
    ValueError
        If a number is out of range or a name is unknown.

    Examples
    --------
    >>> from lenssr.simulate import Subhalos
    >>> Subhalos(half_mode_mass=5e8).name
    'wdm'
    """

    mean_number: float = 25.0
    mass_fraction: float | None = None
    mass_range: tuple = (1e6, 1e10)
    slope: float = -1.9
    half_mode_mass: float = 0.0
    profile: str = "point"
    positions: str = "area"
    radii: tuple = (0.25, 2.0)
    truncation: float = 1.0
    counts: str = "poisson"

    def __post_init__(self):
        for name in ("mean_number", "half_mode_mass"):
            check_nonnegative(name, getattr(self, name))
        if self.mass_fraction is not None and not 0 <= self.mass_fraction < 1:
            raise ValueError("`mass_fraction` must be at least 0 and below 1, "
                             f"got {self.mass_fraction!r}")
        low, high = self.mass_range
        if not 0 < low < high:
            raise ValueError("`mass_range` must be two positive masses, the lower one first, "
                             f"got {self.mass_range!r}")
        inner, outer = self.radii
        if not 0 <= inner < outer:
            raise ValueError(f"`radii` must be two radii, the smaller first, got {self.radii!r}")
        if not self.truncation > 0:
            raise ValueError(f"`truncation` must be positive, got {self.truncation!r}")
        for name, known in (("profile", PROFILES), ("positions", POSITIONS), ("counts", COUNTS)):
            check_name(name, getattr(self, name), known)

    @property
    def name(self):
        """Class of dark matter: ``cdm`` or ``wdm``."""
        return "wdm" if self.half_mode_mass else "cdm"

    def draw(self, rng, plane):
        """Draw the halos of one lens; see `SubstructurePrior.draw`."""
        mean = self._mean_number(plane)
        count = rng.poisson(mean) if self.counts == "poisson" else round(mean)
        mass = self._masses(rng.random(count))
        r, angle = self._radii(rng.random(count)), rng.uniform(0, 2 * np.pi, count)
        # A thinned Poisson process is a Poisson process.
        kept = rng.random(count) < (1 + WARM_SCALE * self.half_mode_mass / mass) ** WARM_SLOPE
        mass, r, angle = mass[kept], r[kept], angle[kept]
        x, y = plane.x + r * np.cos(angle), plane.y + r * np.sin(angle)
        if self.profile == "point":
            models = ["POINT_MASS"] * mass.size
            shapes = [dict(theta_E=float(t)) for t in np.sqrt(mass / np.pi / plane.critical)]
        else:
            models = ["TNFW"] * mass.size
            shapes = [truncated_nfw(m, plane, self.truncation) for m in mass]
        kwargs = [dict(shape, center_x=float(a), center_y=float(b))
                  for shape, a, b in zip(shapes, x, y)]
        return dict(mass=mass, x=x, y=y), models, kwargs

    def ring_convergence(self, plane, fields):
        """Return the mean convergence on the ring; see `SubstructurePrior.ring_convergence`."""
        inner, outer = self.radii
        if not inner < plane.theta_e < outer:
            return 0.0
        area = np.pi * (outer**2 - inner**2)
        if self.positions == "radius":
            area = 2 * np.pi * plane.theta_e * (outer - inner)
        return fields["mass"].sum() / area / plane.critical

    def _mean_number(self, plane):
        if self.mass_fraction is None:
            return self.mean_number
        power, inner, outer = self._powers()
        fraction = np.clip((plane.theta_e**power - inner) / (outer - inner), 0, 1)
        if fraction == 0:
            raise ValueError("`radii` must begin within the Einstein radius for `mass_fraction` to "
                             f"hold, got {self.radii!r} around {plane.theta_e:g} arcsec")
        low, high = self.mass_range
        mean_mass = (_power_integral(self.slope + 1, low, high)
                     / _power_integral(self.slope, low, high))
        return self.mass_fraction * plane.mass / (mean_mass * fraction)

    def _masses(self, uniform):
        """Invert the cumulative mass function of cold dark matter."""
        low, high = self.mass_range
        power = self.slope + 1
        if power == 0:
            return low * (high / low) ** uniform
        return (low**power + (high**power - low**power) * uniform) ** (1 / power)

    def _radii(self, uniform):
        power, inner, outer = self._powers()
        return (inner + (outer - inner) * uniform) ** (1 / power)

    def _powers(self):
        """Return the power of the radius that is uniform, and the powers of the two radii."""
        power = 2 if self.positions == "area" else 1
        return power, *(r**power for r in self.radii)


@dataclass(frozen=True)
class VortexLine:
    """
    Vortex in a halo of axion-like particles: a uniform line of mass.

    Parameters
    ----------
    mass : `~astropy.units.Quantity`
        Total mass, solar masses.
    axion_mass : `~astropy.units.Quantity`
        Mass of the particle times the speed of light squared, eV.
    start, end : `~astropy.units.Quantity`
        Positions ``(x, y)`` of the ends on the sky, arcsec.

    Examples
    --------
    >>> from astropy import units as u
    >>> from lenssr.simulate import VortexLine
    >>> line = VortexLine(3e10 * u.Msun, 1e-23 * u.eV, [0, 0] * u.arcsec, [0.6, 0] * u.arcsec)
    >>> line.as_dict()["end"]
    [0.6, 0.0]
    """

    mass: u.Quantity
    axion_mass: u.Quantity
    start: u.Quantity
    end: u.Quantity

    def as_dict(self):
        """Return plain numbers in solar masses, eV and arcsec."""
        return {name: value.value.tolist() for name, value in vars(self).items()}

    @classmethod
    def from_dict(cls, tree):
        """Restore the vortex from the dictionary of `as_dict`."""
        return cls(tree["mass"] * u.Msun, tree["axion_mass"] * u.eV, tree["start"] * u.arcsec,
                   tree["end"] * u.arcsec)


@dataclass(frozen=True)
class Vortex(SubstructurePrior):
    """
    Prior of the vortex in a lens: class ``axion``.

    A line of mass crosses the centre of the lens at a random angle. Its length is the de Broglie
    wavelength of the particle (Alexander et al., 2020, doi:10.3847/1538-4357/ab7925).

    Parameters
    ----------
    mass : float
        Total mass, solar masses; default 3e10.
    log_axion_mass : tuple of float
        Range of the decimal logarithm of the particle's mass in eV; default (-24, -22).
    velocity : float
        Velocity of the particles in the halo, km/s; default 320, for which a vortex of 1e-22 eV
        in a lens at redshift 0.5 is 0.06 arcsec long, as in the DeepLense sets.

    Raises
    ------
    ValueError
        If a mass is negative, the velocity is not positive, or the range is reversed.

    Examples
    --------
    >>> from lenssr.simulate import Vortex
    >>> Vortex(mass=1e10).name
    'axion'
    """

    mass: float = 3e10
    log_axion_mass: tuple = (-24.0, -22.0)
    velocity: float = 320.0

    name = "axion"

    def __post_init__(self):
        check_nonnegative("mass", self.mass)
        check_range("log_axion_mass", self.log_axion_mass)
        if not self.velocity > 0:
            raise ValueError(f"`velocity` must be positive, got {self.velocity!r}")

    def draw(self, rng, plane):
        """Draw the vortex of one lens; see `SubstructurePrior.draw`."""
        axion_mass = 10 ** rng.uniform(*self.log_axion_mass)
        wavelength = PLANCK_C2 / (axion_mass * self.velocity)  # de Broglie, kpc
        half = wavelength / 2 / plane.kpc_per_arcsec
        angle = rng.uniform(0, np.pi)
        step = half * np.array([np.cos(angle), np.sin(angle)])
        centre = np.array([plane.x, plane.y])
        start, end = centre - step, centre + step
        kwargs = dict(theta_E=float(np.sqrt(self.mass / np.pi / plane.critical)),
                      x1=float(start[0]), y1=float(start[1]), x2=float(end[0]), y2=float(end[1]))
        line = VortexLine(self.mass * u.Msun, axion_mass * u.eV, start * u.arcsec, end * u.arcsec)
        return dict(vortex=line), ["LINE_MASS"], [kwargs]

    def ring_convergence(self, plane, fields):
        """Return the mean convergence on the ring; see `SubstructurePrior.ring_convergence`."""
        line = fields["vortex"]
        length = np.hypot(*(line.end - line.start).value)
        if length < 2 * plane.theta_e:
            return 0.0
        # The line crosses the ring twice.
        return 2 * self.mass / length / (2 * np.pi * plane.theta_e) / plane.critical


@dataclass(frozen=True)
class RandomField(SubstructurePrior):
    """
    Prior of a random field of convergence in a lens: class ``random``.

    The field is a sum of plane waves, which approaches a Gaussian random field as the number of
    waves grows. Amplitude and slope are drawn again for every lens. The field belongs to no class
    of dark matter, so networks that are trained on it take the substructure from the data.

    Parameters
    ----------
    rms : tuple of float
        Range of the standard deviation of the convergence, log-uniform; default (0.01, 0.3).
    wavelengths : tuple of float
        Range of the wavelengths, arcsec, log-uniform; default (0.2, 2).
    slope : tuple of float
        Range, uniform, of the power of the wave number to which the variance per logarithmic
        interval is proportional; default (0, 2). White noise, as of point masses, has 2.
    waves : int
        Number of waves; default 48.

    Raises
    ------
    ValueError
        If a range is reversed or not positive.

    Examples
    --------
    >>> from lenssr.simulate import RandomField
    >>> RandomField(rms=(0.05, 0.05)).name
    'random'
    """

    rms: tuple = (0.01, 0.3)
    wavelengths: tuple = (0.2, 2.0)
    slope: tuple = (0.0, 2.0)
    waves: int = 48

    name = "random"

    def __post_init__(self):
        check_range("rms", self.rms, positive=True)
        check_range("wavelengths", self.wavelengths, positive=True)
        check_range("slope", self.slope)
        check_nonnegative("waves", self.waves)

    def draw(self, rng, plane):
        """Draw the waves of one lens, models ``WAVE``; see `SubstructurePrior.draw`."""
        rms = np.exp(rng.uniform(*np.log(self.rms)))
        slope = rng.uniform(*self.slope)
        length = np.exp(rng.uniform(*np.log(self.wavelengths), self.waves))
        angle, phase = rng.uniform(0, 2 * np.pi, (2, self.waves))
        k = 2 * np.pi / length
        weight = k ** (slope / 2)
        # A wave of convergence c cos has a variance of c**2 / 2.
        convergence = rms * weight * np.sqrt(2 / max(np.sum(weight**2), 1e-300))
        kx, ky = k * np.cos(angle), k * np.sin(angle)
        x0, y0 = phase / k * np.cos(angle), phase / k * np.sin(angle)
        kwargs = [dict(amplitude=float(2 * c / n), k_x=float(a), k_y=float(b),
                       center_x=float(plane.x + x), center_y=float(plane.y + y))
                  for c, n, a, b, x, y in zip(convergence, k, kx, ky, x0, y0)]
        return {}, ["WAVE"] * self.waves, kwargs


def truncated_nfw(mass, plane, truncation):
    """
    Return ``Rs``, ``alpha_Rs`` and ``r_trunc`` (arcsec) of lenstronomy's ``TNFW``.

    ``mass`` is the total mass in solar masses, ``truncation`` the truncation radius in R200.
    R200 and the concentration refer to the untruncated halo of this mass.
    """
    amplitude, power, growth = CONCENTRATION
    concentration = (amplitude * (mass * plane.h / 2e12) ** power * (1 + plane.z_lens) ** growth)
    r200 = (3 * mass / (800 * np.pi * plane.cosmic_density)) ** (1 / 3) / plane.kpc_per_arcsec
    tau = truncation * concentration
    # Baltz et al. (2009JCAP...01..015B): total mass over 4 pi rho_0 r_s^3. lenstronomy's
    # LensCosmo takes M200 and the concentration, not the total mass.
    total = (tau / (tau**2 + 1)) ** 2 * ((tau**2 - 1) * np.log(tau) + np.pi * tau - tau**2 - 1)
    scale = r200 / concentration
    alpha = mass / total * (1 - np.log(2)) / (np.pi * scale * plane.critical)
    return dict(Rs=float(scale), alpha_Rs=float(alpha), r_trunc=float(tau * scale))


def _power_integral(power, low, high):
    """Integrate ``m**power``."""
    if power == -1:
        return np.log(high / low)
    return (high ** (power + 1) - low ** (power + 1)) / (power + 1)
