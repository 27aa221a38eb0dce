"""The result: what is written comes back, and Astropy's tools find what they know."""

import copy
import errno
import os
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, InverseVariance, StdDevUncertainty, VarianceUncertainty
from astropy.wcs import WCS, DistortionLookupTable, Sip
from astropy.wcs.wcsapi import HighLevelWCSWrapper, SlicedLowLevelWCS
from photutils.aperture import CircularAperture, aperture_photometry

from lenssr import SuperResolvedImage
from lenssr.exceptions import LensSRWarning
from lenssr.image import RescaledWCS, gaussian_psf, parse_unit

SHAPE = (12, 14)
RNG = np.random.default_rng(0)


def tan(naxis=2):
    wcs = WCS(naxis=naxis)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN", "WAVE"][:naxis]
    wcs.wcs.crval = [150.123456789012, 2.2, 5e-7][:naxis]
    wcs.wcs.crpix = [5.5, 6.25, 1][:naxis]
    wcs.wcs.cdelt = [-0.1 / 3600, 0.1 / 3600, 1e-7][:naxis]
    wcs.wcs.set()
    return wcs


def sip():
    wcs, a, b = tan(), np.zeros((4, 4)), np.zeros((4, 4))
    wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
    a[2, 0], a[1, 1], b[0, 3] = 1e-3, -2e-3, 1e-4
    wcs.sip = Sip(a, b, None, None, [5.5, 6.25])
    return wcs


def tables():
    wcs = tan()
    for axis in ("cpdis1", "cpdis2"):
        grid = RNG.normal(0, 0.3, (5, 6)).astype(np.float32)
        setattr(wcs, axis, DistortionLookupTable(grid, (1, 1), (1, 1), (3, 3)))
    return wcs


def dated():
    """A WCS that writes dates and a place, which the header had not."""
    wcs = tan()
    wcs.wcs.dateobs, wcs.wcs.mjdobs = "2020-01-02T03:04:05", 58850.127835648
    wcs.wcs.obsgeo[:3] = 1.0, 2.0, 3.0
    wcs.wcs.set()
    return wcs


def galactic():
    wcs = tan()
    wcs.wcs.ctype, wcs.wcs.crval = ["GLON-CAR", "GLAT-CAR"], [12, 0]
    return wcs


def gwcs_wcs():
    pytest.importorskip("asdf_astropy")
    gwcs = pytest.importorskip("gwcs")
    from astropy.coordinates import ICRS
    from astropy.modeling.models import Multiply, Pix2Sky_TAN, RotateNative2Celestial, Shift
    from gwcs import coordinate_frames as cf

    model = (Shift(-4) & Shift(-5)) | (Multiply(-3e-5) & Multiply(3e-5)) | Pix2Sky_TAN() \
        | RotateNative2Celestial(150.1, 2.2, 180)
    frames = (cf.Frame2D(name="detector", unit=(u.pix, u.pix)),
              cf.CelestialFrame(name="sky", reference_frame=ICRS(), unit=(u.deg, u.deg)))
    return gwcs.WCS([(frames[0], model), (frames[1], None)])


WCSS = {"none": lambda: None, "tan": tan, "sip": sip, "tables": tables, "dated": dated,
        "galactic": galactic, "gwcs": gwcs_wcs}


