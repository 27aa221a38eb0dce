"""Warnings of lenssr."""

from astropy.utils.exceptions import AstropyUserWarning


class LensSRWarning(AstropyUserWarning):
    """Warning about input that was estimated or dropped, or that is out of domain."""
