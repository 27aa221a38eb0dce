"""One page that shows a result, or a benchmark, to whoever has a browser."""

from lenssr.evaluate._report._result_page import report

__all__ = ["report"]
