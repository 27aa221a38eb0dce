"""The figure of a benchmark: images and what is wrong with them, and the scores of all."""

import numpy as np

from lenssr.evaluate._benchmark_table import decibels
from lenssr.evaluate._figures import MOST, SOFTENING
from lenssr.evaluate._prepare import edge_level

__all__ = ["draw"]

SIDE = 1.35  # inches of a panel
SPREAD = (16, 84)  # percentiles over images


def draw(result):
    """The figure of a `Benchmark`."""
    from matplotlib.figure import Figure

    labels = [name for name in result.summary["method"] if name not in ("constant", "truth")]
    columns, rows = len(labels) + 2, 2 * len(result.shown)
    chart = 0.9 + 0.28 * (len(labels) + 1)
    figure = Figure(figsize=(SIDE * columns, SIDE * rows + 0.9 + chart), layout="constrained")
    above, below = figure.subfigures(2, height_ratios=(SIDE * rows + 0.9, chart))
    axes = above.subplots(rows, columns, squeeze=False)
    for axis in axes.ravel():
        axis.set_axis_off()
    for k, (pair, images) in enumerate(result.shown):
        drawn = _pair(axes[2 * k: 2 * k + 2], pair, images, labels, titles=k == 0)
    above.colorbar(drawn, ax=axes[:, -1], location="right", shrink=0.5, label=(
        "(result - truth) / noise of the input"))
    above.suptitle(f"{result.name}: results on one stretch, and what they got wrong; a fitted "
                   "constant was taken off", fontsize="medium")
    _chart(below.subplots(), result, labels)
    return figure


def _pair(axes, pair, images, labels, titles):
    """Input, results and truth in one row, residuals in the next."""
    noise = pair.plane.noise / pair.span
    observed = pair.plane.data / pair.span
    panels = {"observed": observed - edge_level(observed)}
    for label in labels:
        image = images.get(label)
        if image is not None:
            panels[label] = image + np.mean((pair.best - image)[~pair.mask])
    panels["truth" if pair.noise == 0 or pair.truth is not None else "target"] = pair.best

    def stretch(values):
        return np.arcsinh(values / (SOFTENING * noise))

    low, high = stretch(-2 * noise), stretch(pair.best.max())
    order = ["observed", *labels, next(reversed(panels))]
    extent = (0, 1, 0, 1)
    for name, (top, bottom) in zip(order, axes.T):
        if titles:
            top.set_title(name, fontsize="x-small")
        if name not in panels:
            continue
        top.imshow(stretch(panels[name]), origin="lower", cmap="magma", vmin=low, vmax=high,
                   extent=extent, interpolation="nearest")
        if name in images:
            drawn = bottom.imshow((panels[name] - pair.best) / noise, origin="lower", vmin=-MOST,
                                  vmax=MOST, cmap="RdBu_r", extent=extent,
                                  interpolation="nearest")
    return drawn


def _chart(axis, result, labels):
    """PSNR by method: of the truth, of the target, and the floor of the latter."""
    table, two = result.images, "truth_mse" in result.images.colnames
    best = "truth" if two else "target"
    marks = {f"{best}_mse_matched": ("o", "C0", f"against the {best}, a constant taken off"),
             f"{best}_mse": ("x", "C1", f"against the {best}, as it is")}
    if two:
        marks["target_mse_matched"] = ("s", "C7", "against the target, a constant taken off")
    names = [*labels, "constant"]
    method = np.asarray(table["method"])
    for column, (marker, colour, text) in marks.items():
        for place, name in enumerate(names):
            psnr = decibels(np.asarray(table[column][method == name], dtype=float))
            psnr = psnr[np.isfinite(psnr)]
            if not len(psnr):
                continue
            axis.plot(psnr.mean(), place, marker, color=colour, label=None if place else text,
                      fillstyle="none" if marker == "s" else "full")
            if marker == "o":
                axis.plot(np.percentile(psnr, SPREAD), (place, place), color=colour, lw=1)
    floor = result.summary.meta["floor"]
    if floor["mse"]:
        axis.axvline(decibels(floor["mse"]), color="C7", ls="--", lw=1,
                     label="floor of the target")
    axis.set_yticks(range(len(names)), names, fontsize="small")
    axis.invert_yaxis()
    axis.set_xlabel("PSNR / dB, mean over images (bars: the middle two thirds of them)")
    axis.grid(axis="x", lw=0.3)
    axis.legend(fontsize="x-small", loc="center left", bbox_to_anchor=(1.0, 0.5))
