"""WCSs written to FITS without loss."""


import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS, Sip
from wcs_cases import (
    CD,
    CDELT,
    TAN,
    TPV,
    assert_same_sky,
    cube_header,
    gnomonic,
    image_header,
    random_pixels,
    sip_wcs,
    tnx_cards,
    to_fine,
    written,
)

from lenssr.image import (
    check_same_sky,
    read_wcs,
    rescale_alternates,
    rescale_wcs,
    wcs_to_fits,
)


@pytest.mark.parametrize("matrix", [CD, CDELT, {**CDELT, "CROTA2": 20.0}])
@pytest.mark.parametrize(
    "distortion", [{"CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV", **TPV}, tnx_cards()]
)
def test_distortions_inside_wcslib(matrix, distortion):
    """TPV and TNX act between PC and CDELT: dividing CDELT would be wrong."""
    old = read_wcs(image_header(**{**TAN, **matrix, **distortion}))
    plain = read_wcs(image_header(**TAN, **matrix))
    assert np.max(np.subtract(old.all_pix2world(9, 9, 1), plain.all_pix2world(9, 9, 1))) > 1e-5
    new = rescale_wcs(old, 3)
    header, hdus = written(new, image_header(**tnx_cards()))
    with hdus:
        for wcs in (new, read_wcs(header)):
            assert_same_sky(old, wcs, 3, random_pixels(old))


def test_sip_without_suffix_is_applied_and_then_said():
    header = image_header(**TAN, **CD, A_ORDER=2, B_ORDER=2, A_2_0=1e-4)
    old = read_wcs(header)
    assert old.sip is not None and old.wcs.ctype[0] == "RA---TAN"
    new_header, hdus = written(rescale_wcs(old, 2), header)
    hdus.close()
    assert new_header["CTYPE1"] == "RA---TAN-SIP" and new_header["CTYPE2"] == "DEC--TAN-SIP"
    assert_same_sky(old, WCS(new_header), 2, random_pixels(old))
    assert old.wcs.ctype[0] == "RA---TAN"  # the argument is left alone
    old.wcs.ctype = ["SLON-TAN", "SLAT-TAN"]
    assert list(wcs_to_fits(old)[0]["CTYPE*"].values()) == ["SLON-TAN-SIP", "SLAT-TAN-SIP"]


def test_numbers_are_written_to_the_last_digit():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TPV", "DEC--TPV"]
    wcs.wcs.crval = [359.12345678901234, -89.9999999999876]
    wcs.wcs.crpix = [1234567.1234567891, -1e9 / 7]
    wcs.wcs.cd = np.array([[-1 / 3, 1 / 7], [0.0, 1 / 3]]) * 1e-9
    wcs.wcs.set_pv([(1, 1, 1 + 1e-15), (2, 1, 1.0), (1, 4, -np.pi * 1e-7), (2, 7, -1e-10 / 7)])
    wcs.wcs.set()
    header, hdus = written(wcs)
    with hdus:
        back = read_wcs(header)
    for name in ("crval", "crpix", "cd"):
        np.testing.assert_array_equal(getattr(back.wcs, name), getattr(wcs.wcs, name))
    points = wcs.wcs.crpix + np.random.default_rng(3).uniform(-1000, 1000, (50, 2))
    np.testing.assert_array_equal(back.all_pix2world(points, 1), wcs.all_pix2world(points, 1))


def test_fortran_exponents_are_read():
    """FITS allows D for the exponent of a double; astropy's WCS stops reading there."""
    header = image_header(**TAN, **CD, **{key + "A": v for key, v in {**TAN, **CD}.items()})
    for key, number in [("CRVAL1", "1.500000D+02"), ("CD1_1", "-1.D-4"), ("CRVAL1A", "1.5D2")]:
        index = header.index(key)
        del header[key]
        header.insert(index, fits.Card.fromstring(f"{key:<8}= {number:>20} / of a double"))
    header["OBJECT"] = "3D2"
    before = header.tostring()
    wcs, cards = read_wcs(header), rescale_alternates(header, 1)
    assert header.tostring() == before and "1.500000D+02" in before
    x, y = 9.0, 12.0
    truth = gnomonic(-1e-4 * (x - 50), 1e-4 * (y - 40), 150.0, 2.2)
    np.testing.assert_allclose(wcs.all_pix2world(x, y, 1), truth, rtol=0, atol=1e-11)
    alternate = WCS(cards, key="A")
    np.testing.assert_allclose(alternate.wcs_pix2world(x, y, 1), truth, rtol=0, atol=1e-11)
    small = image_header(**TAN, **CD)
    small.append(fits.Card.fromstring("LONPOLE = 1.7d2 / not quite standard"))
    assert read_wcs(small).wcs.lonpole == 170.0


