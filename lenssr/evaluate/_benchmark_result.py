"""Result of a benchmark: summary, figure and files."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from astropy.table import Table

from lenssr._io import check_overwrite, write_tables_and_figure
from lenssr.evaluate._figures import MAX_RESIDUAL, STRETCH_NOISE
from lenssr.evaluate._metrics import IMAGE_METRICS
from lenssr.evaluate._pairs import edge_level

REFERENCES = ("target", "truth")

SUMMARY_COLUMNS = {
    "mse": "mean square error over the square of the data range",
    "psnr": "mean of the PSNRs of the images",
    "psnr_of_mean": "PSNR of the mean square error of all images",
    "ssim": "mean structural similarity, windows of 7 x 7 pixels",
    "psnr_arc": "mean PSNR of the bright pixels",
    "removed": "removed fraction of the excess error of bilinear interpolation",
    "psnr_matched": "mean of the PSNRs after a fitted constant was subtracted",
    "ssim_matched": "SSIM after a fitted constant was subtracted",
    "psnr_arc_matched": "PSNR of the bright pixels after a fitted constant was subtracted",
    "removed_matched": "removed fraction after a fitted constant was subtracted",
}
"""Columns of the metrics against target and truth, with descriptions."""

COST_COLUMNS = {
    "parameters": "trained values",
    "macs": "multiply-accumulates for an image",
    "macs_per_pixel": "the same for an input pixel",
    "ms": "median time of one estimate",
}

COLUMN_FORMATS = {"mse": ".3e", "psnr": ".2f", "psnr_of_mean": ".2f", "ssim": ".4f",
                  "psnr_arc": ".2f",
                  "removed": ".3f", "psnr_matched": ".2f", "ssim_matched": ".4f",
                  "psnr_arc_matched": ".2f", "removed_matched": ".3f", "ms": ".1f", "macs": ".3g",
                  "macs_per_pixel": ".3g", "parameters": ".0f"}


def decibels(mse):
    """Convert mean squared errors in units of the squared data range to PSNR in dB."""
    with np.errstate(divide="ignore"):
        return -10 * np.log10(mse)


def summarize_images(images, entrants, n_pixels):
    """Summarise the metrics of all images, a row for each method."""
    against = [name for name in REFERENCES if f"{name}_mse" in images.colnames]
    method = np.asarray(images["method"])
    rows, bilinear = [], images[method == "bilinear"]
    for label in dict.fromkeys(method.tolist()):
        of_label = images[method == label]
        runs = [_run(of_label[of_label["run"] == run], bilinear, entrants.get((label, run)),
                     against, n_pixels) for run in sorted(set(of_label["run"]))]
        row = {"method": label, "runs": len(runs)}
        for key in runs[0]:
            values = np.array([run[key] for run in runs])
            row[key] = values.mean()
            row[f"{key}_spread"] = values.std(ddof=1) if len(values) > 1 else np.nan
        rows.append(row)
    summary = Table(rows, masked=True)
    for name in summary.colnames[2:]:
        # Leave meaningless entries empty, and omit empty columns.
        summary[name].mask = np.isnan(summary[name])
        if summary[name].mask.all() and (name.endswith("_spread") or name in COST_COLUMNS):
            summary.remove_column(name)
            continue
        _describe(summary[name], name)
    return summary


def _run(rows, bilinear, entrant, against, n_pixels):
    columns = {}
    for name in against:
        mean = {figure: float(np.mean(rows[f"{name}_{figure}"])) for figure in IMAGE_METRICS}
        columns[f"{name}_mse"] = mean["mse"]
        columns[f"{name}_psnr_of_mean"] = decibels(mean["mse"])
        for end in ("", "_matched"):
            columns[f"{name}_psnr{end}"] = decibels(np.asarray(rows[f"{name}_mse{end}"])).mean()
            columns[f"{name}_psnr_arc{end}"] = decibels(
                np.asarray(rows[f"{name}_mse_arc{end}"])).mean()
            columns[f"{name}_ssim{end}"] = mean[f"ssim{end}"]
            # The truth, and targets of unknown noise, have a noise floor of zero.
            noise = np.nan_to_num(np.mean(rows[f"floor_mse{end}"])) if name == "target" else 0
            worst = np.mean(bilinear[f"{name}_mse{end}"])
            columns[f"{name}_removed{end}"] = (
                (worst - mean[f"mse{end}"]) / (worst - noise) if worst > noise else np.nan)
    cost = {"parameters": np.nan, "macs": np.nan, "macs_per_pixel": np.nan, "ms": np.nan}
    if entrant is not None:
        # The first call loads weights and warms up.
        times = np.asarray(rows["ms"])[1 if len(rows) > 1 else 0:]
        cost = {"parameters": entrant.parameters, "macs": entrant.macs,
                "macs_per_pixel": entrant.macs / n_pixels, "ms": np.median(times)}
    ordered = {f"{name}_{column}": columns[f"{name}_{column}"]
               for name in against for column in SUMMARY_COLUMNS}
    return {key: float(value) for key, value in (ordered | cost).items()}


def _describe(column, name):
    name, spread = name.removesuffix("_spread"), name.endswith("_spread")
    plain = name.split("_", 1)[1] if name.split("_")[0] in REFERENCES else name
    what = (SUMMARY_COLUMNS | COST_COLUMNS)[plain]
    column.info.description = f"standard deviation over runs: {what}" if spread else what
    column.info.format = COLUMN_FORMATS[plain]
    if plain.startswith("psnr"):
        column.unit = "dB"
    elif plain == "ms":
        column.unit = "ms"


def layout(summary):
    """Return the groups of columns in which a summary is printed."""
    parts = []
    titles = {"target": "Against the target", "truth": "Against the truth, without noise"}
    for name in REFERENCES:
        columns = [f"{name}_{column}" for column in SUMMARY_COLUMNS
                   if f"{name}_{column}" in summary.colnames]
        columns += [f"{name}_{column}_spread" for column in ("psnr", "ssim")
                    if f"{name}_{column}_spread" in summary.colnames]
        if columns:
            part = summary["method", *columns]
            if name == "truth":
                part = part[~part["truth_mse"].mask]
            part.rename_columns(columns, [c.split("_", 1)[1] for c in columns])
            parts.append((titles[name], part))
    costs = ["runs", *(column for column in COST_COLUMNS if column in summary.colnames)]
    cost = summary["method", *costs]
    parts.append(("Cost", cost[~cost["ms"].mask] if "ms" in costs else cost))
    return parts


PANEL_SIDE = 1.35  # inches
SPREAD_PERCENTILES = (16, 84)  # of the images


def draw_benchmark(result):
    """Draw the figure of a `Benchmark`."""
    from matplotlib.figure import Figure

    labels = [name for name in result.summary["method"] if name not in ("constant", "truth")]
    columns, rows = len(labels) + 2, 2 * len(result.shown)
    chart = 0.9 + 0.28 * (len(labels) + 1)
    figure = Figure(figsize=(PANEL_SIDE * columns, PANEL_SIDE * rows + 0.9 + chart),
                    layout="constrained")
    above, below = figure.subfigures(2, height_ratios=(PANEL_SIDE * rows + 0.9, chart))
    axes = above.subplots(rows, columns, squeeze=False)
    for axis in axes.ravel():
        axis.set_axis_off()
    for k, (pair, images) in enumerate(result.shown):
        drawn = _pair(axes[2 * k: 2 * k + 2], pair, images, labels, titles=k == 0)
    above.colorbar(drawn, ax=axes[:, -1], location="right", shrink=0.5, label=(
        "(result - truth) / noise of the input"))
    above.suptitle(f"{result.name}: results with one stretch, and residuals after a fitted "
                   "constant", fontsize="medium")
    _chart(below.subplots(), result, labels)
    return figure


def _pair(axes, pair, images, labels, titles):
    """Draw input, results and truth in one row, and residuals in the next row."""
    noise = pair.plane.noise / pair.span
    observed = pair.plane.data / pair.span
    panels = {"observed": observed - edge_level(observed)}
    for label in labels:
        image = images.get(label)
        if image is not None:
            panels[label] = image + np.mean((pair.best - image)[~pair.mask])
    panels["truth" if pair.noise == 0 or pair.truth is not None else "target"] = pair.best

    def stretch(values):
        return np.arcsinh(values / (STRETCH_NOISE * noise))

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
            drawn = bottom.imshow((panels[name] - pair.best) / noise, origin="lower",
                                  vmin=-MAX_RESIDUAL,
                                  vmax=MAX_RESIDUAL, cmap="RdBu_r", extent=extent,
                                  interpolation="nearest")
    return drawn


def _chart(axis, result, labels):
    """Draw the PSNR of each method against target and truth, with the noise floor."""
    table, two = result.images, "truth_mse" in result.images.colnames
    best = "truth" if two else "target"
    marks = {f"{best}_mse_matched": ("o", "C0", f"against the {best}, a constant taken off"),
             f"{best}_mse": ("x", "C1", f"against the {best}, as it is")}
    if two:
        marks["target_mse_matched"] = ("s", "C7", "against the target, a constant taken off")
    names = [*labels, "constant"]
    method = np.asarray(table["method"])
    for column, (marker, colour, text) in marks.items():
        for position, name in enumerate(names):
            psnr = decibels(np.asarray(table[column][method == name], dtype=float))
            psnr = psnr[np.isfinite(psnr)]
            if not len(psnr):
                continue
            axis.plot(psnr.mean(), position, marker, color=colour, label=None if position else text,
                      fillstyle="none" if marker == "s" else "full")
            if marker == "o":
                axis.plot(np.percentile(psnr, SPREAD_PERCENTILES), (position, position),
                          color=colour, lw=1)
    floor = result.summary.meta["floor"]
    if floor["mse"]:
        axis.axvline(decibels(floor["mse"]), color="C7", ls="--", lw=1,
                     label="floor of the target")
    axis.set_yticks(range(len(names)), names, fontsize="small")
    axis.invert_yaxis()
    axis.set_xlabel("PSNR / dB, mean over images (bars: the middle two thirds of them)")
    axis.grid(axis="x", lw=0.3)
    axis.legend(fontsize="x-small", loc="center left", bbox_to_anchor=(1.0, 0.5))


FILE_NAMES = ("{}.ecsv", "{}-images.ecsv", "{}.png")


@dataclass
class Benchmark:
    """
    Result of `benchmark`. Its text is a report.

    Parameters
    ----------
    name : str
        Name of the files.
    summary : `~astropy.table.Table`
        Row for each method; ``meta`` holds the conditions.
    images : `~astropy.table.Table`
        Row for each image and method: mean squared errors in units of the squared data range,
        SSIM, noise floor, and time of one estimate in ms.
    shown : list of tuple
        Pairs with their results, for the figure.

    Examples
    --------
    >>> from lenssr.evaluate import Benchmark, benchmark
    >>> from lenssr.simulate import simulate_pair
    >>> result = benchmark([simulate_pair(size=24)], ["bilinear"])
    >>> isinstance(result, Benchmark)
    True
    """

    name: str
    summary: Table
    images: Table
    shown: list = field(default_factory=list, repr=False)

    def __str__(self):
        meta = self.summary.meta
        lines = [f"{self.name}: {meta['source']}", *(f"  {line}" for line in condition_lines(meta))]
        for title, table in layout(self.summary):
            lines += ["", title, *table.pformat(max_lines=-1, max_width=-1)]
        reasons = {name: [text] for name, text in meta["not_run"].items()}
        for title, lines_by_name in (("Not run", reasons), ("Warned", meta["notes"])):
            if lines_by_name:
                lines += ["", title, *(f"  {name}: {text}" for name, texts in lines_by_name.items()
                                       for text in texts)]
        return "\n".join(lines)

    def figure(self):
        """
        Draw pairs with all results and residuals, and the scores of the methods.

        Returns
        -------
        figure : `~matplotlib.figure.Figure`
            The figure.
        """
        return draw_benchmark(self)

    def write(self, folder, *, overwrite=False):
        """
        Write ``NAME.ecsv``, ``NAME-images.ecsv`` and ``NAME.png``.

        Parameters
        ----------
        folder : path-like
            Output folder; created if necessary.
        overwrite : bool
            Whether to replace existing files.

        Raises
        ------
        OSError
            If a file exists and ``overwrite`` is false.
        """
        check_files(folder, self.name, overwrite)
        summary, images, figure = (Path(folder) / file_name.format(self.name)
                                   for file_name in FILE_NAMES)
        write_tables_and_figure({summary: self.summary, images: self.images}, self.figure(), figure)


def check_files(folder, name, overwrite):
    """Raise `OSError` if a file of a benchmark exists and must not be replaced."""
    check_overwrite([Path(folder) / pattern.format(name) for pattern in FILE_NAMES], overwrite)


def condition_lines(meta):
    """Return the conditions of a benchmark as lines of text."""
    ny, nx = meta["shape"]
    omitted = f"; {meta['left_out']} omitted without a visible source" if meta["left_out"] else ""
    yield (f"{meta['n']} pairs of {ny} x {nx} pixels, {meta['scale']} times finer, seed "
           f"{meta['seed']}{omitted}")
    yield f"data range: {meta['data_range']}"
    yield f"noise of the input: {meta['input_noise']}"
    yield f"noise of the target: {meta['target_noise']}"
    floor = meta["floor"]
    if floor["mse"]:
        ssim = "" if floor["ssim"] is None else f", SSIM {floor['ssim']:.4f}"
        yield (f"noise floor, truth against target: MSE {floor['mse']:.3e}, "
               f"PSNR {floor['psnr_of_mean']:.2f} dB{ssim}")
    yield f"arc: {meta['arc']}"
    yield f"time: of one estimate, {meta['threads']} threads, {meta['device']}"
