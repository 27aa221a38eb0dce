"""All that an astronomer's image carries, in and out."""

from ._assemble import assemble
from ._error_correlation import ErrorCorrelation
from ._lens_solution import LensSolution
from ._lensimage import LensImage
from ._parse import Parsed, parse_image
from ._result import SuperResolvedImage
from ._units import flux_kind

__all__ = ["ErrorCorrelation", "LensImage", "LensSolution", "Parsed", "SuperResolvedImage",
           "assemble", "flux_kind", "parse_image"]
