"""Consistency of a result with its data: reduced chi-squared, and correction."""

import warnings
from dataclasses import replace
from functools import cached_property

import numpy as np
from scipy import ndimage, optimize
from scipy.sparse import linalg

from lenssr._forward_model import ForwardModel, PSFConvolution, convolve_tiled
from lenssr.exceptions import LensSRWarning
from lenssr.image import psf_fwhm
from lenssr.uncertainty import monte_carlo_error, sky_level

MAX_CG_STEPS = 1000  # conjugate-gradient steps
VARIANCE_FACTOR = 8.0  # factor between trial variances of the correction
DEFAULT_PROBES = 8  # noise probes of methods that define no number


class RegularisedInverse:
    r"""
    Tikhonov-regularised inverse of the forward model, with the prior variances of the image.

    The minimum over images :math:`d` of
    :math:`|W^{1/2}(r - A d)|^2 + d^\mathsf{T} V^{-1} d` is

    .. math::
        d = V A^\mathsf{T} W^{1/2} u, \qquad
        (W^{1/2} A V A^\mathsf{T} W^{1/2} + 1)\, u = W^{1/2} r,

    where :math:`u = W^{1/2}(r - A d)` is the remaining residual. Conjugate gradients solve for it
    on the grid of the data, to the relative tolerance ``accuracy``.
    """

    def __init__(self, data_residual, variance, accuracy=1e-6):
        self._data, self._variance, self._accuracy = data_residual, variance, accuracy

    def residual_after(self, residual, start=None):
        """Return the residual, in noise units, after the correction."""
        shape = residual.shape

        def matvec(u):
            image = self._to_image(u.reshape(shape))
            return u + (self._data.operator.forward(image) * self._data.weight).ravel()

        system = linalg.LinearOperator((residual.size,) * 2, matvec=matvec, dtype=float)
        guess = None if start is None else start.ravel()
        solution, _ = linalg.cg(system, residual.ravel(), guess, rtol=self._accuracy,
                                maxiter=MAX_CG_STEPS)
        return solution.reshape(shape)

    def __call__(self, residual):
        """Return the correction image of a residual in noise units."""
        return self._to_image(self.residual_after(residual))

    def _to_image(self, u):
        return self._variance * self._data.operator.adjoint(u * self._data.weight)


def enforce_consistency(restoration, data_residual, run):
    r"""
    Move a result to the nearest image that agrees with the data.

    Of all images with a reduced chi-squared of one, the nearest to the result :math:`x` in units of
    its predicted errors, :math:`S = \mathrm{diag}(\sigma^2)`, is

    .. math::
        x' = x + \mu S A^\mathsf{T} W^{1/2}
             (\mu W^{1/2} A S A^\mathsf{T} W^{1/2} + 1)^{-1} W^{1/2} (y - A x),

    where the discrepancy principle (Morozov 1966, Soviet Math. Dokl. 7, 414) determines
    :math:`\mu`. Without predicted errors, or if they are too small, :math:`S = 1`. Components in
    the null space of :math:`A` are unchanged (Schwab, Antholzer & Haltmeier 2019,
    doi:10.1088/1361-6420/aaf14a). The measurement error is propagated through method and correction
    with :math:`\mu` held fixed. The predicted error is kept, because a projection onto a convex set
    increases no distance to an image of the set.
    """
    residual = data_residual.residual(restoration.mean)
    if np.sum(residual**2) <= data_residual.count:
        return restoration
    variance, total_std = None, restoration.predictive_std
    if total_std is not None:
        variance = discrepancy_variance(data_residual, residual,
                                        (total_std / np.max(total_std)) ** 2)
    if variance is None:
        variance = discrepancy_variance(data_residual, residual)
    if variance is None:
        warnings.warn("`data_consistent` does not change the result: no correction reaches a "
                      "reduced chi2 of one; the noise is underestimated, the PSF is wrong, or bad "
                      "pixels are not masked", LensSRWarning, stacklevel=3)
        return restoration
    inverse = RegularisedInverse(data_residual, variance)

    def correct(mean, data=None):
        return mean + inverse(data_residual.residual(mean, data))

    samples = restoration.samples
    if samples is not None:
        samples = np.stack([correct(sample) for sample in samples])
    mean = correct(restoration.mean)
    return replace(restoration, mean=mean, samples=samples, model_data=None,
                   **_corrected_errors(restoration, data_residual.image, run, mean, correct))


