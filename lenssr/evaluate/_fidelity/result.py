"""What a fidelity run found: tables by name, a text, a figure."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lenssr._io import check_overwrite, write_tables_and_figure
from lenssr.evaluate._fidelity.slopes import Curve

__all__ = ["Fidelity", "files", "shortened"]

PRINTED = 16  # rows of a table that are printed; longer ones are cut to what tells of all


@dataclass
class Fidelity:
    """
    Result of `fidelity`; as text, its report.

    Attributes
    ----------
    name : str
        What its files are called.
    tables : dict
        `~astropy.table.Table` by name: ``summary``, and those of the parts. Columns have
        descriptions.
    meta : dict
        What the figures rest on.
    """

    name: str
    tables: dict = field(repr=False)
    meta: dict = field(default_factory=dict, repr=False)

    def __str__(self):
        meta = self.meta
        lines = [f"{self.name}: {meta['source']}",
                 f"  {meta['n']} pairs, {meta['scale']} times finer, seed {meta['seed']}"]
        for name, table in self.tables.items():
            lines += ["", name, *shortened(name, table).pformat(max_lines=-1, max_width=-1)]
        reasons = {name: [text] for name, text in meta["not_run"].items()}
        for title, found in (("Not run", reasons), ("Warned", meta["notes"])):
            if found:
                lines += ["", title, *(f"  {name}: {text}" for name, texts in found.items()
                                       for text in texts)]
        return "\n".join(lines)

    def correct_ellipticity(self, e, snr, method):
        """
        Ellipticities measured on results, corrected for the slope that a method gives them.

        Parameters
        ----------
        e : array-like
            Ellipticities, shape ``(n,)`` or ``(n, 2)``.
        snr : float or array-like
            Signal to noise ratios of the inputs, those of a matched filter, shape ``()`` or
            ``(n,)``.
        method : str
            The method.

        Returns
        -------
        e : `~numpy.ndarray`
            ``e * (a + b / snr**2)``, with the ``a`` and ``b`` that the table ``correction``
            has for single galaxies.

        Raises
        ------
        ValueError
            If there is no curve for the method.
        """
        table = self.tables.get("correction", ())
        for row in table:
            if row["method"] == method and row["of"] == "galaxies" and not np.ma.is_masked(
                    row["a"]):
                curve = Curve(*(float(row[key]) for key in ("a", "b", "a_error", "b_error")))
                return curve.correct(e, snr)
        raise ValueError("`method` must be one of which there is a correction curve, "
                         f"got {method!r}")

    def figure(self):
        """
        Flux, shift, shape, transfer, coverage and the rest, of all methods.

        Returns
        -------
        figure : `~matplotlib.figure.Figure`
            A panel for each part that was run.
        """
        from lenssr.evaluate._fidelity.drawing import draw

        return draw(self)

    def write(self, folder, *, overwrite=False):
        """
        Write ``NAME-fidelity-TABLE.ecsv`` for each table, and ``NAME-fidelity.png``.

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
        paths = files(folder, self.name, self.tables)
        check_overwrite(paths.values(), overwrite)
        write_tables_and_figure({paths[name]: table for name, table in self.tables.items()}, self.figure(),
                     paths["figure"])


def files(folder, name, tables):
    """Paths of the tables by their names, and of the ``figure``."""
    folder = Path(folder)
    paths = {table: folder / f"{name}-fidelity-{table}.ecsv" for table in tables}
    return paths | {"figure": folder / f"{name}-fidelity.png"}


def shortened(name, table):
    """A table, or its rows that tell of all, where it is long."""
    if len(table) <= PRINTED:
        return table
    keep = np.ones(len(table), dtype=bool)
    if "snr_high" in table.colnames:
        keep = np.isinf(np.ma.filled(table["snr_high"], np.inf)) & (table["snr_low"] < 100)
    if name == "transfer":
        keep = (table["snr_low"] == table["snr_low"].max()) & (np.arange(len(table)) % 2 == 1)
    return table[keep]
