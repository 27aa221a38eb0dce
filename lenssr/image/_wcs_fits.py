"""World coordinates in FITS files: read, write, and nothing lost between."""

import io
import re
import warnings

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning
from astropy.utils.exceptions import AstropyDeprecationWarning, AstropyUserWarning
from astropy.wcs import WCS, WCSHDO_P17, DistortionLookupTable, FITSFixedWarning, WCSHDO_all
from astropy.wcs.wcs import WCSHDO_SIP

from lenssr.exceptions import LensSRWarning
from lenssr.image._wcs_cards import plain_exponents
from lenssr.image._wcs_check import check_same_sky, is_gwcs, low_level
from lenssr.image._wcs_rescale import resample_wcs

__all__ = ["read_wcs", "wcs_from_hdus", "wcs_to_fits"]

# Everything, with the 17 digits that give each double back; astropy's default is 14,
# of which a right ascension of three digits leaves 1e-11 degrees.
RELAX = WCSHDO_all | WCSHDO_P17 | WCSHDO_SIP

# Card that names the extension with a gWCS.
EXTENSION_CARD = "SRWCSEXT"
EXTENSION = "WCSASDF"

# A header without any of these has no WCS. AMDX is the plate solution of the DSS.
_DECLARES = re.compile(r"(CTYPE|CRPIX|CRVAL|CDELT|CROTA|AMDX)\d+|(CD|PC)\d+_\d+|(CD|PC)\d{6}")

# A card of these that cannot be read moves the sky; WCSLIB merely warns and takes a default.
_GEOMETRY = re.compile(
    r"((CTYPE|CRPIX|CRVAL|CDELT|CROTA|CUNIT)\d+|(CD|PC|PV|PS)\d+_\d+|WCSAXES|L(ON|AT)POLE)\b"
)


def read_wcs(header, hdulist=None):
    """WCS that a FITS header declares, as astropy reads it."""
    if not isinstance(header, fits.Header):
        raise TypeError(f"`header` must be a fits.Header, got {type(header).__name__}")
    if not isinstance(hdulist, fits.HDUList | None):
        raise TypeError(f"`hdulist` must be a fits.HDUList or None, got {type(hdulist).__name__}")
    if EXTENSION_CARD in header:
        return _read_gwcs(header, hdulist)
    if not any(_DECLARES.fullmatch(key) for key in header):
        return None
    header = plain_exponents(header)
    _check_tables(header, hdulist)
    cube = header.get("NAXIS", 2) == 3 and header.get("WCSAXES", 3) >= 3
    if not cube:
        return _make(header, hdulist, 2)
    try:
        return _make(header, hdulist, 3)
    except ValueError:
        # SIP and tables have two axes only; the sky matters more than the third axis.
        wcs = _make(header, hdulist, 2)
    if header.get("CTYPE3", "").strip():
        warnings.warn(
            f"the coordinate {header['CTYPE3']!r} of the cube's third axis is dropped: "
            "FITS distortions go with two axes only",
            LensSRWarning,
            stacklevel=2,
        )
    return wcs


wcs_from_hdus = read_wcs  # the inverse of `wcs_to_fits`


def _make(header, hdulist, naxis):
    """WCS of the first ``naxis`` axes; `ValueError` with the reason if it cannot be."""
    reasons = []
    # First as astropy reads it: told the number of axes, it cuts them out before it has
    # repaired the header, and fails on SCAMP's PV beside SIP.
    for axes in (None, naxis):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                wcs = WCS(header, hdulist, naxis=axes)
            except Exception as err:  # WCSLIB and astropy raise a dozen kinds here
                reasons.append(err)
                continue
        if wcs.naxis <= naxis:
            break
    else:
        err = reasons[0]
        raise ValueError(_cannot(str(err.args[0] if isinstance(err, KeyError) else err))) from err
    if wcs.naxis < naxis:
        raise ValueError(_cannot(f"it has {wcs.naxis} axis, the image {naxis}"))
    for item in caught:
        _judge(item, header)
    # WCSLIB lets a matrix pass that cannot be inverted; rows may have different units.
    rows = wcs.pixel_scale_matrix
    if abs(np.linalg.det(rows / np.linalg.norm(rows, axis=1, keepdims=True))) < 1e-9:
        raise ValueError(_cannot("its CD or PC matrix is singular"))
    shape = [header.get(f"NAXIS{i + 1}", 0) for i in range(wcs.naxis)]
    wcs.pixel_shape = shape if all(shape) else None
    return wcs


def _cannot(reason):
    """Sentence of the error for a header that gives no WCS."""
    return f"`header` declares a WCS, but none can be made from it: {' '.join(reason.split())}"


