"""What a benchmark found: a report, tables and a figure."""

from dataclasses import dataclass, field
from pathlib import Path

from astropy.table import Table

from lenssr._io import check_overwrite, write_tables_and_figure
from lenssr.evaluate._benchmark_table import layout

__all__ = ["Benchmark", "check_free", "condition_lines"]

FILES = ("{}.ecsv", "{}-images.ecsv", "{}.png")


@dataclass
class Benchmark:
    """
    Result of `benchmark`; as text, its report.

    Attributes
    ----------
    name : str
        What its files are called.
    summary : `~astropy.table.Table`
        A row for each method, with the conditions in ``meta``.
    images : `~astropy.table.Table`
        A row for each image and method: mean square errors over the square of the data
        range, SSIM, the floor of the pair, and the time of one estimate in ms.
    shown : list of tuple
        A few pairs with their results, for the figure.
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
        for title, found in (("Not run", reasons), ("Warned", meta["notes"])):
            if found:
                lines += ["", title, *(f"  {name}: {text}" for name, texts in found.items()
                                       for text in texts)]
        return "\n".join(lines)

    def figure(self):
        """
        A few pairs by every method, what each got wrong, and the scores of all.

        Returns
        -------
        figure : `~matplotlib.figure.Figure`
        """
        from lenssr.evaluate._benchmark_figure import draw

        return draw(self)

    def write(self, folder, *, overwrite=False):
        """
        Write ``NAME.ecsv``, ``NAME-images.ecsv`` and ``NAME.png``.

        Parameters
        ----------
        folder : path-like
            Where to; made if it is not there.
        overwrite : bool
            Replace files that are there.

        Raises
        ------
        OSError
            If a file is there already and ``overwrite`` is false.
        """
        check_free(folder, self.name, overwrite)
        summary, images, figure = (Path(folder) / each.format(self.name) for each in FILES)
        write_tables_and_figure({summary: self.summary, images: self.images}, self.figure(), figure)


def check_free(folder, name, overwrite):
    """`OSError` if a file of a benchmark is there that is not to be replaced."""
    check_overwrite([Path(folder) / pattern.format(name) for pattern in FILES], overwrite)


def condition_lines(meta):
    """What the figures rest on, line by line."""
    ny, nx = meta["shape"]
    left = f"; {meta['left_out']} left out, with nothing to see" if meta["left_out"] else ""
    yield (f"{meta['n']} pairs of {ny} x {nx} pixels, {meta['scale']} times finer, seed "
           f"{meta['seed']}{left}")
    yield f"data range: {meta['data_range']}"
    yield f"noise of the input: {meta['input_noise']}"
    yield f"noise of the target: {meta['target_noise']}"
    floor = meta["floor"]
    if floor["mse"]:
        ssim = "" if floor["ssim"] is None else f", SSIM {floor['ssim']:.4f}"
        yield (f"floor, what the truth scores against the target: MSE {floor['mse']:.3e}, "
               f"PSNR {floor['psnr_of_mean']:.2f} dB{ssim}")
    yield f"arc: {meta['arc']}"
    yield f"time: of one estimate, {meta['threads']} threads, {meta['device']}"