def header():
    head = fits.Header([("OBJECT", "lens"), ("SRMETHOD", "test"), ("LONG", "long " * 40),
                        ("NOTHING", None), ("FLOAT", 1.2345678901234567)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fits.verify.VerifyWarning)
        head["HIERARCH ESO INS FILT1 NAME"] = ("F814W", "a name of more than eight letters")
    for line in ("first", "second", "x" * 100):
        head.add_history(line)
    head.add_comment("no comment")
    head.append(("TWICE", 1), end=True)
    head.append(("TWICE", 2), end=True)
    # an alternate WCS, of these pixels
    for key, value in {"CTYPE1A": "XPLANE", "CTYPE2A": "YPLANE", "CRPIX1A": 1.0, "CRPIX2A": 1.0,
                       "CRVAL1A": 5.0, "CRVAL2A": 7.0, "CDELT1A": 0.5, "CDELT2A": 0.5}.items():
        head[key] = value
    return head


def make(shape=SHAPE, dtype=np.float32, kind=StdDevUncertainty, unit=u.nJy, **kwargs):
    mask = np.zeros(shape, bool)
    mask[..., 3, 4] = True
    given = {"mask": mask, "wcs": tan(), "meta": header(), "psf": gaussian_psf(2.0),
             "uncertainty": kind(RNG.uniform(1, 2, shape).astype(dtype)),
             "measurement_std": RNG.uniform(1, 2, shape).astype(dtype)}
    return SuperResolvedImage(RNG.normal(0, 1, shape).astype(dtype), unit=unit,
                              **{**given, **kwargs})


def same(a, b):
    if a is None or b is None:
        assert a is b
    else:
        assert a.dtype == b.dtype and b.dtype.isnative
        np.testing.assert_array_equal(a, b)


def assert_same_sky(a, b, shape=SHAPE):
    """To a millionth of a pixel, at points all over the image."""
    if a is None:
        assert b is None
        return
    y, x = RNG.uniform(-0.5, 1, (2, 50)) * np.array(shape[-2:])[:, None]
    here, there, beside = (wcs.pixel_to_world(px, y) for wcs, px in ((a, x), (b, x), (a, x + 1)))
    assert (here.separation(there) < 1e-6 * here.separation(beside)).all()


def assert_same(a, b):
    assert type(a) is type(b) is SuperResolvedImage
    for name in ("data", "mask", "psf", "measurement_std", "prior_std", "samples", "consistency"):
        same(getattr(a, name), getattr(b, name))
    assert a.unit == b.unit
    assert type(a.uncertainty) is type(b.uncertainty)
    if a.uncertainty is not None:
        same(a.uncertainty.array, b.uncertainty.array)
        assert a.uncertainty.unit == b.uncertainty.unit
    assert a.header == b.header
    assert [str(card) for card in a.header.cards] == [str(card) for card in b.header.cards]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "image.fits"


def there_and_back(image, path):
    image.write(path, overwrite=True)
    return SuperResolvedImage.read(path)


@pytest.mark.parametrize("name", WCSS)
def test_round_trip_of_the_sky(name, path):
    image = make(wcs=WCSS[name]())
    once = there_and_back(image, path)
    assert_same(image, once)
    assert_same_sky(image.wcs, once.wcs)
    twice = there_and_back(once, path)
    assert_same(image, twice)
    assert_same_sky(image.wcs, twice.wcs)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", [StdDevUncertainty, VarianceUncertainty, InverseVariance])
@pytest.mark.parametrize("suffix", [".fits", ".fits.gz"])
def test_round_trip_of_uncertainties(dtype, kind, suffix, tmp_path):
    image = make(dtype=dtype, kind=kind)
    assert_same(image, there_and_back(image, tmp_path / f"x{suffix}"))


class OwnVariance(VarianceUncertainty):
    """A class of a user's own: a file can only tell which of Astropy's it is."""


def test_class_of_a_user(path):
    back = there_and_back(make(kind=OwnVariance), path)
    assert type(back.uncertainty) is VarianceUncertainty


UNITS = [u.electron, u.electron / u.s, u.adu, u.MJy / u.sr, u.nJy / u.arcsec**2, u.Jy / u.beam,
         u.nmgy, u.dimensionless_unscaled, u.Unit(1e-20 * u.erg / u.s / u.cm**2 / u.AA), u.K,
         u.DN / u.s, u.ct]


@pytest.mark.parametrize("unit", UNITS)
def test_round_trip_of_units(unit, path):
    image = make(unit=unit, kind=VarianceUncertainty)
    back = there_and_back(image, path)
    assert_same(image, back)
    assert back.uncertainty.unit == unit**2
    if unit != u.nmgy:  # which astropy must be told of, `u.add_enabled_units(u.photometric)`
        assert CCDData.read(path).unit == unit


def test_round_trip_of_an_unknown_unit(path):
    image = make(unit=parse_unit("blorp", silent=True))
    back = there_and_back(image, path)
    assert_same(image, back)
    assert isinstance(back.unit, u.UnrecognizedUnit)


@pytest.mark.parametrize("psf", [gaussian_psf(2.0), np.stack([gaussian_psf(2.0)] * 3)])
@pytest.mark.parametrize("wcs", [tan(3), tan(2), None])
def test_round_trip_of_cubes(psf, wcs, path):
    image = make((3, *SHAPE), psf=psf, wcs=wcs)
    back = there_and_back(image, path)
    assert_same(image, back)
    if wcs is not None:
        assert back.wcs.naxis == wcs.naxis
        np.testing.assert_allclose(back.wcs.wcs_pix2world([[3, 4, 2][:wcs.naxis]], 1),
                                   wcs.wcs_pix2world([[3, 4, 2][:wcs.naxis]], 1), rtol=1e-14)


def test_round_trip_of_all_maps(path):
    image = make(prior_std=RNG.uniform(size=SHAPE), samples=RNG.normal(size=(4, *SHAPE)),
                 consistency=RNG.uniform(size=(6, 7)))
    assert_same(image, there_and_back(image, path))


def test_round_trip_of_next_to_nothing(path):
    image = SuperResolvedImage(np.ones((2, 3)), unit="Jy", meta=fits.Header())
    assert_same(image, there_and_back(image, path))


def test_metadata_that_is_no_header(path):
    image = SuperResolvedImage(np.ones((2, 3)), unit="Jy", meta={"object": "x", "list": [1]})
    with pytest.warns(LensSRWarning, match="cannot hold was dropped: list"):
        image.write(path)
    assert dict(SuperResolvedImage.read(path).header) == {"OBJECT": "x"}
    assert image[1:].header == {"object": "x", "list": [1]}


def test_astropy_reads_the_standard_part(path):
    image = make(kind=VarianceUncertainty)
    image.write(path)
    read = CCDData.read(path)
    np.testing.assert_array_equal(read.data, image.data)
    np.testing.assert_array_equal(read.mask, image.mask)
    np.testing.assert_array_equal(read.uncertainty.array, image.uncertainty.array)
    np.testing.assert_array_equal(read.psf, image.psf)
    assert type(read.uncertainty) is VarianceUncertainty and read.unit == image.unit
    assert_same_sky(image.wcs, read.wcs)
    with fits.open(path) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "MASK", "UNCERT", "PSFIMAGE", "MEASSTD"]
        hdus.verify("exception")
        assert hdus[0].header["BUNIT"] == "nJy" and hdus[0].header["OBJECT"] == "lens"
        assert_same_sky(image.wcs, WCS(hdus[0].header))
        assert_same_sky(WCS(image.header, key="A"), WCS(hdus[0].header, key="A")) \
            if WCS(image.header, key="A").has_celestial else None
        assert WCS(hdus[0].header, key="A").wcs.crval[1] == 7


