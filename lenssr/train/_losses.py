"""Losses in noise units, seen through asinh."""

import torch
from torch.nn import functional

from lenssr.networks import compress, expand

__all__ = ["pyramid_loss"]

def pyramid_loss(output, truth, scale: int, flux_weight: float) -> torch.Tensor:
    """
    Squared error through asinh, of the image and of its averages.

    The mean of an asinh is below the asinh of the mean, so squared error in asinh
    alone loses flux where the image is uncertain. The same error of averages over 4,
    16, ... pixels, each in units of its own noise, holds the flux at every size.

    Parameters
    ----------
    output : `~torch.Tensor`
        What the network gave, in `compress` form, shape ``(batch, 1, n, n)``.
    truth : `~torch.Tensor`
        Truth in noise units, linear, same shape.
    scale : int
        Output pixels per input pixel; the noise is that of an input pixel.
    flux_weight : float
        Weight of each of the averaged terms.
    """
    loss = (output - compress(truth)).square().mean()
    if flux_weight == 0:
        return loss
    image, side = expand(output), 4
    while side <= truth.shape[-1]:
        gain = side / scale
        loss = loss + flux_weight * (
            compress(gain * functional.avg_pool2d(image, side))
            - compress(gain * functional.avg_pool2d(truth, side))).square().mean()
        side *= 4
    return loss
