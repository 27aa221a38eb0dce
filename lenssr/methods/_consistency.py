"""Whether a result explains its data: their misfit, on the whole and place by place."""

import warnings
from dataclasses import replace
from functools import cached_property

import numpy as np
from scipy import ndimage

from lenssr._forward_model import ForwardModel, PSFConvolution, convolve_tiled
from lenssr.exceptions import LensSRWarning
from lenssr.image import psf_fwhm
from lenssr.methods._projection import enforce_consistency
from lenssr.uncertainty import sky_level

__all__ = ["DataResidual", "chi2_range", "check_consistency"]

SEEN = 1e-3     # share of the light of a pixel on valid data below which nothing is said of it
STRAY = 0.5     # noise that light from beyond the image may reach where a datum counts
BELOW, ABOVE = 0.5, 0.2  # by which the reduced chi2 of a good result may differ from one
CHANCE = 4.0    # standard deviations of the reduced chi2 of noise


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
        stray = beyond * around > STRAY * image.sigma
        return stray & (~stray & ~image.mask).any()

    @cached_property
    def gain(self):
        """Variance of a datum for white noise of unit variance in the result."""
        impulse = np.zeros(self.image.shape)
        impulse[tuple(n // 2 for n in impulse.shape)] = 1
        return float(np.sum(self.operator.adjoint(impulse) ** 2))

    def residual(self, mean, data=None, expected=None):
        """Data minus result, in units of the noise; zero where the data do not count."""
        data = self.image.data if data is None else data
        expected = self.operator.forward(mean) if expected is None else expected
        return (data - expected) * self.weight

    def chi2(self, mean, expected=None):
        """Reduced chi-squared of a result, per datum that counts."""
        return float(np.sum(self.residual(mean, expected=expected) ** 2) / self.count)

    def local_mean(self, values):
        r"""
        Mean of a map of the data about each output pixel.

        Each datum that counts does so by the light :math:`P(u_i - u_j)` that it gets from the
        pixel: :math:`\sum_i P(u_i - u_j)\, v_i / \sum_i P(u_i - u_j)`.
        """
        valid = self.weight > 0
        light = PSFConvolution(self._positive_psf, self.scale, self.image.shape, self._tile)
        seen = light.adjoint(valid.astype(float))
        return np.divide(light.adjoint(np.where(valid, values, 0.0)), seen,
                         out=np.full(seen.shape, np.nan), where=seen > SEEN)

    def chi2_map(self, mean, expected=None):
        """Reduced chi-squared about each output pixel, of the data that got its light."""
        # Rounding of the Fourier transforms could bring a zero below.
        return np.maximum(self.local_mean(self.residual(mean, expected=expected) ** 2), 0)


def chi2_range(count, calibrated=None):
    r"""
    Range in which the reduced chi-squared of a good result is expected.

    By default from 0.5 to 1.2: an estimate that follows part of the noise, as all but the
    true sky do, stays below one, the more the sharper the PSF and the higher the
    signal-to-noise ratio; one that is off by half the noise at each pixel is at 1.25. The
    range is widened on either side by four times :math:`\sqrt{2/n}`, the scatter of the
    reduced chi-squared of :math:`n` independent data.
    """
    low, high = (1 - BELOW, 1 + ABOVE) if calibrated is None else calibrated
    chance = CHANCE * np.sqrt(2 / count)
    return max(low - chance, 0.0), high + chance


def check_consistency(planes, restorations, run, method, data_consistent=False):
    """Bring results back to their data, and correct them if asked to."""
    known = all(plane.psf is not None and each.psf is not None and each.psf_kind == "target"
                and np.isfinite(each.mean).all() for plane, each in zip(planes, restorations))
    if not known:
        if data_consistent:
            raise ValueError(f"`data_consistent` must be False for method {method!r}, whose "
                             "result is not finite, or not of the declared resolution, got True")
        return restorations, {}
    misfits = [DataResidual(plane, run.scale, run.tile) for plane in planes]
    cards, found = {}, _reduced(misfits, restorations)
    counts = [misfit.count for misfit in misfits]
    if data_consistent:
        cards["SRCHI2IN"] = (_pooled(found, counts), "SRCHI2 before the correction to the data")
        restorations = [enforce_consistency(each, misfit, run) for misfit, each in zip(misfits, restorations)]
        found = _reduced(misfits, restorations)
    cards["SRCHI2"] = (_pooled(found, counts), "reduced chi2 of the result against the data")
    for k, (chi2, count, each) in enumerate(zip(found, counts, restorations)):
        _judge(chi2, chi2_range(count, each.chi2_range), k if len(planes) > 1 else None)
    return [replace(each, consistency=misfit.chi2_map(each.mean, each.expected))
            for misfit, each in zip(misfits, restorations)], cards


def _reduced(misfits, restorations):
    return [misfit.chi2(each.mean, each.expected) for misfit, each in zip(misfits, restorations)]


def _pooled(found, counts):
    """Reduced chi-squared of all planes; five digits are more than noise has."""
    return float(f"{np.average(found, weights=counts):.5g}")


def _judge(chi2, expected, plane):
    low, high = expected
    if low <= chi2 <= high:
        return
    why = ("it contradicts them, or their noise is understated or the PSF wrong" if chi2 > high
           else "it follows their noise, or this is overstated")
    of = "" if plane is None else f" of plane {plane}"
    warnings.warn(f"the result{of}, brought back to the data, has a reduced chi2 of {chi2:.3g}, "
                  f"expected {low:.2f} to {high:.2f}: {why}", LensSRWarning, stacklevel=3)
