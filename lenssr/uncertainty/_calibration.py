"""Calibration of predicted errors, and their inflation outside the training domain."""

import warnings

import numpy as np

from lenssr.exceptions import LensSRWarning
from lenssr.uncertainty._autocorrelation import from_quadrant
from lenssr.uncertainty._correlation import ErrorCorrelation
from lenssr.uncertainty._factors import CROWDING_KNOTS, SNR_KNOTS, interpolate_factors

# Heights, in predicted errors, at which the inflation of a peak begins and is complete.
PEAK_SIGMA_RANGE = (2.0, 3.0)


def inflate_isolated_peaks(std, measurement_std, value):
    r"""
    Inflate the predicted errors of isolated peaks, which may be noise.

    A network takes a peak of the noise for a source, and so does the head that predicts its error;
    added noise, however, moves the peak. With the prediction :math:`s`, the measurement error
    :math:`m` and a weight :math:`w` that rises from zero to one at two to three :math:`s` from
    the sky, the error is :math:`s \max(1, m / s)^{w / 2}`. ``value`` is the result minus sky.
    """
    low, high = PEAK_SIGMA_RANGE
    weight = np.clip((np.abs(value) / std - low) / (high - low), 0, 1)
    return std * np.maximum(measurement_std / std, 1) ** (weight / 2)


def prior_error_correlation(calibration, scale, snr, prior_std):
    """Return the calibrated `ErrorCorrelation` of the prior error."""
    tables = calibration["scales"][str(scale)]["correlation"]
    kernels = np.stack([from_quadrant(tables[name]) for name in ("faint", "bright")])
    factors = tables.get("sums")
    return ErrorCorrelation(kernels[None], np.array([prior_error_level(prior_std, snr)]),
                            None if factors is None else np.array(factors)[None])


def calibrated_chi2_range(calibration, scale):
    """Return the reduced chi-squared range of 98 % of the calibration images."""
    if not calibration:
        return None
    percentiles = calibration.get("scales", {}).get(str(scale), {}).get("chi2")
    return (percentiles[0], percentiles[-1]) if percentiles else None


def conformal_factor(snr, crowd, factors):
    """Interpolate calibration factors, shape ``(5, 5)``, in S/N and crowding."""
    return interpolate_factors((snr, crowd), (SNR_KNOTS, CROWDING_KNOTS), factors)


def prior_error_level(prior_std, snr):
    """Return the rms prior error of the sky (``snr < 1``); zero without sky."""
    sky = prior_std[snr < 1]
    return float(np.sqrt(np.mean(sky**2))) if sky.size else 0.0


DOMAIN_MARGIN = 0.1  # widths of a training range by which it is extended
# Label in messages, whether the logarithm is compared, and minimum width of a range.
DOMAIN_FEATURES = {
    "psf_fwhm": ("the FWHM of the PSF in pixels", True, 0.05),
    "psf_ellipticity": ("the ellipticity of the PSF", False, 0.05),
    "psf_concentration": ("the peak of the PSF times its effective area", True, 0.05),
    "peak_snr": ("the peak over the noise", True, 0.5),
    "noise_ratio": ("the scatter of the sky over its given noise", True, 0.1),
    "noise_correlation": ("the correlation of the noise of neighbouring pixels", False, 0.1),
    "sky_skewness": ("the skewness of the sky", False, 0.3),
    "negative_share": ("the fraction of pixels far below the sky", False, 0.01),
    "flat_peak": ("the number of pixels as bright as the brightest", False, 3.0),
}


def feature_envelope(feature_list):
    """Return the range of each feature of the calibration images, with a margin."""
    domain = {}
    for name, (_, log, min_width) in DOMAIN_FEATURES.items():
        values = np.array([features[name] for features in feature_list if name in features])
        if not len(values):
            continue
        low, high = (_to_scale(edge, log) for edge in (values.min(), values.max()))
        margin = DOMAIN_MARGIN * max(high - low, min_width)
        domain[name] = [float(f"{_from_scale(edge, log):.5g}")
                        for edge in (low - margin, high + margin)]
    return domain


def domain_inflation(features, domain):
    """
    Return the inflation factor of the errors of an image outside the training domain.

    The factor is one plus the distance of each feature from its range, in widths of the range. Each
    feature outside its range emits a `LensSRWarning`.
    """
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
    for message in messages:
        warnings.warn(f"{message}: the result is an extrapolation; errors are multiplied by "
                      f"{factor:.3g}", LensSRWarning, stacklevel=4)
    return factor


def _to_scale(value, log):
    return float(np.log(max(value, 1e-6))) if log else float(value)


def _from_scale(value, log):
    return float(np.exp(value)) if log else value
