"""The PSF of an image, in whatever form an astronomer has it, as one checked kernel."""

import os
import warnings

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.modeling import Model
from astropy.nddata import NDData
from scipy import ndimage

from lenssr.exceptions import LensSRWarning

from ._kernels import FWHM_PER_SIGMA, gaussian_psf

__all__ = ["measure_fwhm", "parse_psf"]

OFF_CENTRE = 0.05  # pixels: PSFs whose centroid lies further off are recentred
MODEL_SIDE = 101   # pixels on which a PSF model is evaluated before it is trimmed
TRIM = 1e-5        # share of the flux that may be trimmed from the rim of a model


def parse_psf(psf, shape, pixel_scale=None):
    """
    An effective PSF on the grid of the image: odd, centred, of sum one.

    Parameters
    ----------
    psf : array, Quantity, Model, NDData, HDU, HDUList, path or None
        A sampled effective PSF (array, or anything that holds one); an astropy or
        photutils PSF model, evaluated at the centres of pixels; or the FWHM of a
        Gaussian as a `~astropy.units.Quantity` in pixels or as an angle.
    shape : tuple of int
        Shape ``(ny, nx)`` of the image.
    pixel_scale : `~astropy.units.Quantity`, optional
        Side of a pixel as an angle; needed for an angular FWHM.

    Returns
    -------
    psf : `~numpy.ndarray` or None

    Raises
    ------
    ValueError
        If it holds NaN, has no positive sum, is not 2-D, or is broader than the
        image; if an angular FWHM meets an image without a pixel scale.
    TypeError
        If it is nothing that a PSF can be made from.

    Warns
    -----
    LensSRWarning
        If it had to be shifted to its centre.
    """
    if psf is None:
        return None
    kernel = _kernel(psf, pixel_scale)
    if kernel.ndim != 2:
        raise ValueError(f"`psf` must be a 2-D array, got {kernel.ndim} dimensions")
    if not np.isfinite(kernel).all():
        raise ValueError(f"`psf` must be finite, got {(~np.isfinite(kernel)).sum()} values "
                         "of NaN or infinity")
    total = kernel.sum()
    if total <= 0 or total < 1e-6 * np.abs(kernel).sum():
        raise ValueError(f"`psf` must have a positive sum, got {total:g}")
    kernel = _centred(kernel / total)
    fwhm = measure_fwhm(kernel)
    if fwhm > min(shape):
        raise ValueError(f"`psf` must be narrower than the image {tuple(shape)}, got a FWHM of "
                         f"{fwhm:.1f} pixels")
    return kernel


def measure_fwhm(psf):
    """FWHM in pixels of the circle that has the area above half of the maximum."""
    # On a grid five times finer, else the answer steps by whole pixels.
    fine = ndimage.zoom(psf, 5, order=3, mode="nearest", grid_mode=True)
    return 2 * np.sqrt((fine > fine.max() / 2).sum() / np.pi) / 5


def _kernel(psf, pixel_scale):
    if isinstance(psf, u.Quantity):
        return _from_fwhm(psf, pixel_scale)
    if isinstance(psf, Model):
        return _from_model(psf)
    if isinstance(psf, (str, os.PathLike)):
        with fits.open(psf) as hdus:
            return _kernel(hdus, pixel_scale)
    if isinstance(psf, fits.HDUList):
        psf = next((hdu for hdu in psf if hdu.data is not None and hdu.is_image), None)
        if psf is None:
            raise ValueError("`psf` must be a file with an image, got one without")
    if isinstance(psf, (NDData, fits.PrimaryHDU, fits.ImageHDU, fits.CompImageHDU)):
        psf = psf.data
    try:
        return np.array(psf, dtype=float)
    except (TypeError, ValueError) as err:
        raise TypeError("`psf` must be an array, a FWHM as a Quantity, a PSF model, NDData, an "
                        f"HDU or a FITS file, got {type(psf).__name__}") from err


def _from_fwhm(fwhm, pixel_scale):
    if fwhm.shape != ():
        raise ValueError(f"`psf` as a Quantity must be one FWHM, got shape {fwhm.shape}")
    if fwhm.unit.is_equivalent(u.pix):
        pixels = fwhm.to_value(u.pix)
    elif not fwhm.unit.is_equivalent(u.arcsec):
        raise ValueError(f"`psf` as a FWHM must be in pixels or an angle, got {fwhm.unit}")
    elif pixel_scale is None:
        raise ValueError(f"`psf` as a FWHM in {fwhm.unit} needs a WCS; without one it must be "
                         "in pixels")
    else:
        pixels = (fwhm / pixel_scale).to_value(u.one)
    if not (np.isfinite(pixels) and pixels > 0):
        raise ValueError(f"`psf` as a FWHM must be positive, got {fwhm}")
    return gaussian_psf(pixels)


def _from_model(model):
    if model.n_inputs != 2:
        raise TypeError(f"`psf` must be a model of two inputs, got {model.n_inputs}")
    model, half = model.copy(), MODEL_SIDE // 2
    for names in (("x_0", "y_0"), ("x_mean", "y_mean")):
        if names[0] in model.param_names:
            for name in names:
                setattr(model, name, 0.0)
    y, x = np.mgrid[-half: half + 1, -half: half + 1]
    kernel = np.asarray(model(x, y), dtype=float)
    while kernel.shape[0] > 5 and abs(kernel[1:-1, 1:-1].sum() / kernel.sum() - 1) < TRIM:
        kernel = kernel[1:-1, 1:-1]
    return kernel


def _centred(kernel):
    """The kernel with its centroid at the centre of an odd grid."""
    ny, nx = kernel.shape
    offset = _centroid(kernel) - np.array([(ny - 1) / 2, (nx - 1) / 2])
    # An even grid has no central pixel: half a pixel at least has to be made up for.
    padded = np.pad(kernel, [(0, 1 - ny % 2), (0, 1 - nx % 2)])
    middle = np.array([(n - 1) // 2 for n in padded.shape])
    shift = middle - (offset + np.array([(ny - 1) / 2, (nx - 1) / 2]))
    if ny % 2 and nx % 2 and np.hypot(*shift) <= OFF_CENTRE:
        return kernel
    warnings.warn(f"`psf` was recentred by ({shift[1]:+.2f}, {shift[0]:+.2f}) pixels in x and y",
                  LensSRWarning, stacklevel=4)
    moved = ndimage.shift(padded, shift, order=5, mode="constant")
    return moved / moved.sum()


def _centroid(kernel):
    """Centroid ``(y, x)`` with a Gaussian weight that follows it, so that wings do not pull."""
    y, x = np.indices(kernel.shape, dtype=float)
    centre = np.array(np.unravel_index(np.argmax(kernel), kernel.shape), dtype=float)
    sigma = max(measure_fwhm(kernel), 1.5) / FWHM_PER_SIGMA
    for _ in range(50):
        weight = kernel * np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / (2 * sigma**2))
        # Twice the step: a Gaussian of the width of the weight halves each shift.
        step = np.array([(weight * (y - centre[0])).sum(), (weight * (x - centre[1])).sum()])
        step *= 2 / weight.sum()
        centre += step
        if np.hypot(*step) < 1e-4:
            break
    return centre
