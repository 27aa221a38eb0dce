"""What the experiment found: tables, and a figure."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.table import Table

from lenssr._io import check_overwrite, write_tables_and_figure

__all__ = ["DarkMatter", "file_names"]

TABLES = {"scores": "scores", "confusion": "confusion", "curves": "roc", "subhalos": "subhalos"}
SHOWN = ("accuracy", "accuracy_low", "accuracy_high", "calibration_error", "out_of_domain")
DRAWN = {"HR": "-", "bilinear": ":", "RCAN of all": "--", "RCAN of cdm": "-."}
"""Ways of which curves are drawn, and how; a classifier has its colour."""


def file_names(preset):
    """Names of the files that `DarkMatter.write` writes, the figure last."""
    name = f"dark-matter-{preset}".replace("-classification", "")
    return [*(f"{name}-{part}.ecsv" for part in TABLES.values()), f"{name}.png"]


@dataclass
class DarkMatter:
    """
    Result of `dark_matter`; as text, its tables.

    Attributes
    ----------
    scores : `~astropy.table.Table`
        Accuracy, in whole and by the signal to noise at the peaks of the observed images, area
        under each curve, with intervals of 95 per cent, calibration error, and the share that is
        unlike what it knows, of each classifier on each kind of images.
    confusion : `~astropy.table.Table`
        What was said of each class.
    curves : `~astropy.table.Table`
        Receiver operating characteristics, one class against the rest.
    subhalos : `~astropy.table.Table`
        False positives on smooth lenses, and subhalos found, by mass.
    """

    scores: Table
    confusion: Table
    curves: Table
    subhalos: Table

    def __str__(self):
        short = self.scores[["classifier", "images", *SHOWN[:3], *(
            name for name in self.scores.colnames if name.startswith("auc_")
            and not name.endswith(("_low", "_high"))), *SHOWN[3:]]]
        parts = (("Classes told apart", short), ("Subhalos", self.subhalos),
                 ("What was said", self.confusion))
        return "\n\n".join("\n".join([title, *table.pformat(max_lines=-1, max_width=-1)])
                           for title, table in parts)

    def figure(self):
        """
        Curves of smooth lenses, and accuracies with their intervals.

        Returns
        -------
        figure : `~matplotlib.figure.Figure`
        """
        from matplotlib.figure import Figure

        names = [f"{row['classifier']} on {row['images']}" for row in self.scores]
        figure = Figure(figsize=(14, max(5, 0.16 * len(names))), layout="constrained")
        left, right = figure.subplots(1, 2)
        y = np.arange(len(names))[::-1]
        value = np.array(self.scores["accuracy"])
        error = np.abs([value - self.scores["accuracy_low"],
                        self.scores["accuracy_high"] - value])
        left.errorbar(value, y, xerr=error, fmt="o", ms=4)
        left.axvline(1 / 3, color="0.6", ls=":")
        left.set_yticks(y, names, fontsize=7)
        left.set_xlabel("accuracy")
        colours = {}
        for name in self.curves.colnames[1:]:
            classifier, way, kind = name.split(" | ")
            if kind == "no_sub" and way in DRAWN:
                right.plot(self.curves["false_positive"], self.curves[name], ls=DRAWN[way],
                           color=colours.setdefault(classifier, f"C{len(colours)}"),
                           label=f"{classifier} on {way}")
        right.set_xlabel("false positives")
        right.set_ylabel("smooth lenses found")
        right.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
        return figure

    def write(self, folder, *, overwrite=False):
        """
        Write the tables and the figure.

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
        paths = [Path(folder) / name for name in file_names(self.scores.meta["preset"])]
        check_overwrite(paths, overwrite)
        write_tables_and_figure({path: getattr(self, part) for part, path in zip(TABLES, paths)},
                     self.figure(), paths[-1])
