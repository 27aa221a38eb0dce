"""Shift, gain and pedestal between a sharp image and another of the same sky."""

from dataclasses import dataclass

import numpy as np
from scipy import fft, signal

from lenssr.image import fill_masked, resampled_psf, target_psf
from lenssr.simulate._matching import PSFMatcher, spectrum_of
from lenssr.uncertainty import autocovariance

__all__ = ["Registration", "register"]

SEEN = 0.95        # share of a pixel's light that must come from valid pixels to compare it
LEAST_PIXELS = 25  # to compare
STEPS, CONVERGED = 30, 1e-3  # at most so many, until one is as small as this, output pixels
SIGNIFICANT = 5.0  # standard deviations of a gain that is one
LAGS = 6           # pixels within which residuals may be correlated


@dataclass
class Registration:
    """What takes the sharp image to the other: ``gain * sharp + pedestal``, moved by ``shift``."""

    shift: np.ndarray
    shift_error: np.ndarray
    gain: float
    gain_error: float
    pedestal: float
    pedestal_error: float
    difference: np.ndarray
    noise: np.ndarray


class _Seen:
    """A sharp image as the other telescope would see it."""

    def __init__(self, image, variance, missing, correlation, psf, scale):
        self.scale = scale
        reach = scale * (max(psf.shape) // 2 + 1)
        self.matcher = PSFMatcher(fill_masked(image, missing), target_psf(), reach)
        fy, fx = self.matcher.frequencies
        # From the centre of an output pixel to that of an input pixel.
        offset = np.exp(1j * np.pi * (scale - 1) * (fy + fx))
        wanted = spectrum_of(resampled_psf(psf, scale), self.matcher.sides) * offset
        self.kernel = self.matcher.kernel(wanted, "`scale` must be larger for this `lr_psf`")
        self.share = self.matcher.share(wanted, ~missing, scale)
        self.image = self.matcher.apply(self.kernel, scale)
        covariance = fft.ifftshift(self.matcher.autocovariance(self.kernel, correlation))[0, 0]
        more = covariance / self.matcher.white_gain(self.kernel) ** 2
        sigma = np.sqrt(np.where(missing, np.median(variance[~missing]), variance))
        self.variance = np.maximum(
            more * self.matcher.variance(self.kernel, sigma)[::scale, ::scale], 0.0)

    def slopes(self):
        """Derivatives along ``x`` and ``y``, per output pixel."""
        fy, fx = self.matcher.frequencies
        return [self.matcher.apply(2j * np.pi * f * self.kernel, self.scale) for f in (fx, fy)]


class _Fit:
    """Gain and pedestal at one shift, and what is left."""

    def __init__(self, projection, plane, scale, area, shift):
        image, variance, missing = projection.at(shift)
        if missing.all():
            raise ValueError("`hr` must overlap `lr` on the sky, it has no valid pixel there")
        seen = _Seen(area * image, area**2 * variance, missing, projection.correlation,
                     plane.psf, scale)
        self.use = (seen.share >= SEEN) & ~plane.mask
        if self.use.sum() < LEAST_PIXELS:
            raise ValueError("`hr` must overlap `lr` by more than the PSF of `lr`, only "
                             f"{self.use.sum()} pixels of `lr` can be compared")
        self.plane, self.seen, self.gain = plane, seen, 0.0
        for _ in range(3):  # the noise of the sharp image goes with the gain
            self.noise = np.sqrt(plane.sigma**2 + self.gain**2 * seen.variance)
            self.gain, self.pedestal = self.solve([seen.image, np.ones(plane.shape)])[1]
        self.difference = plane.data - self.gain * seen.image - self.pedestal
        self.misfit = np.mean((self.difference / self.noise)[self.use] ** 2)

    def solve(self, columns):
        """Columns in units of the noise, zero where not used, and their coefficients."""
        weight = self.use / self.noise
        columns = np.stack([weight * column for column in columns])
        flat = columns.reshape(len(columns), -1)
        size = np.linalg.norm(flat, axis=1)
        answer = np.linalg.lstsq((flat / size[:, None]).T, (weight * self.plane.data).ravel())[0]
        return columns, answer / size

    def columns(self, free):
        """Derivatives by gain, pedestal and, if it is ``free``, shift."""
        columns = [self.seen.image, np.ones(self.plane.shape)]
        return columns + [-self.gain * slope for slope in self.seen.slopes()] * free

    def guess(self):
        """Pixels ``(x, y)`` by which the image is best moved, by cross-correlation."""
        from skimage.registration import phase_cross_correlation

        one, two = (np.where(self.use, each - np.median(each[self.use]), 0.0) / self.noise
                    for each in (self.plane.data, self.seen.image))
        # Plain: whitened, it is led by the noise of the finest scales.
        return phase_cross_correlation(one, two, normalization=None)[0][::-1]


def register(projection, plane, scale, area=1.0, free=True):
    """Fit a sharp image, as the other telescope would see it, to what that has seen."""
    def fit(shift):
        return _Fit(projection, plane, scale, area, shift)

    shift = np.zeros(2)
    best = fit(shift)
    if free:
        shift, best = _started(fit, best, scale)
    for _ in range(STEPS * free):
        step = best.solve(best.columns(free))[1][2:]
        length = np.hypot(*step)
        if length < CONVERGED:
            break
        shift = shift + step * min(1.0, scale / length)
        best = fit(shift)
    else:
        if free:
            raise ValueError("`hr` must show sources that `lr` shows, too: no shift was found "
                             f"that fits best, within {STEPS} steps")
    errors = _errors(best.solve(best.columns(free))[0], np.where(
        best.use, best.difference / best.noise, 0.0), best.use)
    if not best.gain > SIGNIFICANT * errors[0]:
        raise ValueError("`hr` must show sources that `lr` shows, too: the gain between them is "
                         f"{best.gain:.3g} +- {errors[0]:.2g}")
    return Registration(shift, errors[2:] if free else np.zeros(2), float(best.gain),
                        float(errors[0]), float(best.pedestal), float(errors[1]),
                        np.where(best.use, best.difference, np.nan), best.noise)


def _started(fit, best, scale):
    """The better of no shift and a guess."""
    guess = best.guess() * scale
    try:
        trial = fit(guess)
    except ValueError:  # a wild guess that leads out of the image
        return np.zeros(2), best
    # From there the sign of the gain is known: two images of one sky are not opposites.
    return (guess, trial) if trial.gain > 0 and trial.misfit < best.misfit else (np.zeros(2), best)


def _errors(columns, residual, use):
    """Errors of the coefficients, with the correlation of the residuals."""
    flat = columns.reshape(len(columns), -1)
    inverse = np.linalg.pinv(flat @ flat.T)
    # Not about their mean: a misfit of the model is an error, too.
    kernel = autocovariance(residual, use, LAGS)[0]
    spread = np.stack([signal.fftconvolve(column, kernel, mode="same") for column in columns])
    full = inverse @ (spread.reshape(len(columns), -1) @ flat.T) @ inverse
    # Measured on few pixels, the correlation may claim less than white noise has.
    return np.sqrt(np.maximum(np.diag(full), np.diag(inverse)))
