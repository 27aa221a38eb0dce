"""
Tables for the documentation, of the files that ``lenssr benchmark`` wrote.

    python benchmarks/tables.py scores/*.ecsv --out docs/user_guide/tables

``NAME.ecsv`` becomes ``benchmark_NAME_target.csv``, against the target, and, where the target has
noise, ``benchmark_NAME_truth.csv``: what is printed of it, to the same digits.
"""

import argparse
from pathlib import Path

import numpy as np
from astropy.table import Table

from lenssr._files import whole_file

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
    columns = [table[name].pformat(show_name=False, show_unit=False, max_lines=-1)
               for name in names]
    head = [name.removeprefix(f"{against}_") for name in names]
    lines = [head, *([word.strip().replace("--", "") for word in row] for row in zip(*columns))]
    with whole_file(path) as beside:
        beside.write_text("".join(",".join(line) + "\n" for line in lines))


if __name__ == "__main__":
    main()
