"""Losses in noise units, by name: seen through asinh, or linear."""

import torch
from torch.nn import functional

from lenssr._forward_model import BatchForwardModel
from lenssr.networks import asinh_scale, sinh_scale
from lenssr.train._perceptual import perceptual_error
from lenssr.train._schedule import flux_weight
from lenssr.train._ssim import structural_similarity

__all__ = ["CONSISTENCY", "LOSSES", "MISFIT", "flux_error", "inconsistency", "linear",
           "log_relative_error", "restoration_loss", "training_loss"]

#: Relative accuracy beyond which `flux_error` asks for no more.
FLUX_ACCURACY = 0.01

#: Floor of the relative squared error: 60 dB below the peak.
FLOOR = 1e-6

#: Bound of what a network gave, :math:`7 \times 10^8` times the noise.
HIGHEST = 20.0

#: Input pixels along the edges of a patch, into which more may shine from beyond, that
#: `inconsistency` leaves out.
EDGE = 6

#: Where `charbonnier` turns from square to absolute, in the units of what it compares.
ROUNDING = 1e-3


def mse(image, truth) -> torch.Tensor:
    """Mean squared error."""
    return (image - truth).square().mean()


def l1(image, truth) -> torch.Tensor:
    """Mean absolute error."""
    return (image - truth).abs().mean()


def charbonnier(image, truth) -> torch.Tensor:
    """The absolute error made smooth at zero (Lai et al. 2017, arXiv:1704.03915)."""
    return ((image - truth).square() + ROUNDING**2).sqrt().mean()


def ssim(image, truth) -> torch.Tensor:
    """One minus the structural similarity, the data range of each image being its peak."""
    # Of an image that shows nothing, the noise of the sky.
    span = truth.amax(dim=(1, 2, 3)).clamp(min=1)
    return 1 - structural_similarity(image, truth, span).mean()


PIXELWISE = {"mse": mse, "l1": l1, "charbonnier": charbonnier}

LOSSES = ("composite", *PIXELWISE, *(f"{name}_linear" for name in PIXELWISE), "ssim",
          "perceptual")
"""Names of the losses that a recipe may weigh."""

MISFIT = "misfit"
"""That which compares with the data in place of the target, of networks that can say it."""

CONSISTENCY = "consistency"
"""That which does so beside the target, of networks that look through the telescope."""


def training_loss(output, truth, scale, training, step=0, mean=lambda x: x) -> torch.Tensor:
    """The loss of a recipe: its terms, each times its weight."""
    total = 0.0
    for name, weight in training.loss.items():
        if name == "composite":
            term = restoration_loss(output, truth, scale, training.peak_weight,
                                    flux_weight(step, training), mean)
        elif name == "ssim":
            term = ssim(output, asinh_scale(truth))
        elif name == "perceptual":
            term = perceptual_error(linear(output), truth, training.features)
        elif name.endswith("_linear"):
            term = PIXELWISE[name.removesuffix("_linear")](linear(output), truth)
        else:
            term = PIXELWISE[name](output, asinh_scale(truth))
        total = total + weight * term
    return total


def linear(output):
    """The image in noise units; fresh weights may say anything, and must not overflow."""
    return sinh_scale(output.clamp(-HIGHEST, HIGHEST))


def log_relative_error(image, truth, mean=lambda x: x) -> torch.Tensor:
    """Mean logarithm of the squared error over the squared peak: the PSNR, turned round."""
    peak = truth.amax(dim=(1, 2, 3))
    error = (image - truth).square().mean(dim=(1, 2, 3))
    seen = peak > 0
    relative = error[seen] / peak[seen].square() + FLOOR
    # Processes that share a batch have not the same number of images with a source each.
    count = mean(seen.sum().to(error.dtype))
    return relative.log().sum() / count if count > 0 else error.sum() * 0


def flux_error(image, truth, scale: int) -> torch.Tensor:
    """Error of the flux in blocks of 16 pixels and of the whole, in units of its accuracy."""
    total = 0.0
    for side in {min(16, truth.shape[-1]), truth.shape[-1]}:
        noise = scale / side
        found, true = (functional.avg_pool2d(z, side) for z in (image, truth))
        accuracy = noise**2 + (FLUX_ACCURACY * true).square()
        total = total + (((found - true).square() / accuracy + 1).sqrt() - 1).mean()
    return total


def inconsistency(output, batch) -> torch.Tensor:
    r"""Mean logarithm of the :math:`\chi^2` of images over that of the truth, where it is larger."""
    lr, truth, sigma, kernel = (part.to(output.device) for part in (
        batch.lr, batch.truth, *batch.telescope[:2]))
    edge = min(EDGE, (min(lr.shape[-2:]) - 1) // 2)
    inner = (..., slice(edge, -edge or None), slice(edge, -edge or None))
    observation = BatchForwardModel(kernel.to(output.dtype), batch.scale, lr.shape[-2:])
    found, true = (
        ((lr - observation.forward(image)) / sigma)[inner].square().sum(dim=(1, 2, 3)) + 1
        for image in (linear(output), truth))
    return functional.relu(torch.log(found / true)).mean()


def restoration_loss(output, truth, scale, peak_weight, flux_weight,
                     mean=lambda x: x) -> torch.Tensor:
    """Squared error through asinh, with `log_relative_error` and `flux_error`."""
    image = linear(output)
    return (mse(output, asinh_scale(truth))
            + peak_weight * log_relative_error(image, truth, mean)
            + flux_weight * flux_error(image, truth, scale))
