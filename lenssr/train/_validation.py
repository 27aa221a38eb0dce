"""Figures of a network on pairs that it was not trained on."""

import torch

from lenssr.networks import expand

__all__ = ["validate"]

BRIGHT = 20  # peak over noise from which the flux of an image is compared


@torch.no_grad()
def validate(network, pairs, device):
    """
    Figures of a network, in float32.

    Parameters
    ----------
    network : `torch.nn.Module`
        In evaluation mode, on ``device``.
    pairs : `~lenssr.train._batch.Pairs`
        Pairs to validate with.
    device : str or `torch.device`
        Where to compute.

    Returns
    -------
    figures : dict
        ``psnr``: mean over the images with a source, in dB, against the peak of each target
        without noise; ``flux_ratio``: median over the bright ones; and, where targets have
        noise, ``psnr_target``, the same against these, which that noise keeps low.
    """
    ratios, noisy, flux = [], [], []
    for batch in pairs.batches():
        output = expand(network(*batch.inputs(device))).cpu()
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


def _psnr(image, truth, peak):
    mse = (image - truth).square().mean(dim=(1, 2, 3))
    return (peak**2 / mse).log10() * 10
