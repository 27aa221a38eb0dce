"""A line of figures for each method, out of the tables of all parts."""

import numpy as np

from lenssr.evaluate._fidelity.part import BRIGHT, COLUMNS, make_table

__all__ = ["summarise"]

SUMMARY = {
    "coverage_1": (".4f", "", "share of pixels within one sigma"),
    "coverage_2": (".4f", "", "share of pixels within two sigma"),
    "flux_bias": (".4f", "", "median of flux over true flux, less one"),
    "shift": (".4f", "pix", "length of the median shift"),
    "slope": (".3f", "", "slope of recovered on true ellipticity, single galaxies, S/N above 40"),
    "corrected": (".3f", "", "the same after the correction"),
    "psf": (".4f", "", "FWHM of stars over that of the declared PSF"),
    "excess": (".3f", "", "largest transfer T(k) where the correlation r(k) is below a half"),
    "false": (".2f", "", "sources in 1e6 blank pixels, 5 sigma, white noise"),
    "subhalo": (".3f", "", "correlation with the true difference, 1e10 solar masses, same noise"),
    "einstein": (".4f", "", "Einstein radius over that of the target"),
    **{name: COLUMNS[name] for name in ("chi2", "near")},
}
"""Columns: format, unit, description."""


def summarise(tables, labels):
    """The `~astropy.table.Table` of what matters most, of the parts that there are."""
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
    """Value of the first row with these values."""
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
    known = dict(of="galaxies", snr_low=BRIGHT, snr_high=np.inf)
    return {name: _first(table, name, **known) for name in ("slope", "corrected")}


def _transfer(table):
    wrong = np.ma.filled(table["correlation"] < 0.5, False) & (table["snr_low"] == BRIGHT)
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
