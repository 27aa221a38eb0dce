"""Metrics of an image against its truth."""

import inspect

import numpy as np
from astropy import units as u
from astropy.nddata import NDData
from scipy import fft
from scipy.signal.windows import hann

FREQUENCY_EDGES = np.linspace(0.0, 0.5, 17)  # cycles per pixel
FREQUENCIES = (FREQUENCY_EDGES[1:] + FREQUENCY_EDGES[:-1]) / 2
"""Middles of the rings in which power is summed, cycles per pixel."""


def radial_power(image, truth):
    """Sum the power of two images and their cross-power in rings of spatial frequency."""
    window = np.outer(*(hann(n, sym=False) for n in truth.shape))
    first, two = (fft.rfft2(window * values) for values in (image, truth))
    fy, fx = fft.fftfreq(truth.shape[0])[:, None], fft.rfftfreq(truth.shape[1])[None, :]
    # Each mode of the half plane counts twice, except at its edges.
    weight = np.where((fx == 0) | (fx == 0.5), 1.0, 2.0) * np.ones_like(fy)
    ring = np.digitize(np.hypot(fx, fy), FREQUENCY_EDGES) - 1
    ring[0, 0] = len(FREQUENCIES)  # the mean is not structure
    power = np.abs(first) ** 2, np.abs(two) ** 2, (first * two.conj()).real
    return np.stack([np.bincount(ring.ravel(), (weight * p).ravel(), len(FREQUENCIES) + 1)[
        :len(FREQUENCIES)] for p in power])


