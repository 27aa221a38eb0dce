"""The starlet transform of images."""

import torch
from torch.nn import functional

__all__ = ["SPLINE", "starlet"]

SPLINE = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16


def starlet(image: torch.Tensor, scales: int, edge: str = "replicate") -> torch.Tensor:
    """
    Undecimated wavelet transform with a B3 spline: the isotropic one of astronomy.

    Starck & Murtagh (2006, doi:10.1007/978-3-540-33025-7), section 2.2.
    """
    planes, channels = [], image.shape[1]
    kernel = SPLINE.to(image).outer(SPLINE.to(image)).expand(channels, 1, 5, 5)
    for k in range(scales):
        step = 2**k
        padded = functional.pad(image, [2 * step] * 4, mode=edge)
        smooth = functional.conv2d(padded, kernel, dilation=step, groups=channels)
        planes.append(image - smooth)
        image = smooth
    return torch.stack([*planes, image], dim=2).flatten(1, 2)
