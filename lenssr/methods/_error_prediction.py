"""Predicted total error of a network: error head, calibration, training domain."""

import numpy as np
from scipy import stats

from lenssr.image import expand_mask, network_tiles, psf_fwhm
from lenssr.methods._consistency import DataResidual
from lenssr.uncertainty import (
    DOMAIN_FEATURES,
    central_cutout,
    conformal_factor,
    crowding,
    domain_inflation,
    find_sky,
    inflate_isolated_peaks,
    local_snr,
    neighbour_correlation,
    sky_level,
)

MAX_SKY_SIDE = 1024  # pixels along a side of the central cutout that describes the sky
NEGATIVE_SIGMA = 4.0  # standard deviations below the sky; deeper pixels are artefacts
# Relative depth of a flat peak, and its minimum signal-to-noise ratio.
FLAT_PEAK_TOLERANCE, FLAT_PEAK_SNR = 0.01, 50.0


def image_features(image):
    """Measure the features by which images are compared with the training domain."""
    level = sky_level(image.data, image.mask, image.noise)
    snr = np.where(image.mask, 0.0, (image.data - level) / image.sigma)
    features = {} if image.psf is None else _psf_features(image.psf)
    peak = snr.max()
    features["peak_snr"] = max(peak, 1.0)
    features["negative_share"] = (snr < -NEGATIVE_SIGMA).mean()
    # A saturated source has a flat peak; an unsaturated source has one or two such pixels.
    light = np.where(image.mask, -np.inf, image.data - level)
    flat = light > (1 - FLAT_PEAK_TOLERANCE) * light.max()
    features["flat_peak"] = flat.sum() if peak > FLAT_PEAK_SNR else 1
    cutout = central_cutout(image.shape, MAX_SKY_SIDE)
    data, mask, sigma = image.data[cutout], image.mask[cutout], image.sigma[cutout]
    noise, sky = find_sky(data, mask)
    if noise > 0 and sky.any():
        features["noise_ratio"] = noise / np.median(sigma[sky])
        values = (data[sky] - np.median(data[sky])) / noise
        features["sky_skewness"] = stats.skew(np.clip(values, -10, 10))
        features["noise_correlation"] = neighbour_correlation(data, mask)
    return {name: float(features[name]) for name in DOMAIN_FEATURES if name in features}


def _psf_features(psf):
    """Measure the domain features of a PSF."""
    square = psf**2
    y, x = (np.arange(n) - n // 2 for n in psf.shape)
    y, x = np.meshgrid(y, x, indexing="ij")
    xx, yy, xy = ((square * product).sum() for product in (x * x, y * y, x * y))
    return {"psf_fwhm": psf_fwhm(psf), "psf_concentration": psf.max() / square.sum(),
            "psf_ellipticity": np.hypot(xx - yy, 2 * xy) / max(xx + yy, 1e-12)}


def predict_error(head, calibration, inference, image, mean, snr, measurement_std):
    r"""
    Predict the standard deviation of the total error of a restored image.

    It is :math:`f(q, c)\, d\, s`: the prediction :math:`s` of the error head, inflated at isolated
    peaks; the calibration factor :math:`f` of the local signal-to-noise ratio :math:`q` and the
    crowding :math:`c`; and the inflation :math:`d` outside the training domain.
    """
    factor, metadata = calibrated_factor(calibration, inference.scale, image, snr)
    std = error_map(head, inference, image, mean)
    if calibration.get("inflate_isolated_peaks"):
        std = inflate_isolated_peaks(std, measurement_std, mean - inference.level)
    return factor * std, {"calibration": "predictive", **metadata}


def calibrated_factor(calibration, scale, image, snr):
    """Return the calibration factor of each pixel, and named values of the result."""
    inflation = domain_inflation(image_features(image), calibration["domain"])
    crowd = crowding(snr, ~expand_mask(image.mask, scale), scale)
    factor = inflation * conformal_factor(
        snr, crowd, calibration["scales"][str(scale)]["factors"])
    return factor, {"calibration_images": calibration["on"], "inflation": round(inflation, 3)}


def snr_map(inference, image, mean):
    """Return the local signal-to-noise ratio of a restored image."""
    return local_snr(mean, inference.level, expand_mask(image.sigma, inference.scale))


def error_map(head, inference, image, mean):
    """Evaluate the error head tile by tile; return a standard deviation."""
    from lenssr.networks import asinh_scale

    torch, scale, noise = inference.torch, inference.scale, image.noise

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
    """Return the residual in noise units; zero for masked data or without PSF."""
    if image.psf is None:
        return np.zeros(image.shape)
    return DataResidual(image, scale, tile).residual(mean)
