"""Perceptual loss: images compared by what a network that knows images sees in them."""

import functools
import math
from importlib import import_module, resources
from pathlib import Path

import torch

from lenssr.weights import load_network

__all__ = ["load_features", "perceptual_error"]

SOFTENING = 0.05  # of the peak: fainter light is seen in proportion, brighter as its logarithm
SMALLEST = 16     # pixels along a side of images that VGG-19 can halve four times


def perceptual_error(image, truth, features) -> torch.Tensor:
    """
    Difference of the features of two images, relative to those of the truth.

    Johnson et al. (2016, arXiv:1603.08155); of each map of features the mean squared difference is
    taken over the mean square, so that maps of all depths and networks of all kinds count alike.
    """
    if min(truth.shape[-2:]) < SMALLEST:
        raise ValueError(f"the loss perceptual needs targets of at least {SMALLEST} pixels, got "
                         f"{tuple(truth.shape[-2:])}")
    network = load_features(features).to(truth.device, truth.dtype)
    # Of an image that shows nothing, the noise of the sky.
    scale = SOFTENING * truth.amax(dim=(1, 2, 3), keepdim=True).clamp(min=1)

    def see(x):
        return torch.asinh(x / scale) / math.asinh(1 / SOFTENING)

    with torch.no_grad():
        wanted = network.features(see(truth))
    errors = [(found - true).square().mean() / true.square().mean().clamp(min=1e-12)
              for found, true in zip(network.features(see(image)), wanted)]
    return torch.stack(errors).mean()


@functools.cache
def load_features(features):
    """A network whose method ``features`` gives maps of features, frozen."""
    if features == "lens":
        network = load_network(_classifier())[0]
    elif features == "vgg19":
        network = _vgg19(_from_torchvision())
    elif Path(features).with_suffix(".json").is_file():
        network = load_network(features)[0]
    else:
        network = _vgg19(_read_tensors(features))
    if not callable(getattr(network, "features", None)):
        raise ValueError("recipe key `features` must be weights of a network with maps of "
                         f"features, such as a classifier, {features!r} are of "
                         f"{type(network).__name__}")
    return network.eval().requires_grad_(False)


def _classifier():
    """The classifier that comes with lenssr."""
    names = sorted(Path(str(path)).stem for path in resources.files("lenssr.weights").iterdir()
                   if path.name.startswith("classifier") and path.name.endswith(".safetensors"))
    if not names:
        raise ValueError("recipe key `features` must be 'vgg19' or a file of weights, since no "
                         "weights of a classifier come with this version of lenssr, got 'lens'")
    return names[0]


def _from_torchvision():
    """State of torchvision's VGG-19."""
    try:
        models = import_module("torchvision.models")
    except (ImportError, RuntimeError) as err:  # the second where it is of another torch
        raise ValueError("recipe key `features` must be 'lens' or a file of weights where "
                         f"torchvision cannot be imported ({err}), got 'vgg19'") from err
    return models.vgg19(weights="IMAGENET1K_V1").state_dict()


def _read_tensors(path):
    """The tensors of a file."""
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
    """A `VGG19` of a state that may hold the layers that classify, too."""
    from lenssr.networks import VGG19

    network = VGG19()
    try:
        network.load_state_dict({k: v for k, v in state.items() if k.startswith("features.")})
    except (RuntimeError, AttributeError) as err:
        raise ValueError("recipe key `features`: the weights are not those of torchvision's vgg19: "
                         f"{' '.join(str(err).split())[:200]}") from err
    return network
