"""The cards that lenssr writes into a header, in words."""

import re

from astropy.table import Table

from lenssr.evaluate._report._html import NONE

__all__ = ["card_table", "source_cards", "warnings_of"]

MEANING = {
    "SRMETHOD": "method of super-resolution",
    "SRSCALE": "output pixels per input pixel, along each axis",
    "SRVERS": "version of lenssr",
    "SRWEIGHT": "first digits of the SHA-256 of the trained weights",
    "SRCALIB": "what the uncertainty holds; measurement: the noise of the data alone, which is "
               "not the whole error; predictive: the whole error",
    "SRINFLAT": "what errors were multiplied by, for an image unlike those of the training",
    "SRNOISE": "whether the noise of the input was given, or estimated from its sky",
    "SRFLUX": "per-pixel: fluxes, divided among the finer pixels; surface-brightness: values "
              "per area, kept",
    "SRSEED": "seed of whatever was random",
    "SRPSF": "target: a Gaussian of FWHM two output pixels; input: the PSF of the input, which "
             "interpolation leaves",
    "SRCHI2": "mean square of data minus result at their resolution, over their noise",
    "SRCHI2IN": "the same before the result was moved to agree with the data",
    "SRNCORR": "correlation of the noise of neighbouring pixels",
    "SRNITER": "iterations of Richardson-Lucy",
    "SRNPROBE": "draws of noise from which the measurement error was found",
}
OURS = re.compile(r"SR(?!WARN\d|WCS)[A-Z0-9]+")
WARNED = re.compile(r"SRWARN\d+")
SOURCE = ("OBJECT", "TELESCOP", "INSTRUME", "DETECTOR", "FILTER", "FILTER1", "FILTER2", "BAND",
          "DATE-OBS", "EXPTIME")


def card_table(headers):
    """What lenssr wrote into the headers of results, a column for each name; None if nothing."""
    comments = {}
    for header in headers.values():
        comments |= {card.keyword: card.comment for card in header.cards
                     if OURS.fullmatch(card.keyword)}
    if not comments:
        return None
    columns = {"card": list(comments)}
    columns |= {name: [str(header.get(key, NONE)) for key in comments]
                for name, header in headers.items()}
    return Table({**columns, "meaning": [MEANING.get(key, comment)
                                         for key, comment in comments.items()]})


def warnings_of(header):
    """What the restoration warned of, as the header has kept it."""
    return [str(card.value) for card in header.cards if WARNED.fullmatch(card.keyword)]


def source_cards(header):
    """What a header says of the observation, by keyword."""
    return {key: str(header[key]) for key in SOURCE
            if key in header and str(header[key]).strip()}
