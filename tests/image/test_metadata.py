"""Metadata of an observation in FITS headers."""

import pytest
from astropy import units as u
from astropy.io import fits

from lenssr.image import band_wavelength, read_metadata


@pytest.mark.parametrize("name,wavelength", [
    ("HSC-I", 0.77), ("i2", 0.77), ("r", 0.62), ("F814W", 0.814), ("F850LP", 0.85),
    ("F160W", 1.6), ("F444W", 4.44), ("CLEAR;F606W", 0.606), ("VIS", 0.72),
    (8000 * u.AA, 0.8), ("CLEAR1L", None), ("", None)])
def test_bands(name, wavelength):
    result = band_wavelength(name)
    assert result is None if wavelength is None else result == pytest.approx(wavelength)


def test_bad_band():
    with pytest.raises(ValueError, match="`band` must be a name or a wavelength, got 3.0 s"):
        band_wavelength(3 * u.s)


def test_header():
    header = fits.Header({"FILTER": "HSC-G", "ZLENS": 0.4, "ZSOURCE": "unknown"})
    assert read_metadata(header, 0.168 * u.arcsec) == {
        "pixel_scale": pytest.approx(0.168), "z_lens": 0.4, "wavelength": 0.48}
    assert read_metadata(None) == {}
