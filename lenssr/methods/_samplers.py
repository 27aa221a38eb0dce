"""From noise to a latent, level by level, with any denoiser."""

import math

import numpy as np

__all__ = ["SAMPLERS", "draw", "spread_gain"]


def dpm(latent, levels, denoise, fresh):
    """DPM-Solver++(2M) (Lu et al. 2022, arXiv:2211.01095): one evaluation a step, second order."""
    before, step_before = None, None
    for here, there in zip(levels, levels[1:]):
        found = mean = denoise(latent, here)
        step = math.log(here / there)
        if before is not None:
            mean = found + (found - before) * (step / (2 * step_before))
        latent = there / here * latent + (1 - there / here) * mean
        before, step_before = found, step
    return denoise(latent, levels[-1])


def ddim(latent, levels, denoise, fresh):
    """The deterministic one of Song et al. (2021, arXiv:2010.02502); see `dpm`."""
    for here, there in zip(levels, levels[1:]):
        latent = there / here * latent + (1 - there / here) * denoise(latent, here)
    return denoise(latent, levels[-1])


def ddpm(latent, levels, denoise, fresh):
    """The ancestral one of Ho et al. (2020, arXiv:2006.11239), which adds noise; see `dpm`."""
    for k, (here, there) in enumerate(zip(levels, levels[1:])):
        share = (there / here)**2
        latent = share * latent + (1 - share) * denoise(latent, here)
        latent = latent + there * math.sqrt(1 - share) * fresh(k)
    return denoise(latent, levels[-1])


SAMPLERS = {"dpm": (dpm, 10), "ddim": (ddim, 50), "ddpm": (ddpm, 250)}
"""Samplers by name, and the steps that each takes by default."""


def draw(sampler, levels, denoise, start, fresh):
    """Draw latents."""
    levels = [float(level) for level in levels]
    spread = math.hypot(levels[0], 1.0)
    if sampler != "ddpm":
        spread = float(1 / _gain(levels, 1.0, sampler == "ddim"))
    return SAMPLERS[sampler][0](spread * start, levels, denoise, fresh)


def spread_gain(levels, variance, first_order=False):
    r"""
    Spread of what a sampler draws over the true one, of Gaussian directions of the latent.

    In a direction of variance :math:`\lambda` the exact denoiser is
    :math:`D(x; \sigma) = x \lambda / (\lambda + \sigma^2)`, and a sampler multiplies its start
    by a number.
    """
    variance = np.asarray(variance, dtype=float)
    whole = _gain(levels, variance, first_order) / np.sqrt(variance)
    return whole / _gain(levels, 1.0, first_order)


def _gain(levels, variance, first_order):
    """What comes of a start of one."""
    sampler = ddim if first_order else dpm
    return sampler(np.ones(np.shape(variance)), levels,
                   lambda x, level: x * variance / (variance + level**2), None)
