"""gWCS objects, rescaled and written."""

import sys

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import ICRS
from astropy.modeling.models import Multiply, Pix2Sky_TAN, RotateNative2Celestial, Scale, Shift
from astropy.nddata import NDData, NDDataRef
from wcs_cases import gnomonic, offset_in_pixels, to_fine, written

from lenssr.image import (
    read_wcs,
    rescale_wcs,
    wcs_from_hdus,
)


def make_gwcs(quantity=False, third=False):
    """TAN written with models: 0.1 arcsec pixels around (150, 2.2)."""
    gwcs = pytest.importorskip("gwcs")
    pytest.importorskip("asdf_astropy")
    from gwcs import coordinate_frames as cf

    pix, deg = (u.pix, u.deg) if quantity else (1, 1)
    step = 2.7e-5 * u.deg / u.pix if quantity else 2.7e-5
    sky = (
        (Shift(-30.25 * pix) | Multiply(-step)) & (Shift(-55.5 * pix) | Multiply(step))
        | Pix2Sky_TAN()
        | RotateNative2Celestial(150.0 * deg, 2.2 * deg, 180.0 * deg)
    )
    celestial = cf.CelestialFrame(axes_order=(0, 1), reference_frame=ICRS(), unit=(u.deg, u.deg))
    if not third:
        frame = cf.Frame2D(name="detector", unit=(u.pix, u.pix))
        wcs = gwcs.WCS(sky, input_frame=frame, output_frame=celestial)
    else:
        axes = ("PIXEL",) * 3
        frame = cf.CoordinateFrame(3, axes, (0, 1, 2), unit=(u.pix,) * 3, name="detector")
        spectral = cf.SpectralFrame(axes_order=(2,), unit=u.um)
        world = cf.CompositeFrame([celestial, spectral])
        wcs = gwcs.WCS(sky & Scale(0.5), input_frame=frame, output_frame=world)
    return wcs


@pytest.mark.parametrize("quantity", [False, True])
def test_gwcs_by_hand(quantity):
    old = make_gwcs(quantity)
    if not quantity:  # astropy's models cannot have both
        old.bounding_box = ((-0.5, 79.5), (-0.5, 59.5))
    old.pixel_shape = (80, 60)
    new = rescale_wcs(old, 3)
    header, hdus = written(new)
    with hdus:
        back = wcs_from_hdus(header, hdus)
    x, y = np.random.default_rng(8).uniform(0, [[79], [59]], (2, 100))
    fine = to_fine(x + 1, 3) - 1, to_fine(y + 1, 3) - 1
    truth = gnomonic(-2.7e-5 * (x - 30.25), 2.7e-5 * (y - 55.5), 150.0, 2.2)
    for wcs in (new, back):
        np.testing.assert_allclose(wcs.pixel_to_world_values(*fine), truth, rtol=0, atol=1e-11)
        np.testing.assert_allclose(wcs.world_to_pixel_values(*truth), fine, rtol=0, atol=1e-6)
        assert wcs.pixel_bounds == (None if quantity else ((-0.5, 239.5), (-0.5, 179.5)))
        assert wcs.pixel_shape == (240, 180)
    assert NDData(np.zeros((180, 240)), wcs=new).wcs is new


def test_gwcs_cube_and_crop():
    old = make_gwcs(third=True)
    new = rescale_wcs(old, 2)
    position = new.pixel_to_world_values(10.5, 20.5, 4.0)  # of the old image: 5, 10
    truth = *gnomonic(-2.7e-5 * (5 - 30.25), 2.7e-5 * (10 - 55.5), 150.0, 2.2), 2.0
    np.testing.assert_allclose(position, truth, rtol=0, atol=1e-11)
    crop = NDDataRef(np.zeros((4, 60, 80)), wcs=old)[1:, 5:, 7:].wcs
    new = rescale_wcs(crop, 2)
    np.testing.assert_allclose(
        new.pixel_to_world_values((5 - 7) * 2 + 0.5, (10 - 5) * 2 + 0.5, 4.0 - 1), truth, atol=1e-11
    )
    assert type(new) is type(old)  # so that it can be written


def test_gwcs_with_a_box_for_each_slit_is_refused():
    gwcs = pytest.importorskip("gwcs")
    from astropy.modeling.bounding_box import CompoundBoundingBox

    old = make_gwcs(third=True)
    boxes = {(1,): ((-0.5, 9.5), (-0.5, 9.5)), (2,): ((-0.5, 9.5), (-0.5, 5.5))}
    old.attach_compound_bounding_box(boxes, [("x",)])
    assert isinstance(old.bounding_box, CompoundBoundingBox) and isinstance(old, gwcs.WCS)
    with pytest.raises(ValueError, match="`wcs` cannot be rescaled: .* a bounding box for each"):
        rescale_wcs(old, 2)


def test_gwcs_without_its_packages(monkeypatch):
    header, hdus = written(make_gwcs())
    with hdus:
        monkeypatch.setitem(sys.modules, "asdf_astropy", None)
        with pytest.raises(ImportError, match="install gwcs and asdf-astropy"):
            read_wcs(header, hdus)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_gwcs_file_keeps_its_sky(shared_data, scale):
    asdf = pytest.importorskip("asdf")
    gwcs = pytest.importorskip("gwcs")
    with asdf.open(shared_data / "wcs" / "gwcs_nircamwcs.asdf", lazy_load=False) as file:
        old = file["wcs"]
    bounds = old.pixel_bounds
    new = rescale_wcs(old, scale)
    assert old.pixel_bounds == bounds and old.pixel_shape is None  # left alone
    header, hdus = written(new)
    with hdus:
        back = wcs_from_hdus(header, hdus)
    x, y = np.random.default_rng(1).uniform(-0.5, 2047.5, (2, 100))
    fine = to_fine(x + 1, scale) - 1, to_fine(y + 1, scale) - 1
    here, neighbour = old(x, y), old(x + 1e-3, y, with_bounding_box=False)
    for wcs in (new, back):
        assert isinstance(wcs, gwcs.WCS)
        assert offset_in_pixels(here, wcs(*fine), neighbour) * 1e-3 < 1e-6
        assert wcs.pixel_bounds == ((-0.5, 2048 * scale - 0.5),) * 2
        assert np.isnan(wcs(-1.0, 5.0)).all()  # outside, as before
        sky = wcs.pixel_to_world(*fine)
        assert offset_in_pixels(here, (sky.ra.deg, sky.dec.deg), neighbour) * 1e-3 < 1e-6
        # The file's inverse is a fit, good to some hundredths of a pixel: the same fit.
        inverse = old.invert(*here, with_bounding_box=False)
        expected = [to_fine(p + 1, scale) - 1 for p in inverse]
        position = wcs.invert(*here, with_bounding_box=False)
        np.testing.assert_allclose(position, expected, rtol=0, atol=1e-6 * scale)
