"""Warnings that the image which they are about remembers."""

import functools
import warnings

from lenssr.exceptions import LensSRWarning

__all__ = ["WARNING_CARD", "remember_warnings"]

WARNING_CARD = "SRWARN{}"
MOST = 99  # two digits, eight characters of a keyword


def remember_warnings(function):
    """
    Write what a function warned of into the header of the image that it returns.

    Each `LensSRWarning` becomes a card, ``SRWARN1`` and so on: whoever opens the file
    later was not there when it was given. All warnings are given again when the function
    is left, and point at its caller.
    """
    @functools.wraps(function)
    def call(*args, **kwargs):
        caught = []
        try:
            with warnings.catch_warnings(record=True) as caught:
                # Those which the caller has chosen not to see, too.
                warnings.simplefilter("always", LensSRWarning)
                image = function(*args, **kwargs)
        finally:
            for each in caught:
                if issubclass(each.category, LensSRWarning):
                    warnings.warn(each.message, stacklevel=2)
                else:
                    warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
        told = dict.fromkeys(_card(each.message) for each in caught
                             if issubclass(each.category, LensSRWarning))
        for k, text in enumerate(list(told)[:MOST], 1):
            image.meta[WARNING_CARD.format(k)] = text
        return image

    return call


def _card(message):
    """One line of ASCII, which is all that a card can hold."""
    return " ".join(str(message).split()).encode("ascii", "replace").decode()
