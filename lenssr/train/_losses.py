"""Losses in noise units: pixel, structural, perceptual and data-consistency losses."""

import functools
import math
from importlib import import_module, resources
from pathlib import Path

import torch
from torch.nn import functional

from lenssr._forward_model import BatchForwardModel
from lenssr.networks import asinh_scale, sinh_scale
from lenssr.train._optimization import flux_weight
from lenssr.weights import load_network

SSIM_SIGMA = 1.5  # pixels
SSIM_RADIUS = 5  # pixels, of the window
K1, K2 = 0.01, 0.03


def structural_similarity(image, truth, span) -> torch.Tensor:
    """Compute the mean structural similarity of Wang et al. (2004, doi:10.1109/TIP.2003.819861)."""
    if min(truth.shape[-2:]) < 2 * SSIM_RADIUS + 1:
        raise ValueError(
            f"the loss ssim needs targets of at least {2 * SSIM_RADIUS + 1} pixels, got "
            f"{tuple(truth.shape[-2:])}")
    span = torch.as_tensor(span, dtype=truth.dtype, device=truth.device).reshape(-1, 1, 1, 1)
    offset = torch.arange(-SSIM_RADIUS, SSIM_RADIUS + 1, dtype=truth.dtype, device=truth.device)
    window = torch.exp(-offset**2 / (2 * SSIM_SIGMA**2))
    window = window / window.sum()

    def local_mean(x):
        x = functional.conv2d(x.flatten(0, 1)[:, None], window.reshape(1, 1, -1, 1))
        x = functional.conv2d(x, window.reshape(1, 1, 1, -1))
        return x.reshape(*truth.shape[:2], *x.shape[-2:])

    mean_x, mean_y = local_mean(image), local_mean(truth)
    var_x = local_mean(image**2) - mean_x**2
    var_y = local_mean(truth**2) - mean_y**2
    cov = local_mean(image * truth) - mean_x * mean_y
    c1, c2 = (K1 * span) ** 2, (K2 * span) ** 2
    ratio = ((2 * mean_x * mean_y + c1) * (2 * cov + c2)
             / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)))
    return ratio.mean(dim=(1, 2, 3))


PERCEPTUAL_SOFTENING = 0.05  # of the peak, where the stretch turns logarithmic
MIN_VGG_SIDE = 16  # pixels of an image that VGG-19 halves four times


def perceptual_error(image, truth, features) -> torch.Tensor:
    """
    Compute the relative difference of network features of two images.

    The squared difference of each feature map is divided by its mean square (Johnson et al.
    2016, arXiv:1603.08155).
    """
    if min(truth.shape[-2:]) < MIN_VGG_SIDE:
        raise ValueError(
            f"the loss perceptual needs targets of at least {MIN_VGG_SIDE} pixels, got "
            f"{tuple(truth.shape[-2:])}")
    network = load_features(features).to(truth.device, truth.dtype)
    # The sky noise is the unit for images without a source.
    scale = PERCEPTUAL_SOFTENING * truth.amax(dim=(1, 2, 3), keepdim=True).clamp(min=1)

    def see(x):
        return torch.asinh(x / scale) / math.asinh(1 / PERCEPTUAL_SOFTENING)

    with torch.no_grad():
        true_features = network.features(see(truth))
    errors = [(image_features - true).square().mean() / true.square().mean().clamp(min=1e-12)
              for image_features, true in zip(network.features(see(image)), true_features)]
    return torch.stack(errors).mean()


@functools.cache
def load_features(features):
    """Load a frozen network whose method ``features`` returns feature maps."""
    if features == "lens":
        network = load_network(_classifier())[0]
    elif features == "vgg19":
        network = _vgg19(_from_torchvision())
    elif Path(features).with_suffix(".json").is_file():
        network = load_network(features)[0]
    else:
        network = _vgg19(_read_tensors(features))
    if not callable(getattr(network, "features", None)):
        raise ValueError("recipe key `features` must be weights of a network with feature maps, "
                         f"for example a classifier, {features!r} are of "
                         f"{type(network).__name__}")
    return network.eval().requires_grad_(False)


def _classifier():
    """Return the shipped classifier."""
    names = sorted(Path(str(path)).stem for path in resources.files("lenssr.weights").iterdir()
                   if path.name.startswith("classifier") and path.name.endswith(".safetensors"))
    if not names:
        raise ValueError("recipe key `features` must be 'vgg19' or a file of weights, since no "
                         "weights of a classifier come with this version of lenssr, got 'lens'")
    return names[0]


def _from_torchvision():
    """Return the state of torchvision's VGG-19."""
    try:
        models = import_module("torchvision.models")
    except (ImportError, RuntimeError) as err:  # other versions of torch use the second name
        raise ValueError("recipe key `features` must be 'lens' or a file of weights where "
                         f"torchvision cannot be imported ({err}), got 'vgg19'") from err
    return models.vgg19(weights="IMAGENET1K_V1").state_dict()


