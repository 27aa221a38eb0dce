"""Projection of a sharp image on the output grid, and registration of two images."""

import warnings
from dataclasses import dataclass

import numpy as np
from astropy.wcs.utils import pixel_to_pixel
from astropy.wcs.wcsapi import HighLevelWCSMixin, HighLevelWCSWrapper, SlicedLowLevelWCS
from astropy.wcs.wcsapi.wrappers import BaseWCSWrapper
from scipy import fft, ndimage, signal

from lenssr.image import (
    FWHM_PER_SIGMA,
    TARGET_FWHM,
    fill_masked,
    resampled_psf,
    rescale_wcs,
    target_psf,
)
from lenssr.simulate._simulate_observation import PSFMatcher, psf_spectrum
from lenssr.uncertainty import autocovariance, sky_correlation

TARGET_RADIUS = 2.5  # FWHM at which the target PSF ends
SPLINE_SAMPLES = 5.0  # pixels per FWHM for which cubic splines are exact to 1e-4 of the peak
MAX_PIXEL_RATIO = 1.05  # sharp pixels over output pixels: one, with rounding
NOISE_LAGS = 8  # output pixels beyond which the noise is independent
MIN_VALID_LIGHT = 0.9  # fraction of the light of an output pixel from valid pixels


class ShiftedWCS(BaseWCSWrapper, HighLevelWCSMixin):
    """WCS of an image whose content was shifted."""

    def __init__(self, wcs, shift):
        super().__init__(wcs)
        self._shift = np.asarray(shift, float)

    def pixel_to_world_values(self, *pixel_arrays):
        moved = (np.asanyarray(p) - s for p, s in zip(pixel_arrays, self._shift))
        return self._wcs.pixel_to_world_values(*moved)

    def world_to_pixel_values(self, *world_arrays):
        pixels = self._wcs.world_to_pixel_values(*world_arrays)
        return tuple(p + s for p, s in zip(pixels, self._shift))


class ProjectedImage:
    """Sharp image at the target PSF on the output grid."""

    def __init__(self, plane, wcs, grid, shape, *, margin=0, noise_given=True):
        self.grid, self.shape = grid, shape
        positions, inside = _pixel_positions(wcs, plane.shape, grid, shape)
        matrix = _jacobian(wcs, grid, np.argwhere(inside).mean(axis=0)[::-1])
        self.area = abs(np.linalg.det(matrix))
        steps = np.linalg.svd(matrix, compute_uv=False)
        if MAX_PIXEL_RATIO * steps.min() < 1:
            raise ValueError("`hr` must have pixels no larger than the output pixels, got "
                             f"{1 / steps.min():.2f} times as large")
        # Cut the surroundings of the output, since survey images are large.
        reach = int(np.ceil(TARGET_RADIUS * TARGET_FWHM * steps.max()))
        cut = _bounding_box(positions, inside, plane, reach + int(margin * steps.max()))
        data, sigma, mask = (array[cut] for array in (plane.data, plane.sigma, plane.mask))
        self.wcs = HighLevelWCSWrapper(SlicedLowLevelWCS(wcs.low_level_wcs, cut))
        self.factor = int(np.ceil(SPLINE_SAMPLES / (TARGET_FWHM * steps.min())))
        matcher = PSFMatcher(data, plane.psf, reach)
        target = _gaussian(matcher.frequencies, matrix)
        kernel = matcher.kernel(target, "`hr` must be sharper, or `scale` smaller")
        self.gain = matcher.white_gain(kernel)
        correlation, excess = sky_correlation(data, mask)
        self.correlation = _resample_autocovariance(
            matcher.autocovariance(kernel, correlation), matrix)
        more = self.correlation[NOISE_LAGS, NOISE_LAGS] / self.gain**2
        self.correlation /= self.correlation[NOISE_LAGS, NOISE_LAGS]
        self._image = matcher.finer(kernel, self.factor)
        more *= 1.0 if noise_given else excess**2
        self._maps = np.stack([more * matcher.variance(kernel, sigma),
                               matcher.share(target, ~mask)])

    def at(self, shift):
        """Return the image at a shift."""
        target = ShiftedWCS(self.grid.low_level_wcs, shift)
        image = self._on(target, self._image, rescale_wcs(self.wcs, self.factor), "bicubic")
        variance, light_fraction = self._on(target, self._maps, self.wcs, "bilinear")
        missing = ~(np.isfinite(image) & (light_fraction >= MIN_VALID_LIGHT))
        return image, variance, missing

    def _on(self, target, array, wcs, order):
        from reproject import reproject_interp

        shape = array.shape[:-2] + tuple(self.shape)
        with warnings.catch_warnings():
            # Distortions may have no inverse far outside the image.
            warnings.filterwarnings("ignore", ".*converge")
            return reproject_interp((array, wcs), target, shape, order=order,
                                    return_footprint=False)


