"""Figures of results beside their truth, and of catalogues."""

import numpy as np

from lenssr._validation import check_positive_int
from lenssr.image import expand_mask, flux_convention

STRETCH_NOISE = 3.0  # sky noise at which the stretch turns logarithmic
MAX_RESIDUAL = 6.0  # sigma at the end of the residual colour scale


def comparison_figure(pair, results, title=None, *, columns=None, figure=None):
    """
    Draw input, results and truth with one stretch, and residuals below.

    Parameters
    ----------
    pair : `~lenssr.simulate.LensPair`
        Input with its uncertainty, and truth.
    results : dict
        Restored images (`~astropy.nddata.CCDData` or array) by name, on the grid and in the unit
        of the truth.
    title : str, optional
        Title of the figure.
    columns : int, optional
        Images in a row; all by default.
    figure : `~matplotlib.figure.Figure`, optional
        Figure to draw on; a new one by default.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        Images as ``arcsinh(image / 3 sigma)`` per unit area, with the sky noise ``sigma`` of the
        input. Residuals are in units of the noise of an input pixel. The PSNR refers to the peak of
        the truth.

    Raises
    ------
    ValueError
        If the input has no uncertainty, a result has another shape than the truth, or ``columns``
        is not a positive integer.

    Examples
    --------
    >>> from lenssr import superresolve
    >>> from lenssr.data import demo_lens
    >>> from lenssr.evaluate import comparison_figure
    >>> pair = demo_lens()
    >>> figure = comparison_figure(pair, {"lanczos": superresolve(pair.lr, "lanczos")})
    """
    from matplotlib.figure import Figure

    from lenssr.evaluate._metrics import image_metrics

    if pair.lr.uncertainty is None:
        raise ValueError("`pair` must have an input with an uncertainty, got None")
    panels, scale = _panels(pair, results), pair.scale
    truth = panels["truth"]
    sigma = expand_mask(pair.lr.uncertainty.array, scale)
    sky = np.percentile(sigma, 25)

    def stretch(values):
        return np.arcsinh(values / (STRETCH_NOISE * sky))

    low, high = stretch(-2 * sky), stretch(truth.max())
    figure = Figure(layout="constrained") if figure is None else figure
    axes_list = _axes_pairs(figure, len(panels), columns)
    extent = (0, truth.shape[1], 0, truth.shape[0])
    for (name, values), (top, bottom) in zip(panels.items(), axes_list):
        top.imshow(stretch(values), origin="lower", cmap="magma", vmin=low, vmax=high,
                   extent=extent, interpolation="nearest")
        top.set_title(name)
        if name not in results:
            bottom.set_axis_off()
            continue
        residual = (values - truth) / sigma
        drawn = bottom.imshow(residual, origin="lower", cmap="RdBu_r", vmin=-MAX_RESIDUAL,
                              vmax=MAX_RESIDUAL,
                              extent=extent, interpolation="nearest")
        figures = image_metrics(values, truth, data_range=truth.max())
        bottom.set_title(f"PSNR {figures['psnr']:.2f} dB")
    if results:
        # colour bar below the truth, which has no residual
        colour_axis = bottom.inset_axes([0.05, 0.05, 0.08, 0.9])
        figure.colorbar(drawn, cax=colour_axis, label="(result - truth) / noise")
    if title:
        figure.suptitle(title)
    return figure


def _panels(pair, results):
    """Return images by name, as flux per area of an input pixel."""
    area = pair.scale**2 if flux_convention(pair.lr.unit) == "per-pixel" else 1
    truth = np.asarray(pair.hr.data, dtype=float) * area
    panels = {"observed": np.asarray(pair.lr.data, dtype=float)}
    for name, image in results.items():
        values = image if isinstance(image, np.ndarray) else image.data
        if values.shape != truth.shape:
            raise ValueError(f"`results` must have the shape of the truth {truth.shape}, "
                             f"{name!r} has {values.shape}")
        panels[name] = values * area
    return panels | {"truth": truth}


def _axes_pairs(figure, n, columns):
    """Return pairs of axes without ticks, one above the other, for ``n`` images."""
    columns = n if columns is None else min(check_positive_int("columns", columns), n)
    rows = -(-n // columns)
    figure.set_size_inches(2.6 * columns, 5.6 * rows)
    axes = figure.subplots(2 * rows, columns, squeeze=False)
    for axis in axes.ravel():
        axis.set_xticks([])
        axis.set_yticks([])
    axes_list = [pair for row in range(rows) for pair in zip(axes[2 * row], axes[2 * row + 1])]
    for axis in sum(axes_list[n:], ()):
        axis.set_axis_off()
    return axes_list[:n]


def plot_catalog(catalog, n=12, columns=6, figure=None):
    """
    Draw pairs of a catalogue.

    Parameters
    ----------
    catalog : sequence of `~lenssr.simulate.LensPair`
        Catalogue from `lenssr.simulate.open_catalog`, or pairs.
    n : int
        Number of pairs, from the first one.
    columns : int
        Pairs in a row.
    figure : `~matplotlib.figure.Figure`, optional
        Figure to draw on; a new one by default.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        Low-resolution above high-resolution images as ``arcsinh(image / 3 sigma)`` per unit area,
        with the noise ``sigma`` of the image, or a thousandth of its peak without noise. The
        median along the edges of a low-resolution image is subtracted.

    Raises
    ------
    ValueError
        If ``n`` or ``columns`` is not a positive integer.

    Examples
    --------
    >>> from lenssr.evaluate import plot_catalog
    >>> from lenssr.simulate import simulate_pair
    >>> figure = plot_catalog([simulate_pair(size=24)])
    """
    from matplotlib.figure import Figure

    n = min(check_positive_int("n", n), len(catalog))
    columns = min(check_positive_int("columns", columns), n)
    rows = -(-n // columns)
    if figure is None:
        figure = Figure(layout="constrained")
    figure.set_size_inches(1.7 * columns, 3.6 * rows)
    axes = figure.subplots(2 * rows, columns, squeeze=False)
    for axis in axes.ravel():
        axis.set_axis_off()
    for k in range(n):
        row, column = divmod(k, columns)
        pair = catalog[k]
        # Flux per unit area, since both images show the same sky.
        high = np.asarray(pair.hr.data, dtype=float)
        if pair.hr.unit and flux_convention(pair.hr.unit) == "per-pixel":
            high = high * pair.scale**2
        peak = np.nanmax(high)
        noise = 1e-3 * peak if pair.lr.uncertainty is None else np.median(
            pair.lr.uncertainty.array)
        low, top = (np.arcsinh(v / (STRETCH_NOISE * noise)) for v in (-2 * noise, max(peak, noise)))
        low_values = np.asarray(pair.lr.data, dtype=float)
        low_values = low_values - np.nanmedian(np.concatenate([*low_values[[0, -1]],
                                                               *low_values[:, [0, -1]].T]))
        for axis_index, values in ((2 * row, low_values), (2 * row + 1, high)):
            axes[axis_index, column].imshow(
                np.arcsinh(values / (STRETCH_NOISE * noise)), origin="lower", cmap="magma",
                vmin=low,
                vmax=top, interpolation="nearest")
        lines = [str(k), *(str(pair.truth[name]) for name in ("scene_type", "substructure")
                           if name in pair.truth)]
        axes[2 * row, column].set_title(" ".join(lines), fontsize=8)
    return figure
