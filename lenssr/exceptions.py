"""Warnings of lenssr."""

from astropy.utils.exceptions import AstropyUserWarning


class LensSRWarning(AstropyUserWarning):
    """Something was estimated, dropped, or lies outside the trained domain."""
