"""Einstein radii and critical densities, compared with lenstronomy."""

import numpy as np
import pytest
from astropy import units as u
from astropy.cosmology import FlatLambdaCDM, LambdaCDM, Planck18
from lenstronomy.Cosmo.lens_cosmo import LensCosmo
from lenstronomy.Util import constants as theirs

from lenssr.simulate import critical_surface_density, einstein_radius, point_mass_einstein_radius

COSMOLOGIES = [None, Planck18, FlatLambdaCDM(H0=70, Om0=0.3),
               LambdaCDM(H0=70, Om0=0.3, Ode0=0.5), LambdaCDM(H0=70, Om0=0.4, Ode0=0.9)]
# lenstronomy's G times its solar mass exceeds the measured product (IAU 2015 resolution B3).
GM = theirs.G * theirs.M_sun / 1.3271244e20


@pytest.mark.parametrize("cosmology", COSMOLOGIES)
@pytest.mark.parametrize("redshifts", [(0.5, 1.0), (0.2, 0.8), (0.9, 3.5)])
def test_against_lenstronomy(cosmology, redshifts):
    oracle = LensCosmo(*redshifts, cosmo=cosmology or Planck18)
    velocities = np.array([120.0, 220.0, 350.0])
    theta = einstein_radius(velocities, *redshifts, cosmology).to_value("arcsec")
    np.testing.assert_allclose(theta, oracle.sis_sigma_v2theta_E(velocities), rtol=1e-4)
    density = critical_surface_density(*redshifts, cosmology).to_value("Msun / arcsec2")
    assert density == pytest.approx(oracle.sigma_crit_angle * GM, rel=1e-4)
    theta = point_mass_einstein_radius(1e10, *redshifts, cosmology).to_value("arcsec")
    assert oracle.mass_in_theta_E(theta) * GM == pytest.approx(1e10, rel=1e-4)


def test_constants_of_lenstronomy_are_near():
    # The factor above must not hide a larger difference.
    assert GM == pytest.approx(1, abs=5e-4)


def test_quantities_are_accepted():
    assert einstein_radius(0.22 * u.Mm / u.s, 0.5, 1.0) == einstein_radius(220, 0.5, 1.0)
    assert point_mass_einstein_radius(0, 0.5, 1.0) == 0 * u.arcsec


@pytest.mark.parametrize(("function", "arguments", "message"), [
    (einstein_radius, (200, 1.0, 0.5), "`z_source` must be beyond `z_lens` .1., got 0.5"),
    (einstein_radius, (200, 0.5, 0.5), "`z_source` must be beyond"),
    (einstein_radius, (-1, 0.5, 1.0), "`sigma_v` must be finite and not negative, got -1"),
    (einstein_radius, (200, 0, 1.0), "`z_lens` must be a positive number, got 0"),
    (critical_surface_density, (0.5, np.nan), "`z_source` must be a positive number, got nan"),
    (point_mass_einstein_radius, ([1e9, -1e6], 0.5, 1.0), "`mass` must be finite and not neg"),
])
def test_impossible_lenses(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments)
