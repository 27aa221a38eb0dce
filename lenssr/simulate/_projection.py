"""A sharp image on the pixel grid of another, at the resolution that pairs have."""

import warnings

import numpy as np
from astropy.wcs.utils import pixel_to_pixel
from astropy.wcs.wcsapi import HighLevelWCSMixin, HighLevelWCSWrapper, SlicedLowLevelWCS
from astropy.wcs.wcsapi.wrappers import BaseWCSWrapper
from scipy import ndimage

from lenssr.image import FWHM_PER_SIGMA, TARGET_FWHM, rescale_wcs
from lenssr.simulate._matching import PSFMatcher
from lenssr.uncertainty import sky_correlation

__all__ = ["Projection", "ShiftedWCS"]

REACH = 2.5     # radius in FWHM to which the target's Gaussian reaches
SAMPLES = 5.0   # pixels per FWHM from which cubic splines are exact to 1e-4 of the peak
COARSEST = 1.05  # pixels of the sharp image per output pixel: one, and rounding
LAGS = 8        # output pixels beyond which the noise of two of them is taken as independent
VALID = 0.9     # share of an output pixel's light that must come from valid pixels


class ShiftedWCS(BaseWCSWrapper, HighLevelWCSMixin):
    """Any WCS, seen from an image whose content was moved."""

    def __init__(self, wcs, shift):
        super().__init__(wcs)
        self._shift = np.asarray(shift, float)

    def pixel_to_world_values(self, *pixel_arrays):
        moved = (np.asanyarray(p) - s for p, s in zip(pixel_arrays, self._shift))
        return self._wcs.pixel_to_world_values(*moved)

    def world_to_pixel_values(self, *world_arrays):
        pixels = self._wcs.world_to_pixel_values(*world_arrays)
        return tuple(p + s for p, s in zip(pixels, self._shift))


class Projection:
    """A sharp image, matched to the target PSF and put on the output grid."""

    def __init__(self, plane, wcs, grid, shape, *, margin=0, noise_given=True):
        self.grid, self.shape = grid, shape
        places, inside = _places(wcs, plane.shape, grid, shape)
        matrix = _jacobian(wcs, grid, np.argwhere(inside).mean(axis=0)[::-1])
        self.area = abs(np.linalg.det(matrix))
        steps = np.linalg.svd(matrix, compute_uv=False)
        if COARSEST * steps.min() < 1:
            raise ValueError("`hr` must have pixels no larger than those of the output, got "
                             f"{1 / steps.min():.2f} times as large")
        # What is far from the output can't matter: survey images are large.
        reach = int(np.ceil(REACH * TARGET_FWHM * steps.max()))
        cut = _box(places, inside, plane, reach + int(margin * steps.max()))
        data, sigma, mask = (each[cut] for each in (plane.data, plane.sigma, plane.mask))
        self.wcs = HighLevelWCSWrapper(SlicedLowLevelWCS(wcs.low_level_wcs, cut))
        self.factor = int(np.ceil(SAMPLES / (TARGET_FWHM * steps.min())))
        matcher = PSFMatcher(data, plane.psf, reach)
        wanted = _gaussian(matcher.frequencies, matrix)
        kernel = matcher.kernel(wanted, "`hr` must be sharper, or `scale` smaller")
        self.gain = matcher.white_gain(kernel)
        correlation, excess = sky_correlation(data, mask)
        self.correlation = _on_lags(
            matcher.autocovariance(kernel, correlation), matrix)
        more = self.correlation[LAGS, LAGS] / self.gain**2
        self.correlation /= self.correlation[LAGS, LAGS]
        self._image = matcher.finer(kernel, self.factor)
        more *= 1.0 if noise_given else excess**2
        self._maps = np.stack([more * matcher.variance(kernel, sigma),
                               matcher.share(wanted, ~mask)])

    def at(self, shift):
        """The image, moved."""
        target = ShiftedWCS(self.grid.low_level_wcs, shift)
        image = self._on(target, self._image, rescale_wcs(self.wcs, self.factor), "bicubic")
        variance, share = self._on(target, self._maps, self.wcs, "bilinear")
        missing = ~(np.isfinite(image) & (share >= VALID))
        return image, variance, missing

    def _on(self, target, array, wcs, order):
        from reproject import reproject_interp

        shape = array.shape[:-2] + tuple(self.shape)
        with warnings.catch_warnings():
            # Where distortions have no inverse, far outside, there is no image.
            warnings.filterwarnings("ignore", ".*converge")
            return reproject_interp((array, wcs), target, shape, order=order,
                                    return_footprint=False)


def _places(wcs, shape, grid, grid_shape):
    """Pixels ``(x, y)`` of the sharp image for each of the output, and which are in it."""
    y, x = np.indices(grid_shape, dtype=float)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*converge")
            places = np.array(pixel_to_pixel(grid, wcs, x, y))
    except ValueError as err:
        raise ValueError("`hr` must have a WCS with the world coordinates of that of `lr`: "
                         f"{err}") from err
    sides = np.array(shape[::-1])[:, None, None]
    with np.errstate(invalid="ignore"):
        inside = ((places > -0.5) & (places < sides - 0.5)).all(axis=0)
    if not inside.any():
        raise ValueError("`hr` must overlap `lr` on the sky, their WCSs have no pixel in common"
                         + _apart(wcs, shape, grid, grid_shape))
    return places, inside


def _apart(wcs, shape, grid, grid_shape):
    """How far the centres are from each other, in words."""
    one, two = (each.pixel_to_world(*((n - 1) / 2 for n in size[::-1]))
                for each, size in ((wcs, shape), (grid, grid_shape)))
    if not hasattr(one, "separation"):
        return ""
    return f" (the centres are {one.separation(two).to_string('arcmin', precision=2)} apart)"


def _jacobian(wcs, grid, place):
    """Pixels of the sharp image per output pixel, ``(2, 2)``, at an output pixel ``(x, y)``."""
    steps = place + np.array([[0.5, 0], [-0.5, 0], [0, 0.5], [0, -0.5]])
    right, left, up, down = np.transpose(pixel_to_pixel(grid, wcs, *steps.T))
    return np.stack([right - left, up - down], axis=1)


def _box(places, inside, plane, reach):
    """The part of the sharp image that the output sees, and what is within ``reach`` of it."""
    slices = []
    for place, n in zip(places[::-1], plane.shape):
        ends = place[inside].min(), place[inside].max()
        slices.append(slice(max(0, int(ends[0]) - reach), min(n, int(ends[1]) + reach + 2)))
    return tuple(slices)


def _on_lags(covariance, matrix):
    """The autocovariance of an image at lags of output pixels."""
    y, x = np.mgrid[-LAGS: LAGS + 1, -LAGS: LAGS + 1]
    x, y = np.tensordot(matrix, np.stack([x, y]), 1)
    middle = [n // 2 for n in covariance.shape]
    # Within the frame, or where the image is smaller than that: zero.
    return ndimage.map_coordinates(covariance, [y + middle[0], x + middle[1]], order=3)


def _gaussian(frequencies, matrix):
    """Spectrum of the target's Gaussian on the pixels of the sharp image."""
    fy, fx = frequencies
    sigma = TARGET_FWHM / FWHM_PER_SIGMA
    along = [matrix[0, i] * fx + matrix[1, i] * fy for i in range(2)]
    return np.exp(-2 * (np.pi * sigma) ** 2 * (along[0] ** 2 + along[1] ** 2))
