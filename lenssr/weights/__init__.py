"""Trained weights, each with a card that says where it comes from."""

from ._calibration import error_file, load_error_head, save_calibrated
from ._store import (
    Card,
    find_weights,
    is_shipped,
    load_network,
    read_card,
    save_network,
    shipped_weights,
)

__all__ = ["Card", "error_file", "find_weights", "is_shipped", "load_error_head", "load_network",
           "read_card", "save_calibrated", "save_network", "shipped_weights"]
