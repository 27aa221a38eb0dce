"""What a method receives beside the image, and what it returns."""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from lenssr.image import LensImage, LensSolution
from lenssr.uncertainty import ErrorCorrelation

__all__ = ["Method", "Restoration", "RunOptions", "require_psf"]


@dataclass(frozen=True)
class RunOptions:
    """
    How a method is to be run; nothing here changes what is estimated.

    Attributes
    ----------
    scale : int
        Output pixels per input pixel along each axis.
    device : str or None
        Torch device; `None` chooses CUDA where there is one.
    tile : int or None
        Side of the tiles in input pixels; `None` lets the method choose.
    n_samples : int
        Number of posterior samples wanted; zero leaves it to the method.
    seed : int
        Seed of everything random in the method.
    progress : bool
        Show a progress bar on work of more than two seconds.
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
    What a method found, as surface brightness: a constant stays the constant.

    Attributes
    ----------
    mean : `~numpy.ndarray`
        The estimate, shape ``(scale * ny, scale * nx)``, in the image's values
        per *input* pixel; per-pixel units are divided by ``scale**2`` later.
    measurement_std : `~numpy.ndarray`
        Standard deviation that the noise of the data alone gives to ``mean``.
    missing : `~numpy.ndarray`
        `True` where the value rests mostly on masked pixels.
    psf : `~numpy.ndarray` or None
        The effective PSF of ``mean`` on the output grid; `None` if unknown.
    psf_kind : str
        ``"target"`` for the declared Gaussian, ``"input"`` for the PSF of the
        image carried to the output grid.
    facts : dict
        Further cards of the method, ``{keyword: (value, comment)}``.
    samples : `~numpy.ndarray` or None
        Posterior samples, shape ``(n, scale * ny, scale * nx)``.
    predictive_std : `~numpy.ndarray` or None
        Standard deviation of the whole error of ``mean``, not below ``measurement_std``;
        `None` if the method knows of no other error than that of the measurement.
    correlation : `~lenssr.image.ErrorCorrelation` or None
        Correlation of the errors of the measurement and, where there is a
        ``predictive_std``, of the rest of it; `None` if it is not known.
    estimator : callable or None
        Maps any plane of the shape, noise and mask of the image to its estimate, with all that
        the method took from the image itself held fixed: what noise probes go through.
    chi2_range : tuple of float or None
        Lowest and highest reduced chi-squared against the data that results of the method have
        been seen to have; `None` for a default.
    lens : `~lenssr.image.LensSolution` or None
        The lens and its source, of methods that find them; the source in values of ``mean``.
    expected : `~numpy.ndarray` or None
        The data without noise that the result means, of methods that know what lies beyond its
        frame; else the result is taken to go on there as its edge.
    consistency : `~numpy.ndarray` or None
        Reduced chi-squared map against the data; `lenssr.superresolve` fills it.
    """

    mean: np.ndarray
    measurement_std: np.ndarray
    missing: np.ndarray
    psf: np.ndarray | None
    psf_kind: str = "target"
    facts: dict = field(default_factory=dict)
    samples: np.ndarray | None = None
    predictive_std: np.ndarray | None = None
    correlation: ErrorCorrelation | None = None
    estimator: object = None
    chi2_range: tuple | None = None
    lens: LensSolution | None = None
    expected: np.ndarray | None = None
    consistency: np.ndarray | None = None


class Method(Protocol):
    """A way to restore an image; made by a factory from the user's options."""

    def restore(self, image: LensImage, run: RunOptions) -> Restoration:
        """Restore one plane."""


def require_psf(image, what):
    """`ValueError` if a plane has no PSF, or no valid pixel: ``what`` needs both."""
    if image.psf is None:
        raise ValueError(f"`psf` must be given for {what}, got None")
    if image.mask.all():
        raise ValueError("`mask` must leave at least one valid pixel, got none")
