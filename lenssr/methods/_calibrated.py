"""The whole error of a network's results: what its head says, times what calibration found."""

import numpy as np

from lenssr.image import ErrorCorrelation
from lenssr.image._factors import grid_factor
from lenssr.image._lags import unfold
from lenssr.image._mask import expand_mask
from lenssr.image._snr import crowding, local_snr
from lenssr.image._tiles import cut

from ._consistency import Misfit
from ._domain import describe_image, guard

__all__ = ["calibrated_factor", "conformal_factor", "doubted", "error_map", "left_over",
           "predict_error", "rest_correlation", "rest_level", "snr_map", "usual_chi2"]

#: Local signal to noise to which the factors of the bins of `lenssr.image._snr` belong: between
#: them they are interpolated.
KNOTS = (0.5, 3**0.5, 30**0.5, 300**0.5, 60.0)

#: The same for the bins of the crowding.
CROWD_KNOTS = (0.001, 0.008, 0.045, 0.2, 0.6)

#: Predicted errors from which a pixel stands out, and from which it does so for certain.
STANDS_OUT = (2.0, 3.0)


def predict_error(head, calibration, apply, image, mean, snr, measured):
    r"""
    Standard deviation of the whole error of a restored image.

    :math:`f(q, c)\, d\, s`: what the head says, `doubted`, times the factor :math:`f` of the local
    signal to noise :math:`q` and the crowding :math:`c`, and that of the distance from the domain
    of the training, :math:`d`.

    Parameters
    ----------
    head : `~lenssr.networks._error.ErrorHead`
        The head.
    calibration : dict
        That of the card.
    apply : `~lenssr.methods._network.Apply`
        The network as it was applied to the image.
    image : `~lenssr.image.LensImage`
        The image.
    mean : `~numpy.ndarray`
        The restored image.
    snr : `~numpy.ndarray`
        What `snr_map` gives of it.
    measured : `~numpy.ndarray`
        Standard deviation of its error of measurement.

    Returns
    -------
    std : `~numpy.ndarray`
        Shape and unit of ``mean``.
    facts : dict
        Cards for the header.

    Warns
    -----
    LensSRWarning
        For what of the image is outside the domain of the training.
    """
    factor, facts = calibrated_factor(calibration, apply.scale, image, snr)
    std = error_map(head, apply, image, mean)
    if calibration.get("doubt"):
        std = doubted(std, measured, mean - apply.level)
    return factor * std, {
        "SRCALIB": ("predictive", f"whole error, calibrated on {calibration['on']}"), **facts}


def doubted(std, measured, value):
    r"""
    Predicted errors, larger where a pixel stands out that would do so less with other noise.

    A peak of the noise that a network takes for a source looks like one to the head, too; but
    what noise is added to it moves it. With :math:`s` what the head says, :math:`m` the error of
    measurement, and :math:`w` that rises from zero to one while the pixel is two to three
    :math:`s` above or below the sky, :math:`s \max(1, m / s)^{w / 2}`.

    Parameters
    ----------
    std, measured, value : `~numpy.ndarray`
        Of a shape: what the head says, the error of measurement, and the result on a sky of zero.
    """
    low, high = STANDS_OUT
    weight = np.clip((np.abs(value) / std - low) / (high - low), 0, 1)
    return std * np.maximum(measured / std, 1) ** (weight / 2)


def calibrated_factor(calibration, scale, image, snr):
    r"""
    What errors of a calibrated network are multiplied by: :math:`f(q, c)\, d` of `predict_error`.

    Parameters
    ----------
    calibration : dict
        That of the card.
    scale : int
        Output pixels per input pixel.
    image : `~lenssr.image.LensImage`
        The image.
    snr : `~numpy.ndarray`
        What `snr_map` gives of its restored image.

    Returns
    -------
    factor : `~numpy.ndarray`
        Shape of ``snr``.
    facts : dict
        Cards for the header.

    Warns
    -----
    LensSRWarning
        For what of the image is outside the domain of the training.
    """
    inflation = guard(describe_image(image), calibration["domain"])
    crowd = crowding(snr, ~expand_mask(image.mask, scale), scale)
    factor = inflation * conformal_factor(
        snr, crowd, calibration["scales"][str(scale)]["factors"])
    return factor, {"SRINFLAT": (round(inflation, 3), "errors times this: distance from training")}


def snr_map(apply, image, mean):
    """What `lenssr.image._snr.local_snr` gives of a restored image."""
    return local_snr(mean, apply.level, expand_mask(image.sigma, apply.scale))


