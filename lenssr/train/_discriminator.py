"""What tells the features of two domains apart, and where a network's features are."""

import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

__all__ = ["Discriminator", "encode"]


class Discriminator(nn.Module):
    """Which domain features come from: three convolutions of spectral norm one, and a mean."""

    def __init__(self, features: torch.Tensor, width: int = 64):
        def conv(inputs, outputs, stride):
            return spectral_norm(nn.Conv2d(inputs, outputs, 3, stride, 1))

        super().__init__()
        self.register_buffer("mean", features.mean(dim=(0, 2, 3), keepdim=True))
        self.register_buffer("spread", features.std(dim=(0, 2, 3), keepdim=True) + 1e-6)
        self.layers = nn.Sequential(
            conv(features.shape[1], width, 2), nn.LeakyReLU(0.2), conv(width, width, 2),
            nn.LeakyReLU(0.2), conv(width, 1, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(0))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Log-odds that features are of the source domain, shape ``(batch,)``."""
        return self.layers((features - self.mean) / self.spread)


def encode(network, *inputs):
    """Features of images and the images that the network makes of them."""
    if not hasattr(network, "tail"):
        raise ValueError("`weights` must be of a network with an up-sampling part of its own, got "
                         f"{type(network).__name__}")
    if not inputs:
        return None
    found = []
    hook = network.tail.register_forward_pre_hook(lambda _, args: found.append(args[0]))
    try:
        output = network(*inputs)
    finally:
        hook.remove()
    return found[0], output