def test_file_object(path):
    image = make()
    image.write(path)
    with open(path, "rb") as file:
        assert_same(image, SuperResolvedImage.read(file))


def test_false_cards_of_the_metadata_do_not_get_into_the_file(path):
    """Whoever puts the old header back does not put the old sky back."""
    image = make()
    old = tan()
    old.wcs.crval = 0, 0
    image.header.update(old.to_header())
    image.header["NAXIS1"], image.header["BUNIT"] = 99, "Jy"
    back = there_and_back(image, path)
    assert_same_sky(image.wcs, back.wcs)
    assert back.unit == u.nJy and back.shape == SHAPE and "NAXIS1" not in back.header


def test_cards_against_the_standard(path):
    image = make()
    for card in ("lower   = 'x'", "BADVALUE= what is this"):
        image.header.append(fits.Card.fromstring(card), end=True)
    back = there_and_back(image, path)
    assert back.header["LOWER"] == "x" and "BADVALUE" in back.header
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fits.verify.VerifyWarning)
        once = [str(card) for card in back.header.cards]
        again = there_and_back(back, path)
        assert [str(card) for card in again.header.cards] == once


def test_existing_files(path):
    first, second = make(), make()
    first.write(path)
    for name in (path, str(path)):
        with pytest.raises(OSError, match="`path` '.*image.fits' exists already; say overwrite"):
            second.write(name)
    assert_same(first, SuperResolvedImage.read(path))
    second.write(str(path), overwrite=True)
    assert_same(second, SuperResolvedImage.read(path))
    assert os.listdir(path.parent) == ["image.fits"]


