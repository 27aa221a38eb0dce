"""Projection of a high-resolution image on the output grid, and registration of two images."""

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
MAX_PIXEL_RATIO = 1.05  # side of a high-resolution pixel over an output pixel, with rounding
NOISE_LAGS = 8  # output pixels beyond which the noise is independent
MIN_VALID_LIGHT = 0.9  # fraction of the light of an output pixel from valid pixels
MIN_COMPARED_LIGHT = 0.95  # fraction of the light of a pixel from valid pixels
MIN_COMPARED_PIXELS = 25  # pixels needed for a comparison
MAX_REGISTRATION_STEPS = 30
REGISTRATION_TOLERANCE = 1e-3  # output pixels of the last step
MIN_GAIN_SIGNIFICANCE = 5.0  # standard deviations of the gain
RESIDUAL_LAGS = 6  # pixels within which residuals may be correlated


class ShiftedWCS(BaseWCSWrapper, HighLevelWCSMixin):
    """WCS of an image whose content was shifted by ``(x, y)`` pixels."""

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
    """
    High-resolution image at the target PSF on the output grid.

    ``area`` is the number of high-resolution pixels per output pixel. ``noise_gain`` is the
    standard deviation of unit white noise, ``correlation`` the noise correlation by lag ``(y, x)``.
    """

    def __init__(self, plane, wcs, grid, shape, *, margin=0, noise_given=True):
        self.grid, self.shape = grid, shape
        positions, inside = _pixel_positions(wcs, plane.shape, grid, shape)
        matrix = _jacobian(wcs, grid, np.argwhere(inside).mean(axis=0)[::-1])
        self.area = abs(np.linalg.det(matrix))
        steps = np.linalg.svd(matrix, compute_uv=False)
        if MAX_PIXEL_RATIO * steps.min() < 1:
            raise ValueError("`hr` must have pixels no larger than the output pixels, got "
                             f"{1 / steps.min():.2f} times as large")
        # Survey images are large: keep the output and its surroundings.
        reach = int(np.ceil(TARGET_RADIUS * TARGET_FWHM * steps.max()))
        cut = _bounding_box(positions, inside, plane, reach + int(margin * steps.max()))
        data, sigma, mask = (array[cut] for array in (plane.data, plane.sigma, plane.mask))
        self.wcs = HighLevelWCSWrapper(SlicedLowLevelWCS(wcs.low_level_wcs, cut))
        self.factor = int(np.ceil(SPLINE_SAMPLES / (TARGET_FWHM * steps.min())))
        matcher = PSFMatcher(data, plane.psf, reach)
        target = _gaussian(matcher.frequencies, matrix)
        kernel = matcher.kernel(target, "`hr` must be sharper, or `scale` smaller")
        self.noise_gain = matcher.white_noise_gain(kernel)
        correlation, excess = sky_correlation(data, mask)
        self.correlation = _resample_autocovariance(
            matcher.autocovariance(kernel, correlation), matrix)
        # Correlated noise is amplified more than the white noise of `PSFMatcher.variance`.
        amplification = self.correlation[NOISE_LAGS, NOISE_LAGS] / self.noise_gain**2
        self.correlation /= self.correlation[NOISE_LAGS, NOISE_LAGS]
        self._image = matcher.oversample(kernel, self.factor)
        amplification *= 1.0 if noise_given else excess**2
        self._maps = np.stack([amplification * matcher.variance(kernel, sigma),
                               matcher.valid_light(target, ~mask)])

    def at(self, shift):
        """Return image, variance and mask on the output grid, at a shift in output pixels."""
        target = ShiftedWCS(self.grid.low_level_wcs, shift)
        fine_wcs = rescale_wcs(self.wcs, self.factor)
        image = self._interpolate(target, self._image, fine_wcs, "bicubic")
        variance, light_fraction = self._interpolate(target, self._maps, self.wcs, "bilinear")
        missing = ~(np.isfinite(image) & (light_fraction >= MIN_VALID_LIGHT))
        return image, variance, missing

    def _interpolate(self, target, array, wcs, order):
        """Interpolate an array with a WCS to the output grid."""
        from reproject import reproject_interp

        shape = array.shape[:-2] + tuple(self.shape)
        with warnings.catch_warnings():
            # Distortions may have no inverse far outside the image.
            warnings.filterwarnings("ignore", ".*converge")
            return reproject_interp((array, wcs), target, shape, order=order,
                                    return_footprint=False)


def _pixel_positions(wcs, shape, grid, grid_shape):
    """Return the high-resolution pixels ``(x, y)`` of all output pixels, and a mask inside."""
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
        raise ValueError("`hr` must overlap `lr` on the sky, their WCSs share no pixel"
                         + _describe_offset(wcs, shape, grid, grid_shape))
    return positions, inside


