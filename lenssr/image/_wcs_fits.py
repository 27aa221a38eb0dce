"""WCS in FITS headers: reading, writing, and cards that depend on the pixel grid."""

import copy
import io
import re
import warnings

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning
from astropy.utils.exceptions import AstropyDeprecationWarning, AstropyUserWarning
from astropy.wcs import WCS, WCSHDO_P17, DistortionLookupTable, FITSFixedWarning, WCSHDO_all
from astropy.wcs.wcs import WCSHDO_SIP

from lenssr._validation import check_positive_int
from lenssr.exceptions import LensSRWarning
from lenssr.image._wcs import check_same_sky, is_gwcs, low_level, resample_wcs

# Cards that a WCS may have with the letter of an alternate (FITS WCS papers I to IV).
_LETTERED = "|".join(
    (
        r"(CTYPE|CRPIX|CRVAL|CDELT|CUNIT|CNAME|CRDER|CSYER|CZPHS|CPERI|CROTA)\d+",
        r"(CD|PC|PV|PS)\d+_\d+",
        r"(CPDIS|CQDIS|CPERR|CQERR|DVERR)\d+",
        r"WCSAXES|WCSNAME|LONPOLE|LATPOLE|RADESYS|EQUINOX",
        r"SPECSYS|SSYSOBS|SSYSSRC|RESTFRQ|RESTWAV|VELOSYS|VELANGL|ZSOURCE",
    )
)
_ALTERNATE_CARDS = re.compile(rf"({_LETTERED})[A-Z]|D[PQ]\d+[A-Z](\..+)?")

# Cards of the WCS itself, primary and alternate: a new WCS brings its own.
WCS_CARDS = re.compile(
    "|".join(
        (
            rf"({_LETTERED})[A-Z]?|D[PQ]\d+[A-Z]?(\..+)?",
            # Detector-to-image tables, new and old style.
            r"D2IM(DIS|ERR)\d+|D2IM\d+(\..+)?|AXISCORR",
            # SIP; pipelines of HST also keep copies with the letter of an alternate.
            r"[AB]P?_(ORDER|DMAX|\d+_\d+)[A-Z]?",
            # Older spellings that astropy reads.
            r"RADECSYS|(CD|PC)\d{6}|PROJP\d+|RESTFREQ",
            # IRAF (TNX, ZPX)
            r"WCSDIM|WAT\d_\d{3}|CDELTM\d",
            # Plate solution of the Digitized Sky Survey, which would override the new
            # WCS.
            r"AMD[XY]\d+|PPO\d|CNPIX[12]|[XY]PIXELSZ|PLTRA[HMS]|PLTDEC(SN|[DMS])",
            # A gWCS written by lenssr.
            r"SRWCSEXT",
        )
    )
)

# Other cards about pixel positions. No such list is complete; these cards are written widely by
# observatories.
STALE_CARDS = re.compile(
    "|".join(
        (
            r"LT[MV]\d(_\d)?",  # IRAF: array to physical coordinates
            r"(DATA|TRIM|BIAS|AMP)SEC[A-Z]?",  # NOAO: sections of the array (not of the CCD)
            r"[A-Z](CTYPE|CRPIX|CRVAL|CDELT|CUNIT)\d|[A-Z]CD\d_\d",  # HST: earlier WCSs
            r"CD\d\dRFND|ORIGCD\d\d",  # Spitzer: refined and original CD
        )
    )
)

# Cards with the side or area of a pixel, and their power of the scale.
PIXEL_SIZE_CARDS = (
    (re.compile(r"PIXSCALE|PIXSCAL[12XY]?|PIXELSCL|PXSCAL[12]|SECPIX[12]?|[XY]PIXSCAL"), -1),
    (re.compile(r"PIXAR_(SR|A2)|PIXAREA"), -2),
)


def fix_fortran_exponents(header):
    """Return the header with Fortran exponents replaced, or the header itself."""
    cards, changed = list(header.cards), False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VerifyWarning)  # lower-case d is not standard
        for i, card in enumerate(cards):
            if WCS_CARDS.fullmatch(card.keyword) and isinstance(card.value, float):
                image = copy.copy(card).image
                if _D_EXPONENT.match(image):
                    cards[i] = fits.Card.fromstring(_D_EXPONENT.sub(r"\1E\2", image))
                    changed = True
    return fits.Header(cards) if changed else header