def no_space(*args, **kwargs):
    """Write part of a file and raise the error of a full disk."""
    Path(args[1]).write_bytes(b"SIMPLE  =  T")
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("there", [False, True])
def test_no_space_left(there, path, monkeypatch):
    first = make()
    if there:
        first.write(path)
    monkeypatch.setattr(fits.HDUList, "writeto", no_space)
    with pytest.raises(OSError, match="`path` '.*' can't be written: No space left on device"):
        make().write(path, overwrite=True)
    assert os.listdir(path.parent) == (["image.fits"] if there else [])
    if there:
        assert_same(first, SuperResolvedImage.read(path))


def test_interrupted(path, monkeypatch):
    def interrupt(hdus, name, **kwargs):
        Path(name).write_bytes(b"SIMPLE")
        raise KeyboardInterrupt

    monkeypatch.setattr(fits.HDUList, "writeto", interrupt)
    with pytest.raises(KeyboardInterrupt):
        make().write(path)
    assert os.listdir(path.parent) == []


def test_folders_that_cannot_be_written(tmp_path):
    for path in (tmp_path / "no" / "such.fits", tmp_path):
        with pytest.raises(OSError, match="`path` '.*' can't be written: ") as caught:
            make().write(path, overwrite=True)
        assert ".part" not in str(caught.value)
    assert os.listdir(tmp_path) == []
    assert not [name for name in os.listdir(tmp_path.parent) if name.startswith(".part")]


def test_a_sky_that_no_file_can_hold(path):
    image = make(wcs=RescaledWCS(SlicedLowLevelWCS(tan(3), np.s_[:, 2, :]), 2))
    make().write(path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="`wcs` must be a FITS WCS or gWCS to be written, got Re"):
        image.write(path, overwrite=True)
    assert path.read_bytes() == before and os.listdir(path.parent) == ["image.fits"]


@pytest.mark.parametrize(("content", "error", "message"), [
    (None, FileNotFoundError, "must be a FITS file, got no file at"),
    (b"text", ValueError, "must be a readable FITS file"),
    (fits.HDUList([fits.PrimaryHDU()]), ValueError, "must be .* without an image and BUNIT"),
    (fits.HDUList([fits.PrimaryHDU(np.ones((2, 2)))]), ValueError, "must be .* without an image")])
def test_other_files(content, error, message, path):
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        content.writeto(path)
    with pytest.raises(error, match=f"`path` {message}"):
        SuperResolvedImage.read(path)


def test_truncated(path):
    make().write(path)
    whole = path.read_bytes()
    with fits.open(path) as hdus:
        starts = [hdu.fileinfo()["datLoc"] for hdu in hdus]
    for start in starts:
        path.write_bytes(whole[:start + 100])
        with pytest.raises(ValueError, match="`path` must be a readable FITS file, '.*' is dama"):
            SuperResolvedImage.read(path)
    path.write_bytes(whole[:-4000])  # within the header of the last extension
    with pytest.warns(LensSRWarning, match="has more than was read, it may be damaged"):
        assert SuperResolvedImage.read(path).measurement_std is None


