"""Angles of lenses from masses, velocities and lengths, by angular-diameter distances."""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from astropy import constants as const
from astropy import units as u

SPEED_OF_LIGHT = const.c.to_value(u.km / u.s)
ARCSEC_PER_RADIAN = 180 * 3600 / np.pi
# c^2 / (4 pi G) in solar masses per Mpc. The constants of lenstronomy's LensCosmo differ from the
# IAU values by 1e-4.
C2_OVER_4PI_G = (const.c**2 / (4 * np.pi * const.G)).to_value(u.Msun / u.Mpc)


def einstein_radius(sigma_v, z_lens, z_source, cosmology=None):
    r"""
    Return the Einstein radius of a singular isothermal sphere, in arcsec.

    Parameters
    ----------
    sigma_v : float, array or `~astropy.units.Quantity`
        Velocity dispersion along the line of sight, km/s.
    z_lens, z_source : float
        Redshifts of the lens and the source.
    cosmology : `~astropy.cosmology.FLRW` or str, optional
        Cosmology, or the name of a cosmology of `astropy.cosmology`; by default
        `~astropy.cosmology.Planck18`.

    Returns
    -------
    theta_e : `~astropy.units.Quantity`
        Einstein radius in arcsec, in the shape of ``sigma_v``.

    Raises
    ------
    ValueError
        If a velocity is negative or not finite, or the source is not behind the lens.

    Notes
    -----
    :math:`\theta_E = 4 \pi (\sigma_v / c)^2 D_{ls} / D_s` (Narayan & Bartelmann,
    arXiv:astro-ph/9606001).

    Examples
    --------
    >>> from lenssr.simulate import einstein_radius
    >>> einstein_radius(220, 0.5, 1.0)
    <Quantity 0.59573304 arcsec>
    """
    velocity = check_nonnegative("sigma_v", sigma_v, u.km / u.s)
    return einstein_radius_arcsec(velocity.value, z_lens, z_source, cosmology) * u.arcsec


def einstein_radius_arcsec(sigma_v, z_lens, z_source, cosmology=None):
    """Return the Einstein radius in arcsec of a dispersion in km/s; floats, for speed."""
    _, d_source, d_between = _distances(z_lens, z_source, cosmology)
    return 4 * np.pi * (sigma_v / SPEED_OF_LIGHT) ** 2 * (d_between / d_source) * ARCSEC_PER_RADIAN


def critical_surface_density(z_lens, z_source, cosmology=None):
    r"""
    Return the critical surface mass density of a lens, per solid angle.

    Parameters
    ----------
    z_lens, z_source : float
        Redshifts of the lens and the source.
    cosmology : `~astropy.cosmology.FLRW` or str, optional
        Cosmology, as for `einstein_radius`.

    Returns
    -------
    density : `~astropy.units.Quantity`
        Solar masses per square arcsecond.

    Raises
    ------
    ValueError
        If the source is not behind the lens.

    Notes
    -----
    :math:`\Sigma_{cr} = c^2 D_s / (4 \pi G D_l D_{ls})` (Narayan & Bartelmann,
    arXiv:astro-ph/9606001), multiplied by :math:`D_l^2`.

    Examples
    --------
    >>> from lenssr.simulate import critical_surface_density
    >>> critical_surface_density(0.5, 1.0)
    <Quantity 1.18837087e+11 solMass / arcsec2>
    """
    return _critical(z_lens, z_source, cosmology) * u.Msun / u.arcsec**2


def point_mass_einstein_radius(mass, z_lens, z_source, cosmology=None):
    r"""
    Return the Einstein radius of a point mass, in arcsec.

    Parameters
    ----------
    mass : float, array or `~astropy.units.Quantity`
        Mass in solar masses.
    z_lens, z_source : float
        Redshifts of the lens and the source.
    cosmology : `~astropy.cosmology.FLRW` or str, optional
        Cosmology, as for `einstein_radius`.

    Returns
    -------
    theta_e : `~astropy.units.Quantity`
        Einstein radius in arcsec, in the shape of ``mass``.

    Raises
    ------
    ValueError
        If a mass is negative or not finite, or the source is not behind the lens.

    Notes
    -----
    The mean density within the Einstein radius is the critical density:
    :math:`M = \pi \theta_E^2 \Sigma_{cr}` (Narayan & Bartelmann, arXiv:astro-ph/9606001).

    Examples
    --------
    >>> from lenssr.simulate import point_mass_einstein_radius
    >>> point_mass_einstein_radius(1e10, 0.5, 1.0)
    <Quantity 0.16366246 arcsec>
    """
    mass = check_nonnegative("mass", mass, u.Msun)
    return np.sqrt(mass / (np.pi * critical_surface_density(z_lens, z_source, cosmology)))


