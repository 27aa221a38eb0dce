"""Trained weights, each with a card that says where it comes from."""

from ._store import (
    Card,
    find_weights,
    is_shipped,
    load_network,
    read_card,
    save_network,
    shipped_weights,
)

__all__ = ["Card", "find_weights", "is_shipped", "load_network", "read_card", "save_network",
           "shipped_weights"]
