"""Cards of a header that a new pixel grid makes false."""

import copy
import re
import warnings

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning
from astropy.wcs import WCS

from lenssr._validation import check_positive_int
from lenssr.exceptions import LensSRWarning

__all__ = ["PIXEL_SIZE_CARDS", "STALE_CARDS", "WCS_CARDS", "rescale_alternates", "strip_wcs"]

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
            # detector to image tables, new and old style
            r"D2IM(DIS|ERR)\d+|D2IM\d+(\..+)?|AXISCORR",
            # SIP; HST's pipeline also keeps copies with an alternate's letter
            r"[AB]P?_(ORDER|DMAX|\d+_\d+)[A-Z]?",
            # older spellings that astropy still reads
            r"RADECSYS|(CD|PC)\d{6}|PROJP\d+|RESTFREQ",
            # IRAF (TNX, ZPX)
            r"WCSDIM|WAT\d_\d{3}|CDELTM\d",
            # plate solution of the Digitized Sky Survey, which would win over the new WCS
            r"AMD[XY]\d+|PPO\d|CNPIX[12]|[XY]PIXELSZ|PLTRA[HMS]|PLTDEC(SN|[DMS])",
            # a gWCS that lenssr wrote
            r"SRWCSEXT",
        )
    )
)

# Other cards that tell where pixels of this very array lie. No such list can be
# complete; these are the ones that observatories write widely.
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

# Cards with the side or area of a pixel, and the power of the scale they go with.
PIXEL_SIZE_CARDS = (
    (re.compile(r"PIXSCALE|PIXSCAL[12XY]?|PIXELSCL|PXSCAL[12]|SECPIX[12]?|[XY]PIXSCAL"), -1),
    (re.compile(r"PIXAR_(SR|A2)|PIXAREA"), -2),
)


def plain_exponents(header):
    """The header, or a copy of it in which no number has the exponent written with D."""
    cards, found = list(header.cards), False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VerifyWarning)  # a small d is not standard
        for i, card in enumerate(cards):
            if WCS_CARDS.fullmatch(card.keyword) and isinstance(card.value, float):
                image = copy.copy(card).image
                if _D_EXPONENT.match(image):
                    cards[i] = fits.Card.fromstring(_D_EXPONENT.sub(r"\1E\2", image))
                    found = True
    return fits.Header(cards) if found else header


_D_EXPONENT = re.compile(r"(.{8}= *[+-]?(?:\d+\.?\d*|\.\d+))[dD]([+-]?\d+)(?= *(?:/|$))")


def strip_wcs(header, scale=1, *, keep_alternates=False):
    """Copy of a header without the cards that a new WCS replaces or makes false."""
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
        kept = [_resized(card, scale) for card in kept if not STALE_CARDS.fullmatch(card.keyword)]
    return fits.Header([card for card in kept if card is not None])


def _resized(card, scale):
    """The card with its pixel size in new pixels; None if it has no number to change."""
    for pattern, power in PIXEL_SIZE_CARDS:
        if pattern.fullmatch(card.keyword):
            if isinstance(card.value, bool) or not isinstance(card.value, int | float):
                return None
            return fits.Card(card.keyword, card.value * float(scale) ** power, card.comment)
    return card


def rescale_alternates(header, scale):
    """Cards of a header's alternate WCSs (A to Z), for finer pixels."""
    scale, header = check_positive_int("scale", scale), plain_exponents(header)
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
        new = _finer_alternate(old, key, scale)
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


def _finer_alternate(old, key, scale):
    """Cards of an alternate in pixels ``scale`` times finer."""
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
    """Why the new cards do not give the old positions; an empty string if they do."""
    corners = np.array([[1.0, 1.0], [1.0, 100.0], [100.0, 1.0], [70.0, 100.0]])
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            before, after = (WCS(h, key=key, naxis=2) for h in (old, new))
            here = before.wcs_pix2world(corners, 1)
            there = after.wcs_pix2world((corners - 0.5) * scale + 0.5, 1)
        except Exception as err:  # WCSLIB raises a dozen kinds here
            return " ".join(str(err).split())
    same = np.isclose(here, there, rtol=1e-12, atol=1e-12, equal_nan=True).all()
    return "" if same else "its pixels cannot be divided by changing CRPIX, CD or CDELT alone"