def rest_correlation(calibration, scale, snr, rest):
    """
    Correlation of the errors that are not of the measurement, as the calibration found it.

    Parameters
    ----------
    calibration : dict
        That of the card.
    scale : int
        Output pixels per input pixel.
    snr : `~numpy.ndarray`
        What `snr_map` gives.
    rest : `~numpy.ndarray`
        Standard deviation of these errors.

    Returns
    -------
    correlation : `~lenssr.image.ErrorCorrelation`
        Of one part, with the factors of sums if the calibration has them.
    """
    found = calibration["scales"][str(scale)]["correlation"]
    kernels = np.stack([unfold(found[name]) for name in ("faint", "bright")])
    factors = found.get("sums")  # cards of earlier versions do not say
    return ErrorCorrelation(kernels[None], np.array([rest_level(rest, snr)]),
                            None if factors is None else np.array(factors)[None])


def usual_chi2(calibration, scale):
    """Range of the reduced chi2 of 98 % of the images of a calibration, `None` without one."""
    found = calibration.get("scales", {}).get(str(scale), {}).get("chi2") if calibration else None
    return (found[0], found[-1]) if found else None


def conformal_factor(snr, crowd, factors):
    """
    What errors are multiplied by, by the local signal to noise and what lies around.

    Parameters
    ----------
    snr, crowd : `~numpy.ndarray`
        What `lenssr.image._snr.local_snr` and `~lenssr.image._snr.crowding` give.
    factors : array-like
        Factors at `KNOTS` and `CROWD_KNOTS`, shape ``(5, 5)``, as
        `~lenssr.image._factors.grid_factor` takes them. Shape ``(5,)``, as in cards of earlier
        versions, for any crowding.
    """
    factors = np.asarray(factors, float)
    if factors.ndim == 1:
        factors = np.repeat(factors[:, None], len(CROWD_KNOTS), axis=1)
    return grid_factor((snr, crowd), (KNOTS, CROWD_KNOTS), factors)


def rest_level(rest, snr):
    """
    Level up to which the errors that are not of the measurement count as those of the sky.

    Parameters
    ----------
    rest : `~numpy.ndarray`
        Root of the whole error squared less that of the measurement squared.
    snr : `~numpy.ndarray`
        What `lenssr.image._snr.local_snr` gives, same shape.

    Returns
    -------
    level : float
        Root mean square of ``rest`` where ``snr`` is below one; zero if it is so nowhere.
    """
    sky = rest[snr < 1]
    return float(np.sqrt(np.mean(sky**2))) if sky.size else 0.0


def error_map(head, apply, image, mean):
    """
    What the head says of an image, as a standard deviation, tile by tile.

    Parameters
    ----------
    head, apply, image, mean
        As `predict_error` takes them.

    Returns
    -------
    std : `~numpy.ndarray`
        Shape and unit of ``mean``.
    """
    torch, scale, noise = apply.torch, apply.scale, image.noise
    from lenssr.networks import compress

    head, told = head.to(apply.device), apply.summary.to(torch.float32)
    weight = np.where(image.mask, 0.0, noise / image.sigma)
    misfit = left_over(image, scale, mean, apply.tile)
    found = np.empty(mean.shape)

    def tensor(block):
        return torch.from_numpy(block).to(apply.device, torch.float32)[None, None]

    with torch.inference_mode():
        for tile in cut(image.shape, apply.tile, head.halo):
            planes = (mean[tile.around(scale)] - apply.level,
                      image.data[tile.padded] - apply.level)
            output = head(*(compress(tensor(plane / noise)) for plane in planes),
                          tensor(weight[tile.padded]), told, tensor(misfit[tile.padded]))
            output = torch.exp(output[0, 0].double() / 2).cpu().numpy()
            found[tile.outer(scale)] = output[tile.inner(scale)]
    found *= noise
    return found


def left_over(image, scale, mean, tile=None):
    """
    What a restored image leaves of its data, in units of their noise.

    Parameters
    ----------
    image : `~lenssr.image.LensImage`
        The image.
    scale : int
        Output pixels per input pixel.
    mean : `~numpy.ndarray`
        The restored image.
    tile : int, optional
        Side of the tiles in pixels of the data; changes no result.

    Returns
    -------
    residual : `~numpy.ndarray`
        Shape of the data; zero where they are masked, and everywhere without a PSF.
    """
    if image.psf is None:
        return np.zeros(image.shape)
    return Misfit(image, scale, tile).residual(mean)