_D_EXPONENT = re.compile(r"(.{8}= *[+-]?(?:\d+\.?\d*|\.\d+))[dD]([+-]?\d+)(?= *(?:/|$))")


def strip_wcs(header, scale=1, *, keep_alternates=False):
    """Copy a header without the cards that a new WCS replaces or invalidates."""
    if not isinstance(header, fits.Header):
        raise TypeError(f"`header` must be a fits.Header, got {type(header).__name__}")
    scale = check_positive_int("scale", scale)
    kept = [
        copy.copy(card)
        for card in header.cards
        if not WCS_CARDS.fullmatch(card.keyword)
        or (keep_alternates and _ALTERNATE_CARDS.fullmatch(card.keyword))
    ]
    if scale > 1:
        kept = [_rescale_card(card, scale)
                for card in kept if not STALE_CARDS.fullmatch(card.keyword)]
    return fits.Header([card for card in kept if card is not None])


def _rescale_card(card, scale):
    """Return a card with its pixel size rescaled, or `None` without a number."""
    for pattern, power in PIXEL_SIZE_CARDS:
        if pattern.fullmatch(card.keyword):
            if isinstance(card.value, bool) or not isinstance(card.value, int | float):
                return None
            return fits.Card(card.keyword, card.value * float(scale) ** power, card.comment)
    return card


def rescale_alternates(header, scale):
    """Return the cards of alternate WCSs (A to Z) for finer pixels."""
    scale, header = check_positive_int("scale", scale), fix_fortran_exponents(header)
    declared = [key for key in header if re.fullmatch(r"(CTYPE|CRPIX|CRVAL|CDELT)\d+[A-Z]", key)]
    result = fits.Header()
    for key in sorted({keyword[-1] for keyword in declared}):
        old = fits.Header(
            [
                copy.copy(card)
                for card in header.cards
                if re.search(rf"\d{key}$|[A-Z]{key}$|\d{key}\.", card.keyword)
                and _ALTERNATE_CARDS.fullmatch(card.keyword)
            ]
        )
        new = _rescale_alternate(old, key, scale)
        reason = _compare_alternate(old, new, key, scale)
        if reason:
            warnings.warn(
                f"alternate WCS {key!r} of `header` is dropped: {reason}",
                LensSRWarning,
                stacklevel=2,
            )
        else:
            result.extend(new)
    return result


def _rescale_alternate(old, key, scale):
    """Return the cards of one alternate WCS in pixels ``scale`` times finer."""
    new = old.copy()
    matrix = [card for card in old if re.fullmatch(rf"CD\d+_[12]{key}", card)]
    for card in matrix:
        new[card] = old[card] / scale
    for i in (1, 2):
        new[f"CRPIX{i}{key}"] = (old.get(f"CRPIX{i}{key}", 0.0) - 0.5) * scale + 0.5
        if not matrix:
            new[f"CDELT{i}{key}"] = old.get(f"CDELT{i}{key}", 1.0) / scale
    return new


def _compare_alternate(old, new, key, scale):
    """Return the reason why the new cards give other positions, or an empty string."""
    corners = np.array([[1.0, 1.0], [1.0, 100.0], [100.0, 1.0], [70.0, 100.0]])
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            before, after = (WCS(h, key=key, naxis=2) for h in (old, new))
            old_position = before.wcs_pix2world(corners, 1)
            new_position = after.wcs_pix2world((corners - 0.5) * scale + 0.5, 1)
        except Exception as err:  # WCSLIB raises many types of errors here
            return " ".join(str(err).split())
    same = np.isclose(old_position, new_position, rtol=1e-12, atol=1e-12, equal_nan=True).all()
    return "" if same else "its pixels cannot be divided by changing CRPIX, CD or CDELT alone"


# All cards, with the 17 digits of a double; astropy writes 14 by default.
WCS_RELAX = WCSHDO_all | WCSHDO_P17 | WCSHDO_SIP

