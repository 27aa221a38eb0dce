"""FITS files as observatories write them: what lies beside the image is found."""

import io
import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import (
    CCDData,
    InverseVariance,
    StdDevUncertainty,
    VarianceUncertainty,
)
from astropy.table import Table
from astropy.wcs import WCS

from lenssr.exceptions import LensSRWarning
from lenssr.image import (
    gaussian_psf,
    header_from,
    merged_header,
    open_fits,
    parse_image,
    pixels,
    without_layout,
)

SHAPE = (8, 10)
RNG = np.random.default_rng(0)
DATA = [RNG.normal(0, 1, SHAPE).astype(np.float32) for _ in range(2)]
ERR = [np.full(SHAPE, 0.5 + i, np.float32) for i in range(2)]
FLAGS = [np.zeros(SHAPE, np.int16) for _ in range(2)]
FLAGS[0][1, 2], FLAGS[0][3, 4], FLAGS[1][5, 6] = 4, 1, 64
PSF = gaussian_psf(2.0)


def hdu(data, name, ver=1, **cards):
    return fits.ImageHDU(data, fits.Header(list(cards.items())), name=name, ver=ver)


def primary(**cards):
    return fits.PrimaryHDU(header=fits.Header(list(cards.items())))


def hst():
    """Two chips, each with errors and flags, as calwf3 writes them."""
    head = primary(TELESCOP="HST", INSTRUME="WFC3", EXPTIME=2000.0, FILENAME="x_flt.fits",
                   NEXTEND=6)
    parts = []
    for ver in (1, 2):
        parts += [hdu(DATA[ver - 1], "SCI", ver, BUNIT="ELECTRONS", INHERIT=True, CCDCHIP=3 - ver),
                  hdu(ERR[ver - 1], "ERR", ver, BUNIT="ELECTRONS", INHERIT=True),
                  hdu(FLAGS[ver - 1], "DQ", ver, BUNIT="UNITLESS", INHERIT=True)]
    return fits.HDUList([head, *parts])


def in_memory(hdus):
    file = io.BytesIO()
    hdus.writeto(file)
    file.seek(0)
    return file


@pytest.mark.parametrize(("hdu", "chip"), [(None, 0), (1, 0), ("SCI", 0), (("SCI", 1), 0),
                                           (("sci", 2), 1), (4, 1)])
@pytest.mark.parametrize("stored", [False, True])
def test_hst(hdu, chip, stored):
    parsed = parse_image(in_memory(hst()) if stored else hst(), hdu=hdu)
    (plane,) = parsed.planes
    np.testing.assert_array_equal(plane.mask, FLAGS[chip] != 0)
    np.testing.assert_array_equal(plane.data[~plane.mask], DATA[chip][~plane.mask])
    assert (plane.sigma == 0.5 + chip).all()
    assert parsed.unit == u.electron and parsed.kind is StdDevUncertainty and parsed.noise_given
    assert parsed.header["TELESCOP"] == "HST" and parsed.header["CCDCHIP"] == 2 - chip
    assert not {"EXTNAME", "EXTVER", "INHERIT", "NEXTEND", "XTENSION"} & set(parsed.header)


def test_what_is_given_is_not_looked_for():
    broken = hst()
    broken["ERR", 1].data = np.zeros((3, 3))
    broken["DQ", 1].data = np.zeros((3, 3), int)
    mask = np.eye(8, 10, dtype=int)
    parsed = parse_image(broken, uncertainty=InverseVariance(np.full(SHAPE, 4.0)), mask=2 * mask)
    assert parsed.kind is InverseVariance and (parsed.planes[0].sigma == 0.5).all()
    np.testing.assert_array_equal(parsed.planes[0].mask, mask == 1)


