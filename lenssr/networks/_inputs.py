"""How networks see an image: noise units through asinh, and its PSF in a few numbers."""

import math

import torch

ASINH_SOFTENING = 3.0  # sky noises at which asinh turns logarithmic

N_PSF_FEATURES = 5  # numbers that `psf_features` returns

#: Signs that they take when the image is turned by a quarter, and when it is flipped.
ROTATION_SIGNS, FLIP_SIGNS = (1, 1, 1, -1, -1), (1, 1, 1, 1, -1)

# (mean, width) over a seeing of 3 to 5 pixels.
AREA_SCALE, CONCENTRATION_SCALE, ELLIPTICITY_SCALE = (3.94, 0.33), (0.80, 0.06), 0.03


def asinh_scale(image: torch.Tensor) -> torch.Tensor:
    """Noise units to the network's range: ``asinh(image / 3)``."""
    return torch.asinh(image / ASINH_SOFTENING)


def sinh_scale(value: torch.Tensor) -> torch.Tensor:
    """Inverse of `compress`."""
    return ASINH_SOFTENING * torch.sinh(value)


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
        torch.ones_like(area), (area.log() - AREA_SCALE[0]) / AREA_SCALE[1],
        (peak.log() - CONCENTRATION_SCALE[0]) / CONCENTRATION_SCALE[1],
        plus / ELLIPTICITY_SCALE, cross / ELLIPTICITY_SCALE], dim=-1).clamp(-4, 4)


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


#: Numbers by name: whether their logarithm is told, and the middle and width that become zero
#: and one. The correlation of the noise of neighbouring pixels, the side of an input pixel in
#: arcsec, the mean wavelength of the band in micrometres, and the redshifts of lens and source.
METADATA = {
    "correlation": (False, 0.2, 0.2),
    "pixel_scale": (True, math.log(0.168), 0.7),
    "wavelength": (True, math.log(0.77), 0.5),
    "z_lens": (False, 0.5, 0.3),
    "z_source": (False, 1.5, 1.0),
}

#: Numbers of which `encode_metadata` makes those that a network is told, and how many these are.
N_METADATA_CHANNELS = N_PSF_FEATURES + 2 * len(METADATA)


def encode_metadata(numbers: torch.Tensor) -> torch.Tensor:
    """What a network is told: numbers of order one, and which of them are known."""
    psf, values = numbers[:, :N_PSF_FEATURES], numbers[:, N_PSF_FEATURES:]
    known = torch.isfinite(values)
    columns = []
    for k, (log, middle, width) in enumerate(METADATA.values()):
        value = values[:, k].clamp(min=1e-6).log() if log else values[:, k]
        columns.append(torch.where(known[:, k], (value - middle) / width, 0.0))
    return torch.cat([psf, torch.stack(columns, dim=1), known.to(psf.dtype)], dim=1)


def has_fast_bfloat16(device):
    """Whether bfloat16 is faster than float32 there, and not emulated."""
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported()
    return bool(torch.backends.mkldnn.is_available()
                and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def exact_float32():
    """Context in which single precision is that, on GPUs too."""
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
