"""Errors of sums over apertures, set against those that are."""

import numpy as np

from lenssr.image import ErrorCorrelation
from lenssr.image._aperture import plane_sum
from lenssr.image._mask import expand_mask
from lenssr.methods._calibrated import rest_correlation

from ._conformal import best_factor

__all__ = ["inflated_for_apertures"]

RADII = (2.0, 10.0)  # output pixels: the least and the largest of the apertures
PLACES = 16          # apertures in an image


def inflated_for_apertures(arrays, whole, snr, correlation, scale, seed=0):
    r"""
    A correlation by which predicted errors of apertures cover the true ones.

    Mean squares and correlations of errors give those of sums, but not their distribution, which
    is not normal, and they are means over images. So both ``variance`` of the correlation are
    multiplied by :math:`f^2`, with :math:`f` the factor of
    `~lenssr.train._conformal.best_factor` for apertures of all sizes anywhere in the images.

    Parameters
    ----------
    arrays : dict
        What `~lenssr.train._restored.restored_images` gives.
    whole, snr : `~numpy.ndarray`
        Predicted errors, and local signal to noise.
    correlation : dict
        What `~lenssr.train._conformal.rest_correlation` gives.
    scale : int
        Output pixels per input pixel.
    seed : int
        Of the apertures.

    Returns
    -------
    correlation : dict
        As it was given, with the larger ``variance``, and the factor ``apertures``.
    """
    rng, off = np.random.default_rng(seed), []
    card = {"scales": {str(scale): {"correlation": correlation}}}
    for k, sigma in enumerate(whole):
        measured = np.minimum(arrays["std"][k], sigma)
        prior = np.sqrt(sigma**2 - measured**2)
        rest, variance = rest_correlation(card, scale, snr[k], prior)
        hang_together = ErrorCorrelation(arrays["kernels"][k][None], arrays["level"][[k]])
        valid = expand_mask(arrays["weight"][k] > 0, scale)
        for aperture in _apertures(rng, sigma.shape):
            if (valid & (aperture.to_image(sigma.shape) > 0)).any():
                flux, error = plane_sum(
                    aperture, arrays["mean"][k] - arrays["truth"][k], valid, [measured, prior],
                    hang_together.and_rest(rest).inflated(variance))
                off.append(abs(flux) / error)
    factor = float(best_factor(np.array(off)))
    return {**correlation, "apertures": round(factor, 4),
            "variance": [round(factor**2 * value, 3) for value in correlation["variance"]]}


def _apertures(rng, shape):
    """Masks of circles whose areas are as often small as large, whole in an image."""
    from photutils.aperture import CircularAperture

    low, high = np.log(np.minimum(RADII, min(shape) / 4))
    for radius in np.exp(rng.uniform(low, high, PLACES)):
        y, x = radius + rng.random(2) * (np.array(shape) - 1 - 2 * radius)
        yield CircularAperture((x, y), radius).to_mask(method="exact")