@pytest.mark.parametrize("name", WCSS)
def test_slicing(name):
    image = make(wcs=WCSS[name](), prior_std=RNG.uniform(size=SHAPE),
                 samples=RNG.normal(size=(4, *SHAPE)), consistency=np.ones((6, 7)))
    cut = image[2:9, 3:]
    assert type(cut) is SuperResolvedImage and cut.shape == (7, 11)
    for attribute in ("data", "mask", "measurement_std", "prior_std"):
        np.testing.assert_array_equal(getattr(cut, attribute), getattr(image, attribute)[2:9, 3:])
    np.testing.assert_array_equal(cut.uncertainty.array, image.uncertainty.array[2:9, 3:])
    np.testing.assert_array_equal(cut.samples, image.samples[:, 2:9, 3:])
    assert cut.psf is image.psf and cut.consistency is None and cut.header["OBJECT"] == "lens"
    # of the whole image, and so no longer true
    assert "CRPIX1A" in image.header and "CRPIX1A" not in cut.header
    if image.wcs is not None:
        x, y = np.array([0.0, 4.5, 10]), np.array([0.0, 3, 6])
        here, there = image.wcs.pixel_to_world(x + 3, y + 2), cut.wcs.pixel_to_world(x, y)
        assert (here.separation(there) < 1e-6 * 0.1 * u.arcsec).all()


@pytest.mark.parametrize("name", ["tan", "sip", "tables", "gwcs"])
def test_slices_are_written(name, path):
    cut = make(wcs=WCSS[name]())[2:9, 3:]
    back = there_and_back(cut, path)
    assert_same(cut, back)
    assert_same_sky(cut.wcs, back.wcs, (7, 11))


def test_slicing_cubes():
    psf = np.stack([k * gaussian_psf(2.0) for k in (1, 2, 3)])
    image = make((3, *SHAPE), psf=psf, wcs=tan(3))
    plane = image[1]
    assert plane.shape == SHAPE and plane.measurement_std.shape == SHAPE
    np.testing.assert_array_equal(plane.psf, psf[1])
    assert plane.wcs.naxis == 2 and plane.wcs.has_celestial
    np.testing.assert_array_equal(image[1:].psf, psf[1:])
    np.testing.assert_array_equal(image[..., 3:5, 2:4].psf, psf)
    np.testing.assert_array_equal(image[2, 3:5, 2:4].psf, psf[2])
    assert make((3, *SHAPE), wcs=tan(3))[0].psf.ndim == 2


def test_steps_have_no_wcs():
    """`wcs[::2, ::2]` of astropy would give a wrong sky."""
    with pytest.raises(IndexError, match="step"):
        make()[::2, ::2]
    assert make(wcs=None)[::2, ::2].shape == (6, 7)


def test_arithmetic_with_numbers(path):
    image = make(prior_std=np.ones(SHAPE))
    for result, factor in ((image.multiply(-3), 3), (image.divide(4), 0.25), (image.add(
            5 * u.nJy), 1), (image.subtract(1e-9 * u.Jy), 1), (image.multiply(2 * u.s), 2)):
        assert type(result) is SuperResolvedImage and result.shape == SHAPE
        for name in ("measurement_std", "prior_std"):
            np.testing.assert_allclose(getattr(result, name), factor * getattr(image, name))
        np.testing.assert_allclose(result.uncertainty.array, factor * image.uncertainty.array,
                                   rtol=1e-6)
        np.testing.assert_array_equal(result.psf, image.psf)
        np.testing.assert_array_equal(result.mask, image.mask)
        assert result.header == image.header and result.wcs.wcs.compare(image.wcs.wcs)
        assert_same(result, there_and_back(result, path))
    np.testing.assert_allclose(image.multiply(-3).data, -3 * image.data)
    assert image.multiply(2 * u.s).unit == u.nJy * u.s
    np.testing.assert_allclose(image.add(1e-9 * u.Jy).data, image.data + 1, rtol=1e-6)


