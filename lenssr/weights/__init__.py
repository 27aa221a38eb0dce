"""Trained weights, each with a model card."""

from lenssr._lazy import lazy_exports

_PUBLIC = {
    "._store": [
        "Card", "error_file", "find_weights", "is_shipped", "load_error_head",
        "load_network", "read_card", "save_calibrated", "save_network", "shipped_weights"],
}

__all__ = [name for names in _PUBLIC.values() for name in names]
__getattr__, __dir__ = lazy_exports(__name__, _PUBLIC)
