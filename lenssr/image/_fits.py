"""FITS files and headers: opened with errors that name the argument, copied card by card."""

import copy
import os
import re
import warnings
from contextlib import contextmanager

import numpy as np
from astropy.io import fits

from lenssr.exceptions import LensSRWarning

__all__ = ["has_pixels", "header_from", "is_file", "merged_header", "open_fits", "pixels",
           "without_layout"]

# What describes a file's layout rather than its sky.
LAYOUT = re.compile(r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|GROUPS|BSCALE|BZERO|"
                    r"BLANK|CHECKSUM|DATASUM|EXTNAME|EXTVER|EXTLEVEL|INHERIT|NEXTEND|END")
COMMENTARY = ("", "COMMENT", "HISTORY")


def is_file(data):
    """Whether it is a path or a file object (NDData, tables and models have `read`, too)."""
    return isinstance(data, (str, os.PathLike)) or (
        hasattr(data, "read") and hasattr(data, "close"))


@contextmanager
def open_fits(source, name="data"):
    """An open `~astropy.io.fits.HDUList`."""
    is_path = isinstance(source, (str, os.PathLike))
    what = repr(os.fspath(source)) if is_path else "the file"
    if is_path:
        source = os.path.expanduser(source)
        if not os.path.isfile(source):
            raise FileNotFoundError(f"`{name}` must be a FITS file, there is none at {what}")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            hdus = fits.open(source, memmap=False, lazy_load_hdus=False)
        except Exception as err:  # astropy and the decompressors raise a dozen kinds here
            raise ValueError(_damaged(name, what, err)) from err
    try:
        for item in caught:
            # A truncated file is read as far as it goes, with a warning; not here.
            if "truncated" in str(item.message):
                raise ValueError(_damaged(name, what, item.message))
            if "corrupted" in str(item.message):
                warnings.warn(f"{what} has more than was read, it may be damaged: "
                              f"{' '.join(str(item.message).split())}", LensSRWarning, stacklevel=3)
        with warnings.catch_warnings():
            # What astropy says of cards against the standard is of no use: they are kept.
            warnings.simplefilter("ignore", fits.verify.VerifyWarning)
            warnings.filterwarnings("ignore", "The following header keyword is invalid")
            yield hdus
    except fits.VerifyError as err:  # a card that is needed and cannot be read
        raise ValueError(_damaged(name, what, err)) from err
    finally:
        hdus.close(closed=is_path)


def _damaged(name, what, reason):
    reason = " ".join(str(reason).split()) or type(reason).__name__
    return f"`{name}` must be a readable FITS file, {what} is damaged or is none: {reason}"


def has_pixels(hdu):
    """Whether it is an image HDU with pixels; they are not read for it."""
    shape = getattr(hdu, "shape", ())  # of what was no HDU astropy knows, there is none
    return hdu.is_image and len(shape) > 0 and 0 not in shape


def pixels(hdu, name="data"):
    """Pixels of an image HDU."""
    try:
        with np.errstate(all="ignore"):  # scaling what is missing may overflow
            array = hdu.data
    except Exception as err:  # as above
        raise ValueError(_damaged(name, f"its HDU {hdu.name!r}", err)) from err
    if array is None:
        raise ValueError(f"`{name}` must have pixels, the HDU {hdu.name!r} has an empty data "
                         "section")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def merged_header(primary, extension):
    """Cards of the primary header and of an extension, the latter's winning."""
    if extension.get("INHERIT") is False:
        return extension.copy()
    own = set(extension)
    inherited = [card for card in primary.cards
                 if card.keyword in COMMENTARY or card.keyword not in own]
    return fits.Header([copy.copy(card) for card in (*inherited, *extension.cards)])


def without_layout(header):
    """Copy of a header without the cards that describe the layout of its file."""
    kept = [copy.copy(card) for card in header.cards if not LAYOUT.fullmatch(card.keyword)]
    while kept and kept[-1].is_blank:
        kept.pop()
    return fits.Header(kept)


def header_from(meta):
    """A FITS header from any mapping."""
    if isinstance(meta, fits.Header):
        return meta.copy()
    header, lost = fits.Header(), []
    for key, value in dict(meta or {}).items():
        try:
            with warnings.catch_warnings():
                # Long keywords become HIERARCH cards: nothing is lost by it.
                warnings.simplefilter("ignore", fits.verify.VerifyWarning)
                cards = [fits.Card(str(key), item) for item in _lines(key, value)]
                for card in cards:
                    str(card)  # some cards fail only when they are written
                    if card.keyword in header and card.keyword not in COMMENTARY:
                        raise ValueError("keywords that differ in case only")
        except ValueError:
            lost.append(str(key))
        else:
            for card in cards:
                header.append(card, end=True)
    if lost:
        warnings.warn(f"metadata that a FITS header cannot hold was dropped: {', '.join(lost)}",
                      LensSRWarning, stacklevel=2)
    return header


def _lines(key, value):
    """The values of the cards that a key has: several for lists and lines of comments."""
    if str(key).upper() not in COMMENTARY:
        return [value]
    lines = [value] if isinstance(value, str) else np.atleast_1d(value)
    return [line for text in lines for line in str(text).splitlines()]
