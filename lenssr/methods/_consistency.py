"""Whether a result explains its data: their misfit, on the whole and place by place."""

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
VARIANCE_FACTOR = 8.0  # by which the variance of the correction grows until it suffices
DEFAULT_PROBES = 8  # noise probes of methods that define no number


class RegularisedInverse:
    r"""
    Tikhonov-regularised inverse of the telescope, for given variances of the answer.

    The minimum over images :math:`d` of
    :math:`|W^{1/2}(r - A d)|^2 + d^\mathsf{T} V^{-1} d` is

    .. math::
        d = V A^\mathsf{T} W^{1/2} u, \qquad
        (W^{1/2} A V A^\mathsf{T} W^{1/2} + 1)\, u = W^{1/2} r,

    and :math:`u = W^{1/2}(r - A d)` is what it leaves of the residual. It is solved by
    conjugate gradients on the grid of the data.
    """

    def __init__(self, data_residual, variance, accuracy=1e-6):
        self._misfit, self._variance, self._accuracy = data_residual, variance, accuracy

    def residual_after(self, residual, start=None):
        """What is left of a residual."""
        shape = residual.shape

        def apply(u):
            image = self._carried(u.reshape(shape))
            return u + (self._misfit.operator.forward(image) * self._misfit.weight).ravel()

        system = linalg.LinearOperator((residual.size,) * 2, matvec=apply, dtype=float)
        guess = None if start is None else start.ravel()
        solution, _ = linalg.cg(system, residual.ravel(), guess, rtol=self._accuracy,
                             maxiter=MAX_CG_STEPS)
        return solution.reshape(shape)

    def __call__(self, residual):
        """The image of a residual that is given in units of the noise."""
        return self._carried(self.residual_after(residual))

    def _carried(self, u):
        return self._variance * self._misfit.operator.adjoint(u * self._misfit.weight)


def enforce_consistency(restoration, data_residual, run):
    r"""
    Move a result to the nearest one that agrees with the data.

    Of all images with a reduced chi-squared of one, the nearest to the result :math:`x` in
    units of its predicted errors, :math:`S = \mathrm{diag}(\sigma^2)`, is

    .. math::
        x' = x + \mu S A^\mathsf{T} W^{1/2}
             (\mu W^{1/2} A S A^\mathsf{T} W^{1/2} + 1)^{-1} W^{1/2} (y - A x),

    where :math:`\mu` is the one number that makes it one: the discrepancy principle
    (Morozov 1966). Without predicted errors, or where what they leave free does not suffice,
    :math:`S = 1`. What no telescope like this could see of :math:`x` stays as it was.

    With :math:`\mu` held fixed, the errors are measured again by noise probes that go through
    method and correction. Samples are moved by the same map. A predictive error is kept:
    a projection onto a convex set takes no image further from any that is in it.

    Morozov 1966, Soviet Math. Dokl. 7, 414; Engl, Hanke & Neubauer 1996,
    doi:10.1007/978-94-009-1740-8; Schwab, Antholzer & Haltmeier 2019,
    doi:10.1088/1361-6420/aaf14a (what the data do not see is left to the network).
    """
    residual = data_residual.residual(restoration.mean)
    if np.sum(residual**2) <= data_residual.count:
        return restoration
    variance, total_std = None, restoration.predictive_std
    if total_std is not None:
        variance = discrepancy_variance(data_residual, residual, (total_std / np.max(total_std)) ** 2)
    if variance is None:
        variance = discrepancy_variance(data_residual, residual)
    if variance is None:
        warnings.warn("`data_consistent` leaves the result as it was: no change that the PSF lets "
                      "through brings its reduced chi2 down to one; the noise is understated, the "
                      "PSF wrong, or bad pixels are not masked", LensSRWarning, stacklevel=3)
        return restoration
    inverse = RegularisedInverse(data_residual, variance)

    def moved(mean, data=None):
        return mean + inverse(data_residual.residual(mean, data))

    samples = restoration.samples
    if samples is not None:
        samples = np.stack([moved(sample) for sample in samples])
    mean = moved(restoration.mean)
    return replace(restoration, mean=mean, samples=samples, model_data=None,
                   **_errors(restoration, data_residual.image, run, mean, moved))