def discrepancy_variance(data_residual, residual, shape=1.0):
    """
    Return the variance of the correction that gives a reduced chi-squared of one, or `None`.

    The variance is proportional to ``shape``, at most one. The search ends at the variance that
    would explain the largest residual at all pixels.
    """
    remainder = residual

    def excess(log_variance):
        nonlocal remainder
        inverse = RegularisedInverse(data_residual, np.exp(log_variance) * shape)
        remainder = inverse.residual_after(residual, remainder)
        return np.sum(remainder**2) / data_residual.count - 1

    unit = data_residual.count / np.sum(data_residual.weight**2) / data_residual.gain
    # Variance of a correction that explains the largest residual at the average pixel.
    maximum = np.log(unit * np.max(residual**2) / np.mean(shape))
    low, high = -np.inf, np.log(unit * data_residual.gain)
    while excess(high) > 0:
        if high >= maximum:
            return None
        low, high = high, min(high + np.log(VARIANCE_FACTOR), maximum)
    while not np.isfinite(low) or excess(low) < 0:
        low = (high if not np.isfinite(low) else low) - np.log(VARIANCE_FACTOR)
    return np.exp(optimize.brentq(excess, low, high, xtol=1e-4)) * shape


def _corrected_errors(restoration, image, run, mean, correct):
    """Return the fields of a `Restoration` that describe errors, corrected."""
    if restoration.predictive_std is not None:
        warnings.warn("`data_consistent`: the uncertainty was calibrated on uncorrected results; "
                      "it is raised only where the measurement error is larger",
                      LensSRWarning, stacklevel=4)
    if restoration.estimator is None:
        warnings.warn("`data_consistent`: the measurement error is unchanged, because the method "
                      "cannot be run on noise realisations", LensSRWarning, stacklevel=4)
        return {}

    def estimate(probe):
        return correct(restoration.estimator(probe), probe.data)

    probes = restoration.metadata.get("n_probes", DEFAULT_PROBES)
    std, correlation = monte_carlo_error(estimate, image, probes, run.seed, mean=mean)
    total_std, total_correlation = restoration.predictive_std, correlation
    if total_std is not None:
        total_std = np.maximum(total_std, std)
        total_correlation = restoration.correlation
        if total_correlation is not None:
            total_correlation = correlation.with_component(total_correlation[[-1]])
    return {"measurement_std": std, "predictive_std": total_std, "correlation": total_correlation,
            "metadata": {**restoration.metadata, "n_probes": probes}}


MIN_VALID_LIGHT = 1e-3  # fraction of the light of a pixel that must fall on valid data
MAX_STRAY_LIGHT = 0.5  # light from outside the image on a valid datum, in units of its noise
# Accepted deviation of the reduced chi-squared of an uncalibrated method.
CHI2_BELOW_ONE, CHI2_ABOVE_ONE = 0.5, 0.2
CHI2_SIGMA = 4.0  # standard deviations of the reduced chi-squared that are accepted


