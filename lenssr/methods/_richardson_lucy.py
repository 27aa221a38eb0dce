"""Richardson-Lucy deconvolution to a finer grid at the target resolution."""

import numpy as np
from tqdm import tqdm

from lenssr._forward_model import PSFConvolution, convolve_tiled
from lenssr._validation import check_positive_int
from lenssr.image import expand_mask, target_psf
from lenssr.methods._base import Restoration, require_psf
from lenssr.uncertainty import monte_carlo_error, sky_level

# Optimised on simulated galaxies with arcs and point sources, PSF FWHM 2.5-5 input pixels,
# S/N 7-300: the PSNR is 0.4 dB below the best iteration of each image.
PEDESTAL = 10.0  # sky noise; a pedestal of 3 costs 0.2 dB, of 1 costs 0.4 dB
STALL_CHI2 = 5.0  # decrease of chi-squared for each resolution element and e-fold of iterations
STALL_WINDOW = 0.7  # fraction of the iterations at which the decrease is measured from
MIN_STOP_STEP = 12  # iterations; extrapolated steps overshoot at first
DETECTION_SIGMA = 5.0  # standard deviations of a detected point source
MIN_FIRST_GUESS = 0.01  # sky noise


class RichardsonLucy:
    r"""
    Richardson-Lucy deconvolution with the PSF of the image.

    The unknown is a grid of point sources on the output pixels, of flux :math:`x \ge 0`:

    .. math:: x \leftarrow x\, \frac{A^T[w\,(y + b) / (A x + b)]}{A^T w},

    with the `PSFConvolution` :math:`A`, the weight :math:`w`, zero at masked pixels, and the
    pedestal :math:`b`. The result is :math:`x` convolved with the target PSF.

    *Pedestal.* The iteration assumes Poisson noise. The pedestal, ten times the noise of the sky,
    gives sky-subtracted data a nearly constant variance (Snyder et al. 1993,
    doi:10.1364/JOSAA.10.001014). Negative sources are restored as zero.

    *Acceleration.* Steps are extrapolated (Biggs & Andrews 1997, doi:10.1364/AO.36.001766) in the
    logarithm of the flux, by Nesterov's sequence ``(k - 1) / (k + 2)``. The sequence depends on no
    data, so that the fit is the same smooth map for all noise realisations.

    *Errors.* The measurement error from eight realisations scatters by 30 % on sources. On blank
    sky, where positivity suppresses the noise, it is an order of magnitude.

    References: Richardson 1972, doi:10.1364/JOSA.62.000055; Lucy 1974, 1974AJ.....79..745L.
    """

    def __init__(self, n_iter=None, max_iter=200, n_probes=8):
        self.n_iter = None if n_iter is None else check_positive_int("n_iter", n_iter)
        self.max_iter = check_positive_int("max_iter", max_iter)
        self.n_probes = check_positive_int("n_probes", n_probes)

    def restore(self, image, run):
        """Restore one plane."""
        fit = _Iteration(image, run.scale, run.tile)
        bar = tqdm(desc="restoring", unit="step", disable=not run.progress, delay=2)
        with bar:
            if self.n_iter is None:
                stopping = _Stopping(image, fit.level)
                mean, steps = fit(image.data, self.max_iter, bar, stopping)
            else:
                mean, steps = fit(image.data, self.n_iter, bar)
            bar.total = (1 + self.n_probes) * steps

            def estimator(probe):
                return fit(probe.data, steps, bar)[0]

            std, correlation = monte_carlo_error(
                estimator, image, self.n_probes, run.seed, mean=mean)
        return Restoration(
            mean=mean,
            measurement_std=std,
            mask=expand_mask(image.mask, run.scale),
            psf=target_psf(),
            metadata={"n_iterations": steps, "n_probes": self.n_probes},
            correlation=correlation,
            estimator=estimator,
        )


