"""Prior map and figure: the parts of a result from the data and from the prior."""

import numpy as np

from lenssr.evaluate._report._maps import split_result
from lenssr.evaluate._report._page_data import gather_page, match_result
from lenssr.image import expand_mask
from lenssr.uncertainty import sky_level

STRETCH_NOISE = 3.0  # sky noise at which the stretch turns logarithmic


def prior_map(subject, data, *, hdu=None, psf=None, uncertainty=None, mask=None, wcs=None,
              unit=None):
    r"""
    Map the fraction of each pixel of a result that the prior determines.

    Parameters
    ----------
    subject : `~lenssr.SuperResolvedImage` or path-like
        Result of the target resolution, or its file.
    data : path, file, HDUList, HDU, NDData, Cutout2D, Quantity or array-like
        Input image of the result, in any form of `lenssr.superresolve`.
    hdu, psf, uncertainty, mask, wcs, unit : optional
        Further input of ``data``, as in `lenssr.superresolve`.

    Returns
    -------
    fraction : `~numpy.ndarray`
        Map on the grid of the result, with a first axis of bands for a cube: 0 for pixels that the
        data determine, 1 for pixels that the prior determines because the data are masked, noisy or
        blurred.

    Raises
    ------
    ValueError, TypeError
        If an argument is invalid, the result does not have the target resolution, or the data
        have no PSF.

    Notes
    -----
    The result above its sky, :math:`x`, is degraded and restored by a regularised inverse,

    .. math::
        x_\mathrm{data} = T A^\mathsf{T} (A T A^\mathsf{T} + \Sigma)^{-1} A\, x, \qquad
        x_\mathrm{prior} = x - x_\mathrm{data},

    with the forward model :math:`A`, the noise variance :math:`\Sigma`, infinite for masked
    pixels, and the local variance :math:`T` of a white scene with the power of the data. The power
    of the noise and three standard deviations of its scatter are subtracted. The fraction is
    :math:`\mathrm{rms}_\mathrm{prior} / (\mathrm{rms}_\mathrm{data} +
    \mathrm{rms}_\mathrm{prior})`,
    with each rms over the target PSF. A value from the prior is not necessarily wrong.

    References
    ----------
    Schwab, Antholzer & Haltmeier 2019, doi:10.1088/1361-6420/aaf14a (decomposition);
    Engl, Hanke & Neubauer 1996, doi:10.1007/978-94-009-1740-8 (regularised inverse).

    Examples
    --------
    >>> from lenssr import superresolve
    >>> from lenssr.data import demo_lens
    >>> from lenssr.evaluate import prior_map
    >>> image = demo_lens().lr
    >>> prior_map(superresolve(image, "fast"), image).shape
    (128, 128)
    """
    matched = match_result(subject, data, {"hdu": hdu, "psf": psf, "uncertainty": uncertainty,
                                           "mask": mask, "wcs": wcs, "unit": unit})
    subjects = [gather_page(matched, plane=plane) for plane in range(matched.planes)]
    fractions = [split_result(page_data).prior_fraction for page_data in subjects]
    return fractions[0] if matched.result.data.ndim == 2 else np.stack(fractions)


def prior_figure(subject, data, *, plane=0, hdu=None, psf=None, uncertainty=None, mask=None,
                 wcs=None, unit=None, title=None, figure=None):
    """
    Draw the parts of a result from the data and from the prior.

    Parameters
    ----------
    subject, data, hdu, psf, uncertainty, mask, wcs, unit
        As in `prior_map`.
    plane : int
        Plane of a cube.
    title : str, optional
        Title of the figure.
    figure : `~matplotlib.figure.Figure`, optional
        Figure to draw on; a new one by default.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        Data, result, and both parts as ``arcsinh(image / 3 sigma)`` per unit area, with the sky
        noise ``sigma`` of the data; and the prior map.

    Raises
    ------
    ValueError, TypeError
        As in `prior_map`.

    Examples
    --------
    >>> from lenssr import superresolve
    >>> from lenssr.data import demo_lens
    >>> from lenssr.evaluate import prior_figure
    >>> image = demo_lens().lr
    >>> figure = prior_figure(superresolve(image, "fast"), image)
    """
    from matplotlib.figure import Figure

    matched = match_result(subject, data, {"hdu": hdu, "psf": psf, "uncertainty": uncertainty,
                                           "mask": mask, "wcs": wcs, "unit": unit})
    page_data = gather_page(matched, plane=plane)
    parts, image = split_result(page_data), page_data.image
    level = sky_level(image.data, image.mask, image.noise)
    low = expand_mask(np.where(image.mask, np.nan, image.data - level), page_data.scale)
    panels = {"observed": low,
              f"result, {page_data.result.name}": parts.data_part + parts.prior_part,
              "measured": parts.data_part, "imagined": parts.prior_part}

    def stretch(values):
        return np.arcsinh(values / (STRETCH_NOISE * image.noise))

    most = stretch(max(np.nanmax(values) for values in panels.values()))
    figure = Figure(layout="constrained") if figure is None else figure
    figure.set_size_inches(13, 3)
    axes = figure.subplots(1, 5)
    for axis, (name, values) in zip(axes, panels.items()):
        axis.imshow(stretch(values), origin="lower", cmap="RdGy_r", vmin=-most, vmax=most,
                    interpolation="nearest")
        axis.set_title(name)
    drawn = axes[-1].imshow(parts.prior_fraction, origin="lower", cmap="cividis", vmin=0, vmax=1,
                            interpolation="nearest")
    axes[-1].set_title("prior map")
    figure.colorbar(drawn, ax=axes[-1], label="fraction from the prior")
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
    if title:
        figure.suptitle(title)
    return figure