def _judge(item, header):
    """Let harmless repairs pass; raise for those that would move the sky."""
    text = str(item.message)
    if issubclass(item.category, AstropyDeprecationWarning | VerifyWarning):
        return
    if issubclass(item.category, AstropyUserWarning):  # a distortion left out
        raise ValueError(_cannot(text))
    if not issubclass(item.category, FITSFixedWarning):
        warnings.warn_explicit(item.message, item.category, item.filename, item.lineno)
    elif "value was expected" in text:
        if _GEOMETRY.match(text):
            raise ValueError(_cannot(text))
        warnings.warn(f"a card of `header` is ignored: {text}", LensSRWarning, stacklevel=4)
    elif text.startswith("'cdfix'"):
        # WCSLIB puts one degree a pixel for an axis without CD: right for the third
        # axis of a cube, never for an image.
        for i in (1, 2):
            if not any(header.get(f"CD{i}_{j}", 0) for j in (1, 2, 3)):
                raise ValueError(_cannot(f"row {i} of its CD matrix is zero"))


def _check_tables(header, hdulist):
    """Raise for a detector look-up table that astropy would leave out without a word."""
    declared = [f"D2IMDIS{i}" for i in (1, 2) if f"D2IMDIS{i}" in header]
    declared += ["AXISCORR"] if "AXISCORR" in header else []
    if declared and (hdulist is None or "D2IMARR" not in hdulist):
        raise ValueError(_cannot(f"{declared[0]} wants a look-up table in an extension D2IMARR"))


def wcs_to_fits(wcs):
    """Cards and extensions that hold a WCS in a FITS file."""
    low = low_level(wcs)
    plain = resample_wcs(low)
    if plain is None:
        raise ValueError(
            f"`wcs` must be a FITS WCS or gWCS to be written, got {type(low).__name__}"
        )
    if is_gwcs(plain):
        cards, extra = _write_gwcs(plain)
        back = _read_gwcs(cards, fits.HDUList([fits.PrimaryHDU(), *extra]))
    else:
        try:
            cards, extra = _write_fits(plain)
            back = _make(cards, fits.HDUList([fits.PrimaryHDU(), *extra]), plain.naxis)
        except ValueError as err:
            raise ValueError(f"`wcs` cannot be written to FITS: {err}") from err
    check_same_sky(plain, back, 1, "cannot be written to FITS exactly")
    return cards, extra


def _write_fits(wcs):
    """Cards and tables of a FITS WCS, which may be changed."""
    if wcs.sip is not None:
        # Say in CTYPE that SIP is applied. Astropy would too, but cuts the S from "SLON".
        wcs.wcs.ctype = [c if c.endswith("-SIP") else f"{c}-SIP" for c in wcs.wcs.ctype]
    if (wcs.cpdis1 is None) != (wcs.cpdis2 is None):
        # Astropy cannot read a table for one axis only (WCSLIB sees the card CPDIS first).
        nothing = DistortionLookupTable(np.zeros((2, 2), np.float32), (1, 1), (1, 1), (1, 1))
        wcs.cpdis1, wcs.cpdis2 = wcs.cpdis1 or nothing, wcs.cpdis2 or nothing
    primary, *extra = wcs.to_fits(relax=RELAX, key=" ")
    cards = primary.header
    for card in ("SIMPLE", "BITPIX", "NAXIS", "EXTEND"):
        cards.remove(card, ignore_missing=True)
    # What WCSLIB derives from other cards would make the header grow with each writing.
    if not np.any(wcs.wcs.mjdref):
        del cards["MJDREF*"]
    for when in ("OBS", "BEG", "AVG", "END"):
        if f"DATE-{when}" in cards:
            cards.remove(f"MJD-{when}", ignore_missing=True)
    if wcs.wcs.has_cd():
        # WCSLIB writes CD as PC with CDELT = 1: the same, but unlike what came in.
        for card in [c for c in cards if re.fullmatch(r"PC\d+_\d+|CDELT\d+", c)]:
            del cards[card]
        for (i, j), value in np.ndenumerate(wcs.wcs.cd):
            number = repr(float(value)).upper()  # as a string, as fits.Card would cut digits
            text = f"{f'CD{i + 1}_{j + 1}':<8}= {number:>20} / Coordinate transformation matrix"
            cards.append(fits.Card.fromstring(text))
    return cards, extra


def _write_gwcs(wcs):
    """Card and extension of a gWCS."""
    import asdf

    buffer = io.BytesIO()
    with asdf.AsdfFile({"wcs": wcs}) as file:
        file.write_to(buffer)
    cards = fits.Header([(EXTENSION_CARD, EXTENSION, "extension with the WCS (gWCS in ASDF)")])
    data = np.frombuffer(buffer.getvalue(), np.uint8)
    return cards, [fits.ImageHDU(data, name=EXTENSION)]


def _read_gwcs(header, hdulist):
    """The gWCS in the extension that the header names."""
    name = header[EXTENSION_CARD]
    if hdulist is None or name not in hdulist:
        raise ValueError(_cannot(f"{EXTENSION_CARD} wants an extension {name}"))
    try:
        import asdf
        import asdf_astropy  # noqa: F401  # so that a missing one is named
        import gwcs  # noqa: F401
    except ImportError as err:
        raise ImportError(
            f"the WCS of this file is a gWCS: to read it, install gwcs and asdf-astropy ({err})"
        ) from err
    data = np.asarray(hdulist[name].data, np.uint8).tobytes()
    with asdf.open(io.BytesIO(data), lazy_load=False) as file:
        return file["wcs"]