def jwst():
    flags = np.zeros(SHAPE, np.uint32)
    flags[0, 0], flags[1, 1], flags[2, 2] = 1, 4, 2**31 + 1  # DO_NOT_USE, JUMP_DET, both kinds
    error = ERR[0].copy()
    error[0, 0] = error[5, 5] = np.nan
    data = DATA[0].copy()
    data[7, 7] = np.nan
    return fits.HDUList([
        primary(TELESCOP="JWST", INSTRUME="NIRCAM"), hdu(data, "SCI", BUNIT="MJy/sr"),
        hdu(error, "ERR", BUNIT="MJy/sr"), hdu(flags, "DQ"), hdu(ERR[1], "AREA"),
        hdu(ERR[1] ** 2, "VAR_POISSON", BUNIT="(MJy/sr)^2"),
        fits.BinTableHDU(Table({"ASDF_METADATA": [1, 2]}), name="ASDF")])


def test_jwst():
    with pytest.warns(LensSRWarning, match="^1 pixels without a finite uncertainty"):
        parsed = parse_image(in_memory(jwst()))
    assert sorted(zip(*map(list, np.nonzero(parsed.planes[0].mask)))) == [
        (0, 0), (2, 2), (5, 5), (7, 7)]
    assert (parsed.planes[0].sigma == 0.5).all() and parsed.unit == u.MJy / u.sr


def test_flags_that_the_user_gives_all_count():
    mask = np.zeros(SHAPE, int)
    mask[3, 3] = 4
    with pytest.warns(LensSRWarning, match="without a finite uncertainty"):
        parsed = parse_image(jwst(), mask=mask)
    assert parsed.planes[0].mask[3, 3] and not parsed.planes[0].mask[2, 2]


def test_euclid():
    """Several detectors in one file; every source is flagged, and not invalid."""
    flags = [np.full(SHAPE, 1 << 24, np.int32) for _ in range(2)]
    flags[0][2, 3] |= 1 | 4
    flags[1][6, 6] |= 1 | 16
    hdus = fits.HDUList([primary(TELESCOP="EUCLID", INSTRUME="VIS")] + [
        part for i, name in enumerate(("1-1.E", "1-1.F"))
        for part in (hdu(flags[i], f"{name}.FLG"), hdu(DATA[i], f"{name}.SCI", BUNIT="adu"),
                     hdu(ERR[i], f"{name}.RMS"))])
    for name, i in ((None, 0), ("1-1.F.SCI", 1)):
        (plane,) = parse_image(hdus, hdu=name).planes
        np.testing.assert_array_equal(plane.mask, flags[i] & 1)
        np.testing.assert_array_equal(plane.data[~plane.mask], DATA[i][~plane.mask])
        assert (plane.sigma == 0.5 + i).all()


def test_euclid_cutout():
    flags = np.zeros(SHAPE, np.int32)
    flags[2, 3] = 3
    hdus = fits.HDUList([fits.PrimaryHDU(DATA[0]), hdu(ERR[0], "RMS"), hdu(flags, "FLG")])
    (plane,) = parse_image(hdus, unit="uJy").planes
    np.testing.assert_array_equal(plane.mask, flags == 3)
    assert (plane.sigma == 0.5).all()


def test_hsc():
    """LSST's mask has a plane for detected sources, and tells in MP_ which that is."""
    flags = np.full(SHAPE, 1 << 5, np.int32)
    flags[0, 0] |= 1 << 0
    flags[1, 1] |= 1 << 1
    flags[2, 2] |= 1 << 8
    flags[3, 3] |= 1 << 3
    planes = {"MP_BAD": 0, "MP_CR": 3, "HIERARCH MP_DETECTED": 5, "HIERARCH MP_NO_DATA": 8,
              "MP_SAT": 1}
    mask = hdu(flags, "MASK", **planes)
    hdus = fits.HDUList([primary(), hdu(DATA[0], "IMAGE"), mask, hdu(ERR[0] ** 2, "VARIANCE")])
    parsed = parse_image(hdus, unit="nJy")
    np.testing.assert_array_equal(np.nonzero(parsed.planes[0].mask), [[0, 1, 2]] * 2)
    assert parsed.kind is VarianceUncertainty and (parsed.planes[0].sigma == 0.5).all()