def test_arithmetic_with_images():
    image = make()
    for other in (image, make(), make(psf=None), CCDData(np.ones(SHAPE), unit="nJy")):
        total = image.add(other)
        np.testing.assert_allclose(total.data, image.data + other.data)
        np.testing.assert_array_equal(total.psf, image.psf)
        # the uncertainty has been propagated; a map of one of the two would be wrong
        assert total.measurement_std is None and total.uncertainty is not None
    total = image.add(other, uncertainty_correlation=0)
    np.testing.assert_array_equal(make(psf=None).add(image).psf, image.psf)
    with pytest.warns(LensSRWarning, match="the operands have different PSFs: the result has non"):
        assert image.subtract(make(psf=gaussian_psf(3.0))).psf is None
    assert SuperResolvedImage.add(2 * u.nJy, image).shape == SHAPE


@pytest.mark.parametrize("kind", [StdDevUncertainty, VarianceUncertainty, InverseVariance])
def test_other_units(kind, path):
    """`CCDData.convert_unit_to` treats a variance like a standard deviation."""
    image = make(kind=kind, prior_std=np.ones(SHAPE), samples=RNG.normal(size=(2, *SHAPE)),
                 consistency=np.ones((6, 7)))
    converted = image.convert_unit_to("pJy")
    assert converted.unit == u.pJy and type(converted.uncertainty) is kind
    for name in ("data", "measurement_std", "prior_std", "samples"):
        np.testing.assert_allclose(getattr(converted, name), 1000 * getattr(image, name),
                                   rtol=1e-6)
    np.testing.assert_allclose(converted.uncertainty.represent_as(StdDevUncertainty).array,
                               1000 * image.uncertainty.represent_as(StdDevUncertainty).array,
                               rtol=1e-6)
    np.testing.assert_array_equal(converted.psf, image.psf)
    assert converted.header == image.header and converted.consistency is image.consistency
    assert_same(converted, there_and_back(converted, path))
    assert make(uncertainty=None).convert_unit_to("Jy").uncertainty is None
    spectral = image.convert_unit_to("erg / (s cm2 Angstrom)", u.spectral_density(500 * u.nm))
    assert spectral.data[0, 0] == pytest.approx(
        (image.data[0, 0] * u.nJy).to_value(spectral.unit, u.spectral_density(500 * u.nm)))
    with pytest.raises(ValueError, match="`unit` must be one that nJy converts to, got s"):
        image.convert_unit_to("s")
    with pytest.raises(ValueError, match="`unit` must be linear in flux"):
        image.convert_unit_to(u.ABmag)


def test_photutils_takes_it():
    image = make(mask=None)
    table = aperture_photometry(image, CircularAperture((6, 6), 2))
    assert table["aperture_sum"].unit == table["aperture_sum_err"].unit == u.nJy


def test_copies():
    image = make(wcs=sip(), samples=RNG.normal(size=(2, *SHAPE)))
    for other in (copy.deepcopy(image), pickle.loads(pickle.dumps(image)), image.copy()):
        assert_same(image, other)
        assert_same_sky(image.wcs, other.wcs)
        other.measurement_std[:] = 0
        other.data[:] = 0
        other.samples[:] = 0
        assert image.measurement_std.any() and image.data.any() and image.samples.any()
    again = SuperResolvedImage(image)
    assert_same(image, again)


def test_any_wcs():
    """CCDData takes nothing but a FITS WCS."""
    plane = SlicedLowLevelWCS(tan(3), np.s_[:, 2, :])
    for wcs in (plane, RescaledWCS(plane, 2), HighLevelWCSWrapper(plane), gwcs_wcs()):
        image = make(wcs=wcs)
        assert image.wcs.low_level_wcs.pixel_n_dim == 2
        assert SuperResolvedImage(image).wcs is image.wcs
    image = make(wcs=HighLevelWCSWrapper(SlicedLowLevelWCS(tan(), np.s_[1:, 2:])))
    assert image[1:, 1:].shape == (11, 13) and isinstance(image[1:, 1:].wcs, WCS)
    image.wcs = tan()
    assert isinstance(image.wcs, WCS)
    image.wcs = None
    assert image.wcs is None
    with pytest.raises(TypeError):
        image.wcs = "sky"


def test_sum_over_an_axis():
    with pytest.warns(UserWarning, match="Not setting psf"):
        assert make(wcs=None).sum(axis=0).shape == (14,)