def _describe_offset(wcs, shape, grid, grid_shape):
    """Describe the distance between the image centres."""
    centre, grid_centre = (frame.pixel_to_world(*((n - 1) / 2 for n in sides[::-1]))
                           for frame, sides in ((wcs, shape), (grid, grid_shape)))
    if not hasattr(centre, "separation"):
        return ""
    distance = centre.separation(grid_centre).to_string("arcmin", precision=2)
    return f" (the centres are {distance} apart)"


def _jacobian(wcs, grid, position):
    """Return the derivatives, ``(2, 2)``, of high-resolution pixels by output pixels."""
    steps = position + np.array([[0.5, 0], [-0.5, 0], [0, 0.5], [0, -0.5]])
    right, left, upper, lower = np.transpose(pixel_to_pixel(grid, wcs, *steps.T))
    return np.stack([right - left, upper - lower], axis=1)


def _bounding_box(positions, inside, plane, reach):
    """Return the slices of the high-resolution image within ``reach`` pixels of the output."""
    slices = []
    for position, n in zip(positions[::-1], plane.shape):
        ends = position[inside].min(), position[inside].max()
        slices.append(slice(max(0, int(ends[0]) - reach), min(n, int(ends[1]) + reach + 2)))
    return tuple(slices)


def _resample_autocovariance(covariance, matrix):
    """Resample an autocovariance to lags of output pixels."""
    y, x = np.mgrid[-NOISE_LAGS: NOISE_LAGS + 1, -NOISE_LAGS: NOISE_LAGS + 1]
    x, y = np.tensordot(matrix, np.stack([x, y]), 1)
    cy, cx = (n // 2 for n in covariance.shape)
    return ndimage.map_coordinates(covariance, [y + cy, x + cx], order=3)


def _gaussian(frequencies, matrix):
    """Return the transfer function of the target PSF on high-resolution pixels."""
    fy, fx = frequencies
    sigma = TARGET_FWHM / FWHM_PER_SIGMA
    kx, ky = (matrix[0, i] * fx + matrix[1, i] * fy for i in range(2))  # cycles per output pixel
    return np.exp(-2 * (np.pi * sigma) ** 2 * (kx**2 + ky**2))


@dataclass
class Registration:
    """
    Fit of ``gain * hr + pedestal``, shifted by ``shift`` output pixels ``(x, y)``, to ``lr``.

    ``difference`` (NaN for pixels that were not compared) and ``noise`` have the shape of ``lr``.
    """

    shift: np.ndarray
    shift_error: np.ndarray
    gain: float
    gain_error: float
    pedestal: float
    pedestal_error: float
    difference: np.ndarray
    noise: np.ndarray


class _DegradedImage:
    """Projected image, with variance and fraction of valid light, at the PSF and pixels of `lr`."""

    def __init__(self, image, variance, missing, correlation, psf, scale):
        self.scale = scale
        reach = scale * (max(psf.shape) // 2 + 1)
        self.matcher = PSFMatcher(fill_masked(image, missing), target_psf(), reach)
        fy, fx = self.matcher.frequencies
        # From the centre of an output pixel to the centre of an input pixel.
        offset = np.exp(1j * np.pi * (scale - 1) * (fy + fx))
        target = psf_spectrum(resampled_psf(psf, scale), self.matcher.sides) * offset
        self.kernel = self.matcher.kernel(target, "`scale` must be larger for this `lr_psf`")
        self.valid_light = self.matcher.valid_light(target, ~missing, scale)
        self.image = self.matcher.apply(self.kernel, scale)
        covariance = fft.ifftshift(self.matcher.autocovariance(self.kernel, correlation))[0, 0]
        amplification = covariance / self.matcher.white_noise_gain(self.kernel) ** 2
        sigma = np.sqrt(np.where(missing, np.median(variance[~missing]), variance))
        self.variance = np.maximum(
            amplification * self.matcher.variance(self.kernel, sigma)[::scale, ::scale], 0.0)

    def slopes(self):
        """Return the derivatives of the image along ``x`` and ``y`` per output pixel."""
        fy, fx = self.matcher.frequencies
        return [self.matcher.apply(2j * np.pi * f * self.kernel, self.scale) for f in (fx, fy)]


class _GainFit:
    """Least-squares fit of gain and pedestal at a fixed shift."""

    def __init__(self, projection, plane, scale, area, shift):
        image, variance, missing = projection.at(shift)
        if missing.all():
            raise ValueError("`hr` must have valid pixels in the area of `lr`, got none")
        degraded = _DegradedImage(area * image, area**2 * variance, missing,
                                  projection.correlation, plane.psf, scale)
        self.use = (degraded.valid_light >= MIN_COMPARED_LIGHT) & ~plane.mask
        if self.use.sum() < MIN_COMPARED_PIXELS:
            raise ValueError("`hr` must overlap `lr` by more than the PSF of `lr`, only "
                             f"{self.use.sum()} pixels of `lr` can be compared")
        self.plane, self.degraded, self.gain = plane, degraded, 0.0
        for _ in range(3):  # the gain scales the noise of the degraded image
            self.noise = np.sqrt(plane.sigma**2 + self.gain**2 * degraded.variance)
            self.gain, self.pedestal = self.solve([degraded.image, np.ones(plane.shape)])[1]
        self.difference = plane.data - self.gain * degraded.image - self.pedestal
        self.chi2 = np.mean((self.difference / self.noise)[self.use] ** 2)

    def solve(self, columns):
        """Return the columns over the noise, and their least-squares coefficients."""
        weight = self.use / self.noise
        columns = np.stack([weight * column for column in columns])
        flat = columns.reshape(len(columns), -1)
        norm = np.linalg.norm(flat, axis=1)
        solution = np.linalg.lstsq((flat / norm[:, None]).T, (weight * self.plane.data).ravel())[0]
        return columns, solution / norm

    def derivatives(self, fit_shift):
        """Return derivatives by gain, pedestal and, if ``fit_shift``, both shifts."""
        columns = [self.degraded.image, np.ones(self.plane.shape)]
        return columns + [-self.gain * slope for slope in self.degraded.slopes()] * fit_shift

    def guess_shift(self):
        """Estimate the shift ``(x, y)`` in pixels of `lr` by cross-correlation."""
        from skimage.registration import phase_cross_correlation

        images = (np.where(self.use, array - np.median(array[self.use]), 0.0) / self.noise
                  for array in (self.plane.data, self.degraded.image))
        # Spectra are not whitened: noise would dominate on the finest scales.
        return phase_cross_correlation(*images, normalization=None)[0][::-1]


def register(projection, plane, scale, area=1.0, fit_shift=True):
    """
    Fit the gain, the pedestal and, if ``fit_shift``, the shift of a `ProjectedImage` to ``plane``.

    The projected image is multiplied by ``area``. Shifts are found by Gauss-Newton steps.
    """
    def fit(shift):
        return _GainFit(projection, plane, scale, area, shift)

    shift = np.zeros(2)
    best = fit(shift)
    if fit_shift:
        shift, best = _best_start(fit, best, scale)
        shift, best = _refine_shift(fit, shift, best, scale)
    residual = np.where(best.use, best.difference / best.noise, 0.0)
    errors = _errors(best.solve(best.derivatives(fit_shift))[0], residual, best.use)
    if not best.gain > MIN_GAIN_SIGNIFICANCE * errors[0]:
        raise ValueError("`hr` must share sources with `lr`: the gain between the images is "
                         f"{best.gain:.3g} +- {errors[0]:.2g}")
    return Registration(shift, errors[2:] if fit_shift else np.zeros(2), float(best.gain),
                        float(errors[0]), float(best.pedestal), float(errors[1]),
                        np.where(best.use, best.difference, np.nan), best.noise)


def _best_start(fit, unshifted, scale):
    """Return shift and fit: zero shift, or the guessed shift if it fits better."""
    guess = unshifted.guess_shift() * scale
    try:
        trial = fit(guess)
    except ValueError:  # the guess leads out of the image
        return np.zeros(2), unshifted
    # Two images of one sky have a positive gain.
    if trial.gain > 0 and trial.chi2 < unshifted.chi2:
        return guess, trial
    return np.zeros(2), unshifted


def _refine_shift(fit, shift, best, scale):
    """Return shift and fit after Gauss-Newton steps of at most ``scale`` output pixels."""
    for _ in range(MAX_REGISTRATION_STEPS):
        step = best.solve(best.derivatives(True))[1][2:]
        length = np.hypot(*step)
        if length < REGISTRATION_TOLERANCE:
            return shift, best
        shift = shift + step * min(1.0, scale / length)
        best = fit(shift)
    raise ValueError("`hr` must share sources with `lr`: the registration did not converge within "
                     f"{MAX_REGISTRATION_STEPS} steps")


def _errors(columns, residual, use):
    """Return the errors of the coefficients for correlated residuals."""
    flat = columns.reshape(len(columns), -1)
    inverse = np.linalg.pinv(flat @ flat.T)
    # The mean is not subtracted from the residuals: it is a model error, too.
    kernel = autocovariance(residual, use, RESIDUAL_LAGS)[0]
    convolved = np.stack([signal.fftconvolve(column, kernel, mode="same") for column in columns])
    covariance = inverse @ (convolved.reshape(len(columns), -1) @ flat.T) @ inverse
    # With few pixels, the measured correlation may give errors below the errors of white noise.
    return np.sqrt(np.maximum(np.diag(covariance), np.diag(inverse)))