GWCS_CARD = "SRWCSEXT"  # card that names the extension of a gWCS
GWCS_EXTENSION = "WCSASDF"

# A header without any of these has no WCS. AMDX is the plate solution of the DSS.
_DECLARES = re.compile(r"(CTYPE|CRPIX|CRVAL|CDELT|CROTA|AMDX)\d+|(CD|PC)\d+_\d+|(CD|PC)\d{6}")

# An unreadable card of this kind moves the sky; WCSLIB warns and uses a default.
_GEOMETRY = re.compile(
    r"((CTYPE|CRPIX|CRVAL|CDELT|CROTA|CUNIT)\d+|(CD|PC|PV|PS)\d+_\d+|WCSAXES|L(ON|AT)POLE)\b"
)


def read_wcs(header, hdulist=None):
    """Read the WCS of a FITS header."""
    if not isinstance(header, fits.Header):
        raise TypeError(f"`header` must be a fits.Header, got {type(header).__name__}")
    if not isinstance(hdulist, fits.HDUList | None):
        raise TypeError(f"`hdulist` must be a fits.HDUList or None, got {type(hdulist).__name__}")
    if GWCS_CARD in header:
        return _read_gwcs(header, hdulist)
    if not any(_DECLARES.fullmatch(key) for key in header):
        return None
    header = fix_fortran_exponents(header)
    _check_tables(header, hdulist)
    cube = header.get("NAXIS", 2) == 3 and header.get("WCSAXES", 3) >= 3
    if not cube:
        return _make_wcs(header, hdulist, 2)
    try:
        return _make_wcs(header, hdulist, 3)
    except ValueError:
        # SIP and tables have two axes; the sky matters more than the third axis.
        wcs = _make_wcs(header, hdulist, 2)
    if header.get("CTYPE3", "").strip():
        warnings.warn(
            f"the coordinate {header['CTYPE3']!r} of the cube's third axis is dropped: "
            "FITS distortions go with two axes only",
            LensSRWarning,
            stacklevel=2,
        )
    return wcs


wcs_from_hdus = read_wcs  # inverse of `wcs_to_fits`


def _make_wcs(header, hdulist, naxis):
    """Make the WCS of the first ``naxis`` axes; raise `ValueError` with the reason."""
    reasons = []
    # Read all axes first: with `naxis`, astropy cuts axes before it repairs the header, and
    # fails on SCAMP's PV beside SIP.
    for axes in (None, naxis):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                wcs = WCS(header, hdulist, naxis=axes)
            except Exception as err:  # WCSLIB and astropy raise many types of errors here
                reasons.append(err)
                continue
        if wcs.naxis <= naxis:
            break
    else:
        err = reasons[0]
        raise ValueError(_wcs_error(str(err.args[0] if isinstance(err, KeyError)
                                        else err))) from err
    if wcs.naxis < naxis:
        raise ValueError(_wcs_error(f"it has {wcs.naxis} axis, the image {naxis}"))
    for item in caught:
        _check_repair(item, header)
    # WCSLIB accepts singular matrices; rows may have different units.
    rows = wcs.pixel_scale_matrix
    if abs(np.linalg.det(rows / np.linalg.norm(rows, axis=1, keepdims=True))) < 1e-9:
        raise ValueError(_wcs_error("its CD or PC matrix is singular"))
    shape = [header.get(f"NAXIS{i + 1}", 0) for i in range(wcs.naxis)]
    wcs.pixel_shape = shape if all(shape) else None
    return wcs


def _wcs_error(reason):
    """Return the error message for a header without a valid WCS."""
    return f"`header` declares a WCS, but it is not valid: {' '.join(reason.split())}"


def _check_repair(item, header):
    """Accept harmless repairs of a header; raise an error for repairs that move the sky."""
    text = str(item.message)
    if issubclass(item.category, AstropyDeprecationWarning | VerifyWarning):
        return
    if issubclass(item.category, AstropyUserWarning):  # a distortion was ignored
        raise ValueError(_wcs_error(text))
    if not issubclass(item.category, FITSFixedWarning):
        warnings.warn_explicit(item.message, item.category, item.filename, item.lineno)
    elif "value was expected" in text:
        if _GEOMETRY.match(text):
            raise ValueError(_wcs_error(text))
        warnings.warn(f"a card of `header` is ignored: {text}", LensSRWarning, stacklevel=4)
    elif text.startswith("'cdfix'"):
        # WCSLIB assumes one degree a pixel for an axis without CD: right for the third
        # axis of a cube, wrong for an image.
        for i in (1, 2):
            if not any(header.get(f"CD{i}_{j}", 0) for j in (1, 2, 3)):
                raise ValueError(_wcs_error(f"row {i} of its CD matrix is zero"))


