"""Dark subhalos of a lens: cold dark matter, and warm with its small halos missing."""

from dataclasses import dataclass

import numpy as np
from astropy import constants as const
from astropy import units as u

from lenssr.simulate._cosmology import not_negative

HALO_PROFILES = ("point", "tnfw")
POSITION_PRIORS = ("area", "radius")
COUNT_PRIORS = ("poisson", "fixed")

# Lovell et al. (2014MNRAS.439..300L): numbers of subhalos in warm over those in cold dark matter,
# (1 + GAMMA m_hm / m)**BETA.
WDM_GAMMA, WDM_BETA = 2.7, -0.99

# Duffy et al. (2008MNRAS.390L..64D), table 1: NFW, M200 of the critical density, full sample,
# z = 0-2; amplitude, power of the mass (in 2e12 solar masses / h) and of 1 + z.
CONCENTRATION_RELATION = 5.71, -0.084, -0.47


@dataclass(frozen=True)
class Subhalos:
    r"""
    Prior of the subhalos of a lens: classes ``cdm`` and ``wdm``.

    Numbers are Poisson distributed, masses follow
    :math:`dN/dm \propto m^{slope} (1 + 2.7\, m_{hm}/m)^{-0.99}` (Lovell et al.,
    2014MNRAS.439..300L) with the half-mode mass :math:`m_{hm}`, zero in cold dark
    matter.

    Parameters
    ----------
    mean_number : float
        Mean number of halos, before the suppression of small ones in ``wdm``.
    mass_fraction : float, optional
        Mean share of the mass within the Einstein radius that is in halos there, in
        place of ``mean_number``; again before the suppression.
    mass_range : tuple of float
        Lowest and highest mass, solar masses.
    slope : float
        Power of the mass function; -1.9 as in simulations of cold dark matter
        (Springel et al., 2008MNRAS.391.1685S).
    half_mode_mass : float
        Solar masses; 5e8 for a thermal relic of about 3 keV (Nadler et al., 2021,
        doi:10.3847/1538-4357/abf9a3; 4e8 by Gilman et al., 2020MNRAS.491.6077G).
    profile : str
        ``"point"``: point masses, or ``"tnfw"``: truncated NFW halos (Baltz et al.,
        2009JCAP...01..015B) of the same total mass, with the concentrations of Duffy et
        al. (2008MNRAS.390L..64D; an extrapolation: they were measured above 1e11).
    positions : str
        Uniform in ``"area"`` or in ``"radius"``.
    radii : tuple of float
        Ring around the lens in which halos lie, arcsec.
    truncation : float
        Truncation radius of ``"tnfw"``, in units of the halo's virial radius (R200).
    counts : str
        Numbers of halos: ``"poisson"``, or ``"fixed"``, the mean rounded, as the public
        simulators of DeepLense in fact have it.

    Raises
    ------
    ValueError
        If a number is out of its range or a name unknown.
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
            not_negative(name, getattr(self, name))
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
        for name, known in (("profile", HALO_PROFILES), ("positions", POSITION_PRIORS), ("counts", COUNT_PRIORS)):
            if getattr(self, name) not in known:
                raise ValueError(f"`{name}` must be one of {', '.join(known)}, "
                                 f"got {getattr(self, name)!r}")

    @property
    def name(self):
        """The class of dark matter: ``cdm`` or ``wdm``."""
        return "wdm" if self.half_mode_mass else "cdm"

    def draw(self, rng, plane):
        """
        Draw the halos of one lens.

        Parameters
        ----------
        rng : `~numpy.random.Generator`
            Source of randomness.
        plane : `LensPlane`
            The lens.

        Returns
        -------
        facts : dict
            ``mass`` (solar) and place ``x``, ``y`` on the sky (arcsec) of each.
        models, kwargs : list
            The same as lens models.
        """
        mean = self._mean_number(plane)
        count = rng.poisson(mean) if self.counts == "poisson" else round(mean)
        mass = self._masses(rng.random(count))
        r, angle = self._radii(rng.random(count)), rng.uniform(0, 2 * np.pi, count)
        # Thinning a Poisson process: what stays is one too.
        kept = rng.random(count) < (1 + WDM_GAMMA * self.half_mode_mass / mass) ** WDM_BETA
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
        """
        Mean convergence on the Einstein ring of the halos that were drawn.

        Parameters
        ----------
        plane : `LensPlane`
            The lens.
        facts : dict
            What `draw` gave; the mean is over places.
        """
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
        power = 2 if self.positions == "area" else 1
        inner, outer = (r**power for r in self.radii)
        inside_fraction = np.clip((plane.theta_e**power - inner) / (outer - inner), 0, 1)
        if inside_fraction == 0:
            raise ValueError("`radii` must begin within the Einstein radius for `mass_fraction` to "
                             f"hold, got {self.radii!r} around {plane.theta_e:g} arcsec")
        low, high = self.mass_range
        mean_mass = (_integral(self.slope + 1, low, high) / _integral(self.slope, low, high))
        return self.mass_fraction * plane.mass / (mean_mass * inside_fraction)

    def _masses(self, uniform):
        """Inverse of the cumulative mass function of cold dark matter."""
        low, high = self.mass_range
        power = self.slope + 1
        if power == 0:
            return low * (high / low) ** uniform
        return (low**power + (high**power - low**power) * uniform) ** (1 / power)

    def _radii(self, uniform):
        power = 2 if self.positions == "area" else 1
        inner, outer = (r**power for r in self.radii)
        return (inner + (outer - inner) * uniform) ** (1 / power)


def _integral(power, low, high):
    """Integral of ``m**power``."""
    if power == -1:
        return np.log(high / low)
    return (high ** (power + 1) - low ** (power + 1)) / (power + 1)


def truncated_nfw(mass, plane, truncation):
    """Parameters of lenstronomy's ``TNFW``, but for the place."""
    amplitude, power, growth = CONCENTRATION_RELATION
    concentration = (amplitude * (mass * plane.h / 2e12) ** power * (1 + plane.z_lens) ** growth)
    r200 = (3 * mass / (800 * np.pi * plane.cosmic_density)) ** (1 / 3) / plane.kpc_per_arcsec
    tau = truncation * concentration
    # Baltz et al. (2009JCAP...01..015B), total mass over 4 pi rho_0 r_s^3.
    total = (tau / (tau**2 + 1)) ** 2 * ((tau**2 - 1) * np.log(tau) + np.pi * tau - tau**2 - 1)
    scale = r200 / concentration
    alpha = mass / total * (1 - np.log(2)) / (np.pi * scale * plane.critical)
    return dict(Rs=float(scale), alpha_Rs=float(alpha), r_trunc=float(tau * scale))