def _pixel_positions(wcs, shape, grid, grid_shape):
    """Return the sharp pixels ``(x, y)`` of the output pixels, and which lie inside."""
    y, x = np.indices(grid_shape, dtype=float)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*converge")
            positions = np.array(pixel_to_pixel(grid, wcs, x, y))
    except ValueError as err:
        raise ValueError("`hr` must have a WCS with the world coordinates of `lr`: "
                         f"{err}") from err
    sides = np.array(shape[::-1])[:, None, None]
    with np.errstate(invalid="ignore"):
        inside = ((positions > -0.5) & (positions < sides - 0.5)).all(axis=0)
    if not inside.any():
        raise ValueError("`hr` must overlap `lr` on the sky, their WCSs have no pixel in common"
                         + _describe_offset(wcs, shape, grid, grid_shape))
    return positions, inside


def _describe_offset(wcs, shape, grid, grid_shape):
    """Describe the distance between the image centres."""
    first, two = (frame.pixel_to_world(*((n - 1) / 2 for n in size[::-1]))
                  for frame, size in ((wcs, shape), (grid, grid_shape)))
    if not hasattr(first, "separation"):
        return ""
    return f" (the centres are {first.separation(two).to_string('arcmin', precision=2)} apart)"


def _jacobian(wcs, grid, position):
    """Return sharp pixels per output pixel, ``(2, 2)``, at an output pixel ``(x, y)``."""
    steps = position + np.array([[0.5, 0], [-0.5, 0], [0, 0.5], [0, -0.5]])
    right, left_pixel, up, down = np.transpose(pixel_to_pixel(grid, wcs, *steps.T))
    return np.stack([right - left_pixel, up - down], axis=1)


def _bounding_box(positions, inside, plane, reach):
    """Return the part of the sharp image within ``reach`` of the output."""
    slices = []
    for position, n in zip(positions[::-1], plane.shape):
        ends = position[inside].min(), position[inside].max()
        slices.append(slice(max(0, int(ends[0]) - reach), min(n, int(ends[1]) + reach + 2)))
    return tuple(slices)


