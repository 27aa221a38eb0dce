"""Rescaled WCSs against closed formulas of projections and distortions."""


import numpy as np
import pytest
from astropy.wcs import WCS, DistortionLookupTable
from wcs_cases import CD, TAN, gnomonic, image_header, random_pixels, to_fine, written

from lenssr.image import (
    read_wcs,
    rescale_wcs,
    wcs_from_hdus,
)


@pytest.mark.parametrize("scale", [2, 3, 5])
@pytest.mark.parametrize("form", ["CD", "PC", "CROTA"])
def test_tan_by_hand(form, scale):
    """A rotated, flipped, non-square TAN against the formula of the projection."""
    angle = np.radians(33.0)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    step = np.diag([-2e-4, 3e-4])
    header = image_header(**{**TAN, "CRPIX1": 17.25, "CRPIX2": -301.5})
    if form == "CROTA":
        matrix = turn @ step  # Calabretta & Greisen 2002, equation 186 ff.
        header.update({"CDELT1": -2e-4, "CDELT2": 3e-4, "CROTA2": 33.0})
    elif form == "CD":
        matrix = turn @ step
        header.update({f"CD{i + 1}_{j + 1}": v for (i, j), v in np.ndenumerate(matrix)})
    else:
        matrix = step @ turn
        header.update({"CDELT1": -2e-4, "CDELT2": 3e-4})
        header.update({f"PC{i + 1}_{j + 1}": v for (i, j), v in np.ndenumerate(turn)})
    new_header, hdus = written(rescale_wcs(read_wcs(header), scale))
    with hdus:
        new = WCS(new_header)
    # corners of the footprint, which both grids share, and whatever lies between
    for x, y in [(0.5, 0.5), (100.5, 80.5), (0.5, 80.5), (50.0, 7.3)]:
        truth = gnomonic(*(matrix @ [x - 17.25, y + 301.5]), 150.0, 2.2)
        position = new.all_pix2world(to_fine(x, scale), to_fine(y, scale), 1)
        np.testing.assert_allclose(position, truth, rtol=0, atol=1e-11)
    # the first fine pixel has its centre (1 - 1/s)/2 of a coarse pixel from the coarse centre
    first = 0.5 + 0.5 / scale
    truth = gnomonic(*(matrix @ [first - 17.25, first + 301.5]), 150.0, 2.2)
    np.testing.assert_allclose(new.all_pix2world(1, 1, 1), truth, rtol=0, atol=1e-11)
    if form == "CD":
        np.testing.assert_allclose(new.wcs.cd, matrix / scale, rtol=1e-12)  # of the card
    else:
        np.testing.assert_allclose(new.wcs.cdelt, np.diag(step) / scale, rtol=1e-15)


def test_sip_by_hand():
    """The polynomial, evaluated in the pixels of the new image."""
    header = image_header(**TAN, **CD, A_ORDER=3, B_ORDER=2, A_2_0=1e-4, A_1_2=3e-6, B_0_2=-2e-4)
    header.update(CTYPE1="RA---TAN-SIP", CTYPE2="DEC--TAN-SIP")
    new = rescale_wcs(read_wcs(header), 3)
    x, y = 91.0, 12.5
    a, b = x - 50, y - 40
    moved = a + 1e-4 * a**2 + 3e-6 * a * b**2, b - 2e-4 * b**2
    truth = gnomonic(-1e-4 * moved[0], 1e-4 * moved[1], 150.0, 2.2)
    position = new.all_pix2world(to_fine(x, 3), to_fine(y, 3), 1)
    np.testing.assert_allclose(position, truth, rtol=0, atol=1e-11)
    np.testing.assert_allclose(new.sip.a[1, 2], 3e-6 / 9)


def test_tables_by_hand():
    """Constant look-up tables shift by so many pixels of the input, on either axis."""
    plain = read_wcs(image_header(**TAN, **CD))
    old = plain.deepcopy()
    grid = {"crpix": (1.0, 1.0), "crval": (1.0, 1.0), "cdelt": (50.0, 40.0)}
    old.cpdis1 = DistortionLookupTable(np.full((3, 3), 2.5, np.float32), *grid.values())
    old.cpdis2 = DistortionLookupTable(np.full((3, 3), -1.5, np.float32), *grid.values())
    old.det2im1 = DistortionLookupTable(np.full((3, 3), 0.25, np.float32), *grid.values())
    old.det2im2 = DistortionLookupTable(np.full((3, 3), 4.0, np.float32), *grid.values())
    x, y = random_pixels(old)
    truth = plain.all_pix2world(x + 2.75, y + 2.5, 1)
    header, hdus = written(rescale_wcs(old, 3))
    with hdus:
        assert [h.name for h in hdus[1:]].count("D2IMARR") == 2
        new = wcs_from_hdus(header, hdus)
        np.testing.assert_allclose(
            new.all_pix2world(to_fine(x, 3), to_fine(y, 3), 1), truth, rtol=0, atol=1e-11
        )
        with pytest.raises(ValueError, match="`header` declares a WCS.*D2IMARR"):
            read_wcs(header)


def test_table_grid_is_moved():
    """A sloped table distorts the same sky positions, between its nodes too."""
    old = read_wcs(image_header(**TAN, **CD))
    ramp = np.add.outer(np.arange(5.0), 3 * np.arange(6.0) ** 2).astype(np.float32) / 8
    old.cpdis2 = DistortionLookupTable(ramp, (2.0, 1.5), (30.0, 11.0), (20.0, 16.0))
    pixels = random_pixels(old)
    x, y = pixels
    column = np.clip((x - 30) / 20 + 2 - 1, 0, 5)  # of the table, from 0
    row = np.clip((y - 11) / 16 + 1.5 - 1, 0, 4)
    left = np.floor(column).clip(0, 4)
    rise = 3 * (left**2 + (column - left) * (2 * left + 1))  # bilinear between nodes
    truth = read_wcs(image_header(**TAN, **CD)).all_pix2world(x, y + (row + rise) / 8, 1)
    np.testing.assert_allclose(old.all_pix2world(x, y, 1), truth, rtol=0, atol=1e-9)
    new = rescale_wcs(old, 4)
    position = new.all_pix2world(to_fine(x, 4), to_fine(y, 4), 1)
    np.testing.assert_allclose(position, truth, rtol=0, atol=1e-9)
