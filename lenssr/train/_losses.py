"""Losses in noise units, seen through asinh."""

import torch
from torch.nn import functional

from lenssr.networks import compress, expand

__all__ = ["flux_error", "log_relative_error", "restoration_loss"]

#: Relative accuracy beyond which `flux_error` asks for no more.
FLUX_ACCURACY = 0.01

#: Floor of the relative squared error: 60 dB below the peak.
FLOOR = 1e-6


def log_relative_error(image, truth) -> torch.Tensor:
    """
    Mean logarithm of the squared error over the squared peak: the PSNR, turned round.

    Images without a source have no peak and do not count.
    """
    peak = truth.amax(dim=(1, 2, 3))
    error = (image - truth).square().mean(dim=(1, 2, 3))
    seen = peak > 0
    relative = error[seen] / peak[seen].square() + FLOOR
    return relative.log().mean() if len(relative) else error.sum() * 0


def flux_error(image, truth, scale: int) -> torch.Tensor:
    """
    Error of the flux in blocks of 16 pixels and of the whole, in units of its accuracy.

    The mean of an asinh lies below the asinh of the mean, so that squared error in
    asinh alone loses flux wherever the image is uncertain; a pixel hardly notices,
    an aperture does.

    Parameters
    ----------
    image, truth : `~torch.Tensor`
        In noise units, linear, shape ``(batch, 1, n, n)``.
    scale : int
        Output pixels per input pixel; the noise is that of an input pixel.
    """
    total = 0.0
    for side in {min(16, truth.shape[-1]), truth.shape[-1]}:
        noise = scale / side
        found, true = (functional.avg_pool2d(z, side) for z in (image, truth))
        accuracy = noise**2 + (FLUX_ACCURACY * true).square()
        total = total + (((found - true).square() / accuracy + 1).sqrt() - 1).mean()
    return total


def restoration_loss(output, truth, scale, peak_weight, flux_weight) -> torch.Tensor:
    """
    Squared error through asinh, with `log_relative_error` and `flux_error`.

    Parameters
    ----------
    output : `~torch.Tensor`
        What the network gave, in `~lenssr.networks.compress` form.
    truth : `~torch.Tensor`
        Truth in noise units, linear, same shape ``(batch, 1, n, n)``.
    scale : int
        Output pixels per input pixel.
    peak_weight, flux_weight : float
        Weights of the two further terms.
    """
    image = expand(output)
    return ((output - compress(truth)).square().mean()
            + peak_weight * log_relative_error(image, truth)
            + flux_weight * flux_error(image, truth, scale))
