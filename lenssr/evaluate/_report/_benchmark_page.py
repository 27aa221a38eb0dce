"""The page of a benchmark, or of whatever left tables and figures in a folder."""

import io
from pathlib import Path

from astropy.table import Table

from lenssr._io import save_figure
from lenssr.evaluate._benchmark_result import Benchmark, condition_lines
from lenssr.evaluate._benchmark_table import layout
from lenssr.evaluate._report._gains import gains_figure
from lenssr.evaluate._report._html import data_uri, foot, listing, page, section, table, tag

__all__ = ["benchmark_page"]

BEST = dict.fromkeys(("psnr", "psnr_of_mean", "ssim", "psnr_arc", "removed", "psnr_matched",
                      "ssim_matched", "psnr_arc_matched", "removed_matched"), "max")
BEST["mse"] = "min"
IMAGES = "-images"      # what ends the name of a table with a row for each image
LARGE = 4_000_000       # bytes of a figure that is not shown as it is
WIDEST = 1600           # pixels to which it is brought then
LONGEST = 400           # letters of a condition that are shown


def benchmark_page(subject, title=None):
    """The page of a benchmark."""
    if isinstance(subject, Benchmark):
        figure = _drawn(subject.figure(), _words(subject)) if subject.shown else None
        studies = {subject.name: _study(subject, figure)}
    else:
        studies = _from_folder(Path(subject))
    title = title or "Benchmark: " + ", ".join(studies)
    ids = {name: f"study{k}" for k, name in enumerate(studies)}
    links = tag("nav", listing([tag("a", name, href=f"#{key}") for name, key in ids.items()]),
                aria_label="On this page") if len(studies) > 1 else None
    parts = [section(name, *studies[name], id=key) for name, key in ids.items()]
    return page(title, tag("header", tag("h1", title), links) + tag("main", *parts)
                + foot())


def _from_folder(folder):
    tables = {path.stem: path for path in sorted(folder.glob("*.ecsv"))}
    if not tables:
        raise ValueError(f"`subject` must be a folder with tables (*.ecsv), got {str(folder)!r}")
    figures = {path.stem: path for path in sorted(folder.glob("*.png"))}
    studies = {}
    for name, path in tables.items():
        if name.endswith(IMAGES) and name.removesuffix(IMAGES) in tables:
            continue
        found, figure = Table.read(path, format="ascii.ecsv"), figures.pop(name, None)
        images = tables.get(name + IMAGES)
        if images is not None and {"source", "floor", "not_run"} <= set(found.meta):
            result = Benchmark(name, Table(found, masked=True),
                               Table.read(images, format="ascii.ecsv"))
            studies[name] = _study(result, figure and _picture(figure, _words(result)))
        else:
            studies[name] = [_conditions(found.meta), figure and _picture(figure, name),
                             table(found, name)]
    if figures:
        studies["Figures"] = [_picture(path, name) for name, path in figures.items()]
    return studies


def _study(result, figure):
    """The parts of the section of a `Benchmark`."""
    meta = result.summary.meta
    parts = [tag("p", meta["source"]), listing(condition_lines(meta))]
    parts += [table(part, name, BEST, beside=("truth",)) for name, part in layout(result.summary)]
    parts += [_drawn(*gains_figure(result.images)), figure]
    for heading, found in (("Not run", {name: [text] for name, text in meta["not_run"].items()}),
                           ("Warned", meta["notes"])):
        if found:
            parts += [tag("h3", heading), listing([f"{name}: {text}" for name, texts in
                                                   found.items() for text in texts])]
    every = table(result.images, "A row for each image and method")
    return [*parts, tag("details", tag("summary", "Each image"), every)]


def _words(result):
    return (f"{result.name}: some pairs as observed, by every method, and as they are, with what "
            "each got wrong below; and the PSNR of all methods")


def _conditions(meta):
    """What the header of a table says, as far as it can be said in a line."""
    told = {str(key): str(value) for key, value in meta.items() if not key.startswith("__")}
    return listing({key: text if len(text) <= LONGEST else text[:LONGEST] + " …"
                    for key, text in told.items()}) if told else None


def _drawn(figure, words):
    """A figure of Matplotlib."""
    png = io.BytesIO()
    save_figure(figure, png)
    return _plot(png.getvalue(), words)


def _picture(path, words):
    """A figure in a file, made smaller where it is very large."""
    png = path.read_bytes()
    return _plot(png if len(png) <= LARGE else _smaller(path), words)


def _smaller(path):
    from matplotlib.image import imread, imsave
    from skimage.transform import resize

    image, png = imread(path), io.BytesIO()
    share = min(WIDEST / image.shape[1], 1)
    imsave(png, resize(image, (round(share * image.shape[0]), round(share * image.shape[1])),
                       anti_aliasing=True), format="png")
    return png.getvalue()


def _plot(png, words):
    return tag("figure", tag("img", src=data_uri("image/png", png), alt=words, class_="plot"),
               tag("figcaption", words))
