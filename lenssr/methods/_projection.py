"""The least change of a result that makes it agree with its data."""

import warnings
from dataclasses import replace

import numpy as np
from scipy import optimize
from scipy.sparse import linalg

from lenssr.exceptions import LensSRWarning
from lenssr.uncertainty import monte_carlo_error

__all__ = ["RegularisedInverse", "discrepancy_variance", "enforce_consistency"]

MOST_STEPS = 1000
FACTOR = 8.0      # by which the variance of the correction is raised until it suffices
PROBES = 8        # of the measurement error, of methods that say no number


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

    def __init__(self, misfit, variance, accuracy=1e-6):
        self._misfit, self._variance, self._accuracy = misfit, variance, accuracy

    def left(self, residual, start=None):
        """What is left of a residual."""
        shape = residual.shape

        def apply(u):
            image = self._carried(u.reshape(shape))
            return u + (self._misfit.operator.forward(image) * self._misfit.weight).ravel()

        system = linalg.LinearOperator((residual.size,) * 2, matvec=apply, dtype=float)
        guess = None if start is None else start.ravel()
        found, _ = linalg.cg(system, residual.ravel(), guess, rtol=self._accuracy,
                             maxiter=MOST_STEPS)
        return found.reshape(shape)

    def __call__(self, residual):
        """The image of a residual that is given in units of the noise."""
        return self._carried(self.left(residual))

    def _carried(self, u):
        return self._variance * self._misfit.operator.adjoint(u * self._misfit.weight)


def enforce_consistency(restoration, misfit, run):
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
    residual = misfit.residual(restoration.mean)
    if np.sum(residual**2) <= misfit.count:
        return restoration
    variance, whole = None, restoration.predictive_std
    if whole is not None:
        variance = discrepancy_variance(misfit, residual, (whole / np.max(whole)) ** 2)
    if variance is None:
        variance = discrepancy_variance(misfit, residual)
    if variance is None:
        warnings.warn("`data_consistent` leaves the result as it was: no change that the PSF lets "
                      "through brings its reduced chi2 down to one; the noise is understated, the "
                      "PSF wrong, or bad pixels are not masked", LensSRWarning, stacklevel=3)
        return restoration
    inverse = RegularisedInverse(misfit, variance)

    def moved(mean, data=None):
        return mean + inverse(misfit.residual(mean, data))

    samples = restoration.samples
    if samples is not None:
        samples = np.stack([moved(sample) for sample in samples])
    mean = moved(restoration.mean)
    return replace(restoration, mean=mean, samples=samples, expected=None,
                   **_errors(restoration, misfit.image, run, mean, moved))


def discrepancy_variance(misfit, residual, shape=1.0):
    """The variance of the correction that leaves a reduced chi-squared of one; None for none."""
    left = residual

    def excess(log_variance):
        nonlocal left
        left = RegularisedInverse(misfit, np.exp(log_variance) * shape).left(residual, left)
        return np.sum(left**2) / misfit.count - 1

    unit = misfit.count / np.sum(misfit.weight**2) / misfit.gain
    # A correction that were to make the largest misfit of all, in the mean of the pixels.
    most = np.log(unit * np.max(residual**2) / np.mean(shape))
    low, high = -np.inf, np.log(unit * misfit.gain)
    while excess(high) > 0:
        if high >= most:
            return None
        low, high = high, min(high + np.log(FACTOR), most)
    while not np.isfinite(low) or excess(low) < 0:
        low = (high if not np.isfinite(low) else low) - np.log(FACTOR)
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

    probes = restoration.facts.get("SRNPROBE", (PROBES,))[0]
    std, correlation = monte_carlo_error(estimate, image, probes, run.seed, mean=mean)
    whole, found = restoration.predictive_std, correlation
    if whole is not None:
        whole = np.maximum(whole, std)
        found = restoration.correlation
        found = None if found is None else correlation.and_rest(found[[-1]])
    facts = {**restoration.facts, "SRNPROBE": (probes, "noise probes of the measurement error")}
    return {"measurement_std": std, "predictive_std": whole, "correlation": found, "facts": facts}
