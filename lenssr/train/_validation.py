"""Figures of a network on pairs that it was not trained on."""

import numpy as np
import torch

from lenssr.evaluate import radial_power, transfer_function
from lenssr.networks import exact_float32, sinh_scale

__all__ = ["power_error", "validate"]

BRIGHT = 20  # peak over noise from which the flux of an image is compared
FAINT = 5    # peak over noise below which its power is not


@torch.no_grad()
@exact_float32()
def validate(network, pairs, device):
    """Figures of a network, in float32."""
    ratios, noisy, flux = [], [], []
    for batch in pairs.batches():
        output = sinh_scale(network(*batch.inputs(device))).cpu()
        truth, mean = batch.truth, batch.truth.mean(dim=(1, 2, 3))
        peak = truth.amax(dim=(1, 2, 3))
        seen = peak > 0
        ratios.append(_psnr(output, truth, peak)[seen])
        if batch.hr is not truth:
            noisy.append(_psnr(output, batch.hr, peak)[seen])
        bright = seen & (batch.lr.amax(dim=(1, 2, 3)) > BRIGHT) & (mean > 0.5)
        flux.append(output.sum((1, 2, 3))[bright] / truth.sum((1, 2, 3))[bright])
    flux = torch.cat(flux)
    figures = {"psnr": torch.cat(ratios).mean().item(),
               "flux_ratio": flux.median().item() if len(flux) else float("nan")}
    if noisy:
        figures["psnr_target"] = torch.cat(noisy).mean().item()
    return figures


@torch.no_grad()
def power_error(network, pairs, device):
    r"""How far the power of a network's images is from that of the truth."""
    power = 0.0
    for batch in pairs.batches():
        images = sinh_scale(network(*batch.inputs(device))).cpu().numpy()[:, 0]
        for image, truth in zip(images, batch.truth.numpy()[:, 0]):
            if truth.max() > FAINT:
                found = radial_power(image, truth)
                power = power + found / found[1].sum()
    return float(np.nanmean(abs(transfer_function(power)[0] - 1)))  # small images lack rings


def _psnr(image, truth, peak):
    mse = (image - truth).square().mean(dim=(1, 2, 3))
    return (peak**2 / mse).log10() * 10
