"""Conversion of astropy uncertainties to standard deviations and back."""

import numpy as np
from astropy import units as u
from astropy.nddata import (
    InverseVariance,
    NDUncertainty,
    StdDevUncertainty,
    VarianceUncertainty,
)

from lenssr.image._units import power_of

# Exponent of the standard deviation in each class of uncertainty.
UNCERTAINTY_POWERS = {StdDevUncertainty: 1, VarianceUncertainty: 2, InverseVariance: -2}


def uncertainty_class(kind):
    """Return the astropy base class of an uncertainty class, or `None`."""
    return next((base for base in UNCERTAINTY_POWERS if issubclass(kind, base)), None)


def sigma_from(uncertainty, missing, unit):
    """Convert an uncertainty to standard deviations."""
    kind, shape = StdDevUncertainty, missing.shape
    if isinstance(uncertainty, NDUncertainty):
        kind = type(uncertainty)
        if uncertainty_class(kind) is None:
            raise TypeError("`uncertainty` must be a StdDevUncertainty, VarianceUncertainty or "
                            f"InverseVariance, got {kind.__name__}")
        values, input_unit = uncertainty.array, uncertainty.unit
    elif isinstance(uncertainty, u.Quantity):
        values, input_unit = uncertainty.value, uncertainty.unit
    else:
        values, input_unit = uncertainty, None
    try:
        values = np.asarray(values, dtype=float)
    except (TypeError, ValueError) as err:
        raise TypeError("`uncertainty` must be an array of numbers or an astropy uncertainty, "
                        f"got {type(uncertainty).__name__}") from err
    if values.shape not in ((), shape, shape[-2:]):
        raise ValueError(f"`uncertainty` must have the shape of the data {shape}, "
                         f"got {values.shape}")
    values = np.where(missing, np.nan, values)
    if (values < 0).any():
        raise ValueError(f"`uncertainty` must not be negative, got {np.nanmin(values):g}")
    power = UNCERTAINTY_POWERS[uncertainty_class(kind)]
    with np.errstate(divide="ignore"):
        sigma = values ** (1 / power)
    return sigma * _unit_factor(input_unit, unit, power), kind


def _unit_factor(input_unit, unit, power):
    target_unit = power_of(unit, power)
    if input_unit is None or target_unit is None or input_unit == target_unit:
        return 1.0
    try:
        return (1.0 * input_unit).to_value(target_unit) ** (1 / power)
    except (u.UnitConversionError, TypeError, ValueError) as err:
        raise ValueError(f"`uncertainty` must have a unit that converts to {target_unit}, "
                         f"got {input_unit}") from err


def as_uncertainty(sigma, kind, unit, dtype=np.float64):
    """Convert standard deviations to an uncertainty class, in ``dtype`` if possible."""
    power = UNCERTAINTY_POWERS[uncertainty_class(kind)]
    with np.errstate(divide="ignore"):
        values = np.asarray(sigma, dtype=float) ** power
    return kind(safe_downcast(values, dtype), unit=power_of(unit, power))


def safe_downcast(values, dtype):
    """Convert values to a floating type if it can represent them."""
    limits, magnitudes = np.finfo(dtype), np.abs(values[np.isfinite(values)])
    most = magnitudes.max(initial=0)
    # Values that are negligible beside the largest may underflow to zero.
    lost = (magnitudes > limits.eps * most) & (magnitudes < limits.tiny)
    return values if most >= limits.max or lost.any() else values.astype(dtype)
