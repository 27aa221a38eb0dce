"""Adaptive moments: place, size and ellipticity of what is brightest, through a matched weight."""

from dataclasses import dataclass

import numpy as np

from lenssr.image import FWHM_PER_SIGMA

__all__ = ["Moments", "adaptive_moments", "ellipticity"]

STEPS, CONVERGED = 200, 1e-5  # at most so many, until none changes anything by so much (pixels)
ROUND = 0.95  # ellipticity beyond which nothing is a galaxy
BROADER = 1.5  # square pixels by which the weight is: a FWHM of 2 under its like is undersampled


@dataclass(frozen=True)
class Moments:
    """"""

    centre: np.ndarray
    covariance: np.ndarray

    @property
    def e(self):
        """The two components of the `ellipticity`."""
        return ellipticity(self.covariance)

    @property
    def fwhm(self):
        """FWHM of the circle of the same area, pixels."""
        return FWHM_PER_SIGMA * np.linalg.det(self.covariance) ** 0.25


def ellipticity(covariance):
    """Ellipticity of second moments, of modulus ``(1 - q) / (1 + q)`` for axes of the ratio ``q``."""
    (xx, xy), (_, yy) = covariance
    return np.array([xx - yy, 2 * xy]) / (xx + yy + 2 * np.sqrt(np.linalg.det(covariance)))


def adaptive_moments(image, start, fwhm=4.0, mask=None):
    """
    Moments under an elliptical Gaussian that follows them.

    Unweighted moments of an image with noise have no meaning, since its far pixels have a lever
    without end. With a weight that follows centre and shape of the object until both agree
    (Bernstein & Jarvis, 2002AJ....123..583B; Hirata & Seljak, 2003MNRAS.343..459H, section 2.1)
    they have, and those of an elliptical Gaussian are exact. Here the weight is a little broader
    than the object, which spares well sampled images the sums over too few pixels.
    """
    light = np.array(image, dtype=float)
    if mask is not None:
        light[mask] = 0.0
    y, x = np.indices(light.shape, dtype=float)
    centre, covariance = np.array(start, dtype=float), (fwhm / FWHM_PER_SIGMA) ** 2 * np.eye(2)
    for _ in range(STEPS):
        dx, dy = x - centre[0], y - centre[1]
        weight = covariance + BROADER * np.eye(2)
        (a, b), (_, c) = np.linalg.inv(weight)
        part = light * np.exp(-(a * dx**2 + 2 * b * dx * dy + c * dy**2) / 2)
        total = part.sum()
        if not total > 0:
            return None
        offset = np.array([(part * dx).sum(), (part * dy).sum()]) / total
        xx, xy, yy = ((part * u).sum() / total for u in (dx**2, dx * dy, dy**2))
        moments = np.array([[xx, xy], [xy, yy]]) - np.outer(offset, offset)
        # What a Gaussian of this covariance would have under the weight, and would be moved by.
        both = np.linalg.inv(covariance + weight)
        step = (covariance + weight) @ np.linalg.solve(weight, offset)
        change = 2 * (moments - covariance @ both @ weight)
        centre, covariance = centre + step, covariance + (change + change.T) / 2
        if not _possible(centre, covariance, light.shape):
            return None
        if max(np.abs(step).max(), np.abs(change).max()) < CONVERGED:
            return Moments(centre, covariance)
    return None


def _possible(centre, covariance, shape):
    if not (0 <= centre[0] <= shape[1] - 1 and 0 <= centre[1] <= shape[0] - 1):
        return False
    least, most = np.linalg.eigvalsh(covariance)
    return (least > 0.1 and most < min(shape) ** 2 / 16
            and np.hypot(*ellipticity(covariance)) < ROUND)