@pytest.mark.parametrize("name", ["WHT", "WGT", "WEIGHT"])
def test_weights_of_an_unknown_scale(name):
    """Half the image was exposed four times longer; the level comes from the sky."""
    rng, weight = np.random.default_rng(2), np.ones((60, 60))
    weight[30:], weight[5, 5] = 4.0, 0.0
    data = rng.normal(0, 3 / np.sqrt(np.maximum(weight, 1)))
    hdus = fits.HDUList([primary(), hdu(data, "SCI", BUNIT="ELECTRONS/S"),
                         hdu(1e5 * weight, name), hdu(np.ones((60, 60), np.int32), "CTX")])
    with pytest.warns(LensSRWarning, match=f"the weights in {name} scale the noise map"):
        parsed = parse_image(hdus)
    (plane,) = parsed.planes
    assert plane.sigma[10, 10] == pytest.approx(3, rel=0.06)
    assert plane.sigma[40, 10] * 2 == pytest.approx(plane.sigma[10, 10])
    assert plane.mask.sum() == 1 and plane.mask[5, 5] and not parsed.noise_given
    assert parsed.kind is StdDevUncertainty
    hdus[2].data = np.ones((3, 3))
    with pytest.warns(LensSRWarning), pytest.raises(ValueError, match="the weights of `data`"):
        parse_image(hdus)


def test_weights_without_noise():
    hdus = fits.HDUList([fits.PrimaryHDU(np.ones(SHAPE)), hdu(np.ones(SHAPE), "WHT")])
    with pytest.warns(LensSRWarning) as caught:
        parse_image(hdus, unit="Jy")
    assert "the weights in WHT" in str(caught[0].message)
    assert "the image shows no noise" in str(caught[1].message)


@pytest.mark.parametrize(("name", "value", "kind"), [
    ("ERR", 2.0, StdDevUncertainty), ("RMS", 2.0, StdDevUncertainty),
    ("VAR", 4.0, VarianceUncertainty), ("VARIANCE", 4.0, VarianceUncertainty),
    ("IVAR", 0.25, InverseVariance), ("INVVAR", 0.25, InverseVariance)])
def test_uncertainties(name, value, kind):
    hdus = fits.HDUList([fits.PrimaryHDU(DATA[0]), hdu(np.full(SHAPE, value), name.lower())])
    parsed = parse_image(hdus, unit="Jy")
    assert (parsed.planes[0].sigma == 2).all() and parsed.kind is kind


def test_uncertainty_in_its_own_unit():
    hdus = fits.HDUList([fits.PrimaryHDU(DATA[0], fits.Header([("BUNIT", "Jy")])),
                         hdu(np.full(SHAPE, 4e6), "VAR", BUNIT="mJy2")])
    assert (parse_image(hdus).planes[0].sigma == 2).all()
    # the numbers are what they were, whatever the user calls them
    assert (parse_image(hdus, unit="adu").planes[0].sigma == 2).all()
    hdus[1].header["BUNIT"] = "s"
    with pytest.warns(LensSRWarning, match="the unit 's' of VAR does not convert to Jy2: its "
                                           "values are taken in that unit"):
        assert (parse_image(hdus).planes[0].sigma == 2000).all()
    for nothing in ("", None):
        hdus[1].header["BUNIT"] = nothing
        assert (parse_image(hdus).planes[0].sigma == 2000).all()


