"""One figure: the image as observed, results, truth, and what separates them."""

import numpy as np

__all__ = ["comparison_figure"]


def comparison_figure(pair, results, title=""):
    """
    Draw results beside the observed image and the truth.

    Parameters
    ----------
    pair : `~lenssr.simulate.LensPair`
        Observed image and truth.
    results : dict
        Super-resolved images by name.
    title : str
        Title of the figure.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        Above, surface brightness in units of the noise of the observed sky, all
        through the same asinh; below, result minus truth in units of the observed
        noise.
    """
    from matplotlib.figure import Figure

    scale = pair.scale
    noise = float(np.percentile(pair.lr.uncertainty.array, 25))
    # Fluxes per output pixel, brought back to fluxes per input pixel.
    panels = {"observed": pair.lr.data,
              **{name: image.data * scale**2 for name, image in results.items()},
              "truth": pair.hr.data * scale**2}
    truth = panels["truth"]
    top = np.arcsinh(truth.max() / noise / 3)
    sigma = np.kron(pair.lr.uncertainty.array, np.ones((scale, scale)))

    figure = Figure(figsize=(2.6 * len(panels), 5.6), layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots(2, len(panels))
    for axis, (name, image) in zip(axes[0], panels.items(), strict=True):
        shown = axis.imshow(np.arcsinh(image / noise / 3), origin="lower", cmap="magma",
                            vmin=-0.5, vmax=top)
        axis.set_title(name)
    figure.colorbar(shown, ax=axes[0], label="asinh(value / 3 sky noise)", shrink=0.8)
    shown = None
    for axis, (name, image) in zip(axes[1], panels.items(), strict=True):
        if name in results:
            shown = axis.imshow((image - truth) / sigma, origin="lower", cmap="RdBu_r",
                                vmin=-10, vmax=10)
            axis.set_title(f"{name} - truth")
        else:
            axis.set_visible(False)
    if shown is not None:
        figure.colorbar(shown, ax=axes[1], label="residual / noise", shrink=0.8)
    for axis in axes.ravel():
        axis.set(xticks=[], yticks=[])
    return figure
