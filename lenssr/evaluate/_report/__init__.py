"""HTML report of a result or of a benchmark."""

from lenssr.evaluate._report._result_page import report

__all__ = ["report"]
