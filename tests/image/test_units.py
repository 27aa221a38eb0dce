"""Units as headers spell them, and what a finer pixel does to a value."""

import pytest
from astropy import units as u

from lenssr.exceptions import LensSRWarning
from lenssr.image import flux_convention, parse_unit, power_of, unit_text

FLUX = u.erg / u.s / u.cm**2 / u.AA

SPELT = [
    ("ELECTRONS", u.electron), ("electrons", u.electron), ("electron", u.electron),
    ("ELECTRONS/S", u.electron / u.s), ("e-/s", u.electron / u.s), ("e-", u.electron),
    ("COUNTS", u.ct), ("counts", u.ct), ("Counts/sec", u.ct / u.s), ("cps", u.ct / u.s),
    ("COUNTS/S", u.ct / u.s), ("ADU", u.adu), ("adu", u.adu), ("DN/s", u.DN / u.s),
    ("DN/S", u.DN / u.s), ("DN", u.DN), ("Jy", u.Jy), ("nJy", u.nJy), ("uJy", u.uJy),
    ("mjy", u.mJy), ("microJy", u.uJy), ("JY/BEAM", u.Jy / u.beam), ("MJy/sr", u.MJy / u.sr),
    ("MJY/SR", u.MJy / u.sr), ("nJy/arcsec2", u.nJy / u.arcsec**2),
    ("nJy arcsec-2", u.nJy / u.arcsec**2), ("nmgy", u.nmgy), ("nanomaggy", u.nmgy),
    ("NANOMAGGIES", u.nmgy), ("maggy", u.maggy), ("erg/s/cm2/Angstrom", FLUX),
    ("1e-20 erg/s/cm2/Angstrom", 1e-20 * FLUX), ("10**-20 erg s-1 cm-2 Angstrom-1", 1e-20 * FLUX),
    ("K", u.K), (" Jy ", u.Jy),
]


@pytest.mark.parametrize(("text", "unit"), SPELT)
def test_spellings(text, unit):
    assert parse_unit(text) == u.Unit(unit)


@pytest.mark.parametrize("nothing", [None, "", "   "])
def test_no_unit(nothing):
    assert parse_unit(nothing) is None


def test_units_pass():
    assert parse_unit(u.nJy) is u.nJy


@pytest.mark.parametrize("text", ["blorp", "MJY", "image"])
def test_unknown_units_are_carried(text):
    with pytest.warns(LensSRWarning, match=f"'{text}' is unknown"):
        unit = parse_unit(text)
    assert isinstance(unit, u.UnrecognizedUnit) and unit_text(unit) == text
    assert parse_unit(text, silent=True) == unit


@pytest.mark.parametrize("unit", ["mag", "mag(AB)", "ABmag", "mag/arcsec2", "mag arcsec-2",
                                  "magnitude", "dex", u.mag, u.ABmag, u.mag / u.arcsec**2,
                                  u.dex, u.Magnitude(1).unit])
def test_magnitudes_do_not_add(unit):
    with pytest.raises(ValueError, match="`BUNIT` must be linear in flux, got the logarithmic"):
        parse_unit(unit, "BUNIT")


@pytest.mark.parametrize("unit", [3, 2 * u.Jy, ["Jy"]])
def test_wrong_type(unit):
    with pytest.raises(TypeError, match="`unit` must be an astropy unit or a string, got"):
        parse_unit(unit)


PER_PIXEL = [u.electron, u.adu, u.Jy, u.nJy, u.nmgy, u.maggy, u.electron / u.s, u.ct, u.DN / u.s,
             u.Jy / u.pix, FLUX, u.ph / u.s / u.cm**2]
BRIGHTNESS = [u.MJy / u.sr, u.nJy / u.arcsec**2, u.Jy / u.beam, u.K, u.mK, FLUX / u.arcsec**2,
              u.ct / u.deg**2]


@pytest.mark.parametrize("unit", PER_PIXEL)
def test_fluxes_per_pixel(unit):
    assert flux_convention(unit) == "per-pixel"
    assert flux_convention(unit, "surface-brightness") == "surface-brightness"


@pytest.mark.parametrize("unit", BRIGHTNESS)
def test_surface_brightness(unit):
    assert flux_convention(unit) == "surface-brightness"
    assert flux_convention(unit, "per-pixel") == "per-pixel"


@pytest.mark.parametrize("text", ["foo/arcsec2", "Blob/beam", "lumps sr-1"])
def test_unknown_surface_brightness(text):
    assert flux_convention(parse_unit(text, silent=True)) == "surface-brightness"


@pytest.mark.parametrize(("unit", "reason"), [
    (None, "no unit"), (u.dimensionless_unscaled, "the unit ''"), (u.percent, "the unit '%'"),
    (parse_unit("blorp", silent=True), "the unit 'blorp'")])
def test_assumed_flux_convention_is_a_warning(unit, reason):
    with pytest.warns(LensSRWarning, match=f"the image has {reason}: its values count as flux"):
        assert flux_convention(unit) == "per-pixel"
    assert flux_convention(unit, "surface-brightness") == "surface-brightness"


def test_flux_must_be_one_of_three():
    with pytest.raises(ValueError, match="`flux` must be one of 'auto', .* got 'sum'"):
        flux_convention(u.Jy, "sum")


@pytest.mark.parametrize("unit", [*PER_PIXEL, *BRIGHTNESS, u.dimensionless_unscaled, u.percent,
                                  u.Unit(1e-20 * FLUX), u.Unit(3.631e-6 * u.Jy)])
def test_written_units_are_read(unit):
    text = unit_text(unit)
    assert len(text) <= 68  # the value of one card
    assert parse_unit(text) == unit


@pytest.mark.parametrize("unit", [u.electron / u.s, u.MJy / u.sr, u.Jy / u.beam, u.nJy, u.DN,
                                  u.dimensionless_unscaled])
def test_written_units_are_read_by_astropy(unit):
    assert u.Unit(unit_text(unit)) == unit
    assert unit_text(unit)  # `CCDData.read` takes an empty BUNIT for none


def test_powers():
    unknown = parse_unit("blorp", silent=True)
    assert power_of(u.Jy, -2) == u.Jy**-2
    assert power_of(None, 2) is None and power_of(None, 1) is None
    assert power_of(unknown, 1) is unknown and power_of(unknown, 2) is None
