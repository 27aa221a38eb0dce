"""A pair made ready to be compared on: one unit, one range, what counts, what is known."""

import warnings
from dataclasses import dataclass

import numpy as np
from astropy import units as u

from lenssr.exceptions import LensSRWarning
from lenssr.image import LensImage, expand_mask, flux_convention, parse_image, sigma_from

__all__ = ["ARC", "LEAST", "SEEN", "Prepared", "edge_level", "prepare"]

ARC = 0.1    # of the way from the median of the truth to its peak: brighter pixels are arcs,
SEEN = 3.0   # and those that stand out by so many noises of an input pixel
LEAST = 5.0  # noises of the input that the peak of a truth must have for there to be anything


@dataclass
class Prepared:
    """A pair as surface brightness per input pixel, ready for methods and for metrics."""

    plane: LensImage
    span: float
    target: np.ndarray
    truth: np.ndarray | None
    noise: float | None
    mask: np.ndarray
    arc: np.ndarray
    noise_from: str
    warned: list

    @property
    def scale(self):
        """Output pixels per input pixel."""
        return self.target.shape[0] // self.plane.shape[0]

    @property
    def best(self):
        """The truth without noise, or the target where that is all there is."""
        return self.target if self.truth is None else self.truth


def prepare(pair, *, psf=None, assumed_snr=22.0, data_range="peak", least=LEAST):
    """Make a `~lenssr.simulate.LensPair` ready."""
    lr, hr, known = pair.lr, pair.hr, pair.truth.get("hr")
    uncertainty, noise_from = None, "pair"
    if lr.uncertainty is None:
        noise_from = "sky" if assumed_snr is None else "declared"
    if noise_from == "declared":
        uncertainty = float(np.nanmax(lr.data)) / assumed_snr
        if not uncertainty > 0:
            return None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", LensSRWarning)
        plane = parse_image(lr, psf=psf, uncertainty=uncertainty).planes[0]
    area = _area(pair)
    target = np.asarray(hr.data, dtype=float) * area
    truth = None if known is None else np.asarray(known.data, dtype=float) * area
    best = target if truth is None else truth
    mask = expand_mask(plane.mask, pair.scale) | ~np.isfinite(target) | ~np.isfinite(best)
    if hr.mask is not None:
        mask |= np.asarray(hr.mask) != 0
    if mask.all():
        return None
    peak = float(best[~mask].max())
    if not peak > least * plane.noise:
        return None
    span = peak if data_range == "peak" else float(data_range) * area
    middle, noise = np.median(best[~mask]), _noise(pair, area / span)
    bright = ARC * (peak - middle)
    if truth is not None or noise == 0:
        # A target with noise would have it taken for light.
        bright = min(bright, SEEN * plane.noise)
    return Prepared(plane, span, target / span, None if truth is None else truth / span, noise,
                    mask, best - middle > bright, noise_from, [str(w.message) for w in caught])


def _area(pair):
    """Output pixels to an input pixel for fluxes per pixel; one for what is one already."""
    unit = pair.hr.unit
    # Images without a unit were scaled, each on its own: their values say nothing of area.
    if unit is None or unit.is_equivalent(u.dimensionless_unscaled):
        return 1
    return pair.scale**2 if flux_convention(unit) == "per-pixel" else 1


def _noise(pair, factor):
    if pair.hr.uncertainty is not None:
        nowhere = np.zeros(pair.hr.shape, bool)
        sigma, _ = sigma_from(pair.hr.uncertainty, nowhere, pair.hr.unit)
        return float(np.sqrt(np.mean(sigma[np.isfinite(sigma)] ** 2))) * factor
    # Simulated pairs say that there is none; others say nothing.
    return 0.0 if "target_sigma" in pair.truth else None


def edge_level(image):
    """Median along the edges of an image."""
    return float(np.nanmedian(np.concatenate([*image[[0, -1]], *image[:, [0, -1]].T])))
