"""
Tables for the documentation, of the files that ``lenssr benchmark`` and ``lenssr fidelity`` wrote.

    python benchmarks/tables.py scores/*.ecsv trust/*.ecsv --out docs/user_guide/tables

``NAME.ecsv`` becomes ``benchmark_NAME_target.csv``, against the target, and, where the target has
noise, ``benchmark_NAME_truth.csv``: what is printed of it, to the same digits. A table of means
over folds becomes ``benchmark_NAME.csv``. So does ``NAME-fidelity-TABLE.ecsv`` become
``fidelity_NAME_TABLE.csv``; of the coverage, methods get columns. Where methods were told a wrong
PSF or noise, the name ends with what was wrong. Those of ``lenssr
benchmark --experiment dark-matter``, ``dark-matter*.ecsv``, become ``dark_matter_TABLE.csv``.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
from astropy.table import Table

from lenssr.evaluate import shortened

COLUMNS = ("mse", "psnr", "psnr_spread", "psnr_of_mean", "ssim", "psnr_arc", "removed",
           "psnr_matched", "ssim_matched", "removed_matched")
COST = ("runs", "parameters", "macs_per_pixel", "ms")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("files", nargs="+", type=Path, help="files NAME.ecsv of a benchmark")
    parser.add_argument("--out", type=Path, required=True, help="folder for the tables")
    args = parser.parse_args()
    for file in args.files:
        table = Table.read(file, format="ascii.ecsv")
        if file.stem.startswith("dark-matter"):
            if not file.stem.endswith("-roc"):  # curves are drawn, not told
                name = file.stem.replace("-", "_")
                write_lines(plain(with_intervals(table)), args.out / f"{name}.csv")
            continue
        part = shown = table.meta.get("fidelity")
        if part is not None:
            name = file.stem.removesuffix(f"-fidelity-{part}")
            for key in ("psf_scale_error", "noise_scale_error"):
                if table.meta.get(key, 1.0) != 1:
                    part = f"{part}_{key}"
            side_by_side = shown in ("coverage", "apertures")
            write_lines(by_bin(table) if side_by_side else plain(shortened(shown, table)),
                        args.out / f"fidelity_{name}_{part}.csv")
            continue
        if "truth_psnr_spread" in table.colnames and "runs" not in table.colnames:  # over folds
            known = np.isfinite(table["truth_psnr"])
            write_lines(plain(table[known]), args.out / f"benchmark_{file.stem}.csv")
            continue
        if "runs" not in table.colnames:  # one of a row for each image
            continue
        for against in ("target", "truth"):
            if f"{against}_mse" in table.colnames:
                write(table, against, args.out / f"benchmark_{file.stem}_{against}.csv")


def write(table, against, path):
    """Write what a table says against the target, or against the truth."""
    names = ["method", *(f"{against}_{name}" for name in COLUMNS), *COST]
    names = [name for name in names if name in table.colnames]
    table = table[[not np.ma.is_masked(value) for value in table[f"{against}_mse"]]]
    head, *lines = plain(table[names])
    write_lines([[name.removeprefix(f"{against}_") for name in head], *lines], path)


def plain(table):
    """Head and rows of a table, as it is printed."""
    columns = [table[name].pformat(show_name=False, show_unit=False, max_lines=-1)
               for name in table.colnames]
    return table.colnames, *([word.strip().replace("--", "") for word in row]
                             for row in zip(*columns))


def with_intervals(table):
    """A table whose columns NAME_low and NAME_high have become a part of NAME."""
    found = table.copy()
    for name in table.colnames:
        if f"{name}_low" in table.colnames:
            found[name] = [f"{value:.3f} ({low:.3f} to {high:.3f})" for value, low, high in zip(
                table[name], table[f"{name}_low"], table[f"{name}_high"])]
            found.remove_columns([f"{name}_low", f"{name}_high"])
    return found


def by_bin(table):
    """Head and rows of a table of coverage: a row for each bin, two columns for each method."""
    keys = [name for name in ("split", "bin", "aperture") if name in table.colnames]
    methods = list(dict.fromkeys(table["method"].tolist()))
    rows = {}
    for row in table:
        line = rows.setdefault(tuple(str(row[key]) for key in keys), {})
        line[row["method"]] = [f"{row[name]:.3f}" for name in ("within_1", "within_2")]
    head = [*keys, *(f"{method} {n} sigma" for method in methods for n in (1, 2))]
    return head, *([*key, *(word for method in methods for word in line.get(method, ["", ""]))]
                   for key, line in rows.items())


def write_lines(lines, path):
    """Write lines of words into a CSV file."""
    with open(path, "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(lines)


if __name__ == "__main__":
    main()
