"""Keys of recipes: what each may be, and an error that names the nearest it could have been."""

import dataclasses
import difflib
import math
from numbers import Integral, Real

__all__ = ["check_fields", "choice_field", "number_field"]


def number_field(default, low, high=math.inf, *, whole=False, open_low=False, open_high=False):
    """A field of a dataclass that holds a number."""
    return dataclasses.field(default=default, metadata={
        "range": (low, high, open_low, open_high), "whole": whole})


def choice_field(default, *known):
    """A field of a dataclass that holds one of several names."""
    return dataclasses.field(default=default, metadata={"known": known})


def check_fields(part):
    """Check the fields of a part of a recipe that `number` and `choice` made."""
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        if value is None and field.default is None:
            continue
        if "known" in field.metadata and value not in field.metadata["known"]:
            raise ValueError(f"recipe key `{field.name}` must be one of "
                             f"{', '.join(field.metadata['known'])}, got {value!r}"
                             f"{_nearest_name(value, field.metadata['known'])}")
        if "range" in field.metadata:
            _check_number(field, value)


def _nearest_name(value, known):
    near = difflib.get_close_matches(str(value), known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _check_number(field, value):
    low, high, open_low, open_high = field.metadata["range"]
    whole = field.metadata["whole"]
    real = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if real and (not whole or isinstance(value, Integral)) and (
            low < value < high or (value == low and not open_low)
            or (value == high and not open_high)):
        return
    near = field.default
    if real and not (value <= low and open_low) and not (value >= high and open_high):
        near = min(max(round(value) if whole else value, low), high)
    what = "an integer" if whole else "a number"
    least = f"above {low}" if open_low else f"of at least {low}"
    if high < math.inf:
        least = (f"from {low} to {high}" if not (open_low or open_high) else
                 f"{least} and below {high}" if open_high else f"{least} and up to {high}")
    hint = "" if near is None else f"; the nearest valid value is {near}" if near != field.default \
        else f"; the default is {near}"
    raise ValueError(f"recipe key `{field.name}` must be {what} {least}, got {value!r}{hint}")