@dataclass(frozen=True)
class LensPlane:
    """
    Position, Einstein radius and redshifts of a lens, with the conversions to angles.

    Parameters
    ----------
    theta_e : float
        Einstein radius, arcsec.
    x, y : float
        Centre, arcsec.
    z_lens, z_source : float
        Redshifts of the lens and the source.
    cosmology : `~astropy.cosmology.FLRW` or str, optional
        Cosmology; by default `~astropy.cosmology.Planck18`.

    Examples
    --------
    >>> from lenssr.simulate import LensPlane
    >>> plane = LensPlane(1.0, 0.0, 0.0, 0.5, 1.0)
    >>> f"{plane.mass:.3g} solar masses, {plane.kpc_per_arcsec:.2f} kpc per arcsec"
    '3.73e+11 solar masses, 6.29 kpc per arcsec'
    """

    theta_e: float
    x: float
    y: float
    z_lens: float
    z_source: float
    cosmology: object = None

    @cached_property
    def critical(self):
        """Critical surface density, solar masses per square arcsecond."""
        return _critical(self.z_lens, self.z_source, self.cosmology)

    @property
    def mass(self):
        """Mass within the Einstein radius, solar masses."""
        return np.pi * self.theta_e**2 * self.critical

    @cached_property
    def kpc_per_arcsec(self):
        """Length at the lens that one arcsecond subtends, kpc."""
        return _distances(self.z_lens, self.z_source, self.cosmology)[0] * 1e3 / ARCSEC_PER_RADIAN

    @cached_property
    def cosmic_density(self):
        """Critical density of the universe at the lens, solar masses per cubic kpc."""
        density = find_cosmology(self.cosmology).critical_density(self.z_lens)
        return density.to_value(u.Msun / u.kpc**3)

    @property
    def h(self):
        """Hubble constant, 100 km/s/Mpc."""
        return find_cosmology(self.cosmology).h


def find_cosmology(cosmology):
    """Return the `astropy.cosmology` of a name (`None`: Planck18); return others unchanged."""
    if not isinstance(cosmology, str | None):
        return cosmology
    from astropy.cosmology import realizations

    if cosmology not in (None, *realizations.available):
        raise ValueError(f"`cosmology` must be one of {', '.join(realizations.available)}, "
                         f"got {cosmology!r}")
    return getattr(realizations, cosmology or "Planck18")


def check_nonnegative(name, value, unit=u.one):
    """Return a number or an array as a Quantity; `ValueError` if negative or not finite."""
    quantity = u.Quantity(value, unit)
    if not (np.isfinite(quantity).all() and (quantity >= 0).all()):
        raise ValueError(f"`{name}` must be finite and not negative, got {value!r}")
    return quantity


def _critical(z_lens, z_source, cosmology):
    d_lens, d_source, d_between = _distances(z_lens, z_source, cosmology)
    return C2_OVER_4PI_G * d_source * d_lens / d_between / ARCSEC_PER_RADIAN**2


def _distances(z_lens, z_source, cosmology):
    """Return angular-diameter distances in Mpc: to the lens, to the source, between the two."""
    for name, value in (("z_lens", z_lens), ("z_source", z_source)):
        if not (np.isscalar(value) and np.isreal(value) and np.isfinite(value) and value > 0):
            raise ValueError(f"`{name}` must be a positive number, got {value!r}")
    if z_source <= z_lens:
        raise ValueError(f"`z_source` must be beyond `z_lens` ({z_lens:g}), got {z_source:g}")
    if isinstance(cosmology, str | None):
        return _named_distances(float(z_lens), float(z_source), cosmology)
    return _integrated_distances(z_lens, z_source, cosmology)


@lru_cache(maxsize=1024)
def _named_distances(z_lens, z_source, name):
    # Cached, because a lens needs them several times and lenses often have fixed redshifts.
    return _integrated_distances(z_lens, z_source, find_cosmology(name))


def _integrated_distances(z_lens, z_source, cosmology):
    # From distances to one redshift, because astropy's function of two redshifts changed its name
    # between releases: Hogg (arXiv:astro-ph/9905116), eq. 19.
    lens, source = (cosmology.comoving_transverse_distance(z).to_value(u.Mpc)
                    for z in (z_lens, z_source))
    curvature = cosmology.Ok0 / cosmology.hubble_distance.to_value(u.Mpc) ** 2
    between = (source * np.sqrt(1 + curvature * lens**2)
               - lens * np.sqrt(1 + curvature * source**2))
    return lens / (1 + z_lens), source / (1 + z_source), between / (1 + z_source)
