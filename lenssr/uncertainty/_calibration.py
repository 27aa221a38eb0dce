"""Calibration factors of predicted errors."""

import warnings

import numpy as np

from lenssr.exceptions import LensSRWarning
from lenssr.uncertainty._autocorrelation import from_quadrant
from lenssr.uncertainty._correlation import ErrorCorrelation
from lenssr.uncertainty._factors import interpolate_factors

SNR_KNOTS = (0.5, 3**0.5, 30**0.5, 300**0.5, 60.0)  # local signal-to-noise ratios of the factors
CROWDING_KNOTS = (0.001, 0.008, 0.045, 0.2, 0.6)  # crowding of the factors
# Predicted errors at which the inflation of a peak begins and is complete.
PEAK_SIGMA_RANGE = (2.0, 3.0)


def inflate_isolated_peaks(std, measured, value):
    r"""
    Predicted errors, larger where a pixel stands out that would do so less with other noise.

    A peak of the noise that a network takes for a source looks like one to the head, too; but
    what noise is added to it moves it. With :math:`s` what the head says, :math:`m` the error of
    measurement, and :math:`w` that rises from zero to one while the pixel is two to three
    :math:`s` above or below the sky, :math:`s \max(1, m / s)^{w / 2}`.
    """
    low, high = PEAK_SIGMA_RANGE
    weight = np.clip((np.abs(value) / std - low) / (high - low), 0, 1)
    return std * np.maximum(measured / std, 1) ** (weight / 2)


def prior_error_correlation(calibration, scale, snr, prior_std):
    """Correlation of the errors that are not of the measurement, as the calibration found it."""
    tables = calibration["scales"][str(scale)]["correlation"]
    kernels = np.stack([from_quadrant(tables[name]) for name in ("faint", "bright")])
    factors = tables.get("sums")  # cards of earlier versions do not say
    return ErrorCorrelation(kernels[None], np.array([prior_error_level(prior_std, snr)]),
                            None if factors is None else np.array(factors)[None])


def calibrated_chi2_range(calibration, scale):
    """Range of the reduced chi2 of 98 % of the images of a calibration, `None` without one."""
    percentiles = calibration.get("scales", {}).get(str(scale), {}).get("chi2") if calibration else None
    return (percentiles[0], percentiles[-1]) if percentiles else None


def conformal_factor(snr, crowd, factors):
    """What errors are multiplied by, by the local signal to noise and what lies around."""
    factors = np.asarray(factors, float)
    if factors.ndim == 1:
        factors = np.repeat(factors[:, None], len(CROWDING_KNOTS), axis=1)
    return interpolate_factors((snr, crowd), (SNR_KNOTS, CROWDING_KNOTS), factors)


def prior_error_level(prior_std, snr):
    """Level up to which the errors that are not of the measurement count as those of the sky."""
    sky = prior_std[snr < 1]
    return float(np.sqrt(np.mean(sky**2))) if sky.size else 0.0


DOMAIN_MARGIN = 0.1  # fraction of its width by which a training range is extended
# What it is called, whether it is compared by its logarithm, and the least width of a range.
DOMAIN_FEATURES = {
    "psf_fwhm": ("the FWHM of the PSF in pixels", True, 0.05),
    "psf_ellipticity": ("the ellipticity of the PSF", False, 0.05),
    "psf_concentration": ("the peak of the PSF times the area that it covers", True, 0.05),
    "peak_snr": ("the peak over the noise", True, 0.5),
    "noise_ratio": ("the scatter of the sky over the noise that was given", True, 0.1),
    "noise_correlation": ("the correlation of the noise of neighbouring pixels", False, 0.1),
    "sky_skewness": ("the skewness of the sky", False, 0.3),
    "negative_share": ("the share of pixels far below the sky", False, 0.01),
    "flat_peak": ("the number of pixels as bright as the brightest", False, 3.0),
}


def feature_envelope(feature_list):
    """The domain of a calibration from the features of its images."""
    domain = {}
    for name, (_, log, min_width) in DOMAIN_FEATURES.items():
        values = np.array([features[name] for features in feature_list if name in features])
        if not len(values):
            continue
        low, high = (_to_scale(edge, log) for edge in (values.min(), values.max()))
        more = DOMAIN_MARGIN * max(high - low, min_width)
        domain[name] = [float(f"{_from_scale(edge, log):.5g}") for edge in (low - more, high + more)]
    return domain


def domain_inflation(features, domain):
    """How much larger errors may be for an image that is unlike those of the training."""
    factor, messages = 1.0, []
    for name, value in features.items():
        if name not in domain:
            continue
        label, log, min_width = DOMAIN_FEATURES[name]
        low, high = domain[name]
        a, b, v = (_to_scale(number, log) for number in (low, high, value))
        distance = max(a - v, v - b, 0.0) / max(b - a, min_width)
        if distance > 0:
            factor += distance
            messages.append(f"{label} is {value:.3g}, outside the range of the training, "
                        f"{low:.3g} to {high:.3g}")
    for label in messages:
        warnings.warn(f"{label}: the result is an extrapolation; errors are multiplied by "
                      f"{factor:.3g}", LensSRWarning, stacklevel=4)
    return factor


def _to_scale(value, log):
    return float(np.log(max(value, 1e-6))) if log else float(value)


def _from_scale(value, log):
    return float(np.exp(value)) if log else value
