"""Trained weights, each with a model card."""

from lenssr._lazy import lazy_exports

__all__ = ["Card", "error_file", "find_weights", "is_shipped", "load_error_head", "load_network",
           "read_card", "save_calibrated", "save_network", "shipped_weights"]

_PUBLIC = {
    "._calibration": ["error_file", "load_error_head", "save_calibrated"],
    "._store": [
        "Card", "find_weights", "is_shipped", "load_network", "read_card", "save_network",
        "shipped_weights"],
}

__getattr__, __dir__ = lazy_exports(__name__, _PUBLIC)
