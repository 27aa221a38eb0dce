"""From masses and velocities to angles on the sky, by angular-diameter distances."""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from astropy import constants as const
from astropy import units as u

SPEED_OF_LIGHT = const.c.to_value(u.km / u.s)  # km/s
ARCSEC_PER_RADIAN = 180 * 3600 / np.pi  # arcsec
# C^2 / (4 pi G), solar masses per Mpc.
FOCUSING_MASS = (const.c**2 / (4 * np.pi * const.G)).to_value(u.Msun / u.Mpc)


def einstein_radius(sigma_v, z_lens, z_source, cosmology=None):
    r"""
    Einstein radius of a singular isothermal sphere.

    Parameters
    ----------
    sigma_v : float, array or `~astropy.units.Quantity`
        Velocity dispersion along the line of sight, km/s.
    z_lens, z_source : float
        Redshifts.
    cosmology : `~astropy.cosmology.FLRW` or str, optional
        A cosmology, or the name of one of `astropy.cosmology`; by default
        `~astropy.cosmology.Planck18`.

    Returns
    -------
    theta_e : `~astropy.units.Quantity`
        In arcsec, of the shape of ``sigma_v``.

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
    velocity = not_negative("sigma_v", sigma_v, u.km / u.s)
    return einstein_radius_arcsec(velocity.value, z_lens, z_source, cosmology) * u.arcsec


def einstein_radius_arcsec(sigma_v, z_lens, z_source, cosmology=None):
    """The same in plain numbers, of km/s and arcsec: units are slow where scenes are drawn."""
    _, source_distance, between = _distances(z_lens, z_source, cosmology)
    return 4 * np.pi * (sigma_v / SPEED_OF_LIGHT) ** 2 * (between / source_distance) * ARCSEC_PER_RADIAN


def critical_surface_density(z_lens, z_source, cosmology=None):
    r"""
    Mass per solid angle of the sky at which a sheet of matter focuses the source.

    Parameters
    ----------
    z_lens, z_source, cosmology
        As for `einstein_radius`.

    Returns
    -------
    density : `~astropy.units.Quantity`
        In solar masses per square arcsecond.

    Raises
    ------
    ValueError
        If the source is not behind the lens.

    Notes
    -----
    :math:`\Sigma_{cr} = c^2 D_s / (4 \pi G D_l D_{ls})` (Narayan & Bartelmann,
    arXiv:astro-ph/9606001), times :math:`D_l^2` to be per solid angle.
    """
    near, source_distance, between = _distances(z_lens, z_source, cosmology)
    return FOCUSING_MASS * source_distance * near / between / ARCSEC_PER_RADIAN**2 * u.Msun / u.arcsec**2


def point_mass_einstein_radius(mass, z_lens, z_source, cosmology=None):
    r"""
    Einstein radius of a point mass.

    Parameters
    ----------
    mass : float, array or `~astropy.units.Quantity`
        Solar masses.
    z_lens, z_source, cosmology
        As for `einstein_radius`.

    Returns
    -------
    theta_e : `~astropy.units.Quantity`
        In arcsec, of the shape of ``mass``.

    Raises
    ------
    ValueError
        If a mass is negative or not finite, or the source is not behind the lens.

    Notes
    -----
    The circle within which the mean density is the critical one:
    :math:`M = \pi \theta_E^2 \Sigma_{cr}`.
    """
    mass = not_negative("mass", mass, u.Msun)
    return np.sqrt(mass / (np.pi * critical_surface_density(z_lens, z_source, cosmology)))


@dataclass(frozen=True)
class LensPlane:
    """
    A lens, and what turns its masses and lengths into angles.

    Parameters
    ----------
    theta_e : float
        Einstein radius, arcsec.
    x, y : float
        Centre, arcsec.
    z_lens, z_source : float
        Redshifts.
    cosmology : `~astropy.cosmology.FLRW` or str, optional
        By default `~astropy.cosmology.Planck18`.
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
        near, source_distance, between = _distances(self.z_lens, self.z_source, self.cosmology)
        return FOCUSING_MASS * source_distance * near / between / ARCSEC_PER_RADIAN**2

    @property
    def mass(self):
        """Solar masses within the Einstein radius."""
        return np.pi * self.theta_e**2 * self.critical

    @cached_property
    def kpc_per_arcsec(self):
        """Length at the lens that one arcsecond spans, kpc."""
        return _distances(self.z_lens, self.z_source, self.cosmology)[0] * 1e3 / ARCSEC_PER_RADIAN

    @cached_property
    def cosmic_density(self):
        """Critical density of the universe at the lens, solar masses per cubic kpc."""
        density = known_cosmology(self.cosmology).critical_density(self.z_lens)
        return density.to_value(u.Msun / u.kpc**3)

    @property
    def h(self):
        """Hubble constant in units of 100 km/s/Mpc."""
        return known_cosmology(self.cosmology).h


def known_cosmology(cosmology):
    """The cosmology of a name; Planck18 for None."""
    if not isinstance(cosmology, str | None):
        return cosmology
    from astropy.cosmology import realizations

    if cosmology not in (None, *realizations.available):
        raise ValueError(f"`cosmology` must be one of {', '.join(realizations.available)}, "
                         f"got {cosmology!r}")
    return getattr(realizations, cosmology or "Planck18")


def _distances(z_lens, z_source, cosmology):
    """Angular-diameter distances in Mpc: to the lens, to the source, between them."""
    for name, value in (("z_lens", z_lens), ("z_source", z_source)):
        if not (np.isscalar(value) and np.isreal(value) and np.isfinite(value) and value > 0):
            raise ValueError(f"`{name}` must be a positive number, got {value!r}")
    if z_source <= z_lens:
        raise ValueError(f"`z_source` must be beyond `z_lens` ({z_lens:g}), got {z_source:g}")
    if isinstance(cosmology, str | None):
        return _distances_of_name(float(z_lens), float(z_source), cosmology)
    return _integrated(z_lens, z_source, cosmology)


@lru_cache(maxsize=1024)
def _distances_of_name(z_lens, z_source, name):
    # Asked for again and again within a lens, and by all lenses of fixed redshifts.
    return _integrated(z_lens, z_source, known_cosmology(name))


def _integrated(z_lens, z_source, cosmology):
    # From one redshift each, as the way to ask astropy for two differs between its releases:
    # Hogg (arXiv:astro-ph/9905116), eq. 19.
    lens, source = (cosmology.comoving_transverse_distance(z).to_value(u.Mpc)
                    for z in (z_lens, z_source))
    curvature = cosmology.Ok0 / cosmology.hubble_distance.to_value(u.Mpc) ** 2
    between = (source * np.sqrt(1 + curvature * lens**2)
               - lens * np.sqrt(1 + curvature * source**2))
    return lens / (1 + z_lens), source / (1 + z_source), between / (1 + z_source)


def not_negative(name, value, unit=u.one):
    """A number or an array as a Quantity, refused if any of it is negative."""
    quantity = u.Quantity(value, unit)
    if not (np.isfinite(quantity).all() and (quantity >= 0).all()):
        raise ValueError(f"`{name}` must be finite and not negative, got {value!r}")
    return quantity
