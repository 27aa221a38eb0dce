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
    Share of each pixel of a result that its data do not determine.

    Parameters
    ----------
    subject : `~lenssr.SuperResolvedImage` or path-like
        A result of the declared resolution, or a file of one.
    data : path, file, HDUList, HDU, NDData, Cutout2D, Quantity or array-like
        The image that was restored, as `lenssr.superresolve` takes it.
    hdu, psf, uncertainty, mask, wcs, unit : optional
        Of ``data``, as in `lenssr.superresolve`, where it does not carry them.

    Returns
    -------
    share : `~numpy.ndarray`
        On the grid of the result, with a first axis of bands for a cube: 0 where a value is
        measured, 1 where it is imagined, since the data are masked, too noisy, or too blurred.

    Raises
    ------
    ValueError, TypeError
        If an argument is not what it must be; the message names it. A result needs the declared
        resolution, and the data their PSF.

    Notes
    -----
    The result above its sky, :math:`x`, is brought to the data and back by an inverse that is
    regularised by their noise,

    .. math::
        x_\mathrm{measured} = T A^\mathsf{T} (A T A^\mathsf{T} + \Sigma)^{-1} A\, x, \qquad
        x_\mathrm{imagined} = x - x_\mathrm{measured},

    where :math:`A` is what the telescope does to an image of the declared resolution,
    :math:`\Sigma` the variance of the noise, infinite where data are masked, and :math:`T`
    the local variance of the white scene that has the power of the data: that of the data about
    each pixel, less that of their noise and three standard deviations of what noise has by
    chance. The share is
    :math:`\mathrm{rms}_\mathrm{imagined} / (\mathrm{rms}_\mathrm{measured} +
    \mathrm{rms}_\mathrm{imagined})`, each over the PSF of the result. The inverse knows of no
    correlation of the scene, so that nothing is taken as measured because its neighbours are.

    That a value is imagined does not make it wrong; it was the method that knew it, and not
    this image.

    References
    ----------
    Schwab, Antholzer & Haltmeier 2019, doi:10.1088/1361-6420/aaf14a (the decomposition);
    Engl, Hanke & Neubauer 1996, doi:10.1007/978-94-009-1740-8 (the regularised inverse).
    """
    matched = match_result(subject, data, {"hdu": hdu, "psf": psf, "uncertainty": uncertainty,
                                    "mask": mask, "wcs": wcs, "unit": unit})
    subjects = [gather_page(matched, plane=plane) for plane in range(matched.planes)]
    fractions = [split_result(page_data).prior_fraction for page_data in subjects]
    return fractions[0] if matched.result.data.ndim == 2 else np.stack(fractions)


def prior_figure(subject, data, *, plane=0, hdu=None, psf=None, uncertainty=None, mask=None,
                 wcs=None, unit=None, title=None, figure=None):
    """
    What was measured, what was imagined: a result in its two parts.

    Parameters
    ----------
    subject, data, hdu, psf, uncertainty, mask, wcs, unit
        As for `prior_map`.
    plane : int
        Which plane of a cube.
    title : str, optional
        Title of the figure.
    figure : `~matplotlib.figure.Figure`, optional
        Figure to draw on; a new one by default.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        Data, result, what was measured of it and what was imagined, all above the sky as
        ``arcsinh(image / 3 sigma)`` per area, sigma being the noise of the sky of the data; and
        the prior map.

    Raises
    ------
    ValueError, TypeError
        As for `prior_map`.
    """
    from matplotlib.figure import Figure

    matched = match_result(subject, data, {"hdu": hdu, "psf": psf, "uncertainty": uncertainty,
                                    "mask": mask, "wcs": wcs, "unit": unit})
    page_data = gather_page(matched, plane=plane)
    parts, image = split_result(page_data), page_data.image
    level = sky_level(image.data, image.mask, image.noise)
    low = expand_mask(np.where(image.mask, np.nan, image.data - level), page_data.scale)
    panels = {"observed": low, f"result, {page_data.result.name}": parts.data_part + parts.prior_part,
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
    figure.colorbar(drawn, ax=axes[-1], label="share imagined")
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
    if title:
        figure.suptitle(title)
    return figure