def _read_tensors(path):
    """Read the tensors of a file."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not Path(path).is_file():
        raise ValueError("recipe key `features` must be 'lens', 'vgg19' or a file of weights, got "
                         f"{path!r}")
    try:
        if Path(path).suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, weights_only=True, map_location="cpu")
    except (SafetensorError, OSError, RuntimeError, ValueError, EOFError, KeyError,
            ImportError) as err:
        raise ValueError(f"recipe key `features`: {path} cannot be read: "
                         f"{' '.join(str(err).split())[:200]}") from err


def _vgg19(state):
    """Return a `VGG19` of a state, without classifier layers."""
    from lenssr.networks import VGG19

    network = VGG19()
    try:
        network.load_state_dict({k: v for k, v in state.items() if k.startswith("features.")})
    except (RuntimeError, AttributeError) as err:
        raise ValueError("recipe key `features`: the weights are not from torchvision's vgg19: "
                         f"{' '.join(str(err).split())[:200]}") from err
    return network


FLUX_ACCURACY = 0.01  # relative flux error below which `flux_error` is constant

MIN_RELATIVE_ERROR = 1e-6  # squared error over squared peak: 60 dB

MAX_OUTPUT = 20.0  # bound of a network output in asinh units: 7e8 times the noise

CONSISTENCY_EDGE = 6  # input pixels along the edge of a patch that hold light from outside

CHARBONNIER_EPSILON = 1e-3  # where `charbonnier` turns from square to absolute


def mse(image, truth) -> torch.Tensor:
    """Compute the mean squared error."""
    return (image - truth).square().mean()


def l1(image, truth) -> torch.Tensor:
    """Compute the mean absolute error."""
    return (image - truth).abs().mean()


def charbonnier(image, truth) -> torch.Tensor:
    """Compute the smoothed absolute error of Lai et al. (2017, arXiv:1704.03915)."""
    return ((image - truth).square() + CHARBONNIER_EPSILON**2).sqrt().mean()


def ssim(image, truth) -> torch.Tensor:
    """Compute 1 - SSIM, with the peak of each image as data range."""
    # The sky noise is the unit for images without a source.
    span = truth.amax(dim=(1, 2, 3)).clamp(min=1)
    return 1 - structural_similarity(image, truth, span).mean()


PIXEL_LOSSES = {"mse": mse, "l1": l1, "charbonnier": charbonnier}

LOSSES = ("composite", *PIXEL_LOSSES, *(f"{name}_linear" for name in PIXEL_LOSSES), "ssim",
          "perceptual")
"""Names of the losses that a recipe may weigh."""

RESIDUAL_LOSS = "residual"
"""Loss against the data in place of the target, for networks that predict the data."""

CONSISTENCY_LOSS = "consistency"
"""Loss against the data beside the target, for physics networks."""


def training_loss(output, truth, scale, training, step=0, mean=lambda x: x) -> torch.Tensor:
    """Compute the weighted sum of the loss terms of a recipe."""
    total = 0.0
    for name, weight in training.loss.items():
        if name == "composite":
            term = restoration_loss(output, truth, scale, training.peak_weight,
                                    flux_weight(step, training), mean)
        elif name == "ssim":
            term = ssim(output, asinh_scale(truth))
        elif name == "perceptual":
            term = perceptual_error(linear_image(output), truth, training.features)
        elif name.endswith("_linear"):
            term = PIXEL_LOSSES[name.removesuffix("_linear")](linear_image(output), truth)
        else:
            term = PIXEL_LOSSES[name](output, asinh_scale(truth))
        total = total + weight * term
    return total


def linear_image(output):
    """Convert a network output to noise units, clipped against overflow."""
    return sinh_scale(output.clamp(-MAX_OUTPUT, MAX_OUTPUT))


def log_relative_error(image, truth, mean=lambda x: x) -> torch.Tensor:
    """Compute the mean logarithm of the squared error over the squared peak, a negative PSNR."""
    peak = truth.amax(dim=(1, 2, 3))
    error = (image - truth).square().mean(dim=(1, 2, 3))
    has_light = peak > 0
    relative = error[has_light] / peak[has_light].square() + MIN_RELATIVE_ERROR
    # Average over all processes, whose numbers of images with a source differ.
    count = mean(has_light.sum().to(error.dtype))
    return relative.log().sum() / count if count > 0 else error.sum() * 0


def flux_error(image, truth, scale: int) -> torch.Tensor:
    """Compute the flux error in blocks of 16 pixels and of the image, in units of its tolerance."""
    total = 0.0
    for side in {min(16, truth.shape[-1]), truth.shape[-1]}:
        noise = scale / side
        predicted, true = (functional.avg_pool2d(z, side) for z in (image, truth))
        accuracy = noise**2 + (FLUX_ACCURACY * true).square()
        total = total + (((predicted - true).square() / accuracy + 1).sqrt() - 1).mean()
    return total


def consistency_loss(output, batch) -> torch.Tensor:
    r"""
    Compute the mean log ratio of the :math:`\chi^2` of images to that of the truth, where
    larger.
    """
    lr, truth, sigma, kernel = (part.to(output.device) for part in (
        batch.lr, batch.truth, *batch.telescope[:2]))
    edge = min(CONSISTENCY_EDGE, (min(lr.shape[-2:]) - 1) // 2)
    inner = (..., slice(edge, -edge or None), slice(edge, -edge or None))
    observation = BatchForwardModel(kernel.to(output.dtype), batch.scale, lr.shape[-2:])
    predicted, true = (
        ((lr - observation.forward(image)) / sigma)[inner].square().sum(dim=(1, 2, 3)) + 1
        for image in (linear_image(output), truth))
    return functional.relu(torch.log(predicted / true)).mean()


def restoration_loss(output, truth, scale, peak_weight, flux_weight,
                     mean=lambda x: x) -> torch.Tensor:
    """Compute the squared asinh error plus `log_relative_error` and `flux_error`."""
    image = linear_image(output)
    return (mse(output, asinh_scale(truth))
            + peak_weight * log_relative_error(image, truth, mean)
            + flux_weight * flux_error(image, truth, scale))
