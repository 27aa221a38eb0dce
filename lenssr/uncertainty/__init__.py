"""Noise of images and errors of results: estimates, correlation, calibration."""

from lenssr._lazy import lazy_exports

__all__ = ["ErrorCorrelation"]

_PUBLIC = {
    "._error_correlation": ["ErrorCorrelation"],
}
# Interface for the other packages of lenssr, not part of the public API.
_INTERNAL = {
    "._autocorrelation": ["MAX_LAG", "from_quadrant", "kernel_correlation", "to_quadrant"],
    "._calibration": [
        "calibrated_chi2_range", "conformal_factor", "inflate_isolated_peaks",
        "prior_error_correlation"],
    "._error_correlation": ["measure_error_correlation"],
    "._factors": [
        "APERTURE_AREAS", "APERTURE_FRACTIONS", "aperture_sum_factor", "interpolate_factors"],
    "._monte_carlo": ["EXCERPT", "monte_carlo_error"],
    "._noise_correlation": ["autocovariance", "neighbour_correlation", "sky_correlation"],
    "._out_of_domain": ["DOMAIN_FEATURES", "domain_inflation", "feature_envelope"],
    "._sky": ["estimate_sky", "find_sky", "sky_level", "sky_noise"],
    "._snr": ["CROWDING_BINS", "SNR_BINS", "crowding", "crowding_bin", "local_snr", "snr_bin"],
}

__getattr__, __dir__ = lazy_exports(
    __name__, {m: [*_PUBLIC.get(m, ()), *_INTERNAL.get(m, ())] for m in {**_PUBLIC, **_INTERNAL}})
