"""Dark subhalos of a lens: cold dark matter, and warm with its small halos missing."""

from dataclasses import dataclass

import numpy as np

from lenssr.simulate._cosmology import not_negative

__all__ = ["Subhalos", "truncated_nfw"]

PROFILES = ("point", "tnfw")
POSITIONS = ("area", "radius")
COUNTS = ("poisson", "fixed")

# Lovell et al. (2014MNRAS.439..300L): numbers of subhalos in warm over those in cold dark matter,
# (1 + GAMMA m_hm / m)**BETA.
GAMMA, BETA = 2.7, -0.99

# Duffy et al. (2008MNRAS.390L..64D), table 1: NFW, M200 of the critical density, full sample,
# z = 0-2; amplitude, power of the mass (in 2e12 solar masses / h) and of 1 + z.
CONCENTRATION = 5.71, -0.084, -0.47


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
        for name, known in (("profile", PROFILES), ("positions", POSITIONS), ("counts", COUNTS)):
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
        kept = rng.random(count) < (1 + GAMMA * self.half_mode_mass / mass) ** BETA
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

    def ring_convergence(self, plane, facts):
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
        return facts["mass"].sum() / area / plane.critical

    def _mean_number(self, plane):
        if self.mass_fraction is None:
            return self.mean_number
        power = 2 if self.positions == "area" else 1
        inner, outer = (r**power for r in self.radii)
        share = np.clip((plane.theta_e**power - inner) / (outer - inner), 0, 1)
        if share == 0:
            raise ValueError("`radii` must begin within the Einstein radius for `mass_fraction` to "
                             f"hold, got {self.radii!r} around {plane.theta_e:g} arcsec")
        low, high = self.mass_range
        mean_mass = (_integral(self.slope + 1, low, high) / _integral(self.slope, low, high))
        return self.mass_fraction * plane.mass / (mean_mass * share)

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
    amplitude, power, growth = CONCENTRATION
    concentration = (amplitude * (mass * plane.h / 2e12) ** power * (1 + plane.z_lens) ** growth)
    r200 = (3 * mass / (800 * np.pi * plane.cosmic_density)) ** (1 / 3) / plane.kpc_per_arcsec
    tau = truncation * concentration
    # Baltz et al. (2009JCAP...01..015B), total mass over 4 pi rho_0 r_s^3.
    total = (tau / (tau**2 + 1)) ** 2 * ((tau**2 - 1) * np.log(tau) + np.pi * tau - tau**2 - 1)
    scale = r200 / concentration
    alpha = mass / total * (1 - np.log(2)) / (np.pi * scale * plane.critical)
    return dict(Rs=float(scale), alpha_Rs=float(alpha), r_trunc=float(tau * scale))
