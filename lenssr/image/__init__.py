"""Astronomical images: reading, parsing, coordinates, PSFs, and the super-resolved result."""

from lenssr._lazy import lazy_exports

__all__ = ["LensImage", "LensSolution", "Parsed", "SuperResolvedImage", "assemble",
           "flux_convention", "parse_image"]

_PUBLIC = {
    "._assemble": ["assemble"],
    "._lens_solution": ["LensSolution"],
    "._lensimage": ["LensImage"],
    "._parse": ["Parsed", "parse_image"],
    "._result": ["SuperResolvedImage"],
    "._units": ["flux_convention"],
}
# Interface for the other packages of lenssr, not part of the public API.
_INTERNAL = {
    "._accept": ["parse_input"],
    "._fits": ["header_from", "is_file"],
    "._kernels": [
        "FWHM_PER_SIGMA", "TARGET_FWHM", "WIENER_FLOOR", "gaussian_psf", "oversample_psf",
        "relative_kernel", "resampled_psf", "target_psf", "widened_psf"],
    "._mask": ["combine_masks", "expand_mask", "fill_masked"],
    "._metadata": ["band_wavelength"],
    "._noise": ["as_uncertainty", "safe_downcast", "sigma_from"],
    "._parse": ["get_skycoord", "pixel_scale"],
    "._psf": ["parse_psf", "psf_centroid", "psf_fwhm"],
    "._tiles": ["check_tile", "network_tiles", "tiles"],
    "._units": ["FLUX_CONVENTIONS", "parse_unit"],
    "._wcs_cards": ["strip_wcs"],
    "._wcs_rescale": ["rescale_wcs"],
    "._wcs_check": ["to_fine_pixel"],
}

__getattr__, __dir__ = lazy_exports(
    __name__, {m: [*_PUBLIC.get(m, ()), *_INTERNAL.get(m, ())] for m in {**_PUBLIC, **_INTERNAL}})
