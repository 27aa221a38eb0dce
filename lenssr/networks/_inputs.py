"""Inputs of networks: asinh scaling, PSF features, observation metadata, wavelet planes."""

import math

import torch
from torch.nn import functional

ASINH_SOFTENING = 3.0  # noise standard deviations at which asinh turns from linear to logarithmic

N_PSF_FEATURES = 5  # numbers that `psf_features` returns
ROTATION_SIGNS = (1, 1, 1, -1, -1)  # factors of the features when the PSF is rotated by 90 degrees
FLIP_SIGNS = (1, 1, 1, 1, -1)       # factors of the features when the PSF is mirrored
# Mean and standard deviation of the features for seeing of 3 to 5 pixels FWHM.
LOG_AREA, LOG_CONCENTRATION, ELLIPTICITY_STD = (3.94, 0.33), (0.80, 0.06), 0.03

# Metadata by name: whether the network takes the logarithm, and the mean and standard deviation
# that scale the value. Correlation of the noise of neighbouring pixels, pixel scale (arcsec),
# wavelength of the band (micrometres), redshifts of lens and source.
METADATA = {
    "correlation": (False, 0.2, 0.2),
    "pixel_scale": (True, math.log(0.168), 0.7),
    "wavelength": (True, math.log(0.77), 0.5),
    "z_lens": (False, 0.5, 0.3),
    "z_source": (False, 1.5, 1.0),
}
N_METADATA_CHANNELS = N_PSF_FEATURES + 2 * len(METADATA)  # columns of `encode_metadata`

B3_SPLINE = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16  # B3 spline


def asinh_scale(image: torch.Tensor) -> torch.Tensor:
    """
    Compress an image in noise units to ``asinh(image / 3)``.

    Parameters
    ----------
    image : `~torch.Tensor`
        Image in units of the sky noise, any shape.

    Returns
    -------
    value : `~torch.Tensor`
        Compressed image, same shape.

    Examples
    --------
    >>> import torch
    >>> from lenssr.networks import asinh_scale, sinh_scale
    >>> round(sinh_scale(asinh_scale(torch.tensor(6.0))).item(), 3)
    6.0
    """
    return torch.asinh(image / ASINH_SOFTENING)


def sinh_scale(value: torch.Tensor) -> torch.Tensor:
    """
    Invert `asinh_scale`.

    Parameters
    ----------
    value : `~torch.Tensor`
        Compressed image, any shape.

    Returns
    -------
    image : `~torch.Tensor`
        Image in units of the sky noise, same shape.

    Examples
    --------
    >>> import torch
    >>> from lenssr.networks import sinh_scale
    >>> sinh_scale(torch.zeros(2)).tolist()
    [0.0, 0.0]
    """
    return ASINH_SOFTENING * torch.sinh(value)


def psf_features(psf: torch.Tensor) -> torch.Tensor:
    """
    Compute five numbers that describe a PSF, for the conditioning of networks.

    Parameters
    ----------
    psf : `~torch.Tensor`
        Effective PSFs, odd, centred, of sum one, shape ``(batch, n, m)``.

    Returns
    -------
    features : `~torch.Tensor`
        Shape ``(batch, 5)``: one, which marks a known PSF; the logarithm of the noise-equivalent
        area ``1 / sum(psf**2)``; the logarithm of the peak times that area, a measure of
        concentration; and two components of the ellipticity, from moments weighted by the square
        of the PSF so that wings do not count. The last four are scaled to order one for
        ground-based seeing and clipped to 4. All five are zero for an unknown PSF.

    Examples
    --------
    >>> import torch
    >>> from lenssr.networks import psf_features
    >>> psf_features(torch.full((1, 3, 3), 1 / 9)).shape
    torch.Size([1, 5])
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
        torch.ones_like(area), (area.log() - LOG_AREA[0]) / LOG_AREA[1],
        (peak.log() - LOG_CONCENTRATION[0]) / LOG_CONCENTRATION[1],
        plus / ELLIPTICITY_STD, cross / ELLIPTICITY_STD], dim=-1).clamp(-4, 4)


def psf_feature_range(features: torch.Tensor) -> dict:
    """Range ``{"low", "high"}`` of the last four of `psf_features` ``(n, 5)`` of known PSFs."""
    known = features[features[:, 0] > 0, 1:].double()
    if not len(known):
        return {}
    # Training rotates the images, so the ellipticity covers all directions.
    largest = known[:, 2:].norm(dim=1).amax().expand(2)
    low = torch.cat([known[:, :2].amin(dim=0), -largest])
    high = torch.cat([known[:, :2].amax(dim=0), largest])
    return {"low": low.tolist(), "high": high.tolist()}


def encode_metadata(values: torch.Tensor) -> torch.Tensor:
    """
    Scale PSF features and metadata, and flag the metadata that are known.

    Takes ``(batch, 5 + len(METADATA))``, NaN for unknown metadata; returns
    ``(batch, N_METADATA_CHANNELS)``: PSF features, scaled metadata (zero if unknown), flags.
    """
    psf, values = values[:, :N_PSF_FEATURES], values[:, N_PSF_FEATURES:]
    known = torch.isfinite(values)
    columns = []
    for k, (log, mean, std) in enumerate(METADATA.values()):
        value = values[:, k].clamp(min=1e-6).log() if log else values[:, k]
        columns.append(torch.where(known[:, k], (value - mean) / std, 0.0))
    return torch.cat([psf, torch.stack(columns, dim=1), known.to(psf.dtype)], dim=1)


def has_fast_bfloat16(device):
    """Return whether a device computes bfloat16 natively, so that it is faster than float32."""
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported()
    return bool(torch.backends.mkldnn.is_available()
                and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def exact_float32():
    """
    Context in which convolutions on a GPU use full single precision.

    With TF32, ten bits of mantissa remain; through asinh they are 1 % of a bright star's flux.
    """
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)


def starlet(image: torch.Tensor, scales: int, edge: str = "replicate") -> torch.Tensor:
    """
    Undecimated isotropic wavelet transform of images ``(batch, c, ny, nx)``.

    Returns ``(batch, c (scales + 1), ny, nx)``: for each channel the wavelet planes, finest first,
    and the smooth image; their sum is the image. ``edge="reflect"`` needs sides above
    ``2**(scales + 1)``. Starck & Murtagh (2006, doi:10.1007/978-3-540-33025-7), section 2.2.
    """
    planes, channels = [], image.shape[1]
    kernel = B3_SPLINE.to(image).outer(B3_SPLINE.to(image)).expand(channels, 1, 5, 5)
    for k in range(scales):
        step = 2**k
        padded = functional.pad(image, [2 * step] * 4, mode=edge)
        smooth = functional.conv2d(padded, kernel, dilation=step, groups=channels)
        planes.append(image - smooth)
        image = smooth
    return torch.stack([*planes, image], dim=2).flatten(1, 2)
