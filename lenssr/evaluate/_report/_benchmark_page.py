"""Page of a benchmark or of a folder of tables and figures."""

import io
from pathlib import Path

import numpy as np
from astropy.table import Table

from lenssr._io import save_figure
from lenssr.evaluate._benchmark_result import Benchmark, condition_lines, decibels, layout
from lenssr.evaluate._report._html import (
    data_uri,
    definition_list,
    element,
    footer,
    html_page,
    html_section,
    html_table,
)

OMITTED_METHODS = ("bilinear", "truth", "constant")
BOX_PERCENTILES, WHISKER_PERCENTILES = (25, 75), (5, 95)  # percentiles


def gains_figure(images):
    """Draw the box plot of PSNR gains; return it with its caption."""
    from matplotlib.figure import Figure

    gains = _gains(images)
    figure = Figure(figsize=(8, 1.1 + 0.32 * len(gains)), layout="constrained")
    axis = figure.subplots()
    for position, gain in enumerate(gains.values()):
        axis.plot(np.percentile(gain, WHISKER_PERCENTILES), (position, position), color="C0", lw=1)
        axis.plot(np.percentile(gain, BOX_PERCENTILES), (position, position), color="C0", lw=5)
        axis.plot(np.median(gain), position, "o", color="white", mec="C0", ms=6)
        axis.plot(gain.min(), position, "|", color="C1", ms=8, mew=2)
    axis.axvline(0, color="k", lw=0.8)
    axis.set_yticks(range(len(gains)), list(gains))
    axis.invert_yaxis()
    axis.grid(axis="x", lw=0.3)
    axis.set_xlabel("PSNR above bilinear interpolation of the same image / dB")
    medians = ", ".join(f"{name} {np.median(gain):+.2f}" for name, gain in gains.items())
    return figure, ("Gain over bilinear interpolation: of half of the images (thick), of nine "
                    f"tenths (thin), of the worst (orange). Medians in dB: {medians}.")


def _gains(images):
    """Return PSNR gains over bilinear interpolation by method."""
    column = "truth_mse" if "truth_mse" in images.colnames else "target_mse"
    method = np.asarray(images["method"])
    plain = images[method == "bilinear"]
    bilinear = dict(zip(plain["pair"], decibels(np.asarray(plain[column], dtype=float))))
    gains = {}
    for name in dict.fromkeys(method.tolist()):
        if name not in OMITTED_METHODS:
            rows = images[method == name]
            gains_found = decibels(np.asarray(rows[column], dtype=float)) - [
                bilinear[pair] for pair in rows["pair"]]
            if np.isfinite(gains_found).any():
                gains[name] = gains_found[np.isfinite(gains_found)]
    return gains


BEST_VALUE = dict.fromkeys(("psnr", "psnr_of_mean", "ssim", "psnr_arc", "removed", "psnr_matched",
                            "ssim_matched", "psnr_arc_matched", "removed_matched"), "max")
BEST_VALUE["mse"] = "min"
IMAGE_TABLE_SUFFIX = "-images"  # suffix of the table with a row for each image
MAX_FIGURE_BYTES = 4_000_000  # larger figures are scaled down
MAX_FIGURE_WIDTH = 1600  # pixels of a figure that was scaled down
MAX_TEXT_LENGTH = 400  # characters of a table entry


def benchmark_page(subject, title=None):
    """Return the page of a benchmark."""
    if isinstance(subject, Benchmark):
        figure = _embed_figure(subject.figure(), _caption(subject)) if subject.shown else None
        studies = {subject.name: _study(subject, figure)}
    else:
        studies = _from_folder(Path(subject))
    title = title or "Benchmark: " + ", ".join(studies)
    ids = {name: f"study{k}" for k, name in enumerate(studies)}
    links = element("nav", definition_list([element("a", name, href=f"#{key}")
                                            for name, key in ids.items()]),
                    aria_label="On this page") if len(studies) > 1 else None
    parts = [html_section(name, *studies[name], id=key) for name, key in ids.items()]
    return html_page(title, element("header", element("h1", title), links) + element("main", *parts)
                     + footer())


def _from_folder(folder):
    tables = {path.stem: path for path in sorted(folder.glob("*.ecsv"))}
    if not tables:
        raise ValueError(f"`subject` must be a folder with tables (*.ecsv), got {str(folder)!r}")
    figures = {path.stem: path for path in sorted(folder.glob("*.png"))}
    studies = {}
    for name, path in tables.items():
        if name.endswith(IMAGE_TABLE_SUFFIX) and name.removesuffix(IMAGE_TABLE_SUFFIX) in tables:
            continue
        table, figure = Table.read(path, format="ascii.ecsv"), figures.pop(name, None)
        images = tables.get(name + IMAGE_TABLE_SUFFIX)
        if images is not None and {"source", "floor", "not_run"} <= set(table.meta):
            result = Benchmark(name, Table(table, masked=True),
                               Table.read(images, format="ascii.ecsv"))
            studies[name] = _study(result, figure and _embed_file(figure, _caption(result)))
        else:
            studies[name] = [_conditions(table.meta), figure and _embed_file(figure, name),
                             html_table(table, name)]
    if figures:
        studies["Figures"] = [_embed_file(path, name) for name, path in figures.items()]
    return studies


def _study(result, figure):
    """Return the section of a `Benchmark`."""
    meta = result.summary.meta
    parts = [element("p", meta["source"]), definition_list(condition_lines(meta))]
    parts += [html_table(part, name, BEST_VALUE, companions=("truth",))
              for name, part in layout(result.summary)]
    parts += [_embed_figure(*gains_figure(result.images)), figure]
    for heading, lines_by_name in (("Not run",
                                    {name: [text] for name, text in meta["not_run"].items()}),
                                   ("Warned", meta["notes"])):
        if lines_by_name:
            parts += [element("h3", heading), definition_list([f"{name}: {text}" for name, texts in
                                                               lines_by_name.items()
                                                               for text in texts])]
    every = html_table(result.images, "A row for each image and method")
    return [*parts, element("details", element("summary", "Each image"), every)]


def _caption(result):
    return (f"{result.name}: pairs as observed, restored by every method, and true, with "
            "residuals below; and the PSNR of all methods")


def _conditions(meta):
    """Return the header entries of a table that fit on a line."""
    texts = {str(key): str(value) for key, value in meta.items() if not key.startswith("__")}
    return definition_list({key: text if len(text) <= MAX_TEXT_LENGTH
                            else text[:MAX_TEXT_LENGTH] + " …"
                            for key, text in texts.items()}) if texts else None


def _embed_figure(figure, caption):
    """Return the HTML of a Matplotlib figure."""
    png = io.BytesIO()
    save_figure(figure, png)
    return _plot_section(png.getvalue(), caption)


def _embed_file(path, caption):
    """Return the HTML of a figure file, downscaled if it is large."""
    png = path.read_bytes()
    return _plot_section(png if len(png) <= MAX_FIGURE_BYTES else _downscale(path), caption)


def _downscale(path):
    from matplotlib.image import imread, imsave
    from skimage.transform import resize

    image, png = imread(path), io.BytesIO()
    zoom = min(MAX_FIGURE_WIDTH / image.shape[1], 1)
    imsave(png, resize(image, (round(zoom * image.shape[0]), round(zoom * image.shape[1])),
                       anti_aliasing=True), format="png")
    return png.getvalue()


def _plot_section(png, caption):
    return element("figure",
                   element("img", src=data_uri("image/png", png), alt=caption, class_="plot"),
                   element("figcaption", caption))
