"""The whole error of a network's results: what its head says, times what calibration found."""

import numpy as np
from scipy import stats

from lenssr.image import expand_mask, network_tiles, psf_fwhm
from lenssr.methods._consistency import DataResidual
from lenssr.uncertainty import (
    DOMAIN_FEATURES,
    conformal_factor,
    crowding,
    domain_inflation,
    find_sky,
    inflate_isolated_peaks,
    local_snr,
    neighbour_correlation,
    sky_level,
)

SKY_PATCH = 1024  # pixels along a side of the patch whose sky is described
NEGATIVE_SIGMA = 4.0  # standard deviations below the sky of a negative pixel
# Relative range of a flat peak, and its least signal-to-noise ratio.
FLAT_PEAK_TOLERANCE, FLAT_PEAK_SNR = 0.01, 50.0


def image_features(image):
    """Features by which an image is compared with those of the training."""
    level = sky_level(image.data, image.mask, image.noise)
    snr = np.where(image.mask, 0.0, (image.data - level) / image.sigma)
    features = {} if image.psf is None else _of_psf(image.psf)
    peak = snr.max()
    features["peak_snr"] = max(peak, 1.0)
    features["negative_share"] = (snr < -NEGATIVE_SIGMA).mean()
    # A saturated source is flat on top; the PSFs that are known have one or two such pixels.
    top = image.data - level
    top = np.where(image.mask, -np.inf, top)
    features["flat_peak"] = (top > (1 - FLAT_PEAK_TOLERANCE) * top.max()).sum() if peak > FLAT_PEAK_SNR else 1
    middle = tuple(slice(max(0, (n - SKY_PATCH) // 2), (n + SKY_PATCH) // 2) for n in image.shape)
    data, mask, sigma = image.data[middle], image.mask[middle], image.sigma[middle]
    noise, sky = find_sky(data, mask)
    if noise > 0 and sky.any():
        features["noise_ratio"] = noise / np.median(sigma[sky])
        values = (data[sky] - np.median(data[sky])) / noise
        features["sky_skewness"] = stats.skew(np.clip(values, -10, 10))
        features["noise_correlation"] = neighbour_correlation(data, mask)
    return {name: float(features[name]) for name in DOMAIN_FEATURES if name in features}


def _of_psf(psf):
    square = psf**2
    y, x = (np.arange(n) - n // 2 for n in psf.shape)
    y, x = np.meshgrid(y, x, indexing="ij")
    xx, yy, xy = ((square * product).sum() for product in (x * x, y * y, x * y))
    return {"psf_fwhm": psf_fwhm(psf), "psf_concentration": psf.max() / square.sum(),
            "psf_ellipticity": np.hypot(xx - yy, 2 * xy) / max(xx + yy, 1e-12)}


def predict_error(head, calibration, inference, image, mean, snr, measured):
    r"""
    Standard deviation of the whole error of a restored image.

    :math:`f(q, c)\, d\, s`: what the head says, `doubted`, times the factor :math:`f` of the local
    signal to noise :math:`q` and the crowding :math:`c`, and that of the distance from the domain
    of the training, :math:`d`.
    """
    factor, metadata = calibrated_factor(calibration, inference.scale, image, snr)
    std = error_map(head, inference, image, mean)
    if calibration.get("inflate_isolated_peaks"):
        std = inflate_isolated_peaks(std, measured, mean - inference.level)
    return factor * std, {"calibration": "predictive", **metadata}


def calibrated_factor(calibration, scale, image, snr):
    r"""What errors of a calibrated network are multiplied by: :math:`f(q, c)\, d` of `predict_error`."""
    inflation = domain_inflation(image_features(image), calibration["domain"])
    crowd = crowding(snr, ~expand_mask(image.mask, scale), scale)
    factor = inflation * conformal_factor(
        snr, crowd, calibration["scales"][str(scale)]["factors"])
    return factor, {"inflation": round(inflation, 3)}


def snr_map(inference, image, mean):
    """What `lenssr.image._snr.local_snr` gives of a restored image."""
    return local_snr(mean, inference.level, expand_mask(image.sigma, inference.scale))


def error_map(head, inference, image, mean):
    """What the head says of an image, as a standard deviation, tile by tile."""
    torch, scale, noise = inference.torch, inference.scale, image.noise
    from lenssr.networks import asinh_scale

    head, conditions = head.to(inference.device), inference.summary.to(torch.float32)
    weight = np.where(image.mask, 0.0, noise / image.sigma)
    residual = normalized_residual(image, scale, mean, inference.tile)
    std = np.empty(mean.shape)

    def tensor(block):
        return torch.from_numpy(block).to(inference.device, torch.float32)[None, None]

    with torch.inference_mode():
        for tile in network_tiles(image.shape, inference.tile, head.halo):
            planes = (mean[tile.around(scale)] - inference.level,
                      image.data[tile.padded] - inference.level)
            output = head(*(asinh_scale(tensor(plane / noise)) for plane in planes),
                          tensor(weight[tile.padded]), conditions, tensor(residual[tile.padded]))
            output = torch.exp(output[0, 0].double() / 2).cpu().numpy()
            std[tile.outer(scale)] = output[tile.inner(scale)]
    std *= noise
    return std


def normalized_residual(image, scale, mean, tile=None):
    """What a restored image leaves of its data, in units of their noise."""
    if image.psf is None:
        return np.zeros(image.shape)
    return DataResidual(image, scale, tile).residual(mean)
