"""Classes that every method uses: options, result, interface."""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from lenssr.image import LensImage, LensSolution
from lenssr.uncertainty import ErrorCorrelation


@dataclass(frozen=True)
class RunOptions:
    """
    Options of a run, none of which changes the estimate.

    Parameters
    ----------
    scale : int
        Output pixels per input pixel along each axis.
    device : str, optional
        Torch device; CUDA by default if there is a GPU.
    tile : int, optional
        Side of the tiles in input pixels; chosen by the method by default.
    n_samples : int
        Number of posterior samples; zero leaves the number to the method.
    seed : int
        Seed of the random numbers of the method.
    progress : bool
        Whether to show a progress bar after two seconds.

    Examples
    --------
    >>> from lenssr.methods import RunOptions
    >>> RunOptions(scale=2).seed
    0
    """

    scale: int
    device: str | None = None
    tile: int | None = None
    n_samples: int = 0
    seed: int = 0
    progress: bool = False


@dataclass
class Restoration:
    """
    Result of a method for one plane, in surface brightness.

    Parameters
    ----------
    mean : `~numpy.ndarray`
        Estimate in the values of the image per *input* pixel, shape
        ``(scale * ny, scale * nx)``. A constant image stays constant.
    measurement_std : `~numpy.ndarray`
        Standard deviation of ``mean`` due to the noise of the data alone.
    mask : `~numpy.ndarray`
        `True` where the estimate rests mostly on masked pixels.
    psf : `~numpy.ndarray` or None
        Effective PSF of ``mean`` on the output grid; `None` if unknown.
    psf_kind : {"target", "input"}
        Whether ``psf`` is the Gaussian target PSF, or the PSF of the image on the output grid.
    metadata : dict
        Named values, which become FITS cards of the result.
    samples : `~numpy.ndarray`, optional
        Posterior samples, shape ``(n, scale * ny, scale * nx)``.
    predictive_std : `~numpy.ndarray`, optional
        Standard deviation of the total error of ``mean``, at least ``measurement_std``.
    correlation : `~lenssr.uncertainty.ErrorCorrelation`, optional
        Correlation of the measurement error and, with ``predictive_std``, of the prior error.
    estimator : callable, optional
        Map from an image of the same shape, noise map and mask to its estimate. It holds fixed
        what the method derived from the image, and propagates noise probes.
    chi2_range : tuple of float, optional
        Calibrated range of the reduced chi-squared of good results.
    lens : `~lenssr.image.LensSolution`, optional
        Fitted lens and source.
    model_data : `~numpy.ndarray`, optional
        Noise-free data that the result predicts, for methods that model the light outside
        the image. By default, the result is continued by its edge values.
    consistency : `~numpy.ndarray`, optional
        Map of the reduced chi-squared against the data, which `lenssr.superresolve` adds.

    Examples
    --------
    >>> import numpy as np
    >>> from lenssr.methods import Restoration
    >>> ones = np.ones((8, 8))
    >>> result = Restoration(ones, 0.1 * ones, ones < 0, psf=None)
    """

    mean: np.ndarray
    measurement_std: np.ndarray
    mask: np.ndarray
    psf: np.ndarray | None
    psf_kind: str = "target"
    metadata: dict = field(default_factory=dict)
    samples: np.ndarray | None = None
    predictive_std: np.ndarray | None = None
    correlation: ErrorCorrelation | None = None
    estimator: object = None
    chi2_range: tuple | None = None
    lens: LensSolution | None = None
    model_data: np.ndarray | None = None
    consistency: np.ndarray | None = None


class Method(Protocol):
    """
    Interface of a method: an object with a function ``restore``.

    Examples
    --------
    >>> from lenssr.methods import Method, make_method
    >>> method: Method = make_method("bilinear", 2, {})
    """

    def restore(self, image: LensImage, run: RunOptions) -> Restoration:
        """Restore one plane."""


def require_psf(image, method):
    """Raise `ValueError` if an image has no PSF or no valid pixel, which ``method`` needs."""
    if image.psf is None:
        raise ValueError(f"`psf` must be given for {method}, got None")
    if image.mask.all():
        raise ValueError("`mask` must leave at least one valid pixel, got none")