PLANCK_C2 = (const.h * const.c**2).to_value(u.kpc * u.eV * u.km / u.s)  # h c^2, kpc eV km/s


def de_broglie_wavelength(axion_mass, velocity):
    """De Broglie wavelength ``h / (m v)`` of an axion-like particle, kpc."""
    return PLANCK_C2 / (axion_mass * velocity)


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

    def ring_convergence(self, plane, fields):
        """
        Mean convergence on the Einstein ring of the vortex that was drawn.

        Parameters
        ----------
        plane : `LensPlane`
            The lens.
        facts : dict
            What `draw` gave.
        """
        line = fields["vortex"]
        length = np.hypot(*(line.end - line.start).value)
        if length < 2 * plane.theta_e:
            return 0.0
        # It crosses the ring twice.
        return 2 * self.mass / length / (2 * np.pi * plane.theta_e) / plane.critical


@dataclass(frozen=True)
class RandomField:
    """
    Prior of a random field of convergence in a lens: class ``random``.

    A sum of plane waves with wavelengths uniform in their logarithm, random directions and
    phases, which for many of them is a Gaussian field. Its amplitude and slope are drawn for each
    lens, so that no class of dark matter is in it: what is trained on such lenses has to take
    substructure from the data.

    Parameters
    ----------
    rms : tuple of float
        Range of the standard deviation of the convergence, log-uniform.
    wavelengths : tuple of float
        Range of wavelengths, arcsec.
    slope : tuple of float
        Range, uniform, of the power of the wave number with which the variance per logarithmic
        interval goes; 2 for white noise, such as point masses have.
    waves : int
        Number of waves.

    Raises
    ------
    ValueError
        If a range is none.
    """

    rms: tuple = (0.01, 0.3)
    wavelengths: tuple = (0.2, 2.0)
    slope: tuple = (0.0, 2.0)
    waves: int = 48

    name = "random"

    def __post_init__(self):
        for name in ("rms", "wavelengths"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"`{name}` must be two positive numbers, the lower one first, "
                                 f"got {getattr(self, name)!r}")
        low, high = self.slope
        if not low <= high:
            raise ValueError("`slope` must be two numbers, the lower one first, "
                             f"got {self.slope!r}")
        not_negative("waves", self.waves)

    def draw(self, rng, plane):
        """
        Draw the field of one lens.

        Parameters
        ----------
        rng : `~numpy.random.Generator`
            Source of randomness.
        plane : `LensPlane`
            The lens.

        Returns
        -------
        facts : dict
            Empty: a field has no parts that a table could name.
        models, kwargs : list
            Lens models ``WAVE`` and their parameters.
        """
        rms = np.exp(rng.uniform(*np.log(self.rms)))
        slope = rng.uniform(*self.slope)
        length = np.exp(rng.uniform(*np.log(self.wavelengths), self.waves))
        angle, phase = rng.uniform(0, 2 * np.pi, (2, self.waves))
        k = 2 * np.pi / length
        amplitude = k ** (slope / 2)
        # Each wave of convergence c cos has a variance of c**2 / 2.
        convergence = rms * amplitude * np.sqrt(2 / max(np.sum(amplitude**2), 1e-300))
        kx, ky = k * np.cos(angle), k * np.sin(angle)
        x0, y0 = phase / k * np.cos(angle), phase / k * np.sin(angle)
        kwargs = [dict(amplitude=float(2 * c / n), k_x=float(a), k_y=float(b),
                       center_x=float(plane.x + x), center_y=float(plane.y + y))
                  for c, n, a, b, x, y in zip(convergence, k, kx, ky, x0, y0)]
        return {}, ["WAVE"] * self.waves, kwargs

    def ring_convergence(self, plane, fields):
        """Mean convergence on the Einstein ring over all fields: none."""
        return 0.0


def wave_deflection(x, y, kwargs):
    """Deflection by a plane wave of convergence ``amplitude k / 2 cos(k (x - x0))``."""
    kx, ky = kwargs["k_x"], kwargs["k_y"]
    phase = kx * (x - kwargs["center_x"]) + ky * (y - kwargs["center_y"])
    alpha = kwargs["amplitude"] / np.hypot(kx, ky) * np.sin(phase)
    return kx * alpha, ky * alpha


def wave_mass(plane, kwargs):
    """Mass of a wave in the Einstein ring, as that ring's mean outward deflection (arcsec)."""
    from scipy.special import j1

    kx, ky = kwargs["k_x"], kwargs["k_y"]
    phase = kx * (plane.x - kwargs["center_x"]) + ky * (plane.y - kwargs["center_y"])
    return kwargs["amplitude"] * j1(np.hypot(kx, ky) * plane.theta_e) * np.cos(phase)
