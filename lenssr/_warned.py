"""Warnings that the image which they are about remembers."""

import functools
import warnings
from contextlib import contextmanager, suppress

from lenssr.exceptions import LensSRWarning

__all__ = ["WARNING_CARD", "kept_warnings", "remember_warnings", "texts"]

WARNING_CARD = "SRWARN{}"
MOST = 99  # two digits, eight characters of a keyword


@contextmanager
def kept_warnings():
    """
    A list that fills with the warnings that are given within, by ``catch_warnings``.

    All are given again at the end; each `LensSRWarning` then points at whoever called the
    function in which this stands.
    """
    caught = []
    try:
        with warnings.catch_warnings(record=True) as caught:
            # Those which the caller has chosen not to see, too.
            warnings.simplefilter("always", LensSRWarning)
            yield caught
    except BaseException:
        with suppress(Warning):  # which may be an error, but not the one that matters
            _again(caught)
        raise
    _again(caught)


def _again(caught):
    for each in caught:
        if issubclass(each.category, LensSRWarning):
            warnings.warn(each.message, stacklevel=5)
        else:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)


def texts(caught):
    """What each `LensSRWarning` among caught warnings says, once."""
    return list(dict.fromkeys(" ".join(str(each.message).split()) for each in caught
                              if issubclass(each.category, LensSRWarning)))


def remember_warnings(function):
    """
    Write what a function warned of into the header of the image that it returns.

    Each `LensSRWarning` becomes a card, ``SRWARN1`` and so on: whoever opens the file
    later was not there when it was given.
    """
    @functools.wraps(function)
    def call(*args, **kwargs):
        with kept_warnings() as caught:
            image = function(*args, **kwargs)
            for k, text in enumerate(texts(caught)[:MOST], 1):
                # A card can hold nothing but ASCII.
                image.meta[WARNING_CARD.format(k)] = text.encode("ascii", "replace").decode()
        return image

    return call
