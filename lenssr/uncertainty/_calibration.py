"""Calibration factors of predicted errors."""

import numpy as np

from lenssr.uncertainty._autocorrelation import from_quadrant
from lenssr.uncertainty._error_correlation import ErrorCorrelation
from lenssr.uncertainty._factors import interpolate_factors

__all__ = ["conformal_factor", "inflate_isolated_peaks", "prior_error_correlation", "prior_error_level", "calibrated_chi2_range"]

#: Local signal to noise to which the factors of the bins of `lenssr.image._snr` belong: between
#: them they are interpolated.
SNR_KNOTS = (0.5, 3**0.5, 30**0.5, 300**0.5, 60.0)
#: The same for the bins of the crowding.
CROWDING_KNOTS = (0.001, 0.008, 0.045, 0.2, 0.6)
#: Predicted errors from which a pixel stands out, and from which it does so for certain.
STANDS_OUT = (2.0, 3.0)


def inflate_isolated_peaks(std, measured, value):
    r"""
    Predicted errors, larger where a pixel stands out that would do so less with other noise.

    A peak of the noise that a network takes for a source looks like one to the head, too; but
    what noise is added to it moves it. With :math:`s` what the head says, :math:`m` the error of
    measurement, and :math:`w` that rises from zero to one while the pixel is two to three
    :math:`s` above or below the sky, :math:`s \max(1, m / s)^{w / 2}`.
    """
    low, high = STANDS_OUT
    weight = np.clip((np.abs(value) / std - low) / (high - low), 0, 1)
    return std * np.maximum(measured / std, 1) ** (weight / 2)


def prior_error_correlation(calibration, scale, snr, rest):
    """Correlation of the errors that are not of the measurement, as the calibration found it."""
    found = calibration["scales"][str(scale)]["correlation"]
    kernels = np.stack([from_quadrant(found[name]) for name in ("faint", "bright")])
    factors = found.get("sums")  # cards of earlier versions do not say
    return ErrorCorrelation(kernels[None], np.array([prior_error_level(rest, snr)]),
                            None if factors is None else np.array(factors)[None])


def calibrated_chi2_range(calibration, scale):
    """Range of the reduced chi2 of 98 % of the images of a calibration, `None` without one."""
    found = calibration.get("scales", {}).get(str(scale), {}).get("chi2") if calibration else None
    return (found[0], found[-1]) if found else None


def conformal_factor(snr, crowd, factors):
    """What errors are multiplied by, by the local signal to noise and what lies around."""
    factors = np.asarray(factors, float)
    if factors.ndim == 1:
        factors = np.repeat(factors[:, None], len(CROWDING_KNOTS), axis=1)
    return interpolate_factors((snr, crowd), (SNR_KNOTS, CROWDING_KNOTS), factors)


def prior_error_level(rest, snr):
    """Level up to which the errors that are not of the measurement count as those of the sky."""
    sky = rest[snr < 1]
    return float(np.sqrt(np.mean(sky**2))) if sky.size else 0.0
