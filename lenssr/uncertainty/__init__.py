"""Estimation of image noise, and correlation and calibration of errors."""

from lenssr._lazy import lazy_exports

_PUBLIC = {
    "._correlation": ["ErrorCorrelation"],
}
# Interface for the other packages of lenssr, not part of the public API.
_INTERNAL = {
    "._autocorrelation": [
        "MAX_LAG", "decimate", "from_quadrant", "kernel_correlation", "sum_variance",
        "to_quadrant"],
    "._calibration": [
        "DOMAIN_FEATURES", "calibrated_chi2_range", "conformal_factor", "domain_inflation",
        "feature_envelope", "inflate_isolated_peaks", "prior_error_correlation"],
    "._correlation": [
        "MAX_CORRELATED_SIDE", "autocovariance", "measure_error_correlation", "monte_carlo_error",
        "neighbour_correlation", "sky_correlation"],
    "._factors": [
        "APERTURE_AREAS", "APERTURE_FRACTIONS", "CROWDING_BINS", "CROWDING_KNOTS",
        "NORMAL_COVERAGE", "SNR_BINS", "SNR_KNOTS", "aperture_sum_factor", "crowding",
        "crowding_bin", "interpolate_factors", "local_snr", "snr_bin"],
    "._sky": ["central_cutout", "estimate_sky", "find_sky", "sky_level", "sky_noise"],
}

__all__ = [name for names in _PUBLIC.values() for name in names]
__getattr__, __dir__ = lazy_exports(__name__, _PUBLIC, _INTERNAL)
