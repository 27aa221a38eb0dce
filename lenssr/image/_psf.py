"""Parsing of PSFs: arrays, files, models and FWHMs."""

import warnings

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.modeling import Model
from astropy.nddata import NDData
from scipy import ndimage

from lenssr.exceptions import LensSRWarning
from lenssr.image._fits import has_pixels, is_file, open_fits, pixels
from lenssr.image._psf_kernels import FWHM_PER_SIGMA, gaussian_psf

MAX_CENTROID_OFFSET = 0.05  # pixels; PSFs with a larger offset are recentred
MODEL_RADIUS = 50  # pixels around the centre where a PSF model is first evaluated
MAX_TRIMMED_FLUX = 1e-5  # fraction of the flux of a PSF model that may be trimmed
MIN_FWHM_PIXELS = 400  # pixels above half maximum that need no finer grid for a FWHM


def parse_psfs(psf, n_planes, shape, pixel_scale=None):
    """Parse the PSF of each plane of a cube."""
    psf = _opened(psf)
    # A list of rows of numbers is an array.
    is_list = isinstance(psf, (list, tuple)) and not all(np.ndim(row) == 1 for row in psf)
    if is_list or (isinstance(psf, np.ndarray) and psf.ndim == (
            1 if isinstance(psf, u.Quantity) else 3)):
        if len(psf) != n_planes:
            raise ValueError(f"`psf` must be one PSF or one for each of the {n_planes} planes, "
                             f"got {len(psf)}")
        return [parse_psf(item, shape, pixel_scale) for item in psf]
    return [parse_psf(psf, shape, pixel_scale)] * n_planes


def parse_psf(psf, shape, pixel_scale=None):
    """Parse an effective PSF on the grid of the image: odd, centred, of unit sum."""
    psf = _opened(psf)
    if psf is None:
        return None
    if isinstance(psf, u.Quantity) and psf.ndim != 2:
        return gaussian_psf(_fwhm(psf, shape, pixel_scale))
    kernel = _from_model(psf, shape) if isinstance(psf, Model) else _array(psf)
    if kernel.ndim != 2:
        raise ValueError(f"`psf` must be a 2-D array, got {kernel.ndim} dimensions (a FWHM must "
                         "have a unit)")
    if not np.isfinite(kernel).all():
        raise ValueError(f"`psf` must be finite, got {(~np.isfinite(kernel)).sum()} values "
                         "of NaN or infinity")
    total = kernel.sum()
    if total <= 0 or total < 1e-6 * np.abs(kernel).sum():
        raise ValueError(f"`psf` must have a positive sum, got {total:g}")
    kernel = _centred(kernel / total)
    _check_width(psf_fwhm(kernel), shape)
    return kernel


def psf_fwhm(psf):
    """Measure the FWHM in pixels of the circle with the area above half of the maximum."""
    step = 1
    if (psf > psf.max() / 2).sum() < MIN_FWHM_PIXELS:
        # A grid five times finer, since the area in whole pixels is too coarse.
        step, psf = 5, ndimage.zoom(psf, 5, order=3, mode="nearest", grid_mode=True)
    return 2 * np.sqrt((psf > psf.max() / 2).sum() / np.pi) / step


def _check_width(fwhm, shape):
    if fwhm > min(shape):
        raise ValueError(f"`psf` must be narrower than the image {tuple(shape)}, got a FWHM of "
                         f"{fwhm:.1f} pixels")


def _opened(psf):
    """Return the array of a file, an HDU or an NDData, or any other object unchanged."""
    if isinstance(psf, NDData):
        return np.asarray(psf.data)
    if isinstance(psf, fits.HDUList):
        psf = next((hdu for hdu in psf if has_pixels(hdu)), None)
        if psf is None:
            raise ValueError("`psf` must be a file with an image, got one without")
    if isinstance(psf, (fits.PrimaryHDU, fits.ImageHDU, fits.CompImageHDU)):
        return pixels(psf, "psf")
    if is_file(psf):
        with open_fits(psf, "psf") as hdus:
            return _opened(hdus)
    return psf


def _array(psf):
    try:
        return np.array(psf, dtype=float)
    except (TypeError, ValueError) as err:
        raise TypeError("`psf` must be an array, a FWHM as a Quantity, a PSF model, NDData, an "
                        f"HDU or a FITS file, got {type(psf).__name__}") from err


