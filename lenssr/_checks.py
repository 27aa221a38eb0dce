"""Checks that arguments all over lenssr share, so that their errors read alike."""

import difflib
import math
from numbers import Integral, Real

__all__ = ["check_index", "check_keys", "natural_integer", "positive_integer", "positive_number",
           "share"]


def positive_integer(name, value):
    """``value`` as an `int`; a `ValueError` that names it unless it is a positive integer."""
    return _integer(name, value, 1, "positive")


def natural_integer(name, value):
    """The same for an integer that may be zero."""
    return _integer(name, value, 0, "non-negative")


def check_index(index, n):
    """An index into ``n`` things, from the front; `TypeError` or `IndexError` if it is none."""
    if isinstance(index, bool) or not isinstance(index, Integral):
        raise TypeError(f"`index` must be an integer, got {type(index).__name__}")
    if not -n <= index < n:
        raise IndexError(f"`index` must be below {n}, got {index}")
    return int(index) % n


def positive_number(name, value):
    """``value`` as a `float`; a `ValueError` that names it unless it is positive and finite."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < value < math.inf:
        raise ValueError(f"`{name}` must be a positive number, got {value!r}")
    return float(value)


def share(name, value):
    """``value`` as a `float`; a `ValueError` that names it unless it is from 0 to 1."""
    if not 0 <= value <= 1:
        raise ValueError(f"`{name}` must be from 0 to 1, got {value!r}")
    return float(value)


def _integer(name, value, least, what):
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"`{name}` must be a {what} integer, got {value!r}")
    return int(value)


def check_keys(table, known, where):
    """Raise `ValueError` for a key that is not known, naming the nearest."""
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean `{near[0]}`?" if near else f"; known: {', '.join(known)}"
            raise ValueError(f"unknown key `{key}` in {where}{hint}")
