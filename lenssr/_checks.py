"""Checks that arguments all over lenssr share, so that their errors read alike."""

from numbers import Integral

__all__ = ["natural_integer", "positive_integer"]


def positive_integer(name, value):
    """``value`` as an `int`; a `ValueError` that names it unless it is a positive integer."""
    return _integer(name, value, 1, "positive")


def natural_integer(name, value):
    """The same for an integer that may be zero."""
    return _integer(name, value, 0, "non-negative")


def _integer(name, value, least, what):
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"`{name}` must be a {what} integer, got {value!r}")
    return int(value)