def _fwhm(fwhm, shape, pixel_scale):
    """Convert the FWHM of a Quantity to pixels."""
    if fwhm.shape != ():
        raise ValueError(f"`psf` as a Quantity must be one FWHM, got shape {fwhm.shape}")
    if fwhm.unit.is_equivalent(u.pix):
        pixels = fwhm.to_value(u.pix)
    elif not fwhm.unit.is_equivalent(u.arcsec):
        raise ValueError(f"`psf` as a FWHM must be in pixels or an angle, got {fwhm.unit}")
    elif pixel_scale is None:
        raise ValueError(f"`psf` as a FWHM in {fwhm.unit} needs a WCS with a pixel scale; without "
                         "one it must be in pixels")
    else:
        pixels = (fwhm / pixel_scale).to_value(u.one)
    if not (np.isfinite(pixels) and pixels > 0):
        raise ValueError(f"`psf` as a FWHM must be positive, got {fwhm}")
    _check_width(pixels, shape)
    return pixels


def _from_model(model, shape):
    """Evaluate a PSF model at the image centre, out to negligible flux."""
    if model.n_inputs != 2:
        raise TypeError(f"`psf` must be a model of two inputs, got {model.n_inputs}")
    # Evaluate at the image centre: some models depend on position.
    model, (yc, xc) = model.copy(), (n // 2 for n in shape)
    half = MODEL_RADIUS
    while True:
        y, x = np.mgrid[-half: half + 1, -half: half + 1]
        try:
            for name, value in (("x_0", xc), ("y_0", yc), ("x_mean", xc), ("y_mean", yc)):
                if name in model.param_names:
                    setattr(model, name, value)
            kernel = np.asarray(model(x + xc, y + yc), dtype=float)
        except Exception as err:  # models may raise any error, for example about units
            raise TypeError("`psf` must be a model that can be evaluated at pixel coordinates, "
                            f"got {type(model).__name__}: {' '.join(str(err).split())}") from err
        if half >= max(shape) or _rim_fraction(kernel) < MAX_TRIMMED_FLUX:
            break
        half *= 2
    while kernel.shape[0] > 5 and abs(_rim_fraction(kernel)) < MAX_TRIMMED_FLUX:
        kernel = kernel[1:-1, 1:-1]
    return kernel


def _rim_fraction(kernel):
    """Return the fraction of the flux in the outermost pixels."""
    return 1 - kernel[1:-1, 1:-1].sum() / kernel.sum() if kernel.sum() else 0.0


def _centred(kernel):
    """Shift the centroid of a kernel to the centre of an odd grid."""
    centre, shape = psf_centroid(kernel), np.array(kernel.shape)
    # Extend an even side by one pixel on the side of the centroid.
    before = (shape % 2 == 0) & (centre < (shape - 1) / 2)
    kernel = np.pad(kernel, np.transpose([before, (shape % 2 == 0) & ~before]).astype(int))
    shift = (np.array(kernel.shape) - 1) / 2 - (centre + before)
    if np.hypot(*shift) <= MAX_CENTROID_OFFSET:
        return kernel
    warnings.warn(f"`psf` was recentred by ({shift[1]:+.2f}, {shift[0]:+.2f}) pixels in x and y",
                  LensSRWarning, stacklevel=4)
    roomy = np.pad(kernel, [(n, n) for n in np.ceil(np.abs(shift)).astype(int)])
    moved = ndimage.shift(roomy, shift, order=5, mode="constant")
    return moved / moved.sum()


def psf_centroid(kernel):
    """Measure the centroid ``(y, x)`` with an adaptive Gaussian weight."""
    y, x = np.indices(kernel.shape, dtype=float)
    centre = np.array(np.unravel_index(np.argmax(kernel), kernel.shape), dtype=float)
    sigma = max(psf_fwhm(kernel), 1.5) / FWHM_PER_SIGMA
    for _ in range(50):
        weight = kernel * np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / (2 * sigma**2))
        # Double the step: a Gaussian weight of equal width halves each shift.
        step = np.array([(weight * (y - centre[0])).sum(), (weight * (x - centre[1])).sum()])
        step *= 2 / weight.sum()
        centre += step
        if np.hypot(*step) < 1e-4:
            break
    return centre