class _Stopping:
    """
    Stopping criterion: the chi-squared of the detected sources has stalled.

    It has if it falls by less than `STALL_CHI2` for each resolution element and e-fold of the
    number of iterations ``k``, measured between ``0.7 k`` and ``k``. The rate depends less on the
    accuracy of the noise map than chi-squared does.
    """

    def __init__(self, image, level):
        sharpness = np.sum(image.psf**2)
        weight = np.where(image.mask, 0.0, 1 / image.sigma)
        significance = convolve_tiled((image.data - level) * weight, image.psf)
        where = (np.abs(significance) > DETECTION_SIGMA * np.sqrt(sharpness)) & ~image.mask
        self._weight = weight * (where if where.any() else 1)
        self._n_pixels = np.count_nonzero(self._weight)
        self._limit = STALL_CHI2 * sharpness
        self._history = []

    def __call__(self, residual):
        """Return whether to stop at a model with this residual."""
        self._history.append(np.sum((residual * self._weight) ** 2) / self._n_pixels)
        k = len(self._history)
        before = int(STALL_WINDOW * k)
        if k < MIN_STOP_STEP:
            return False
        fall = self._history[before - 1] - self._history[-1]
        return fall < self._limit * np.log(k / before)


class _Iteration:
    """Richardson-Lucy iteration for one geometry, mask, noise map and PSF."""

    def __init__(self, image, scale, tile):
        require_psf(image, "Richardson-Lucy deconvolution")
        self.level = sky_level(image.data, image.mask, image.noise)
        self._pedestal = PEDESTAL * image.noise
        self._min_flux = MIN_FIRST_GUESS * image.noise / scale**2
        self._scale, self._tile = scale, tile
        psf = np.maximum(image.psf, 0)
        # Sources outside the frame contribute light, and the target PSF needs neighbours.
        target_radius = -(-(len(target_psf()) // 2) // scale)
        self._margin = tuple(max(n // 2, target_radius) for n in psf.shape)
        self._valid = self._padded(~image.mask)
        self._blur = PSFConvolution(psf / psf.sum(), scale, self._valid.shape, tile)
        coverage = self._blur.adjoint(self._valid)
        # Pixels without valid data keep their first value.
        self._uncovered = coverage < 1e-3
        self._gain = 1 / np.maximum(coverage, 1e-3)

    def __call__(self, data, n_iter, bar, stopping=None):
        """Return the estimate and the number of iterations."""
        data = self._padded(data - self.level)
        signal = np.maximum(data + self._pedestal, 0) * self._valid
        # Steps are proportional to the flux, so a faint start delays the growth of noise.
        start = self._blur.adjoint(data * self._valid) * self._gain / self._scale**2
        x = previous = np.maximum(start, self._min_flux)
        for k in range(n_iter):
            # The bounds limit the extrapolation of the first steps.
            extrapolated = x * np.clip(x / previous, 0.2, 5) ** (max(k - 1, 0) / (k + 2))
            model = self._blur.forward(extrapolated)
            if stopping is not None and stopping(self._cropped(data - model, 1)):
                n_iter = k
                break
            ratio = self._blur.adjoint(signal / (model + self._pedestal)) * self._gain
            ratio[self._uncovered] = 1
            # The minimum keeps the logarithm finite and above the rounding error of the FFT.
            previous, x = x, np.maximum(extrapolated * ratio, 1e-9 * self._min_flux)
            bar.update()
        tile = None if self._tile is None else self._scale * self._tile
        mean = self._cropped(convolve_tiled(x, target_psf(), tile), self._scale)
        return self.level + self._scale**2 * mean, n_iter

    def _padded(self, array):
        """Return an array of the input grid as floats, padded by the margin."""
        return np.pad(np.asarray(array, float), [(m, m) for m in self._margin])

    def _cropped(self, array, scale):
        """Return an array without the margin."""
        (my, mx), (ny, nx) = self._margin, array.shape
        return array[scale * my : ny - scale * my, scale * mx : nx - scale * mx]
