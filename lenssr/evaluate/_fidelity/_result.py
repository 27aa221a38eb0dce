"""Result of a fidelity run: summary, figure and files."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lenssr._io import check_overwrite, write_tables_and_figure
from lenssr.evaluate._fidelity._base import BRIGHT_SNR, COLUMNS, make_table
from lenssr.evaluate._fidelity._shapes import CorrectionCurve
from lenssr.uncertainty import NORMAL_COVERAGE

SUMMARY = {
    "coverage_1": (".4f", "", "fraction of pixels within one sigma"),
    "coverage_2": (".4f", "", "fraction of pixels within two sigma"),
    "flux_bias": (".4f", "", "median of flux over true flux, less one"),
    "shift": (".4f", "pix", "length of the median shift"),
    "slope": (".3f", "", "slope of recovered on true ellipticity, single galaxies, S/N above 40"),
    "corrected": (".3f", "", "the same after the correction"),
    "psf": (".4f", "", "FWHM of stars over FWHM of the declared PSF"),
    "excess": (".3f", "", "largest transfer T(k) where the correlation r(k) is below a half"),
    "false": (".2f", "", "sources in 1e6 blank pixels, 5 sigma, white noise"),
    "subhalo": (".3f", "", "correlation with the true difference, 1e10 solar masses, same noise"),
    "einstein": (".4f", "", "Einstein radius over target value"),
    **{name: COLUMNS[name] for name in ("chi2", "near")},
}
"""Columns: format, unit, description."""


def summarize_tests(tables, labels):
    """Summarise the tables of all tests, a row for each method."""
    rows = []
    for label in labels:
        row = {"method": label}
        for name, table in tables.items():
            if len(table) and name in _PICKS:
                mine = table[np.asarray(table["method"]) == label]
                row |= {key: _number(value) for key, value in _PICKS[name](mine).items()}
        rows.append(row)
    keys = [key for key in ("method", *SUMMARY) if any(key in row for row in rows)]
    return make_table([{key: row.get(key, np.nan) for key in keys} for row in rows], SUMMARY)


def _number(value):
    return np.nan if value is None or np.ma.is_masked(value) else float(value)


def _first(table, column, **known):
    """Return the value of the first row that matches."""
    where = np.ones(len(table), dtype=bool)
    for key, value in known.items():
        where &= np.asarray(table[key]) == value
    return table[column][where][0] if where.any() else None


def _coverage(table):
    return {f"coverage_{k}": _first(table, f"within_{k}", split="all") for k in (1, 2)}


def _flux(table):
    return {"flux_bias": _number(_first(table, "ratio", aperture=0)) - 1}


def _shift(table):
    return {"shift": np.hypot(*(_number(_first(table, name)) for name in ("dx", "dy")))}


def _shape(table):
    known = dict(of="galaxies", snr_low=BRIGHT_SNR, snr_high=np.inf)
    return {name: _first(table, name, **known) for name in ("slope", "corrected")}


def _transfer(table):
    wrong = np.ma.filled(table["correlation"] < 0.5, False) & (table["snr_low"] == BRIGHT_SNR)
    return {"excess": table["transfer"][wrong].max() if wrong.any() else np.nan}


_PICKS = {
    "coverage": _coverage, "flux": _flux, "shift": _shift, "shape": _shape,
    "transfer": _transfer,
    "stars": lambda table: {"psf": _first(table, "ratio")},
    "blank": lambda table: {"false": _first(table, "per_million", noise="white")},
    "twins": lambda table: {"subhalo": _first(table, "correlation", mass=1e10)},
    "einstein": lambda table: {"einstein": _first(table, "to_hr")},
    "consistency": lambda table: {key: _first(table, key) for key in ("chi2", "near")},
}


PANEL_WIDTH, PANEL_HEIGHT, N_PANEL_COLUMNS = 4.2, 3.1, 3  # inches, inches, and panels in a row
SNR_TICKS = (10, 20, 50, 100, 200, 500)  # signal-to-noise ratios
MAX_PLOTTED_SNR = 800.0  # upper end of the last, open bin


def draw_fidelity(result):
    """Draw the figure of a `Fidelity`."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    panels = [panel for panel in _PANELS if len(result.tables.get(panel[0], ()))]
    labels = [str(label) for label in result.tables["summary"]["method"]]
    colours = {label: f"C{k}" for k, label in enumerate(labels)}
    rows = -(-len(panels) // N_PANEL_COLUMNS) or 1
    figure = Figure(figsize=(PANEL_WIDTH * N_PANEL_COLUMNS, PANEL_HEIGHT * rows + 0.6),
                    layout="constrained")
    axes = figure.subplots(rows, N_PANEL_COLUMNS, squeeze=False).ravel()
    for axis in axes[len(panels):]:
        axis.set_axis_off()
    for axis, (_, panel, title) in zip(axes, panels):
        panel(axis, result.tables, colours)
        axis.set_title(title, fontsize="small")
        axis.tick_params(labelsize="small")
        axis.grid(lw=0.3)
    figure.legend([Line2D([], [], color=colour) for colour in colours.values()], labels,
                  loc="outside lower center", ncols=6, fontsize="small")
    return figure


def _select_rows(table, label, **known):
    """Return the rows of a method that match."""
    where = np.asarray(table["method"]) == label
    for key, value in known.items():
        where &= np.asarray(table[key]) == value
    return table[where]


def _plain(column):
    return np.ma.filled(np.ma.asarray(column, dtype=float), np.nan)


def _by_snr(axis, table, colours, value, error=None, **known):
    """Draw values against signal-to-noise ratio for disjoint bins."""
    for label, colour in colours.items():
        rows = _select_rows(table, label, **known)[2:]
        if not len(rows):
            continue
        low, high = _plain(rows["snr_low"]), np.minimum(_plain(rows["snr_high"]), MAX_PLOTTED_SNR)
        axis.errorbar(np.sqrt(low * high), _plain(rows[value]), color=colour, fmt="o-", ms=3,
                      lw=1, yerr=None if error is None else _plain(rows[error]))
    axis.set_xscale("log")
    axis.set_xlim(SNR_TICKS[0], MAX_PLOTTED_SNR)
    axis.set_xticks(SNR_TICKS, map(str, SNR_TICKS))
    axis.minorticks_off()
    axis.set_xlabel("S/N of the input", fontsize="small")


def _plot_flux(axis, tables, colours):
    _by_snr(axis, tables["flux"], colours, "ratio", "error", aperture=0)
    axis.axhline(1, color="0.5", lw=0.8)


def _plot_shift(axis, tables, colours):
    for label, colour in colours.items():
        rows = _select_rows(tables["shift"], label)[:1]
        axis.errorbar(_plain(rows["dx"]), _plain(rows["dy"]), xerr=_plain(rows["dx_error"]),
                      yerr=_plain(rows["dy_error"]), fmt="o", ms=4, color=colour)
    axis.add_patch(_circle(0.02))
    axis.autoscale_view()
    axis.set_aspect("equal", adjustable="datalim")
    axis.set_xlabel("x / output pixels (circle: 0.02)", fontsize="small")


def _circle(radius):
    from matplotlib.patches import Circle

    return Circle((0, 0), radius, fill=False, color="0.5", lw=0.8)


def _plot_shape(axis, tables, colours):
    of = "galaxies" if "galaxies" in tables["shape"]["of"] else "pairs"
    _by_snr(axis, tables["shape"], colours, "slope", "slope_error", of=of)
    snr = np.geomspace(12, MAX_PLOTTED_SNR, 50)
    for label, colour in colours.items():
        for row in _select_rows(tables["correction"], label, of=of):
            if not np.ma.is_masked(row["a"]):
                curve = CorrectionCurve(row["a"], row["b"], np.nan, np.nan)
                axis.plot(snr, curve.slope(snr), "--", color=colour, lw=0.8)
    axis.axhline(1, color="0.5", lw=0.8)


def _plot_transfer(axis, tables, colours):
    table = tables["transfer"]
    for label, colour in colours.items():
        rows = _select_rows(table, label, snr_low=table["snr_low"].max())
        axis.plot(rows["k"], _plain(rows["transfer"]), color=colour, lw=1)
        axis.plot(rows["k"], _plain(rows["correlation"]), ":", color=colour, lw=1)
    axis.axhline(1, color="0.5", lw=0.8)
    axis.set_ylim(0, 1.6)
    axis.set_xlabel("cycles per output pixel", fontsize="small")


def _plot_coverage(axis, tables, colours):
    for k, (label, colour) in enumerate(colours.items()):
        rows = _select_rows(tables["coverage"], label, split="snr")
        position = np.arange(len(rows)) + 0.08 * (k - len(colours) / 2)
        for n, marker in ((1, "o"), (2, "s")):
            axis.errorbar(position, _plain(rows[f"within_{n}"]), _plain(rows[f"within_{n}_error"]),
                          fmt=marker, ms=3, lw=1, color=colour,
                          fillstyle="full" if n == 1 else "none")
    names = [str(name) for name in rows["bin"]]
    axis.set_xticks(range(len(names)), names, fontsize="x-small")
    _expected(axis)
    axis.set_xlabel("S/N of a pixel", fontsize="small")


def _expected(axis):
    for fraction in NORMAL_COVERAGE:
        axis.axhline(fraction, color="0.5", lw=0.8)
    axis.set_ylim(0, 1.02)


def _apertures(axis, tables, colours):
    for label, colour in colours.items():
        rows = _select_rows(tables["apertures"], label)
        for n, style in ((1, "o-"), (2, "s:")):
            axis.errorbar(rows["aperture"], _plain(rows[f"within_{n}"]),
                          _plain(rows[f"within_{n}_error"]), fmt=style, ms=3, lw=1, color=colour)
    _expected(axis)
    axis.set_xlabel("radius / output pixels", fontsize="small")


def _bars(table, value, error=None, limit=None, **known):
    """Draw a bar chart of one value for each method and reference."""
    def panel(axis, tables, colours):
        rows = tables[table]
        for key, value_wanted in known.items():
            rows = rows[np.asarray(rows[key]) == value_wanted]
        position, values = np.arange(len(rows)), _plain(rows[value])
        ends = None if error is None else _plain(rows[error])
        if limit is not None:
            ends = np.stack([np.zeros_like(values), _plain(rows[limit]) - values])
        axis.errorbar(values, position, fmt="none", lw=1, color="0.4", xerr=ends)
        axis.scatter(values, position, s=20, zorder=3,
                     c=[colours.get(str(label), "0.3") for label in rows["method"]])
        axis.set_yticks(position, [str(label) for label in rows["method"]], fontsize="x-small")
        axis.set_ylim(len(rows) - 0.5, -0.5)
    return panel


_PANELS = (
    ("flux", _plot_flux, "flux / true flux, entire image"),
    ("shift", _plot_shift, "median shift"),
    ("shape", _plot_shape, "slope of ellipticity (dashed: curve of the correction)"),
    ("transfer", _plot_transfer, "transfer T(k) and correlation r(k) (dotted), S/N above 40"),
    ("coverage", _plot_coverage, "fraction of pixels within 1 (full) and 2 (open) sigma"),
    ("apertures", _apertures, "fraction of apertures within 1 and 2 (dotted) sigma"),
    ("stars", _bars("stars", "ratio", "scatter"), "FWHM of stars / declared (bar: scatter)"),
    ("blank", _bars("blank", "per_million", limit="limit", noise="white"),
     "false sources in $10^6$ blank pixels (bar: limit)"),
    ("twins", _bars("twins", "correlation", mass=1e10),
     r"difference by a subhalo of $10^{10}\,M_\odot$: correlation"),
    ("einstein", _bars("einstein", "to_hr", "scatter"),
     "Einstein radius / target value (bar: scatter)"),
    ("consistency", _bars("consistency", "chi2", "scatter", snr_low=0.0),
     r"reduced $\chi^2$ against the data (bar: scatter)"),
)
"""Table, panel, and its title."""


MAX_PRINTED_ROWS = 16  # longer tables are shortened to their summary rows


@dataclass
class Fidelity:
    """
    Result of `fidelity`. Its text is a report.

    Parameters
    ----------
    name : str
        Name of the files.
    tables : dict
        `~astropy.table.Table` by name: ``summary`` and the tables of the tests.
    meta : dict
        Conditions of the run.

    Examples
    --------
    >>> from lenssr.evaluate import Fidelity, fidelity
    >>> from lenssr.simulate import simulate_pair
    >>> result = fidelity([simulate_pair(size=32)], ["bilinear"], parts=["flux"])
    >>> isinstance(result, Fidelity)
    True
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
        for title, lines_by_name in (("Not run", reasons), ("Warned", meta["notes"])):
            if lines_by_name:
                lines += ["", title, *(f"  {name}: {text}" for name, texts in lines_by_name.items()
                                       for text in texts)]
        return "\n".join(lines)

    def correct_ellipticity(self, e, snr, method):
        """
        Correct measured ellipticities by the correction curve of a method.

        Parameters
        ----------
        e : array-like
            Ellipticities, shape ``(n,)`` or ``(n, 2)``.
        snr : float or array-like
            Matched-filter signal-to-noise ratios of the inputs, shape ``()`` or ``(n,)``.
        method : str
            Name of the method.

        Returns
        -------
        e : `~numpy.ndarray`
            ``e * (a + b / snr**2)`` with ``a`` and ``b`` of single galaxies from the table
            ``correction``.

        Raises
        ------
        ValueError
            If the method has no correction curve.
        """
        table = self.tables.get("correction", ())
        for row in table:
            if row["method"] == method and row["of"] == "galaxies" and not np.ma.is_masked(
                    row["a"]):
                curve = CorrectionCurve(*(float(row[key])
                                          for key in ("a", "b", "a_error", "b_error")))
                return curve.correct(e, snr)
        raise ValueError(f"`method` must have a correction curve, got {method!r}")

    def figure(self):
        """
        Draw a panel for each test.

        Returns
        -------
        figure : `~matplotlib.figure.Figure`
            The figure.
        """
        return draw_fidelity(self)

    def write(self, folder, *, overwrite=False):
        """
        Write ``NAME-fidelity-TABLE.ecsv`` for each table, and ``NAME-fidelity.png``.

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
        paths = files(folder, self.name, self.tables)
        check_overwrite(paths.values(), overwrite)
        write_tables_and_figure({paths[name]: table for name, table in self.tables.items()},
                                self.figure(),
                                paths["figure"])


def files(folder, name, tables):
    """Return the paths of the tables by name, and of the figure."""
    folder = Path(folder)
    paths = {table: folder / f"{name}-fidelity-{table}.ecsv" for table in tables}
    return paths | {"figure": folder / f"{name}-fidelity.png"}


def shortened(name, table):
    """Return a table, or its summary rows if it is long."""
    if len(table) <= MAX_PRINTED_ROWS:
        return table
    keep = np.ones(len(table), dtype=bool)
    if "snr_high" in table.colnames:
        keep = np.isinf(np.ma.filled(table["snr_high"], np.inf)) & (table["snr_low"] < 100)
    if name == "transfer":
        keep = (table["snr_low"] == table["snr_low"].max()) & (np.arange(len(table)) % 2 == 1)
    return table[keep]
