"""The whole error of a network's results: what its head says, times what calibration found."""

import numpy as np

from lenssr.image import expand_mask, network_tiles
from lenssr.methods._consistency import DataResidual
from lenssr.methods._image_features import image_features
from lenssr.uncertainty import (
    conformal_factor,
    crowding,
    domain_inflation,
    inflate_isolated_peaks,
    local_snr,
)

__all__ = ["calibrated_factor", "error_map", "normalized_residual", "predict_error", "snr_map"]


def predict_error(head, calibration, apply, image, mean, snr, measured):
    r"""
    Standard deviation of the whole error of a restored image.

    :math:`f(q, c)\, d\, s`: what the head says, `doubted`, times the factor :math:`f` of the local
    signal to noise :math:`q` and the crowding :math:`c`, and that of the distance from the domain
    of the training, :math:`d`.
    """
    factor, facts = calibrated_factor(calibration, apply.scale, image, snr)
    std = error_map(head, apply, image, mean)
    if calibration.get("doubt"):
        std = inflate_isolated_peaks(std, measured, mean - apply.level)
    return factor * std, {
        "SRCALIB": ("predictive", f"whole error, calibrated on {calibration['on']}"), **facts}


def calibrated_factor(calibration, scale, image, snr):
    r"""What errors of a calibrated network are multiplied by: :math:`f(q, c)\, d` of `predict_error`."""
    inflation = domain_inflation(image_features(image), calibration["domain"])
    crowd = crowding(snr, ~expand_mask(image.mask, scale), scale)
    factor = inflation * conformal_factor(
        snr, crowd, calibration["scales"][str(scale)]["factors"])
    return factor, {"SRINFLAT": (round(inflation, 3), "errors times this: distance from training")}


def snr_map(apply, image, mean):
    """What `lenssr.image._snr.local_snr` gives of a restored image."""
    return local_snr(mean, apply.level, expand_mask(image.sigma, apply.scale))


def error_map(head, apply, image, mean):
    """What the head says of an image, as a standard deviation, tile by tile."""
    torch, scale, noise = apply.torch, apply.scale, image.noise
    from lenssr.networks import asinh_scale

    head, told = head.to(apply.device), apply.summary.to(torch.float32)
    weight = np.where(image.mask, 0.0, noise / image.sigma)
    misfit = normalized_residual(image, scale, mean, apply.tile)
    found = np.empty(mean.shape)

    def tensor(block):
        return torch.from_numpy(block).to(apply.device, torch.float32)[None, None]

    with torch.inference_mode():
        for tile in network_tiles(image.shape, apply.tile, head.halo):
            planes = (mean[tile.around(scale)] - apply.level,
                      image.data[tile.padded] - apply.level)
            output = head(*(asinh_scale(tensor(plane / noise)) for plane in planes),
                          tensor(weight[tile.padded]), told, tensor(misfit[tile.padded]))
            output = torch.exp(output[0, 0].double() / 2).cpu().numpy()
            found[tile.outer(scale)] = output[tile.inner(scale)]
    found *= noise
    return found


def normalized_residual(image, scale, mean, tile=None):
    """What a restored image leaves of its data, in units of their noise."""
    if image.psf is None:
        return np.zeros(image.shape)
    return DataResidual(image, scale, tile).residual(mean)