@pytest.mark.parametrize("kind", [StdDevUncertainty, VarianceUncertainty, InverseVariance])
def test_written_by_ccddata(kind, tmp_path):
    mask = np.zeros(SHAPE, bool)
    mask[2, 2] = True
    image = CCDData(DATA[0], unit="nJy", mask=mask, psf=PSF, uncertainty=kind(np.full(SHAPE, 4.0)),
                    meta={"OBJECT": "x"})
    image.write(tmp_path / "x.fits")
    parsed = parse_image(tmp_path / "x.fits")
    (plane,) = parsed.planes
    assert parsed.kind is kind and parsed.unit == u.nJy and parsed.header["OBJECT"] == "x"
    assert (plane.sigma == {StdDevUncertainty: 4, VarianceUncertainty: 2,
                            InverseVariance: 0.5}[kind]).all()
    np.testing.assert_array_equal(plane.mask, mask)
    np.testing.assert_allclose(plane.psf, PSF, rtol=1e-12)


def test_an_old_ccddata_has_no_utype():
    hdus = fits.HDUList([fits.PrimaryHDU(DATA[0]), hdu(ERR[0], "UNCERT", BUNIT="Jy")])
    assert parse_image(hdus, unit="Jy").kind is StdDevUncertainty


def test_images_before_cubes_and_neither_errors_nor_masks():
    cube = np.zeros((3, *SHAPE))
    hdus = fits.HDUList([fits.PrimaryHDU(), hdu(cube, "CUBE"), hdu(ERR[0], "ERR"),
                         hdu(DATA[0], "SECOND"), hdu(DATA[1], "THIRD")])
    np.testing.assert_array_equal(parse_image(hdus, unit="Jy").planes[0].data, DATA[0])
    assert len(parse_image(hdus, hdu="cube", unit="Jy", uncertainty=1).planes) == 3
    np.testing.assert_array_equal(
        parse_image(hdus, hdu="ERR", uncertainty=1, unit="Jy").planes[0].data, ERR[0])
    del hdus[3:]
    assert parse_image(hdus, unit="Jy", uncertainty=1).shape == (3, *SHAPE)


def test_bunit_of_the_primary_header_holds_for_its_extensions():
    hdus = fits.HDUList([primary(BUNIT="nJy"), hdu(DATA[0], "SCI")])
    assert parse_image(hdus, uncertainty=1).unit == u.nJy
    hdus[1].header["INHERIT"] = False
    assert parse_image(hdus, uncertainty=1).unit is None
    hdus[0] = fits.PrimaryHDU(DATA[0], fits.Header([("BUNIT", 1)]))
    assert parse_image(hdus, uncertainty=1).unit == u.dimensionless_unscaled


def test_compressed_file(shared_data):
    """The default HDU has no pixels, which `CCDData.read` stumbles over."""
    with pytest.warns(LensSRWarning, match="from the sky"):
        parsed = parse_image(shared_data / "wcs" / "astropy_m13_rice.fits")
    assert parsed.shape == (300, 300) and parsed.wcs.has_celestial
    assert not any(key.startswith(("Z", "TFORM", "TTYPE")) for key in parsed.header)


def test_real_hst_headers(shared_data):
    """A one-pixel flt, with cards of all kinds in both headers."""
    path = shared_data / "wcs" / "astropy_j94f05bgq_flt.fits"
    parsed = parse_image(path, uncertainty=1)
    with fits.open(path) as hdus:
        for header in (without_layout(hdus[0].header), without_layout(hdus[1].header)):
            assert set(header) <= set(parsed.header)


def cards():
    """A header with everything that is hard to copy."""
    header = fits.Header()
    header["FIRST"] = (1.5, "a comment")
    header["LONG"] = "word " * 40
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fits.verify.VerifyWarning)
        header["HIERARCH ESO DET CHIP1 ID"] = ("ccd-44", "hierarch")
    header["NOTHING"] = (None, "undefined")
    header.add_history("one")
    header.add_comment("two")
    header.add_history("three")
    header.append(("TWICE", 1), end=True)
    header.append(("TWICE", 2), end=True)
    header.append("", end=True)
    header.append(fits.Card.fromstring("lower   = 'not by the standard'"), end=True)
    header.append(fits.Card.fromstring("BADVALUE= what is this"), end=True)
    header.append(fits.Card.fromstring("BIGFLOAT=   1.2345678901234567890E+05 / as it came"),
                  end=True)
    return header


