"""Metrics, benchmarks, fidelity tests and reports of super-resolved images."""

from lenssr._lazy import lazy_exports

_PUBLIC = {
    "._benchmark": ["OptimalLinearFilter", "benchmark"],
    "._benchmark_result": ["Benchmark"],
    "._fidelity": ["Fidelity", "fidelity"],
    "._figures": ["comparison_figure", "plot_catalog"],
    "._metrics": ["count_macs", "image_metrics", "psnr_summary"],
    "._pairs": ["EXPERIMENTS"],
    "._prior_map": ["prior_figure", "prior_map"],
    "._report": ["report"],
}
# Interface for the other packages of lenssr, not part of the public API.
_INTERNAL = {
    "._benchmark": ["LinearBaseline"],
    "._fidelity._lens_tests": [
        "TWIN_MASSES", "add_subhalo", "compare", "fit_lens", "fit_parameters", "fit_scene",
        "twins"],
    "._fidelity._photometry": [
        "count_within", "coverage_fractions", "flux_ratio",
        "measure_shift"],
    "._fidelity._result": ["shortened"],
    "._fidelity._scenes": [
        "FidelityPair", "NOISE_KERNEL_WIDTHS", "SceneConfig", "adaptive_moments", "blanks",
        "ellipticity", "find_scene_config", "galaxies", "lens_population", "lenses",
        "stars"],
    "._fidelity._shapes": ["fit_curve", "regression_slope"],
    "._fidelity._stars_and_blanks": ["count_sources", "measure_stars", "rate_limits"],
    "._metrics": [
        "FREQUENCIES", "noise_floor", "radial_power", "score_both", "score_image",
        "transfer_function"],
    "._pairs": ["edge_level", "find_experiment", "prepare_pair"],
    "._report._maps": ["split_image"],
    "._report._page_data": ["sky_grid"],
}

__all__ = [name for names in _PUBLIC.values() for name in names]
__getattr__, __dir__ = lazy_exports(__name__, _PUBLIC, _INTERNAL)
