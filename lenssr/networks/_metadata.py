"""What a network may be told of an observation beside its pixels; each number may be unknown."""

import math

import torch

from lenssr.networks._range import N_PSF_FEATURES

__all__ = ["METADATA", "N_METADATA_CHANNELS", "encode_metadata"]

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
