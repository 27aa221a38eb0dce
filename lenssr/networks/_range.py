"""How networks see an image: noise units through asinh, and its PSF in a few numbers."""

import torch

__all__ = ["N_PSF_FEATURES", "FLIP_SIGNS", "SOFTENING", "ROTATION_SIGNS", "asinh_scale", "psf_features", "sinh_scale",
           "psf_feature_range"]

#: Multiple of the noise at which asinh turns from linear to logarithmic.
SOFTENING = 3.0

#: How many numbers `describe_psf` gives.
N_PSF_FEATURES = 5

#: Signs that they take when the image is turned by a quarter, and when it is flipped.
ROTATION_SIGNS, FLIP_SIGNS = (1, 1, 1, -1, -1), (1, 1, 1, 1, -1)

# Middle and width of the first two numbers over seeing of 3 to 5 pixels.
AREA, CONCENTRATION, ELLIPTICITY = (3.94, 0.33), (0.80, 0.06), 0.03


def asinh_scale(image: torch.Tensor) -> torch.Tensor:
    """Noise units to the network's range: ``asinh(image / 3)``."""
    return torch.asinh(image / SOFTENING)


def sinh_scale(value: torch.Tensor) -> torch.Tensor:
    """Inverse of `compress`."""
    return SOFTENING * torch.sinh(value)


def psf_features(psf: torch.Tensor) -> torch.Tensor:
    """
    What a network is told of a PSF.

    Parameters
    ----------
    psf : `~torch.Tensor`
        Effective PSFs, odd, centred, of sum one, shape ``(batch, n, m)``.

    Returns
    -------
    conditions : `~torch.Tensor`
        Shape ``(batch, 5)``: one, for a known PSF; logarithm of the area
        ``1 / sum(psf**2)`` that its noise covers; logarithm of its peak times that
        area, which tells core from wings; and two components of ellipticity, the
        moments weighted by the PSF's own square so that wings do not count. All
        but the first are of order one for ground-based seeing, and zero in its
        middle. All five are zero for an unknown PSF.
    """
    square = psf**2
    area = 1 / square.sum(dim=(-2, -1))
    peak = psf.amax(dim=(-2, -1)) * area
    y, x = (torch.arange(n, device=psf.device) - n // 2 for n in psf.shape[-2:])
    y = y[:, None]
    size = (square * (x**2 + y**2)).sum(dim=(-2, -1)).clamp(min=1e-12)
    plus = (square * (x**2 - y**2)).sum(dim=(-2, -1)) / size
    cross = (square * (2 * x * y)).sum(dim=(-2, -1)) / size
    return torch.stack([
        torch.ones_like(area), (area.log() - AREA[0]) / AREA[1],
        (peak.log() - CONCENTRATION[0]) / CONCENTRATION[1],
        plus / ELLIPTICITY, cross / ELLIPTICITY], dim=-1).clamp(-4, 4)


def psf_feature_range(conditions: torch.Tensor) -> dict:
    """Between what a network was told of PSFs."""
    known = conditions[conditions[:, 0] > 0, 1:].double()
    if not len(known):
        return {}
    # Images are turned: what is elongated one way is the other way, too.
    largest = known[:, 2:].norm(dim=1).amax().expand(2)
    low = torch.cat([known[:, :2].amin(dim=0), -largest])
    high = torch.cat([known[:, :2].amax(dim=0), largest])
    return {"low": low.tolist(), "high": high.tolist()}
