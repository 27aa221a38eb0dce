"""The figure of a fidelity run: a panel for each part."""

import numpy as np

from lenssr.evaluate._fidelity.covers import EXPECTED
from lenssr.evaluate._fidelity.slopes import Curve

__all__ = ["draw"]

WIDTH, HEIGHT, COLUMNS = 4.2, 3.1, 3  # of a panel, inches, and how many in a row
TICKS = (10, 20, 50, 100, 200, 500)  # signal to noise
TOP = 800.0  # which what has no upper edge is drawn to


def draw(result):
    """The figure of a `Fidelity`."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    panels = [panel for panel in _PANELS if len(result.tables.get(panel[0], ()))]
    labels = [str(label) for label in result.tables["summary"]["method"]]
    colours = {label: f"C{k}" for k, label in enumerate(labels)}
    rows = -(-len(panels) // COLUMNS) or 1
    figure = Figure(figsize=(WIDTH * COLUMNS, HEIGHT * rows + 0.6), layout="constrained")
    axes = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
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


def _of(table, label, **known):
    """Rows of a method with these values."""
    where = np.asarray(table["method"]) == label
    for key, value in known.items():
        where &= np.asarray(table[key]) == value
    return table[where]


def _plain(column):
    return np.ma.filled(np.ma.asarray(column, dtype=float), np.nan)


def _by_snr(axis, table, colours, value, error=None, **known):
    """Values against signal to noise, of the bins that do not overlap."""
    for label, colour in colours.items():
        rows = _of(table, label, **known)[2:]
        if not len(rows):
            continue
        low, high = _plain(rows["snr_low"]), np.minimum(_plain(rows["snr_high"]), TOP)
        axis.errorbar(np.sqrt(low * high), _plain(rows[value]), color=colour, fmt="o-", ms=3,
                      lw=1, yerr=None if error is None else _plain(rows[error]))
    axis.set_xscale("log")
    axis.set_xlim(TICKS[0], TOP)
    axis.set_xticks(TICKS, map(str, TICKS))
    axis.minorticks_off()
    axis.set_xlabel("S/N of the input", fontsize="small")


def _flux(axis, tables, colours):
    _by_snr(axis, tables["flux"], colours, "ratio", "error", aperture=0)
    axis.axhline(1, color="0.5", lw=0.8)


def _shift(axis, tables, colours):
    for label, colour in colours.items():
        rows = _of(tables["shift"], label)[:1]
        axis.errorbar(_plain(rows["dx"]), _plain(rows["dy"]), xerr=_plain(rows["dx_error"]),
                      yerr=_plain(rows["dy_error"]), fmt="o", ms=4, color=colour)
    axis.add_patch(_circle(0.02))
    axis.autoscale_view()
    axis.set_aspect("equal", adjustable="datalim")
    axis.set_xlabel("x / output pixels (circle: 0.02)", fontsize="small")


def _circle(radius):
    from matplotlib.patches import Circle

    return Circle((0, 0), radius, fill=False, color="0.5", lw=0.8)


def _shape(axis, tables, colours):
    of = "galaxies" if "galaxies" in tables["shape"]["of"] else "pairs"
    _by_snr(axis, tables["shape"], colours, "slope", "slope_error", of=of)
    snr = np.geomspace(12, TOP, 50)
    for label, colour in colours.items():
        for row in _of(tables["correction"], label, of=of):
            if not np.ma.is_masked(row["a"]):
                curve = Curve(row["a"], row["b"], np.nan, np.nan)
                axis.plot(snr, curve.slope(snr), "--", color=colour, lw=0.8)
    axis.axhline(1, color="0.5", lw=0.8)


def _transfer(axis, tables, colours):
    table = tables["transfer"]
    for label, colour in colours.items():
        rows = _of(table, label, snr_low=table["snr_low"].max())
        axis.plot(rows["k"], _plain(rows["transfer"]), color=colour, lw=1)
        axis.plot(rows["k"], _plain(rows["correlation"]), ":", color=colour, lw=1)
    axis.axhline(1, color="0.5", lw=0.8)
    axis.set_ylim(0, 1.6)
    axis.set_xlabel("cycles per output pixel", fontsize="small")


def _coverage(axis, tables, colours):
    for k, (label, colour) in enumerate(colours.items()):
        rows = _of(tables["coverage"], label, split="snr")
        place = np.arange(len(rows)) + 0.08 * (k - len(colours) / 2)
        for n, marker in ((1, "o"), (2, "s")):
            axis.errorbar(place, _plain(rows[f"within_{n}"]), _plain(rows[f"within_{n}_error"]),
                          fmt=marker, ms=3, lw=1, color=colour,
                          fillstyle="full" if n == 1 else "none")
    names = [str(name) for name in rows["bin"]]
    axis.set_xticks(range(len(names)), names, fontsize="x-small")
    _expected(axis)
    axis.set_xlabel("S/N of a pixel", fontsize="small")


def _expected(axis):
    for share in EXPECTED:
        axis.axhline(share, color="0.5", lw=0.8)
    axis.set_ylim(0, 1.02)


def _apertures(axis, tables, colours):
    for label, colour in colours.items():
        rows = _of(tables["apertures"], label)
        for n, style in ((1, "o-"), (2, "s:")):
            axis.errorbar(rows["aperture"], _plain(rows[f"within_{n}"]),
                          _plain(rows[f"within_{n}_error"]), fmt=style, ms=3, lw=1, color=colour)
    _expected(axis)
    axis.set_xlabel("radius / output pixels", fontsize="small")


def _bars(table, value, error=None, limit=None, **known):
    """A panel of one value for each method, and for what is no method; bars by error or limit."""
    def panel(axis, tables, colours):
        rows = tables[table]
        for key, wanted in known.items():
            rows = rows[np.asarray(rows[key]) == wanted]
        place, values = np.arange(len(rows)), _plain(rows[value])
        ends = None if error is None else _plain(rows[error])
        if limit is not None:
            ends = np.stack([np.zeros_like(values), _plain(rows[limit]) - values])
        axis.errorbar(values, place, fmt="none", lw=1, color="0.4", xerr=ends)
        axis.scatter(values, place, s=20, zorder=3,
                     c=[colours.get(str(label), "0.3") for label in rows["method"]])
        axis.set_yticks(place, [str(label) for label in rows["method"]], fontsize="x-small")
        axis.set_ylim(len(rows) - 0.5, -0.5)
    return panel


_PANELS = (
    ("flux", _flux, "flux / true flux, whole image"),
    ("shift", _shift, "median shift"),
    ("shape", _shape, "slope of ellipticity (dashed: curve of the correction)"),
    ("transfer", _transfer, "transfer T(k) and correlation r(k) (dotted), S/N above 40"),
    ("coverage", _coverage, "share of pixels within 1 (full) and 2 (open) sigma"),
    ("apertures", _apertures, "share of apertures within 1 and 2 (dotted) sigma"),
    ("stars", _bars("stars", "ratio", "scatter"), "FWHM of stars / declared (bar: scatter)"),
    ("blank", _bars("blank", "per_million", limit="limit", noise="white"),
     "false sources in $10^6$ blank pixels (bar: limit)"),
    ("twins", _bars("twins", "correlation", mass=1e10),
     r"difference by a subhalo of $10^{10}\,M_\odot$: correlation"),
    ("einstein", _bars("einstein", "to_hr", "scatter"),
     "Einstein radius / that of the target (bar: scatter)"),
    ("consistency", _bars("consistency", "chi2", "scatter", snr_low=0.0),
     r"reduced $\chi^2$ against the data (bar: scatter)"),
)
"""Table, panel, and its title."""
