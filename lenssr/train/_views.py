"""How a discriminator sees images: through asinh, and detail by detail in units of the truth's."""

import torch

from lenssr.networks import asinh_scale, starlet

__all__ = ["DETAILS", "details", "views"]

DETAILS = 3  # octaves of detail
FAINTEST = 0.1  # noise of an input pixel: details of images fainter than that are not blown up


def details(image: torch.Tensor, octaves: int = DETAILS) -> torch.Tensor:
    """
    What each smoothing by a cubic spline takes away: the scales of `starlet`, edges mirrored.

    Parameters
    ----------
    image : `~torch.Tensor`
        Shape ``(batch, 1, ny, nx)``, sides above ``2**(octaves + 1)``.
    octaves : int
        How many, the finest first.

    Returns
    -------
    details : `~torch.Tensor`
        Shape ``(batch, octaves, ny, nx)``; with the image smoothed last they sum up to the image.
    """
    return starlet(image, octaves, "reflect")[:, :-1]


def views(image: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """
    What a discriminator is shown of an image: itself through asinh, and its details.

    The power of an image falls steeply with spatial frequency, and with it what a network would
    notice. So each octave of detail is taken in units of its root mean square in the truth, which
    is one of the true image, less of one that is too smooth.

    Parameters
    ----------
    image, truth : `~torch.Tensor`
        In noise units, linear, shape ``(batch, 1, n, n)``.

    Returns
    -------
    views : `~torch.Tensor`
        Shape ``(batch, 1 + DETAILS, n, n)``.
    """
    unit = details(truth).square().mean(dim=(-2, -1), keepdim=True).sqrt()
    return torch.cat([asinh_scale(image), torch.asinh(details(image) / (unit + FAINTEST))], dim=1)
