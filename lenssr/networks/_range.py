"""How networks see pixel values: noise units through asinh."""

import torch

__all__ = ["SOFTENING", "compress", "expand"]

#: Multiple of the noise at which asinh turns from linear to logarithmic.
SOFTENING = 3.0


def compress(image: torch.Tensor) -> torch.Tensor:
    """Noise units to the network's range: ``asinh(image / 3)``."""
    return torch.asinh(image / SOFTENING)


def expand(value: torch.Tensor) -> torch.Tensor:
    """Inverse of `compress`."""
    return SOFTENING * torch.sinh(value)
