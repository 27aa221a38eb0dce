"""WCSs read from headers, valid and invalid."""

import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs import WCS
from wcs_cases import CD, TAN, image_header

from lenssr.exceptions import LensSRWarning
from lenssr.image import (
    read_wcs,
    rescale_wcs,
    strip_wcs,
    wcs_to_fits,
)


def test_no_wcs_is_none():
    assert read_wcs(image_header(EQUINOX=2000.0, WCSAXES=2)) is None
    assert read_wcs(fits.Header()) is None


@pytest.mark.parametrize(
    ("cards", "reason"),
    [
        ({"A_ORDER": 2, "A_2_0": 1e-5}, "A_ORDER provided without corresponding B_ORDER"),
        ({"CTYPE1": "RA---XYZ", "CTYPE2": "DEC--XYZ"}, "Unrecognized projection code"),
        ({"CTYPE2": "DEC--SIN"}, "Inconsistent projection types"),
        ({"CTYPE2": ""}, "Unmatched celestial axes"),
        ({"CD1_1": "-1e-4"}, "CD1_1 = '-1e-4 *' a floating-point value was expected"),
        ({"CRPIX2": "nan"}, "CRPIX2.*a floating-point value was expected"),
        ({"CD1_1": 0.0}, "row 1 of its CD matrix is zero"),
        ({"CD1_1": -1e-4, "CD1_2": 1e-4, "CD2_1": -1e-4}, "singular"),
        ({"PV1_99": 1.0}, "Invalid parameter number"),
        ({"CPDIS1": "POLYNOMIAL"}, "Polynomial distortion is not implemented"),
        ({"CPDIS1": "LOOKUP"}, "HDUList is required"),
        ({"D2IMDIS1": "LOOKUP"}, "D2IMDIS1 needs a look-up table in an extension D2IMARR"),
        ({"AXISCORR": 1}, "AXISCORR needs a look-up table"),
        ({"SRWCSEXT": "WCSASDF"}, "SRWCSEXT needs an extension WCSASDF"),
    ],
)
def test_header_without_a_possible_wcs(cards, reason):
    message = f"`header` declares a WCS, but it is not valid: .*{reason}"
    with pytest.raises(ValueError, match=message):
        read_wcs(image_header(**{**TAN, **CD, **cards}))


def test_header_with_missing_table_keyword():
    header = image_header(**TAN, **CD, D2IMDIS1="LOOKUP")
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros((2, 2)), name="D2IMARR")])
    with pytest.raises(ValueError, match="`header` declares a WCS.*D2IM1.AXIS.1"):
        read_wcs(header, hdus)


def test_old_detector_table():
    header = image_header(**TAN, **CD, AXISCORR=1)
    table = fits.ImageHDU(np.full(100, 0.5, np.float32), name="D2IMARR")
    wcs = read_wcs(header, fits.HDUList([fits.PrimaryHDU(), table]))  # no deprecation warning
    plain = read_wcs(image_header(**TAN, **CD))
    truth = plain.all_pix2world(9.5, 9, 1)
    np.testing.assert_allclose(wcs.all_pix2world(9, 9, 1), truth, rtol=0, atol=1e-11)
    new = rescale_wcs(wcs, 2)
    np.testing.assert_allclose(new.all_pix2world(17.5, 17.5, 1), truth, rtol=0, atol=1e-11)


def test_header_of_one_axis():
    header = fits.Header({"NAXIS": 1, "NAXIS1": 100, "CTYPE1": "WAVE", "CRVAL1": 1.0})
    with pytest.raises(ValueError, match="`header` declares a WCS.*one axis|1 axis, the image 2"):
        read_wcs(header)


def test_harmless_repairs_are_silent_and_others_told():
    header = image_header(**TAN, **CD, RADECSYS="FK5", **{"DATE-OBS": "31/12/99"})
    assert read_wcs(header).wcs.radesys == "FK5"  # any warning is an error in this suite
    header["EQUINOX"] = "J2000"
    with pytest.warns(LensSRWarning, match="a card of `header` is ignored: EQUINOX"):
        read_wcs(header)


def test_other_warnings_pass(monkeypatch):
    init = WCS.__init__

    def noisy_init(*args, **kwargs):
        warnings.warn("of another kind", UserWarning, stacklevel=2)
        init(*args, **kwargs)

    monkeypatch.setattr(WCS, "__init__", noisy_init)
    with pytest.warns(UserWarning, match="of another kind"):
        read_wcs(image_header(**TAN, **CD))


def test_cards_that_no_astronomer_wrote_do_not_matter():
    header = image_header(**TAN, **CD)
    header.append(fits.Card.fromstring("BAD@KEY = 1"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyUserWarning)  # fits reading the card
        header.tostring()
    assert read_wcs(header).naxis == 2


def test_types():
    header = image_header(**TAN, **CD)
    with pytest.raises(TypeError, match="`wcs` must follow the common WCS interface.*got str"):
        rescale_wcs("wcs", 2)
    with pytest.raises(TypeError, match="`wcs` must follow"):
        wcs_to_fits(None)
    with pytest.raises(TypeError, match="`header` must be a fits.Header, got dict"):
        read_wcs({})
    with pytest.raises(TypeError, match="`hdulist` must be a fits.HDUList or None, got list"):
        read_wcs(header, [])
    with pytest.raises(TypeError, match="`header` must be a fits.Header, got str"):
        strip_wcs("header")
    with pytest.raises(ValueError, match="`wcs` must have two pixel axes or more, got 1"):
        rescale_wcs(WCS(naxis=1), 2)
