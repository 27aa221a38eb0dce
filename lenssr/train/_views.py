"""How a discriminator sees images: through asinh, and detail by detail in units of the truth's."""

import torch

from lenssr.networks import asinh_scale, starlet

__all__ = ["DETAILS", "details", "views"]

DETAILS = 3  # octaves of detail
FAINTEST = 0.1  # noise of an input pixel: details of images fainter than that are not blown up


def details(image: torch.Tensor, octaves: int = DETAILS) -> torch.Tensor:
    """What each smoothing by a cubic spline takes away: the scales of `starlet`, edges mirrored."""
    return starlet(image, octaves, "reflect")[:, :-1]


def views(image: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """What a discriminator is shown of an image: itself through asinh, and its details."""
    unit = details(truth).square().mean(dim=(-2, -1), keepdim=True).sqrt()
    return torch.cat([asinh_scale(image), torch.asinh(details(image) / (unit + FAINTEST))], dim=1)
