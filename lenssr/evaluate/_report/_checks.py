"""What can be checked on a result without knowing the truth, and a little more with it."""

import numpy as np
from astropy.table import Table

from lenssr.evaluate._metrics import WINDOW, image_metrics
from lenssr.image import psf_fwhm, resampled_psf

__all__ = ["chi2", "data_residual", "degraded", "figures", "fwhm_of"]

FINER = 8  # of the grid on which a FWHM is measured
WITHIN = {1: "within 1 σ", 2: "within 2 σ"}


def data_residual(subject, restored):
    """Data minus the result brought back to them, over their noise."""
    if not subject.degrades(restored):
        return None
    misfit = subject.misfit
    return np.where(misfit.weight > 0, misfit.residual(_values(subject, restored)), np.nan)


def degraded(subject, restored):
    """A result at the resolution and on the grid of the input, in its values."""
    if not subject.degrades(restored):
        return None
    return subject.misfit.operator.forward(_values(subject, restored))


def _values(subject, restored):
    """A result as surface brightness, in the values of the input."""
    return np.nan_to_num(restored.data) / subject.share


def chi2(subject, restored):
    """Mean square of `data_residual` over the pixels that have one, NaN where there is none."""
    residual = data_residual(subject, restored)
    return np.nan if residual is None else float(np.nanmean(residual**2))


def figures(subject, pixel=None):
    """One row for the input and for each result."""
    image = subject.image
    rows = [_row("input", image.psf, subject.scale) | {"flux": 1.0, "χ²": np.nan}]
    total = float((image.data * ~image.mask).sum()) * subject.share * subject.scale**2 or np.nan
    for each in subject.results:
        rows.append(_row(each.name, each.psf) | {
            "flux": float((each.data * ~subject.mask).sum()) / total, "χ²": chi2(subject, each)})
    if subject.truth is not None:
        rows[0] |= dict.fromkeys(("PSNR", "SSIM", *WITHIN.values()), np.nan)
        for row, each in zip(rows[1:], subject.results):
            row |= _against_truth(subject, each)
    return _described(Table(rows, masked=True), pixel)


def _row(name, psf, scale=1):
    return {"image": name, "FWHM": np.nan if psf is None else fwhm_of(psf) * scale}


def fwhm_of(psf):
    """Full width at half maximum of a PSF in its pixels, of the circle that has the area."""
    from skimage.measure import find_contours

    if any(n % 2 == 0 for n in psf.shape):
        return psf_fwhm(psf)  # of someone else's making: without a central pixel
    fine = np.pad(resampled_psf(psf, FINER), 1)
    y, x = max(find_contours(fine, fine.max() / 2), key=len).T
    area = abs(y[:-1] @ x[1:] - y[1:] @ x[:-1]) / 2
    return 2 * float(np.sqrt(area / np.pi)) / FINER


def _against_truth(subject, restored):
    truth, row = subject.truth, {"PSNR": np.nan, "SSIM": np.nan}
    peak = float(np.max(truth, where=np.isfinite(truth), initial=0))
    if peak > 0 and min(truth.shape) >= WINDOW:
        found = image_metrics(restored.values, truth, data_range=peak, mask=subject.mask)
        row = {"PSNR": found["psnr"], "SSIM": found["ssim"]}
    sigma = restored.maps.get("uncertainty")
    use = ~subject.mask & np.isfinite(truth) & ~restored.mask
    for k, name in WITHIN.items():
        row[name] = np.nan if sigma is None else 100 * float(
            np.mean(np.abs(restored.data - truth)[use] < k * sigma[use]))
    return row


def _described(table, pixel):
    if pixel is not None:
        table.add_column(table["FWHM"] * pixel, 2, "FWHM on the sky")
    about = {
        "FWHM": ("full width at half maximum of the PSF, output pixels", ".2f", "pix"),
        "FWHM on the sky": ("the same as an angle", ".3f", "arcsec"),
        "flux": ("total flux over that of the input", ".4f", None),
        "χ²": ("mean square of the input minus the result at the input's resolution, over the "
               "noise: one where the result explains the data, more where it contradicts them, "
               "less where it follows their noise", ".3f", None),
        "PSNR": ("peak of the truth over the rms error", ".2f", "dB"),
        "SSIM": ("structural similarity, windows of 7 x 7 pixels", ".4f", None),
        WITHIN[1]: ("pixels whose error is within the uncertainty: 68.3 if that is the whole "
                    "error, and Gaussian", ".1f", "%"),
        WITHIN[2]: ("within twice that: 95.4 if it is", ".1f", "%")}
    for name in table.colnames[1:]:
        column = table[name]
        column.mask = ~np.isfinite(column)
        column.info.description, column.info.format, unit = about[name]
        column.unit = unit
    return table
