"""One page that shows a result, or a benchmark, to whoever has a browser."""

from ._front import report

__all__ = ["report"]
