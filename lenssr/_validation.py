"""Validation of arguments, with errors that read alike everywhere."""

import difflib
import math
from numbers import Integral, Real


def check_positive_int(name, value):
    """Return ``value`` as an `int`; raise `ValueError` unless it is a positive integer."""
    return _check_int(name, value, 1, "positive")


def check_nonnegative_int(name, value):
    """Return ``value`` as an `int`; raise `ValueError` unless it is an integer of 0 or more."""
    return _check_int(name, value, 0, "non-negative")


def check_index(index, n):
    """Return ``index`` into ``n`` items as a positive `int`; raise `TypeError` or `IndexError`."""
    if isinstance(index, bool) or not isinstance(index, Integral):
        raise TypeError(f"`index` must be an integer, got {type(index).__name__}")
    if not -n <= index < n:
        raise IndexError(f"`index` must be below {n}, got {index}")
    return int(index) % n


def check_positive_number(name, value):
    """Return ``value`` as a `float`; raise `ValueError` unless it is positive and finite."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < value < math.inf:
        raise ValueError(f"`{name}` must be a positive number, got {value!r}")
    return float(value)


def check_fraction(name, value):
    """Return ``value`` as a `float`; raise `ValueError` unless it lies between 0 and 1."""
    if not 0 <= value <= 1:
        raise ValueError(f"`{name}` must be from 0 to 1, got {value!r}")
    return float(value)


def check_range(name, value, positive=False):
    """Return ``(low, high)``; raise `ValueError` unless finite, ordered, and positive if asked."""
    try:
        low, high = value
        valid = -math.inf < low <= high < math.inf and (low > 0 or not positive)
    except (TypeError, ValueError):
        valid = False
    if not valid:
        raise ValueError(f"`{name}` must be two {'positive ' * positive}numbers, the lower one "
                         f"first, got {value!r}")
    return low, high


def suggest(name, known, quote="`"):
    """Return "; did you mean `x`?" for the known name nearest to ``name``, or an empty string."""
    nearest = difflib.get_close_matches(str(name), list(known), n=1)
    return f"; did you mean {quote}{nearest[0]}{quote}?" if nearest else ""


def check_name(name, value, known):
    """Return ``value``; raise `ValueError` that lists the known names unless it is one of them."""
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"`{name}` must be one of {', '.join(known)}, got {value!r}"
                         f"{suggest(value, known, quote=chr(39))}")
    return value


def check_keys(table, known, where):
    """Raise `ValueError` for a key of ``table`` that is not known, naming the nearest known key."""
    for key in table:
        if key not in known:
            hint = suggest(key, known) or f"; known: {', '.join(known)}"
            raise ValueError(f"unknown key `{key}` in {where}{hint}")


def resolve_device(device=None):
    """Return the `torch.device` of a name; CUDA if there is a GPU and ``device`` is `None`."""
    import torch

    return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def _check_int(name, value, minimum, adjective):
    if isinstance(value, bool) or not isinstance(value, Integral) or value < minimum:
        raise ValueError(f"`{name}` must be a {adjective} integer, got {value!r}")
    return int(value)