def text(header):
    with warnings.catch_warnings():
        # astropy mends what it can when it writes a card, and says so
        warnings.simplefilter("ignore", fits.verify.VerifyWarning)
        return [str(card) for card in header.cards]


def test_cards_are_copied_as_they_are():
    header = cards()
    assert text(without_layout(header)) == text(header)
    assert text(merged_header(fits.Header(), header)) == text(header)
    assert text(merged_header(header, fits.Header())) == text(header)
    assert text(header_from(header)) == text(header)


def test_merged():
    main = cards()
    main["EXPTIME"], main["ONLY"] = 1, "main"
    own = fits.Header([("EXPTIME", 2), ("TWICE", 3), ("OWN", "ext")])
    own.add_history("four")
    merged = merged_header(main, own)
    assert merged["EXPTIME"] == 2 and merged["ONLY"] == "main" and merged["OWN"] == "ext"
    assert merged.count("TWICE") == 1 and merged["TWICE"] == 3
    assert list(merged["HISTORY"]) == ["one", "three", "four"]
    own["INHERIT"] = False
    assert text(merged_header(main, own)) == text(own)
    own["INHERIT"] = True
    assert merged_header(main, own)["ONLY"] == "main"


def test_layout():
    header = fits.ImageHDU(np.zeros((2, 3, 4), np.uint16), name="SCI", ver=3).header
    header["CHECKSUM"], header["OBJECT"], header["NAXISX"] = "x", "y", 3
    header.append("", end=True)  # room for more cards, as IRAF leaves it
    header.append("", end=True)
    assert list(without_layout(header)) == ["OBJECT", "NAXISX"]
    assert len(without_layout(fits.Header([("", "a remark")]))) == 1


@pytest.mark.parametrize(("hdu", "message"), [
    (9, "`hdu` must be an HDU of the file"), ("SKY", "`hdu` must be an HDU of the file"),
    (("SCI", 3), "`hdu` must be an HDU of the file"), (0, "`hdu` must hold an image, got 0"),
    (2.5, "`hdu` must be an HDU of the file"), (slice(0, 2), "`hdu` must hold an image")])
def test_bad_hdu(hdu, message):
    with pytest.raises(ValueError, match=message):
        parse_image(hst(), hdu=hdu)


@pytest.mark.parametrize("hdus", [
    [], [fits.PrimaryHDU()], [fits.PrimaryHDU(np.zeros(5))],
    [fits.PrimaryHDU(), fits.BinTableHDU(Table({"a": [1]}))],
    [fits.PrimaryHDU(), hdu(ERR[0], "ERR")], [fits.PrimaryHDU(np.zeros((2, 2, 2, 2)))],
    [fits.PrimaryHDU(np.zeros((0, 3)))]])
def test_no_image(hdus):
    with pytest.raises(ValueError, match="`data` must hold a 2-D image or a cube that isn't"):
        parse_image(fits.HDUList(hdus))


def test_empty_hdu():
    with pytest.raises(ValueError, match="`data` must have pixels, the HDU 'X' has an empty"):
        parse_image(fits.ImageHDU(name="X"))


def damaged(kind):
    """Bytes of a file that something happened to."""
    file = io.BytesIO()
    if kind == "rice":
        noise = RNG.normal(0, 1, (64, 64)).astype(np.float32)
        fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(noise)]).writeto(file)
        content = bytearray(file.getvalue())
        content[-2880:] = bytes(reversed(content[-2880:]))
        content[-5760:-2880] = b"\xff" * 2880
        return bytes(content)
    fits.PrimaryHDU(RNG.normal(0, 1, (64, 64))).writeto(file)
    whole = file.getvalue()
    if kind == "gzip":
        import gzip
        return gzip.compress(whole)[:-2000]
    return {"data": whole[:10000], "header": whole[:1000], "text": b"Dear all,\n" * 400,
            "empty": b"", "gzip header": b"\x1f\x8b" + b"x" * 3000,
            "END": whole.replace(b"END ", b"END_", 1)[:2880]}[kind]


