"""From noise to a latent, level by level, with any denoiser."""

import math

__all__ = ["SAMPLERS", "draw"]


def dpm(latent, levels, denoise, fresh):
    """
    DPM-Solver++(2M) (Lu et al. 2022, arXiv:2211.01095): one evaluation a step, second order.

    Parameters
    ----------
    latent : `~torch.Tensor`
        With noise of the first level.
    levels : sequence of float
        Decreasing noise levels.
    denoise : callable
        The expected latent, of a noisy one and its level.
    fresh : callable
        New standard normal numbers of the shape of the latent, of the number of a step.
    """
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
    """
    Draw latents.

    Parameters
    ----------
    sampler : str
        One of `SAMPLERS`.
    levels : sequence of float
        Decreasing noise levels.
    denoise : callable
        The expected latent, of a noisy one and its level.
    start : `~torch.Tensor`
        Standard normal numbers. A latent has a variance of one before noise is added.
    fresh : callable
        As `dpm` takes it.
    """
    levels = [float(level) for level in levels]
    return SAMPLERS[sampler][0](math.hypot(levels[0], 1.0) * start, levels, denoise, fresh)