def test_no_card_is_written_that_follows_from_others():
    header = image_header(**TAN, **CD, **{"DATE-OBS": "2014-07-31T04:49:58.673"})
    wcs = read_wcs(header)
    assert np.isfinite(wcs.wcs.mjdobs)
    cards, extra = wcs_to_fits(wcs)
    assert not extra
    assert cards["DATE-OBS"] == header["DATE-OBS"]
    assert not any(key.startswith(("MJD", "NAXIS", "PC", "CDELT")) for key in cards)
    header["MJDREF"] = 51544.0
    assert wcs_to_fits(read_wcs(header))[0]["MJDREF"] == 51544.0


def test_right_ascension_zero_is_360():
    """Rounding may put a position on either side of the seam: it has not moved."""
    seam = {**TAN, **CD, "CRPIX1": 10.5, "CRVAL1": 0.0, "CRVAL2": 0.0}
    old = read_wcs(image_header(**seam))
    new = read_wcs(image_header(**{**seam, "CRVAL1": 360 - 1e-12}))
    column = old.all_pix2world(10.5, 40, 1)[0], new.all_pix2world(10.5, 40, 1)[0]
    assert column[0] < 1e-20 and column[1] > 359
    check_same_sky(old, new, 1, "has moved")
    new.wcs.crval = [360 - 1e-9, 0.0]  # 1e-5 of a pixel
    with pytest.raises(ValueError, match="`wcs` has moved: positions on the sky would move"):
        check_same_sky(old, new, 1, "has moved")


def test_sip_and_bounds_are_carried():
    old = read_wcs(image_header(**TAN, **CD))
    old.sip = Sip(None, None, np.diag([0.0, 0, 1e-5]), np.diag([0.0, 0, 2e-5]), old.wcs.crpix)
    old.pixel_bounds = [(-0.5, 30.0), None]
    new = rescale_wcs(old, 2)
    assert new.sip.a is None
    np.testing.assert_allclose(new.sip.ap[2, 2], 1e-5 / 8)
    assert new.pixel_bounds == [(-0.5, 60.5), None]
    assert old.pixel_bounds == [(-0.5, 30.0), None]


def test_sip_about_another_point_cannot_be_written():
    wcs = sip_wcs()
    wcs.wcs.crpix += 5.0  # SIP has a CRPIX of its own in memory, but not in a header
    assert_same_sky(wcs, rescale_wcs(wcs, 3), 3, random_pixels(wcs))
    with pytest.raises(ValueError, match="`wcs` cannot be written to FITS exactly"):
        wcs_to_fits(wcs)


def test_table_coordinates_cannot_be_written():
    columns = [
        fits.Column("COORD", "3D", dim="(1,3)", array=np.array([[1.0, 2.0, 4.0]])),
        fits.Column("INDEX", "3D", dim="(3)", array=np.array([[1.0, 2.0, 3.0]])),
    ]
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns, name="WAVETAB")])
    table = {"CTYPE3": "WAVE-TAB", "CUNIT3": "m", "PS3_0": "WAVETAB", "PS3_1": "COORD"}
    header = cube_header(**table, PS3_2="INDEX", CRVAL3=1.0, CDELT3=1.0)
    old = read_wcs(header, hdus)
    new = rescale_wcs(old, 2)
    np.testing.assert_allclose(
        new.all_pix2world(to_fine(9, 2), to_fine(7, 2), 2.5, 1), old.all_pix2world(9, 7, 2.5, 1)
    )
    np.testing.assert_allclose(new.all_pix2world(1, 1, 2.5, 1)[2], 3.0)
    with pytest.raises(ValueError, match="`wcs` cannot be written to FITS:.*WAVETAB"):
        wcs_to_fits(new)