def _resample_autocovariance(covariance, matrix):
    """Resample an autocovariance to lags of output pixels."""
    y, x = np.mgrid[-NOISE_LAGS: NOISE_LAGS + 1, -NOISE_LAGS: NOISE_LAGS + 1]
    x, y = np.tensordot(matrix, np.stack([x, y]), 1)
    middle = [n // 2 for n in covariance.shape]
    # Outside the frame the image is zero.
    return ndimage.map_coordinates(covariance, [y + middle[0], x + middle[1]], order=3)


def _gaussian(frequencies, matrix):
    """Return the spectrum of the target Gaussian on the sharp pixels."""
    fy, fx = frequencies
    sigma = TARGET_FWHM / FWHM_PER_SIGMA
    along = [matrix[0, i] * fx + matrix[1, i] * fy for i in range(2)]
    return np.exp(-2 * (np.pi * sigma) ** 2 * (along[0] ** 2 + along[1] ** 2))


MIN_COMPARED_LIGHT = 0.95  # fraction of the light of a pixel from valid pixels
MIN_COMPARED_PIXELS = 25  # pixels needed for a comparison
# Iterations, and output pixels of the last shift.
MAX_REGISTRATION_STEPS, REGISTRATION_TOLERANCE = 30, 1e-3
MIN_GAIN_SIGNIFICANCE = 5.0  # standard deviations of the gain
RESIDUAL_LAGS = 6  # pixels within which residuals may be correlated


@dataclass
class Registration:
    """Registration ``gain * sharp + pedestal``, shifted by ``shift``."""

    shift: np.ndarray
    shift_error: np.ndarray
    gain: float
    gain_error: float
    pedestal: float
    pedestal_error: float
    difference: np.ndarray
    noise: np.ndarray


class _ResampledImage:
    """Sharp image at the PSF and on the pixels of the other telescope."""

    def __init__(self, image, variance, missing, correlation, psf, scale):
        self.scale = scale
        reach = scale * (max(psf.shape) // 2 + 1)
        self.matcher = PSFMatcher(fill_masked(image, missing), target_psf(), reach)
        fy, fx = self.matcher.frequencies
        # From the centre of an output pixel to the centre of an input pixel.
        offset = np.exp(1j * np.pi * (scale - 1) * (fy + fx))
        target = psf_spectrum(resampled_psf(psf, scale), self.matcher.sides) * offset
        self.kernel = self.matcher.kernel(target, "`scale` must be larger for this `lr_psf`")
        self.share = self.matcher.share(target, ~missing, scale)
        self.image = self.matcher.apply(self.kernel, scale)
        covariance = fft.ifftshift(self.matcher.autocovariance(self.kernel, correlation))[0, 0]
        more = covariance / self.matcher.white_gain(self.kernel) ** 2
        sigma = np.sqrt(np.where(missing, np.median(variance[~missing]), variance))
        self.variance = np.maximum(
            more * self.matcher.variance(self.kernel, sigma)[::scale, ::scale], 0.0)

    def slopes(self):
        """Return derivatives along ``x`` and ``y`` per output pixel."""
        fy, fx = self.matcher.frequencies
        return [self.matcher.apply(2j * np.pi * f * self.kernel, self.scale) for f in (fx, fy)]


class _GainFit:
    """Fit of gain and pedestal at one shift."""

    def __init__(self, projection, plane, scale, area, shift):
        image, variance, missing = projection.at(shift)
        if missing.all():
            raise ValueError("`hr` must overlap `lr` on the sky, it has no valid pixel there")
        resampled = _ResampledImage(area * image, area**2 * variance, missing,
                                    projection.correlation,
                                    plane.psf, scale)
        self.use = (resampled.share >= MIN_COMPARED_LIGHT) & ~plane.mask
        if self.use.sum() < MIN_COMPARED_PIXELS:
            raise ValueError("`hr` must overlap `lr` by more than the PSF of `lr`, only "
                             f"{self.use.sum()} pixels of `lr` can be compared")
        self.plane, self.seen, self.gain = plane, resampled, 0.0
        for _ in range(3):  # the gain scales the noise of the sharp image
            self.noise = np.sqrt(plane.sigma**2 + self.gain**2 * resampled.variance)
            self.gain, self.pedestal = self.solve([resampled.image, np.ones(plane.shape)])[1]
        self.difference = plane.data - self.gain * resampled.image - self.pedestal
        self.misfit = np.mean((self.difference / self.noise)[self.use] ** 2)

    def solve(self, columns):
        """Return noise-weighted columns and their coefficients."""
        weight = self.use / self.noise
        columns = np.stack([weight * column for column in columns])
        flat = columns.reshape(len(columns), -1)
        size = np.linalg.norm(flat, axis=1)
        answer = np.linalg.lstsq((flat / size[:, None]).T, (weight * self.plane.data).ravel())[0]
        return columns, answer / size

    def columns(self, free):
        """Return derivatives by gain, pedestal and, if ``free``, shift."""
        columns = [self.seen.image, np.ones(self.plane.shape)]
        return columns + [-self.gain * slope for slope in self.seen.slopes()] * free

    def guess(self):
        """Estimate the shift ``(x, y)`` in pixels by cross-correlation."""
        from skimage.registration import phase_cross_correlation

        first, two = (np.where(self.use, array - np.median(array[self.use]), 0.0) / self.noise
                      for array in (self.plane.data, self.seen.image))
        # Do not whiten the spectra: noise would dominate on the finest scales.
        return phase_cross_correlation(first, two, normalization=None)[0][::-1]


def register(projection, plane, scale, area=1.0, free=True):
    """Fit shift, gain and pedestal between a projected sharp image and another image."""
    def fit(shift):
        return _GainFit(projection, plane, scale, area, shift)

    shift = np.zeros(2)
    best = fit(shift)
    if free:
        shift, best = _best_start(fit, best, scale)
    for _ in range(MAX_REGISTRATION_STEPS * free):
        step = best.solve(best.columns(free))[1][2:]
        length = np.hypot(*step)
        if length < REGISTRATION_TOLERANCE:
            break
        shift = shift + step * min(1.0, scale / length)
        best = fit(shift)
    else:
        if free:
            raise ValueError("`hr` must share sources with `lr`: the registration did not "
                             "converge within {MAX_REGISTRATION_STEPS} steps")
    errors = _errors(best.solve(best.columns(free))[0], np.where(
        best.use, best.difference / best.noise, 0.0), best.use)
    if not best.gain > MIN_GAIN_SIGNIFICANCE * errors[0]:
        raise ValueError("`hr` must share sources with `lr`: the gain between the images is "
                         f"{best.gain:.3g} +- {errors[0]:.2g}")
    return Registration(shift, errors[2:] if free else np.zeros(2), float(best.gain),
                        float(errors[0]), float(best.pedestal), float(errors[1]),
                        np.where(best.use, best.difference, np.nan), best.noise)


def _best_start(fit, best, scale):
    """Return the better fit of zero shift and guessed shift."""
    guess = best.guess() * scale
    try:
        trial = fit(guess)
    except ValueError:  # the guess leads out of the image
        return np.zeros(2), best
    # The gain is positive from here on: two images of one sky have equal signs.
    return (guess, trial) if trial.gain > 0 and trial.misfit < best.misfit else (np.zeros(2), best)


def _errors(columns, residual, use):
    """Return the errors of the coefficients for correlated residuals."""
    flat = columns.reshape(len(columns), -1)
    inverse = np.linalg.pinv(flat @ flat.T)
    # Residuals are not centred: a model error counts, too.
    kernel = autocovariance(residual, use, RESIDUAL_LAGS)[0]
    spread = np.stack([signal.fftconvolve(column, kernel, mode="same") for column in columns])
    full = inverse @ (spread.reshape(len(columns), -1) @ flat.T) @ inverse
    # Few pixels may give a correlation below white noise.
    return np.sqrt(np.maximum(np.diag(full), np.diag(inverse)))