@pytest.mark.parametrize("kind", ["data", "header", "text", "empty", "gzip", "gzip header", "END",
                                  "rice"])
@pytest.mark.parametrize("stored", [False, True])
def test_damaged_files(kind, stored, tmp_path):
    path = tmp_path / "x.fits"
    path.write_bytes(damaged(kind))
    file = path if stored else io.BytesIO(damaged(kind))
    with pytest.raises(ValueError, match="`data` must be a readable FITS file, ") as caught:
        parse_image(file)
    assert "\n" not in str(caught.value) and "damaged" in str(caught.value)
    assert ("x.fits" in str(caught.value)) == stored or kind == "rice"


@pytest.mark.parametrize("path", ["no/such.fits", "https://archive.org/lens.fits", "", "."])
def test_no_such_file(path):
    with pytest.raises(FileNotFoundError, match="`data` must be a FITS file, got no file at '"):
        parse_image(path)


def test_files_are_closed_and_file_objects_are_not(tmp_path):
    path = tmp_path / "x.fits"
    hst().writeto(path)
    with open_fits(path) as hdus:
        array = pixels(hdus[1])
    assert array.dtype.isnative
    with open(path, "rb") as file, open_fits(file) as hdus:
        pixels(hdus[1])
        assert not file.closed
    path.unlink()
    np.testing.assert_array_equal(array, DATA[0])


def test_warnings_as_errors_are_not_damage(tmp_path):
    """Whoever turns our warnings into errors gets those."""
    fits.PrimaryHDU(RNG.normal(0, 1, (16, 16))).writeto(tmp_path / "x.fits")
    with pytest.raises(LensSRWarning, match="from the sky"):
        parse_image(tmp_path / "x.fits")


def test_nonstandard_cards_do_not_disturb(tmp_path):
    """Astropy warns of them; they are kept, and nothing needs to be done."""
    hdu = fits.PrimaryHDU(DATA[0])
    hdu.header.extend(cards(), end=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fits.verify.VerifyWarning)
        hdu.writeto(tmp_path / "x.fits", output_verify="ignore")
    parsed = parse_image(tmp_path / "x.fits", uncertainty=1)
    assert text(parsed.header) == text(cards())


@pytest.mark.parametrize("card", ["TELESCOP", "BUNIT", "CTYPE1"])
def test_unreadable_cards_that_are_needed(card):
    hdus = hst()
    hdus[1].header.update({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"})
    content = in_memory(hdus).getvalue()
    start = content.index(card.ljust(8).encode() + b"= '")
    spoilt = content[start: start + 80].replace(b"'", b"?")
    with pytest.raises(ValueError, match=f"must be a readable FITS .* Unparsable card .{card}"):
        parse_image(io.BytesIO(content[:start] + spoilt + content[start + 80:]))


def test_what_is_no_hdu():
    content = in_memory(hst()).getvalue().replace(b"XTENSION= 'IMAGE   '", b"XTENSION= 'IMAGO   '")
    with pytest.raises(ValueError, match="`data` must hold a 2-D image or a cube"):
        parse_image(io.BytesIO(content))


def test_wcs_of_the_right_chip():
    hdus = hst()
    for ver in (1, 2):
        wcs = WCS(naxis=2)
        wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [10 * ver, 20]
        wcs.wcs.cdelt = [-1e-5, 1e-5]
        hdus["SCI", ver].header.update(wcs.to_header())
    assert parse_image(hdus).wcs.wcs.crval[0] == 10
    assert parse_image(hdus, hdu=("SCI", 2)).wcs.wcs.crval[0] == 20
    assert parse_image(hdus["SCI", 2], uncertainty=1).wcs.wcs.crval[0] == 20
