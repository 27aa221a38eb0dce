"""A real lens that comes with lenssr."""

from ._demo_lens import demo_lens

__all__ = ["demo_lens"]