def _check_tables(header, hdulist):
    """Raise an error for detector look-up tables that astropy ignores."""
    declared = [f"D2IMDIS{i}" for i in (1, 2) if f"D2IMDIS{i}" in header]
    declared += ["AXISCORR"] if "AXISCORR" in header else []
    if declared and (hdulist is None or "D2IMARR" not in hdulist):
        raise ValueError(_wcs_error(f"{declared[0]} needs a look-up table in an extension D2IMARR"))


def wcs_to_fits(wcs):
    """Return cards and extensions of a WCS."""
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
            back = _make_wcs(cards, fits.HDUList([fits.PrimaryHDU(), *extra]), plain.naxis)
        except ValueError as err:
            raise ValueError(f"`wcs` cannot be written to FITS: {err}") from err
    check_same_sky(plain, back, 1, "cannot be written to FITS exactly")
    return cards, extra


def _write_fits(wcs):
    """Return cards and tables of a FITS WCS."""
    if wcs.sip is not None:
        # State SIP in CTYPE; astropy would do so, but cuts the S of "SLON".
        wcs.wcs.ctype = [c if c.endswith("-SIP") else f"{c}-SIP" for c in wcs.wcs.ctype]
    if (wcs.cpdis1 is None) != (wcs.cpdis2 is None):
        # astropy cannot read a look-up table of a single axis (WCSLIB reads the card
        # CPDIS first).
        nothing = DistortionLookupTable(np.zeros((2, 2), np.float32), (1, 1), (1, 1), (1, 1))
        wcs.cpdis1, wcs.cpdis2 = wcs.cpdis1 or nothing, wcs.cpdis2 or nothing
    primary, *extra = wcs.to_fits(relax=WCS_RELAX, key=" ")
    cards = primary.header
    for card in ("SIMPLE", "BITPIX", "NAXIS", "EXTEND"):
        cards.remove(card, ignore_missing=True)
    # Drop derived cards, which would accumulate with each writing.
    if not np.any(wcs.wcs.mjdref):
        del cards["MJDREF*"]
    for when in ("OBS", "BEG", "AVG", "END"):
        if f"DATE-{when}" in cards:
            cards.remove(f"MJD-{when}", ignore_missing=True)
    if wcs.wcs.has_cd():
        # WCSLIB writes CD as PC with CDELT = 1; restore the CD of the input.
        for card in [c for c in cards if re.fullmatch(r"PC\d+_\d+|CDELT\d+", c)]:
            del cards[card]
        for (i, j), value in np.ndenumerate(wcs.wcs.cd):
            # As a string, since fits.Card would round the digits.
            number = repr(float(value)).upper()
            text = f"{f'CD{i + 1}_{j + 1}':<8}= {number:>20} / Coordinate transformation matrix"
            cards.append(fits.Card.fromstring(text))
    return cards, extra


def _write_gwcs(wcs):
    """Return card and extension of a gWCS."""
    import asdf

    buffer = io.BytesIO()
    with asdf.AsdfFile({"wcs": wcs}) as file:
        file.write_to(buffer)
    cards = fits.Header([(GWCS_CARD, GWCS_EXTENSION, "extension with the WCS (gWCS in ASDF)")])
    data = np.frombuffer(buffer.getvalue(), np.uint8)
    return cards, [fits.ImageHDU(data, name=GWCS_EXTENSION)]


def _read_gwcs(header, hdulist):
    """Read the gWCS of the extension that the header names."""
    name = header[GWCS_CARD]
    if hdulist is None or name not in hdulist:
        raise ValueError(_wcs_error(f"{GWCS_CARD} needs an extension {name}"))
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
