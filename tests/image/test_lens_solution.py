"""The lens of a result: kept by files, and in step with the image."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import Table

from lenssr import SuperResolvedImage
from lenssr.image import LensSolution


def solution(seed=0):
    rng = np.random.default_rng(seed)
    names = ["theta_E", "gamma", "x"]
    table = Table({"name": names, "value": rng.normal(size=3), "error": rng.random(3),
                   "unit": ["pix", "", "pix"]})
    curves = [rng.normal(size=(n, 2)) for n in (7, 4)]
    return LensSolution(table, np.diag(rng.random(3)), rng.random((5, 5)), (3.25, -1.5), 0.4,
                        curves, [curve / 2 for curve in curves], 0.003)


def image(lens, shape=(8, 8)):
    return SuperResolvedImage(np.ones(shape), unit=u.nJy, lens=lens,
                              measurement_std=np.ones(shape))


def same(one, other):
    for name in one.parameters["name"]:
        assert one[name] == other[name]
    assert list(one.parameters["unit"]) == list(other.parameters["unit"])
    np.testing.assert_array_equal(one.covariance, other.covariance)
    np.testing.assert_array_equal(one.source, other.source)
    assert one.origin == pytest.approx(other.origin)
    assert (one.step, one.potential) == (other.step, other.potential)
    for name in ("critical_curves", "caustics"):
        for a, b in zip(getattr(one, name), getattr(other, name), strict=True):
            np.testing.assert_array_equal(a, b)


def test_files_keep_it(tmp_path):
    image(solution()).write(tmp_path / "one.fits")
    same(SuperResolvedImage.read(tmp_path / "one.fits").lens, solution())


def test_files_keep_those_of_a_cube(tmp_path):
    cube = image([solution(1), None, solution(2)], (3, 8, 8))
    cube.write(tmp_path / "cube.fits")
    found = SuperResolvedImage.read(tmp_path / "cube.fits").lens
    assert found[1] is None
    same(found[0], solution(1))
    same(found[2], solution(2))


def test_files_of_other_methods_have_none(tmp_path):
    image(None).write(tmp_path / "none.fits")
    assert SuperResolvedImage.read(tmp_path / "none.fits").lens is None


def test_it_goes_with_the_image():
    whole = image(solution())
    np.testing.assert_allclose(whole.multiply(3.0).lens.source, 3 * whole.lens.source)
    np.testing.assert_allclose(whole.convert_unit_to("uJy").lens.source, 1e-3 * whole.lens.source)
    assert whole.add(1.0 * u.nJy).lens is not None
    assert whole.add(whole).lens is None
    assert whole[2:5, 2:5].lens is None
    assert image([None, solution()], (2, 8, 8)).multiply(2.0).lens[0] is None