def discrepancy_variance(data_residual, residual, shape=1.0):
    """The variance of the correction that leaves a reduced chi-squared of one; None for none."""
    remainder = residual

    def excess(log_variance):
        nonlocal remainder
        remainder = RegularisedInverse(data_residual, np.exp(log_variance) * shape).residual_after(residual, remainder)
        return np.sum(remainder**2) / data_residual.count - 1

    unit = data_residual.count / np.sum(data_residual.weight**2) / data_residual.gain
    # A correction that were to make the largest misfit of all, in the mean of the pixels.
    most = np.log(unit * np.max(residual**2) / np.mean(shape))
    low, high = -np.inf, np.log(unit * data_residual.gain)
    while excess(high) > 0:
        if high >= most:
            return None
        low, high = high, min(high + np.log(VARIANCE_FACTOR), most)
    while not np.isfinite(low) or excess(low) < 0:
        low = (high if not np.isfinite(low) else low) - np.log(VARIANCE_FACTOR)
    return np.exp(optimize.brentq(excess, low, high, xtol=1e-4)) * shape


def _errors(restoration, image, run, mean, moved):
    """What changes in the errors of a result that was moved."""
    if restoration.predictive_std is not None:
        warnings.warn("`data_consistent`: the uncertainty was calibrated on results that were "
                      "not moved; it is raised only where the measurement error is larger",
                      LensSRWarning, stacklevel=4)
    if restoration.estimator is None:
        warnings.warn("`data_consistent`: the measurement error is that of the result before it "
                      "was moved, since the method can't be run on noise probes", LensSRWarning,
                      stacklevel=4)
        return {}

    def estimate(probe):
        return moved(restoration.estimator(probe), probe.data)

    probes = restoration.metadata.get("n_probes", DEFAULT_PROBES)
    std, correlation = monte_carlo_error(estimate, image, probes, run.seed, mean=mean)
    total_std, total_correlation = restoration.predictive_std, correlation
    if total_std is not None:
        total_std = np.maximum(total_std, std)
        total_correlation = restoration.correlation
        total_correlation = None if total_correlation is None else correlation.with_component(total_correlation[[-1]])
    return {"measurement_std": std, "predictive_std": total_std, "correlation": total_correlation,
            "metadata": {**restoration.metadata, "n_probes": probes}}


MIN_VALID_LIGHT = 1e-3  # fraction of the light of a pixel that must fall on valid data
MAX_STRAY_LIGHT = 0.5  # sky noises of light from outside the image on a pixel that counts
# Accepted deviation of the reduced chi-squared of an uncalibrated method.
CHI2_BELOW_ONE, CHI2_ABOVE_ONE = 0.5, 0.2
CHI2_SIGMA = 4.0  # standard deviations of the reduced chi-squared that noise explains


class DataResidual:
    r"""Data minus a result at their resolution, over their noise."""

    def __init__(self, image, scale, tile=None, edges=False):
        self.image, self.scale, self._tile = image, scale, tile
        self.operator = ForwardModel(image.psf, scale, image.shape, tile)
        left_out = image.mask if edges else image.mask | self._stray()
        self.weight = np.where(left_out, 0.0, 1 / image.sigma)
        self.count = np.count_nonzero(self.weight)

    @property
    def _positive_psf(self):
        """Where the light of a point goes: the PSF of the data without what is below zero."""
        psf = np.maximum(self.image.psf, 0)
        return psf / psf.sum()

    def _stray(self):
        """Where light from beyond the image counts; nowhere, if it were to do so everywhere."""
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
        """Data minus result, in units of the noise; zero where the data do not count."""
        data = self.image.data if data is None else data
        model_data = self.operator.forward(mean) if model_data is None else model_data
        return (data - model_data) * self.weight

    def chi2(self, mean, model_data=None):
        """Reduced chi-squared of a result, per datum that counts."""
        return float(np.sum(self.residual(mean, model_data=model_data) ** 2) / self.count)

    def local_mean(self, values):
        r"""
        Mean of a map of the data about each output pixel.

        Each datum that counts does so by the light :math:`P(u_i - u_j)` that it gets from the
        pixel: :math:`\sum_i P(u_i - u_j)\, v_i / \sum_i P(u_i - u_j)`.
        """
        valid = self.weight > 0
        light = PSFConvolution(self._positive_psf, self.scale, self.image.shape, self._tile)
        coverage = light.adjoint(valid.astype(float))
        return np.divide(light.adjoint(np.where(valid, values, 0.0)), coverage,
                         out=np.full(coverage.shape, np.nan), where=coverage > MIN_VALID_LIGHT)

    def chi2_map(self, mean, model_data=None):
        """Reduced chi-squared about each output pixel, of the data that got its light."""
        # Rounding of the Fourier transforms could bring a zero below.
        return np.maximum(self.local_mean(self.residual(mean, model_data=model_data) ** 2), 0)


