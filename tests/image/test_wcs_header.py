"""Header cards of a WCS, of alternates and of the pixel size."""

import os
import sys
import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from wcs_cases import (
    CD,
    CDELT,
    TAN,
    TPV,
    assert_same_sky,
    image_header,
    open_case,
    tnx_cards,
    to_fine,
)

from lenssr.exceptions import LensSRWarning
from lenssr.image import (
    read_wcs,
    rescale_alternates,
    rescale_wcs,
    strip_wcs,
    wcs_to_fits,
)


def test_strip_leaves_nothing_of_the_old_wcs():
    header = image_header(**{**TAN, **CD, **TPV, **tnx_cards()})
    header.update(A_ORDER=2, B_1_1=1e-5, A_DMAX=1.0)
    header.update(CROTA2=1.0, EQUINOX=2000.0, RADECSYS="FK5", LONPOLE=180.0, WCSDIM=2, PC001001=1.0)
    header.update(CRPIX1P=1.0, CD1_1O=2.0, WCSNAMEO="OPUS", A_3_1O=1.0, CPDIS1="LOOKUP", AMDX1=1.0)
    header.append(fits.Card.fromstring("DP1     = 'EXTVER: 1'"))
    header.append(fits.Card.fromstring("D2IM1   = 'EXTVER: 1'"))
    kept = {"OBJECT": "lens", "PA_V3": 3.0, "A_1": 1, "CDS": 2, "PCOUNT": 0, "PVALUE": 1.0}
    kept |= {"DATE-OBS": "2020-01-01", "CD1": 5, "WCSCDATE": "x", "PSF": 2, "DPID": 7}
    kept["EPOCH"] = 2000.0
    header.update(kept)
    header.add_history("made by hand")
    header["BIG"] = ("x" * 100, "a card that CONTINUEs")
    before = header.copy()
    out = strip_wcs(header)
    standard = ["SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2"]
    assert list(out) == [*standard, *kept, "BIG", "HISTORY"]
    assert out["BIG"] == "x" * 100 and out.comments["BIG"] == "a card that CONTINUEs"
    out["OBJECT"] = "other"
    assert header.tostring() == before.tostring()  # a copy
    assert read_wcs(out) is None


def test_cards_of_pixel_size():
    header = fits.Header({"PIXSCALE": 0.6, "SECPIX1": -0.3, "PIXAR_SR": 9e-12})
    header["SECPIX"] = "0.3 arcsec"
    header.update(LTV1=3.0, LTM1_1=1.0, DATASEC="[1:5,1:5]", CCDSEC="[1:5,1:5]", OCRPIX1=4.0)
    header["PXSCAL1"] = (True, "nonsense")
    assert list(strip_wcs(header)) == list(header)  # the same pixels
    out = strip_wcs(header, 3)
    assert list(out) == ["PIXSCALE", "SECPIX1", "PIXAR_SR", "CCDSEC"]
    values = out["PIXSCALE"], out["SECPIX1"], out["PIXAR_SR"]
    np.testing.assert_allclose(values, [0.2, -0.1, 1e-12])


@pytest.mark.parametrize("scale", [1, 3])
@pytest.mark.parametrize(
    "matrix", [CD, {**CDELT, "PC1_2": 0.5}, {"CDELT1": 2e-4}, {"CD1_1": 2e-4, "CD2_2": 1e-4}]
)
def test_alternates_are_carried(matrix, scale):
    alternate = {key + "B": value for key, value in {**TAN, **matrix, "CRPIX1": -7.5}.items()}
    header = image_header(**TAN, **CD, **alternate, WCSNAMEB="other", A_2_0B=1e-3)
    header.update(CRPIX1P=3.0, CRVAL2P=7.0)
    cards = rescale_alternates(header, scale)
    defaults = {"CDELT2B", "CRPIX2P", "CDELT1P", "CDELT2P"}
    assert set(cards) - set(header) <= defaults
    assert cards["WCSNAMEB"] == "other" and "A_2_0B" not in cards
    out = strip_wcs(header, scale)
    out.extend(wcs_to_fits(rescale_wcs(read_wcs(header), scale))[0], unique=True)
    out.extend(cards)
    again = strip_wcs(out, keep_alternates=True)
    assert list(again) == list(strip_wcs(header, scale)) + list(cards)
    for key in "BP":
        old, new = WCS(header, key=key), WCS(out, key=key)
        points = np.random.default_rng(6).uniform(1, 80, (100, 2))
        np.testing.assert_allclose(
            new.wcs_pix2world(to_fine(points, scale), 1), old.wcs_pix2world(points, 1), atol=1e-11
        )
    assert header["CRPIX1B"] == -7.5


def test_alternate_that_cannot_be_read_is_dropped_aloud():
    header = image_header(**TAN, **CD, CTYPE1C="RA---XYZ", CTYPE2C="DEC--XYZ")
    with pytest.warns(LensSRWarning, match="alternate WCS 'C' of `header` is dropped: .*proj"):
        assert not rescale_alternates(header, 2)
    with pytest.raises(ValueError, match="`scale` must be"):
        rescale_alternates(header, 0)


def test_alternate_with_hst_archive_cards(shared_data):
    """SIP has no letter: the alternates share the primary's, rescaled."""
    header, hdus = open_case(shared_data / "wcs" / "astropy_j94f05bgq_flt.fits", 1)
    out = strip_wcs(header, 2)
    out.extend(wcs_to_fits(rescale_wcs(read_wcs(header, hdus), 2))[0], unique=True)
    out.extend(rescale_alternates(header, 2))
    old, new = WCS(header, key="O"), WCS(out, key="O")
    assert old.sip is not None and new.sip is not None
    assert_same_sky(old, new, 2, np.random.default_rng(9).uniform(1, 2000, (2, 100)))


def test_importing_takes_no_heavy_package():
    import subprocess

    code = ("import sys, lenssr.image; lenssr.image.rescale_wcs; "
            "print({'gwcs', 'torch'} & set(sys.modules))")
    root = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert done.stdout.strip() == "set()", done.stderr


def test_prior_distortion_inside_wcslib_is_refused():
    """Polynomials of the pixels that only WCSLIB knows of (astropy reads them for alternates)."""
    header = image_header(**{key + "A": value for key, value in {**TAN, **CD}.items()})
    for axis in (1, 2):
        header[f"CPDIS{axis}A"] = "Polynomial"
        for field in ("NAXES: 2", "AXIS.1: 1", "AXIS.2: 2", "NTERMS: 1", "TERM.1.COEFF: 1e-3"):
            header.append(fits.Card.fromstring(f"DP{axis}A    = '{field}'"))
        header.append(fits.Card.fromstring(f"DP{axis}A    = 'TERM.1.VAR.1.POW: 2'"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wcs = WCS(header, key="A")
    with pytest.raises(ValueError, match="`wcs` cannot be rescaled to finer pixels exactly"):
        rescale_wcs(wcs, 2)
    with pytest.warns(LensSRWarning, match="alternate WCS 'A' of `header` is dropped"):
        assert not rescale_alternates(header, 2)
