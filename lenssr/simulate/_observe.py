"""How scenes are observed: seeing, depth and noise, for whole batches in torch."""

import math
from dataclasses import dataclass

import torch

from lenssr.image import psf_fwhm
from lenssr.simulate._optics import moffat

__all__ = ["ObservedBatch", "correlate", "kernel_neighbour_correlation", "observe_batch"]


@dataclass
class ObservedBatch:
    """A batch of observed scenes, in flux per input pixel."""

    lr: torch.Tensor
    sigma: torch.Tensor
    clean: torch.Tensor
    hr: torch.Tensor
    sky: torch.Tensor
    electrons: torch.Tensor
    snr: torch.Tensor
    pedestal: torch.Tensor
    transfer: torch.Tensor
    fwhm: torch.Tensor
    correlation: torch.Tensor


def observe_batch(instrument, optics, scenes, points, draws):
    """Observe a batch under conditions drawn from an instrument's ranges."""
    transfer, fwhm = _see(instrument, optics, draws)
    spectrum = optics.transform(scenes, points)
    clean, hr = optics.blurred(spectrum, transfer), optics.sharp(spectrum)
    peak = clean.abs().amax(dim=(1, 2))
    if instrument.zero_point is None:
        snr = _log_uniform(draws, *instrument.snr)
        sky = torch.where(peak > 0, peak / snr, torch.ones_like(peak))
        depth = _log_uniform(draws, *instrument.depth)
    else:
        time = instrument.exposures * instrument.exposure_time
        magnitude = draws.uniform(*instrument.magnitude)
        electrons = time * 10 ** (0.4 * (instrument.zero_point - magnitude))
        depth = torch.full_like(electrons, instrument.sky_electrons)
        sky = depth / electrons
        snr = peak / sky
    if instrument.noiseless:
        noise, sigma = torch.zeros_like(clean), torch.zeros_like(clean)
        width, snr = torch.zeros_like(peak), torch.full_like(peak, math.inf)
    else:
        # With n electrons of noise from the sky, a signal of r times that noise adds a
        # variance of r n electrons to n**2.
        ratio = clean.clamp(min=0) / sky.reshape(-1, 1, 1)
        sigma = sky.reshape(-1, 1, 1) * torch.sqrt(1 + ratio / depth.reshape(-1, 1, 1))
        noise, width = _noise(instrument, clean, sky.reshape(-1, 1, 1), sigma, draws)
    snr = torch.where(peak > 0, snr, torch.zeros_like(snr))
    pedestal = torch.zeros_like(sky)
    if instrument.pedestal != (0.0, 0.0):
        pedestal = sky * draws.uniform(*instrument.pedestal)
    lr = clean + noise + pedestal.reshape(-1, 1, 1)
    return ObservedBatch(lr, sigma, clean, hr, sky, depth, snr, pedestal, transfer,
                       fwhm / optics.bin, width)


def _log_uniform(draws, low, high):
    return torch.exp(draws.uniform(*torch.tensor([low, high]).log().tolist()))


def _see(instrument, optics, draws):
    """Transfer functions of the optics and their FWHM in fine pixels."""
    fine_pixel = instrument.pixel_scale / optics.bin
    if instrument.kernels:
        step = instrument.kernel_scale / fine_pixel
        kernels = [instrument.kernels[k] for k in draws.integers(len(instrument.kernels))]
        fwhm = torch.tensor([step * psf_fwhm(kernel) for kernel in kernels])
        return torch.stack([optics.measured_transfer(k, step) for k in kernels]), fwhm.to(
            optics.device)
    fwhm = draws.uniform(*instrument.seeing) / fine_pixel
    e1, e2 = (instrument.ellipticity * draws.normal().clamp(-3, 3) for _ in range(2))
    beta = 1 / draws.uniform(*(1 / b for b in instrument.beta))
    profile = moffat(optics.n, fwhm, beta, e1, e2, optics.device,
                     reach=(optics.psf_side // 2) * optics.bin)
    return optics.psf_transfer(profile), fwhm


def _noise(instrument, clean, sky, sigma, draws):
    """Noise of an image, and the width of the kernel that correlates it (input pixels)."""
    if instrument.skies is not None:
        # The photons of the sources come on top of a sky that is real.
        stamps = torch.as_tensor(instrument.skies, dtype=clean.dtype, device=clean.device)
        photons = (sigma**2 - sky**2).clamp(min=0).sqrt() * draws.normal(*clean.shape[1:])
        return sky * _cut_skies(stamps, clean.shape[-1], draws) + photons, torch.zeros_like(
            sky.ravel())
    width = torch.where(draws.uniform(0, 1) < instrument.correlated,
                        draws.uniform(*instrument.correlation), 0.0)
    return sigma * correlate(draws.normal(*clean.shape[1:]), width), width


def _cut_skies(stamps, side, draws):
    """Squares of real skies, at random places, turned and mirrored."""
    room = stamps.shape[-1] - side
    if room < 0:
        raise ValueError(f"`size` must leave images, margins included, of at most "
                         f"{stamps.shape[-1]} pixels, the side of the skies, got {side}")
    number, turn = draws.integers(len(stamps)), draws.integers(8)
    y, x = draws.integers(room + 1), draws.integers(room + 1)
    cuts = []
    for k, t, i, j in zip(*(v.tolist() for v in (number, turn, y, x))):
        cut = torch.rot90(stamps[k, i: i + side, j: j + side], t % 4, (0, 1))
        cuts.append(cut.flip(1) if t >= 4 else cut)
    return torch.stack(cuts)


def correlate(white, width):
    """White noise ``(batch, m, m)`` made correlated by a Gaussian, variance kept."""
    if not width.any():
        return white
    fy = torch.fft.fftfreq(white.shape[-2], device=white.device).reshape(1, -1, 1)
    fx = torch.fft.rfftfreq(white.shape[-1], device=white.device).reshape(1, 1, -1)
    transfer = torch.exp(-2 * (torch.pi * width.reshape(-1, 1, 1)) ** 2 * (fx**2 + fy**2))
    kernel = torch.fft.irfft2(transfer, s=white.shape[-2:])
    power = (kernel**2).sum(dim=(-2, -1), keepdim=True)
    return torch.fft.irfft2(torch.fft.rfft2(white) * transfer, s=white.shape[-2:]) / power.sqrt()


def kernel_neighbour_correlation(width, side=64):
    """Correlation of the noise of neighbouring pixels that `correlate` gives, ``(batch,)``."""
    f = torch.fft.fftfreq(side, device=width.device)
    power = torch.exp(-4 * (torch.pi * width[:, None] * f) ** 2)
    return (power * torch.cos(2 * torch.pi * f)).sum(-1) / power.sum(-1)