def chi2_range(count, calibrated=None):
    r"""
    Range in which the reduced chi-squared of a good result is expected.

    By default from 0.5 to 1.2: an estimate that follows part of the noise, as all but the
    true sky do, stays below one, the more the sharper the PSF and the higher the
    signal-to-noise ratio; one that is off by half the noise at each pixel is at 1.25. The
    range is widened on either side by four times :math:`\sqrt{2/n}`, the scatter of the
    reduced chi-squared of :math:`n` independent data.
    """
    low, high = (1 - CHI2_BELOW_ONE, 1 + CHI2_ABOVE_ONE) if calibrated is None else calibrated
    chance = CHI2_SIGMA * np.sqrt(2 / count)
    return max(low - chance, 0.0), high + chance


def check_consistency(planes, restorations, run, method, data_consistent=False):
    """Bring results back to their data, and correct them if asked to."""
    known = all(plane.psf is not None and restoration.psf is not None and restoration.psf_kind == "target"
                and np.isfinite(restoration.mean).all() for plane, restoration in zip(planes, restorations))
    if not known:
        if data_consistent:
            raise ValueError(f"`data_consistent` must be False for method {method!r}, whose "
                             "result is not finite, or not of the declared resolution, got True")
        return restorations, {}
    operators = [DataResidual(plane, run.scale, run.tile) for plane in planes]
    metadata, reduced = {}, _reduced_chi2(operators, restorations)
    counts = [operator.count for operator in operators]
    if data_consistent:
        metadata["chi2_before"] = _total_chi2(reduced, counts)
        restorations = [enforce_consistency(restoration, operator, run) for operator, restoration in zip(operators, restorations)]
        reduced = _reduced_chi2(operators, restorations)
    metadata["chi2"] = _total_chi2(reduced, counts)
    for k, (chi2, count, restoration) in enumerate(zip(reduced, counts, restorations)):
        _warn_chi2(chi2, chi2_range(count, restoration.chi2_range), k if len(planes) > 1 else None)
    return [replace(restoration, consistency=operator.chi2_map(restoration.mean, restoration.model_data))
            for operator, restoration in zip(operators, restorations)], metadata


def _reduced_chi2(operators, restorations):
    return [operator.chi2(restoration.mean, restoration.model_data) for operator, restoration in zip(operators, restorations)]


def _total_chi2(reduced, counts):
    """Reduced chi-squared of all planes; five digits are more than noise has."""
    return float(f"{np.average(reduced, weights=counts):.5g}")


def _warn_chi2(chi2, expected, plane):
    low, high = expected
    if low <= chi2 <= high:
        return
    why = ("it contradicts them, or their noise is understated or the PSF wrong" if chi2 > high
           else "it follows their noise, or this is overstated")
    of = "" if plane is None else f" of plane {plane}"
    warnings.warn(f"the result{of}, brought back to the data, has a reduced chi2 of {chi2:.3g}, "
                  f"expected {low:.2f} to {high:.2f}: {why}", LensSRWarning, stacklevel=3)
