"""How good a restored image is: against a truth, and against simpler ways to make it."""

from importlib import import_module

from ._figures import comparison_figure, contact_sheet
from ._linear import OptimalLinearFilter
from ._metrics import image_metrics, psnr_summary

__all__ = ["EXPERIMENTS", "Benchmark", "Fidelity", "OptimalLinearFilter", "benchmark",
           "comparison_figure", "contact_sheet", "count_macs", "fidelity", "image_metrics",
           "prior_figure", "prior_map", "psnr_summary", "report"]

# Loaded on first use: they join methods, pairs and networks, which metrics need not know.
_HOMES = {"EXPERIMENTS": "_experiments", "Benchmark": "_benchmark_result",
          "benchmark": "_benchmark", "count_macs": "_complexity",
          "Fidelity": "_fidelity", "fidelity": "_fidelity", "report": "_report",
          "prior_figure": "_prior", "prior_map": "_prior"}


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module 'lenssr.evaluate' has no attribute {name!r}")
    return getattr(import_module(f"lenssr.evaluate.{_HOMES[name]}"), name)
