"""Stars that were made by formula."""

import numpy as np
import pytest

from lenssr.evaluate import measure_stars
from lenssr.image import FWHM_PER_SIGMA, gaussian_psf


def field(places, fwhm, q=1.0, shape=(90, 80)):
    y, x = np.indices(shape)
    sx, sy = fwhm / FWHM_PER_SIGMA / np.sqrt(q), fwhm / FWHM_PER_SIGMA * np.sqrt(q)
    return sum(np.exp(-(((x - a) / sx) ** 2 + ((y - b) / sy) ** 2) / 2) / (2 * np.pi * sx * sy)
               for a, b in places)


PLACES = np.array([(20.3, 20.1), (55.9, 22.4), (40.0, 60.7)])


@pytest.mark.parametrize("fwhm", [2.0, 3.7])
def test_round_stars(fwhm):
    rng = np.random.default_rng(0)
    image = 5 * field(PLACES, fwhm) + rng.normal(0, 1e-4, (90, 80))
    found = measure_stars(image, PLACES + [[0.3, -0.2]], 1.2 * fwhm)
    assert found["fwhm"] == pytest.approx(fwhm, rel=2e-3)
    assert found["place"] == pytest.approx(PLACES, abs=2e-3)
    assert found["flux"] == pytest.approx(5, rel=3e-3)
    assert found["e"] == pytest.approx(0, abs=3e-3)


def test_ellipticity():
    found = measure_stars(field(PLACES, 4.0, q=0.8), PLACES, 4.0)
    assert found["e"] == pytest.approx(np.tile([0.2 / 1.8, 0], (3, 1)), abs=2e-3)


def test_the_declared_psf_is_what_it_is():
    for fwhm in (2.0, 5.2):
        psf = gaussian_psf(fwhm)
        found = measure_stars(psf, [[(len(psf) - 1) / 2] * 2], fwhm)
        assert found["fwhm"] == pytest.approx(fwhm, rel=1e-3)
