"""Metrics, benchmarks, fidelity tests and reports of super-resolved images."""

from lenssr._lazy import lazy_exports

__all__ = ["Benchmark", "EXPERIMENTS", "Fidelity", "OptimalLinearFilter", "benchmark",
           "comparison_figure", "count_macs", "fidelity", "image_metrics", "plot_catalog",
           "prior_figure", "prior_map", "psnr_summary", "report"]

_PUBLIC = {
    "._benchmark": ["benchmark"],
    "._benchmark_result": ["Benchmark"],
    "._complexity": ["count_macs"],
    "._experiments": ["EXPERIMENTS"],
    "._fidelity": ["Fidelity", "fidelity"],
    "._figures": ["comparison_figure", "plot_catalog"],
    "._linear": ["OptimalLinearFilter"],
    "._metrics": ["image_metrics", "psnr_summary"],
    "._prior": ["prior_figure", "prior_map"],
    "._report": ["report"],
}
# Interface for the other packages of lenssr, not part of the public API.
_INTERNAL = {
    "._fidelity.twins": ["add_subhalo"],
    "._power_spectrum": ["radial_power", "transfer_function"],
}

__getattr__, __dir__ = lazy_exports(
    __name__, {m: [*_PUBLIC.get(m, ()), *_INTERNAL.get(m, ())] for m in {**_PUBLIC, **_INTERNAL}})
