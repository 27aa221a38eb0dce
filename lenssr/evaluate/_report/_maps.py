"""Maps of a page, and the split of a result into data and prior."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from astropy.table import Table
from scipy import ndimage

from lenssr.evaluate._metrics import SSIM_WINDOW, image_metrics
from lenssr.image import FWHM_PER_SIGMA, TARGET_FWHM, expand_mask, psf_fwhm, resampled_psf
from lenssr.methods import DataResidual, RegularisedInverse
from lenssr.uncertainty import sky_level

INVERSE_TOLERANCE = 1e-4  # relative; the prior fraction is then accurate to 0.002
SOURCE_SIGMA = 3.0  # standard deviations of the noise power above which there is a source


class ResultParts(NamedTuple):
    """Parts of a result from the data and from the prior, in surface brightness."""

    data_part: np.ndarray
    prior_part: np.ndarray

    @property
    def prior_fraction(self):
        """Fraction of the rms on the scale of the target PSF that the prior determines."""
        rms = [np.sqrt(np.maximum(ndimage.gaussian_filter(
            part**2, TARGET_FWHM / FWHM_PER_SIGMA), 0)) for part in self]
        total = rms[0] + rms[1]
        return np.divide(rms[1], total, out=np.ones(total.shape), where=total > 0)


def split_result(subject):
    """Split the first result of a page into the parts from data and prior."""
    image, result = subject.image, subject.result
    if image.psf is None:
        raise ValueError("`psf` must be given for a prior map, got None")
    if not subject.degrades(result):
        raise ValueError("`subject` must be a result of the declared resolution (SRPSF 'target'), "
                         f"got SRPSF {result.header.get('SRPSF')!r}")
    level = sky_level(image.data, image.mask, image.noise)
    return split_image(image, np.nan_to_num(result.data) / subject.flux_factor - level,
                       subject.scale, level)


def split_image(image, values, scale, level=0.0):
    """Split an image of the target resolution into the parts from data and prior."""
    # Light outside the image does not count against the method.
    residual = DataResidual(image, scale, edges=True)
    inverse = RegularisedInverse(residual, _scene_variance(residual, level), INVERSE_TOLERANCE)
    measured = inverse(residual.operator.forward(values) * residual.weight)
    return ResultParts(measured, values - measured)


def _scene_variance(residual, level):
    """Estimate the local variance of a white scene with the power of the data."""
    image = residual.image
    chance = 1 + SOURCE_SIGMA * np.sqrt(2 * np.sum(image.psf**2))
    power = (image.data - level) ** 2 - chance * image.sigma**2
    return np.maximum(np.nan_to_num(residual.local_mean(power)), 0) / residual.gain


FWHM_UPSAMPLING = 8  # of the grid on which a FWHM is measured
COVERAGE_LABELS = {1: "within 1 σ", 2: "within 2 σ"}


def data_residual(subject, restored):
    """Compute the normalised residual of the data against the degraded result."""
    if not subject.degrades(restored):
        return None
    operator = subject.residual
    return np.where(operator.weight > 0, operator.residual(_values(subject, restored)), np.nan)


def degrade_result(subject, restored):
    """Return a result at the resolution and on the grid of the input."""
    if not subject.degrades(restored):
        return None
    return subject.residual.operator.forward(_values(subject, restored))


def _values(subject, restored):
    """Return a result as surface brightness in the values of the input."""
    return np.nan_to_num(restored.data) / subject.flux_factor


def mean_chi2(subject, restored):
    """Compute the mean square of the data residual, NaN without one."""
    residual = data_residual(subject, restored)
    return np.nan if residual is None else float(np.nanmean(residual**2))


def check_table(subject, pixel=None):
    """Tabulate checks, a row for the input and for each result."""
    image = subject.image
    rows = [_check_row("input", image.psf, subject.scale) | {"flux": 1.0, "χ²": np.nan}]
    total = float((image.data
                   * ~image.mask).sum()) * subject.flux_factor * subject.scale**2 or np.nan
    for restored in subject.results:
        rows.append(_check_row(restored.name, restored.psf) | {
            "flux": float((restored.data * ~subject.mask).sum()) / total,
            "χ²": mean_chi2(subject, restored)})
    if subject.truth is not None:
        rows[0] |= dict.fromkeys(("PSNR", "SSIM", *COVERAGE_LABELS.values()), np.nan)
        for row, restored in zip(rows[1:], subject.results):
            row |= _against_truth(subject, restored)
    return _describe_checks(Table(rows, masked=True), pixel)


def _check_row(name, psf, scale=1):
    return {"image": name, "FWHM": np.nan if psf is None else spline_fwhm(psf) * scale}


def spline_fwhm(psf):
    """Measure the FWHM in pixels of a PSF on a spline-interpolated grid."""
    from skimage.measure import find_contours

    if any(n % 2 == 0 for n in psf.shape):
        return psf_fwhm(psf)  # PSFs of even size have no central pixel
    fine = np.pad(resampled_psf(psf, FWHM_UPSAMPLING), 1)
    y, x = max(find_contours(fine, fine.max() / 2), key=len).T
    area = abs(y[:-1] @ x[1:] - y[1:] @ x[:-1]) / 2
    return 2 * float(np.sqrt(area / np.pi)) / FWHM_UPSAMPLING


def _against_truth(subject, restored):
    truth, row = subject.truth, {"PSNR": np.nan, "SSIM": np.nan}
    peak = float(np.max(truth, where=np.isfinite(truth), initial=0))
    if peak > 0 and min(truth.shape) >= SSIM_WINDOW:
        metrics = image_metrics(restored.values, truth, data_range=peak, mask=subject.mask)
        row = {"PSNR": metrics["psnr"], "SSIM": metrics["ssim"]}
    sigma = restored.maps.get("uncertainty")
    use = ~subject.mask & np.isfinite(truth) & ~restored.mask
    for k, name in COVERAGE_LABELS.items():
        row[name] = np.nan if sigma is None else 100 * float(
            np.mean(np.abs(restored.data - truth)[use] < k * sigma[use]))
    return row


def _describe_checks(table, pixel):
    if pixel is not None:
        table.add_column(table["FWHM"] * pixel, 2, "FWHM on the sky")
    about = {
        "FWHM": ("full width at half maximum of the PSF, output pixels", ".2f", "pix"),
        "FWHM on the sky": ("the same as an angle", ".3f", "arcsec"),
        "flux": ("total flux over total flux of the input", ".4f", None),
        "χ²": ("mean square of the input minus the result at the input's resolution, over the "
               "noise: one where the result explains the data, more where it contradicts them, "
               "less where it follows their noise", ".3f", None),
        "PSNR": ("peak of the truth over the rms error", ".2f", "dB"),
        "SSIM": ("structural similarity, windows of 7 x 7 pixels", ".4f", None),
        COVERAGE_LABELS[1]: (
            "pixels with an error within the uncertainty: 68.3 for a Gaussian total error", ".1f",
            "%"),
        COVERAGE_LABELS[2]: ("within twice that: 95.4 if it is", ".1f", "%")}
    for name in table.colnames[1:]:
        column = table[name]
        column.mask = ~np.isfinite(column)
        column.info.description, column.info.format, unit = about[name]
        column.unit = unit
    return table


CALIBRATION_TEXTS = {
    "measurement": "measurement noise only, not the total error",
    "predictive": "total error, calibrated on images of the training domain"}
"""Descriptions of an uncertainty by its card SRCALIB."""


@dataclass
class PageMap:
    """Map on a page."""

    name: str
    about: str
    values: np.ndarray
    group: str
    unit: str
    repeat: int = 1
    factor: float = 1.0
    key: str = ""


def page_maps(subject, window):
    """Return the maps of a page."""
    layers = [*_images(subject), *_errors(subject), *_maps(subject)]
    for k, layer in enumerate(layers):
        layer.key = f"map{k}"
        layer.values = window.cut(layer.values, layer.repeat)
    return layers


def _images(subject):
    image, scale, unit = subject.image, subject.scale, _text(subject.unit)
    per = "" if subject.flux_factor == 1 else " per input pixel"
    drawn = per and ", drawn per output pixel"
    yield PageMap("Input", f"What the telescope saw, each pixel as {scale} × {scale}{drawn}.",
                  np.where(image.mask, np.nan, image.data), "flux", unit + per, scale,
                  subject.flux_factor)
    for k, result in enumerate(subject.results):
        name = f"Result, {result.name}" if k == 0 else result.name
        yield PageMap(name, f"Restored by {result.name}." if k == 0 else "For comparison.",
                      result.values, "flux", unit)
    if subject.truth is not None:
        yield PageMap("Truth", "What the result ought to be.", subject.truth, "flux", unit)


def _errors(subject):
    if subject.truth is not None:
        noise = expand_mask(subject.image.sigma * subject.flux_factor, subject.scale)
        for result in subject.results:
            yield PageMap(f"{result.name} − truth",
                          "In units of the noise of the input, per area: the same for all methods.",
                          (result.values - subject.truth) / noise, "sigma", "σ")
    for result in subject.results:
        residual = data_residual(subject, result)
        if residual is not None:
            yield PageMap(f"Input − {result.name}",
                          "Residual of the data against the result at the resolution and on the "
                          "pixels of the input, in units of the noise.",
                          residual, "sigma", "σ", subject.scale)


def _maps(subject):
    result, unit = subject.result, _text(subject.unit)
    predictive, measured = (result.maps.get(key) for key in ("uncertainty", "measurement_std"))
    if predictive is not None:
        kind = str(result.header.get("SRCALIB", "unknown"))
        yield PageMap("Uncertainty", "Standard deviation of the result's error: "
                      f"{CALIBRATION_TEXTS.get(kind, f'SRCALIB says {kind!r}')}.", predictive,
                      "std",
                      unit)
    if measured is not None and (predictive is None
                                 or not np.allclose(predictive, measured, equal_nan=True)):
        yield PageMap("Measurement error", "What the noise of the data alone gives each pixel.",
                      measured, "std", unit)
    if (prior := result.maps.get("prior_std")) is not None:
        yield PageMap("Prior error", "What the data do not determine, and the prior filled in.",
                      prior, "std", unit)
    if (chi2 := result.maps.get("consistency")) is not None:
        repeat = subject.scale if chi2.shape == subject.image.shape else 1
        yield PageMap("Consistency", "Reduced χ² of the result, brought back to the data: one "
                      "where it explains them.", chi2, "chi2", "χ² per datum", repeat)
    if subject.prior is not None:
        yield PageMap("Prior fraction", "Fraction of each value that the data do not determine: "
                      "0 is measured, 1 comes from the prior.", subject.prior, "share", "fraction")


def _text(unit):
    return "" if unit is None else str(unit)
