"""How good a restored image is: against a truth, and against simpler ways to make it."""

from ._figures import comparison_figure, contact_sheet
from ._linear import OptimalLinearFilter
from ._metrics import image_metrics, psnr_summary

__all__ = ["OptimalLinearFilter", "comparison_figure", "contact_sheet", "image_metrics",
           "psnr_summary"]