class DataResidual:
    """
    Residual of the data and a result in units of the noise, with its reduced chi-squared.

    Masked data have weight zero. So do data near the edge whose stray light may exceed half of
    their noise, unless ``edges`` is true. Their stray light is the fraction of the PSF outside the
    image times the brightest light within the FWHM of the PSF.
    """

    def __init__(self, image, scale, tile=None, edges=False):
        self.image, self.scale, self._tile = image, scale, tile
        self.operator = ForwardModel(image.psf, scale, image.shape, tile)
        unused = image.mask if edges else image.mask | self._stray_light()
        self.weight = np.where(unused, 0.0, 1 / image.sigma)
        self.count = np.count_nonzero(self.weight)

    @property
    def _positive_psf(self):
        """PSF with negative values set to zero, of sum one."""
        psf = np.maximum(self.image.psf, 0)
        return psf / psf.sum()

    def _stray_light(self):
        """Return the mask of stray light, empty if it covered all data."""
        image, tile, psf = self.image, self._tile, self._positive_psf
        beyond = 1 - convolve_tiled(np.ones(image.shape), psf, tile)
        level = sky_level(image.data, image.mask, image.noise)
        light = convolve_tiled(np.where(image.mask, 0.0, image.data - level), psf, tile)
        around = ndimage.maximum_filter(np.abs(light), 2 * round(psf_fwhm(psf)) + 1)
        stray = beyond * around > MAX_STRAY_LIGHT * image.sigma
        return stray & (~stray & ~image.mask).any()

    @cached_property
    def gain(self):
        """Variance of a datum for white noise of unit variance in the result."""
        impulse = np.zeros(self.image.shape)
        impulse[tuple(n // 2 for n in impulse.shape)] = 1
        return float(np.sum(self.operator.adjoint(impulse) ** 2))

    def residual(self, mean, data=None, model_data=None):
        """Return data minus model in units of the noise, zero at weight zero."""
        data = self.image.data if data is None else data
        model_data = self.operator.forward(mean) if model_data is None else model_data
        return (data - model_data) * self.weight

    def chi2(self, mean, model_data=None):
        """Return the reduced chi-squared of a result."""
        return float(np.sum(self.residual(mean, model_data=model_data) ** 2) / self.count)

    def local_mean(self, values):
        r"""
        Average a map of the data around each output pixel; NaN without valid data.

        Valid data are weighted by the light :math:`P(u_i - u_j)` that they receive from the pixel:
        :math:`\sum_i P(u_i - u_j)\, v_i / \sum_i P(u_i - u_j)`.
        """
        valid = self.weight > 0
        light = PSFConvolution(self._positive_psf, self.scale, self.image.shape, self._tile)
        coverage = light.adjoint(valid.astype(float))
        return np.divide(light.adjoint(np.where(valid, values, 0.0)), coverage,
                         out=np.full(coverage.shape, np.nan), where=coverage > MIN_VALID_LIGHT)

    def chi2_map(self, mean, model_data=None):
        """
        Return the reduced chi-squared around each output pixel.

        For noise about the result the mean is one and the scatter ``sqrt(2 sum(psf**2))``.
        """
        # Rounding errors of the Fourier transforms could make a zero negative.
        return np.maximum(self.local_mean(self.residual(mean, model_data=model_data) ** 2), 0)


def chi2_range(count, calibrated=None):
    r"""
    Return the expected range of the reduced chi-squared of a good result.

    By default it is 0.5 to 1.2. An estimate that follows part of the noise is below one; an error
    of half of the noise at each pixel gives 1.25. The range is widened by four times
    :math:`\sqrt{2/n}`, the scatter of the reduced chi-squared of :math:`n` independent data.
    """
    low, high = (1 - CHI2_BELOW_ONE, 1 + CHI2_ABOVE_ONE) if calibrated is None else calibrated
    scatter = CHI2_SIGMA * np.sqrt(2 / count)
    return max(low - scatter, 0.0), high + scatter


def check_consistency(planes, restorations, run, method, data_consistent=False):
    """
    Compare results with their data, warn of a bad reduced chi-squared, and correct on request.

    Returns the restorations with their maps of chi-squared, and named values for the header. A
    `ValueError` is raised if results without the target resolution are to be corrected.
    """
    comparable = all(
        plane.psf is not None and restoration.psf is not None
        and restoration.psf_kind == "target" and np.isfinite(restoration.mean).all()
        for plane, restoration in zip(planes, restorations))
    if not comparable:
        if data_consistent:
            raise ValueError(f"`data_consistent` must be False for method {method!r}, whose "
                             "result is not finite or not at the target resolution, got True")
        return restorations, {}
    residuals = [DataResidual(plane, run.scale, run.tile) for plane in planes]
    metadata, reduced = {}, _reduced_chi2(residuals, restorations)
    counts = [residual.count for residual in residuals]
    if data_consistent:
        metadata["chi2_before"] = _total_chi2(reduced, counts)
        restorations = [enforce_consistency(restoration, residual, run)
                        for residual, restoration in zip(residuals, restorations)]
        reduced = _reduced_chi2(residuals, restorations)
    metadata["chi2"] = _total_chi2(reduced, counts)
    for k, (chi2, count, restoration) in enumerate(zip(reduced, counts, restorations)):
        _warn_chi2(chi2, chi2_range(count, restoration.chi2_range), k if len(planes) > 1 else None)
    return [replace(restoration, consistency=residual.chi2_map(restoration.mean,
                                                               restoration.model_data))
            for residual, restoration in zip(residuals, restorations)], metadata


def _reduced_chi2(residuals, restorations):
    return [residual.chi2(restoration.mean, restoration.model_data)
            for residual, restoration in zip(residuals, restorations)]


def _total_chi2(reduced, counts):
    """Average the reduced chi-squared over planes, to five digits."""
    return float(f"{np.average(reduced, weights=counts):.5g}")


def _warn_chi2(chi2, expected, plane):
    low, high = expected
    if low <= chi2 <= high:
        return
    reason = ("it contradicts the data, or the noise is underestimated or the PSF wrong"
              if chi2 > high else "it follows the noise of the data, or the noise is overestimated")
    label = "" if plane is None else f" of plane {plane}"
    warnings.warn(f"the result{label} has a reduced chi2 of {chi2:.3g} against the data, "
                  f"expected {low:.2f} to {high:.2f}: {reason}", LensSRWarning, stacklevel=3)
