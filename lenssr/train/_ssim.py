"""Structural similarity as a differentiable function of the image."""

import torch
from torch.nn import functional

__all__ = ["RADIUS", "structural_similarity"]

SIGMA = 1.5         # pixels
RADIUS = 5          # of the window, pixels
K1, K2 = 0.01, 0.03


def structural_similarity(image, truth, span) -> torch.Tensor:
    """Mean structural similarity of Wang et al. (2004, doi:10.1109/TIP.2003.819861)."""
    if min(truth.shape[-2:]) < 2 * RADIUS + 1:
        raise ValueError(f"the loss ssim needs targets of at least {2 * RADIUS + 1} pixels, got "
                         f"{tuple(truth.shape[-2:])}")
    span = torch.as_tensor(span, dtype=truth.dtype, device=truth.device).reshape(-1, 1, 1, 1)
    offset = torch.arange(-RADIUS, RADIUS + 1, dtype=truth.dtype, device=truth.device)
    window = torch.exp(-offset**2 / (2 * SIGMA**2))
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