def transfer_function(power):
    """Compute transfer function and correlation from the sums of `radial_power`."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sqrt(power[0] / power[1]), power[2] / np.sqrt(power[0] * power[1])


SSIM_WINDOW = 7  # pixels along a side


def image_metrics(estimate, truth, *, data_range, mask=None):
    r"""
    Compare an image with its truth.

    Parameters
    ----------
    estimate, truth : array, `~astropy.units.Quantity` or `~astropy.nddata.NDData`
        Images of one shape ``(ny, nx)``. If both have units, the estimate is converted to the unit
        of the truth.
    data_range : float
        Signal to which errors are compared, in the unit of the truth, for example its peak. There
        is no default, since metrics depend on this choice.
    mask : array, optional
        `True` for pixels to exclude, in addition to masked and non-finite pixels.

    Returns
    -------
    metrics : dict
        ``mse``, mean squared error in the squared unit of the truth; ``psnr``,
        :math:`10 \log_{10}(\mathrm{data\_range}^2 / \mathrm{mse})` in dB; ``ssim``, mean structural
        similarity in windows of 7 x 7 pixels (Wang et al. 2004, doi:10.1109/TIP.2003.819861);
        ``flux_ratio``, total of the estimate over total of the truth, NaN for a total of zero.

    Raises
    ------
    ValueError
        If the shapes differ, the images are too small for SSIM, the units do not match,
        ``data_range`` is not positive, or no pixel is valid.
    TypeError
        If an image is not numeric.

    Notes
    -----
    Blank sky dominates the SSIM of most images of lenses. Compare with the SSIM of bilinear
    interpolation, or mask the sky. SSIM windows with masked pixels are excluded, unless no window
    remains.

    Examples
    --------
    >>> import numpy as np
    >>> from lenssr.evaluate import image_metrics
    >>> truth = np.arange(100.0).reshape(10, 10)
    >>> image_metrics(truth + 1, truth, data_range=100.0)["psnr"]
    40.0
    """
    from skimage.metrics import structural_similarity

    values, own_mask, own_unit = _values("estimate", estimate)
    two, truth_mask, truth_unit = _values("truth", truth)
    if own_unit is not None and truth_unit is not None:
        try:
            values = values * own_unit.to(truth_unit)
        except u.UnitConversionError as err:
            raise ValueError(f"`estimate` must have a unit that converts to {truth_unit}, "
                             f"got {own_unit}") from err
    if values.ndim != 2 or values.shape != two.shape:
        raise ValueError("`estimate` and `truth` must be 2-D and of one shape, "
                         f"got {values.shape} and {two.shape}")
    if min(values.shape) < SSIM_WINDOW:
        raise ValueError(f"`estimate` must have at least {SSIM_WINDOW} pixels along each side for "
                         f"SSIM, got {values.shape}")
    if not (np.isscalar(data_range) and np.isfinite(data_range) and data_range > 0):
        raise ValueError(f"`data_range` must be a positive number, got {data_range!r}")
    left_out = own_mask | truth_mask
    if mask is not None:
        mask = np.asarray(mask)
        if mask.shape != values.shape:
            raise ValueError(f"`mask` must have the shape of the images {values.shape}, "
                             f"got {mask.shape}")
        left_out = left_out | (mask != 0)
    if left_out.all():
        raise ValueError("`mask` must leave at least one pixel, got none")

    use = ~left_out
    mse = float(np.mean((values - two)[use] ** 2))
    values, two = np.where(use, values, 0), np.where(use, two, 0)
    _, similarity = structural_similarity(values, two, win_size=SSIM_WINDOW, data_range=data_range,
                                          full=True)
    total = two[use].sum()
    return {"mse": mse,
            "psnr": float(10 * np.log10(data_range**2 / mse)) if mse > 0 else float("inf"),
            "ssim": float(similarity[_whole_windows(use)].mean()),
            "flux_ratio": float(values[use].sum() / total) if total != 0 else float("nan")}


def _values(name, image):
    """Return values with zeros at missing pixels, the missing pixels, and the unit."""
    mask, unit = None, None
    if isinstance(image, NDData):
        mask, unit, image = image.mask, image.unit, image.data
    elif isinstance(image, u.Quantity):
        unit, image = image.unit, image.value
    elif isinstance(image, np.ma.MaskedArray):
        mask, image = np.ma.getmaskarray(image), image.data
    try:
        values = np.asarray(image, dtype=float)
    except (TypeError, ValueError) as err:
        raise TypeError(f"`{name}` must be an image, got {type(image).__name__}") from err
    missing = ~np.isfinite(values)
    if mask is not None:
        missing = missing | (np.asarray(mask) != 0)
    return np.where(missing, 0.0, values), missing, unit


def _whole_windows(use):
    """Return where the SSIM window lies inside the image without excluded pixels."""
    from scipy import ndimage

    inside = ndimage.minimum_filter(use, SSIM_WINDOW, mode="constant", cval=False)
    if inside.any():
        return inside
    # scikit-image averages over windows inside the image.
    inner, edge = np.zeros(use.shape, bool), SSIM_WINDOW // 2
    inner[edge: use.shape[0] - edge, edge: use.shape[1] - edge] = True
    return inner & use if (inner & use).any() else use


def psnr_summary(mse, data_range):
    """
    Average the PSNR of a set of images.

    Parameters
    ----------
    mse : array-like
        Mean squared error of each image.
    data_range : float or array-like
        Data range, of all images or of each image.

    Returns
    -------
    summary : dict
        ``mean``, mean PSNR of the images; ``of_mean``, PSNR of the mean of
        ``mse / data_range**2``, which the worst images dominate; ``median``; and ``worst``, the 5th
        percentile.

    Raises
    ------
    ValueError
        If there is no image, or a number is not positive.

    Examples
    --------
    >>> from lenssr.evaluate import psnr_summary
    >>> psnr_summary([1e-3, 1e-5], 1.0)["mean"]
    40.0
    """
    ratio = np.asarray(mse, dtype=float) / np.asarray(data_range, dtype=float) ** 2
    if ratio.size == 0 or not (np.isfinite(ratio) & (ratio > 0)).all():
        raise ValueError("`mse` and `data_range` must be positive numbers of at least one image")
    psnr = -10 * np.log10(ratio)
    return {"mean": float(psnr.mean()), "of_mean": float(-10 * np.log10(ratio.mean())),
            "median": float(np.median(psnr)), "worst": float(np.percentile(psnr, 5))}


IMAGE_METRICS = ("mse", "ssim", "mse_arc", "mse_matched", "ssim_matched", "mse_arc_matched")
"""What `score` gives, in this order."""


def score_image(estimate, reference, mask, arc):
    """Measure the metrics of a result with data range 1."""
    if estimate.shape != reference.shape:
        raise ValueError(f"the result has the shape {estimate.shape}, not {reference.shape}")
    if not np.isfinite(estimate).all():
        raise ValueError("the result has values that are not finite")
    scores, bright = {}, arc & ~mask
    constant = np.mean((reference - estimate)[~mask])
    for name, image in (("", estimate), ("_matched", estimate + constant)):
        metrics = image_metrics(image, reference, data_range=1.0, mask=mask)
        scores[f"mse{name}"], scores[f"ssim{name}"] = metrics["mse"], metrics["ssim"]
        scores[f"mse_arc{name}"] = float(np.mean((image - reference)[bright] ** 2))
    return {name: scores[name] for name in IMAGE_METRICS}


def score_both(estimate, pair):
    """Measure the metrics against the target, and against a noise-free truth if there is one."""
    metrics = {f"target_{name}": value for name, value in score_image(
        estimate, pair.target, pair.mask, pair.arc).items()}
    if pair.truth is not None:
        metrics |= {f"truth_{name}": value for name, value in score_image(
            estimate, pair.truth, pair.mask, pair.arc).items()}
    return metrics


def noise_floor(pair):
    """Measure the metrics of the truth against the noisy target; NaN without a noise-free truth."""
    if pair.truth is not None:
        return score_image(pair.truth, pair.target, pair.mask, pair.arc)
    if pair.noise is None:
        return dict.fromkeys(IMAGE_METRICS, np.nan)
    mse = pair.noise**2
    ssim = 1.0 if mse == 0 else np.nan  # seed of the noise realisation
    return {name: ssim if name.startswith("ssim") else mse for name in IMAGE_METRICS}


NOMINAL_FWHM = 4.0  # FWHM in input pixels of the PSF for networks that need a PSF


def count_macs(network, shape, scale=None):
    """
    Count the multiply-accumulate operations of a network for one image.

    Convolutions, transposed convolutions and matrix products count; additions, activations,
    pooling, interpolation and Fourier transforms do not, as in publications. Padded pixels count.
    For a diffusion network, one step of one sample counts, without the base network.

    Parameters
    ----------
    network : `torch.nn.Module`
        Network of ``lenssr.networks``, in evaluation mode.
    shape : tuple of int
        Shape ``(ny, nx)`` of the input.
    scale : int, optional
        Scale of a network with several scales; the first one by default.

    Returns
    -------
    macs : int
        Number of multiply-accumulate operations.

    Examples
    --------
    >>> from lenssr.evaluate import count_macs
    >>> from lenssr.networks import build_network
    >>> count_macs(build_network("srcnn", scale=2).eval(), (16, 16)) > 0
    True
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    # Count in the functional layer: some networks compute their kernels and call functions
    # directly.
    image = next(network.parameters()).new_zeros(1, 1, *shape)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(*_inputs(network, image, scale))
    return counter.get_total_flops() // 2


def _inputs(network, image, scale):
    """Return random inputs of a network."""
    from lenssr.image import gaussian_psf, relative_kernel
    from lenssr.networks import N_METADATA_CHANNELS, N_PSF_FEATURES

    names = inspect.signature(network.forward).parameters
    if "noise" in names:  # one evaluation of the denoiser, with the encoder
        fine = image.new_zeros(1, 1, *(network.scale * n for n in image.shape[-2:]))
        noise = network.latent.encode(fine)
        return fine, image, image, image, image.new_zeros(
            1, N_METADATA_CHANNELS), fine, noise, image.new_ones(1)
    if "kernel" not in names:
        return image, image.new_zeros(1, N_PSF_FEATURES)
    scale = network.scales[0] if scale is None else scale
    kernel = image.new_tensor(relative_kernel(gaussian_psf(NOMINAL_FWHM), scale))
    return image, image.new_ones(image.shape), kernel[None], image.new_zeros(1), scale
