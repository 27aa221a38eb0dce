"""Astronomical images: reading, parsing, coordinates, PSFs, and the super-resolved result."""

from lenssr._lazy import lazy_exports

_PUBLIC = {
    "._lens_result": ["LensSolution"],
    "._parse": ["LensImage", "Parsed", "parse_image"],
    "._result": ["SuperResolvedImage", "assemble"],
    "._units": ["flux_convention"],
}
# Interface for the other packages of lenssr, not part of the public API.
_INTERNAL = {
    "._fits": ["header_from", "is_file", "merged_header", "open_fits", "pixels", "without_layout"],
    "._mask": ["combine_masks", "expand_mask", "fill_masked"],
    "._noise": [
        "UNCERTAINTY_POWERS", "as_uncertainty", "safe_downcast", "sigma_from",
        "uncertainty_class"],
    "._parse": ["band_wavelength", "get_skycoord", "parse_input", "pixel_scale", "read_metadata"],
    "._psf": ["parse_psf", "parse_psfs", "psf_centroid", "psf_fwhm"],
    "._psf_kernels": [
        "FWHM_PER_SIGMA", "TARGET_FWHM", "WIENER_FLOOR", "gaussian_psf", "oversample_psf",
        "relative_kernel", "resampled_psf", "target_psf", "widened_psf"],
    "._tiles": ["check_tile", "network_tiles", "tiles"],
    "._units": ["FLUX_CONVENTIONS", "parse_unit", "power_of", "unit_text"],
    "._wcs": ["RescaledWCS", "check_same_sky", "rescale_wcs", "to_fine_pixel"],
    "._wcs_fits": ["read_wcs", "rescale_alternates", "strip_wcs", "wcs_from_hdus", "wcs_to_fits"],
}

__all__ = [name for names in _PUBLIC.values() for name in names]
__getattr__, __dir__ = lazy_exports(__name__, _PUBLIC, _INTERNAL)
