"""What detectors do to an image besides noise: gaps, cosmic rays, saturated stars."""

from dataclasses import dataclass

import numpy as np

__all__ = ["Defects"]


@dataclass(frozen=True)
class Defects:
    """
    Detector's edge cases in observed images.

    The pixels that they spoil are in the image's mask. Cosmic rays that a pipeline has
    missed are not: their share is ``missed``.

    Parameters
    ----------
    gaps : float
        Share of images with a gap between detectors: one to three columns or rows that are
        NaN.
    cosmic_rays : float
        Mean number of cosmic rays in an image, straight tracks of one to eight pixels.
    missed : float
        Share of cosmic rays that is not in the mask.
    saturation : float, optional
        Level above which pixels are cut off, and bleed one pixel up and down, in units of
        the sky's noise.

    Raises
    ------
    ValueError
        If a number is out of its range.
    """

    gaps: float = 0.1
    cosmic_rays: float = 0.3
    missed: float = 0.0
    saturation: float | None = None

    def __post_init__(self):
        for name in ("gaps", "missed"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"`{name}` must be from 0 to 1, got {getattr(self, name)!r}")
        if not 0 <= self.cosmic_rays < np.inf:
            raise ValueError(f"`cosmic_rays` must not be negative, got {self.cosmic_rays!r}")
        if self.saturation is not None and not self.saturation > 0:
            raise ValueError(f"`saturation` must be positive, got {self.saturation!r}")

    def apply(self, image, sky, rng):
        """
        Spoil an image, in place.

        Parameters
        ----------
        image : `~numpy.ndarray`
            The image, shape ``(ny, nx)``.
        sky : float
            Noise of its sky, in the same units.
        rng : `~numpy.random.Generator`
            Source of randomness.

        Returns
        -------
        mask : `~numpy.ndarray`
            True where it is known to be spoilt.
        """
        mask = np.zeros(image.shape, bool)
        if self.saturation is not None:
            full = image > self.saturation * sky
            image[full] = self.saturation * sky
            bled = full.copy()
            bled[1:] |= full[:-1]
            bled[:-1] |= full[1:]
            image[bled & ~full] = self.saturation * sky
            mask |= bled
        for _ in range(rng.poisson(self.cosmic_rays)):
            hit = self._track(image.shape, rng)
            image[hit] += sky * np.exp(rng.uniform(np.log(10), np.log(1000)))
            if rng.random() >= self.missed:
                mask[hit] = True
        if rng.random() < self.gaps:
            axis, width = rng.integers(2), rng.integers(1, 4)
            first = rng.integers(image.shape[axis])
            gap = [slice(None), slice(None)]
            gap[axis] = slice(first, first + width)
            image[tuple(gap)] = np.nan
            mask[tuple(gap)] = True
        return mask

    @staticmethod
    def _track(shape, rng):
        y, x = (rng.uniform(0, n) for n in shape)
        angle, steps = rng.uniform(0, np.pi), np.arange(0, rng.uniform(0.5, 8), 0.5)
        rows, columns = (np.floor(c + steps * f(angle)).astype(int)
                         for c, f in ((y, np.sin), (x, np.cos)))
        inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
        hit = np.zeros(shape, bool)
        hit[rows[inside], columns[inside]] = True
        return hit
