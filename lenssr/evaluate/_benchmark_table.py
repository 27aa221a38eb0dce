"""The figures of single images brought together: a row for each method, and how it is printed."""

import numpy as np
from astropy.table import Table

from lenssr.evaluate._score import FIGURES

__all__ = ["AGAINST", "decibels", "layout", "summarise"]

AGAINST = ("target", "truth")

COLUMNS = {
    "mse": "mean square error over the square of the data range",
    "psnr": "mean of the PSNRs of the images",
    "psnr_of_mean": "PSNR of the mean square error of all images",
    "ssim": "mean structural similarity, windows of 7 x 7 pixels",
    "psnr_arc": "mean PSNR of the bright pixels",
    "removed": "share of the excess of bilinear interpolation over the floor that is gone",
    "psnr_matched": "mean of the PSNRs after a fitted constant was taken off",
    "ssim_matched": "the same of SSIM",
    "psnr_arc_matched": "the same of the PSNR of the bright pixels",
    "removed_matched": "the same of the share that is gone",
}
"""Columns against the target and against the truth, and what they hold."""

COST = {
    "parameters": "trained values",
    "macs": "multiply-accumulates for an image",
    "macs_per_pixel": "the same for an input pixel",
    "ms": "median time of one estimate",
}

FORMATS = {"mse": ".3e", "psnr": ".2f", "psnr_of_mean": ".2f", "ssim": ".4f", "psnr_arc": ".2f",
           "removed": ".3f", "psnr_matched": ".2f", "ssim_matched": ".4f",
           "psnr_arc_matched": ".2f", "removed_matched": ".3f", "ms": ".1f", "macs": ".3g",
           "macs_per_pixel": ".3g", "parameters": ".0f"}


def decibels(mse):
    """PSNR of mean square errors, the range being one; infinite for none."""
    with np.errstate(divide="ignore"):
        return -10 * np.log10(mse)


def summarise(images, entrants, n_pixels):
    """One row for each method."""
    against = [name for name in AGAINST if f"{name}_mse" in images.colnames]
    method = np.asarray(images["method"])
    rows, bilinear = [], images[method == "bilinear"]
    for label in dict.fromkeys(method.tolist()):
        of_label = images[method == label]
        runs = [_run(of_label[of_label["run"] == run], bilinear, entrants.get((label, run)),
                     against, n_pixels) for run in sorted(set(of_label["run"]))]
        row = {"method": label, "runs": len(runs)}
        for key in runs[0]:
            values = np.array([run[key] for run in runs])
            row[key] = values.mean()
            row[f"{key}_spread"] = values.std(ddof=1) if len(values) > 1 else np.nan
        rows.append(row)
    summary = Table(rows, masked=True)
    for name in summary.colnames[2:]:
        # What makes no sense is left empty, and columns without anything are left out.
        summary[name].mask = np.isnan(summary[name])
        if summary[name].mask.all() and (name.endswith("_spread") or name in COST):
            summary.remove_column(name)
            continue
        _describe(summary[name], name)
    return summary


def _run(rows, bilinear, entrant, against, n_pixels):
    found = {}
    for name in against:
        mean = {figure: float(np.mean(rows[f"{name}_{figure}"])) for figure in FIGURES}
        found[f"{name}_mse"] = mean["mse"]
        found[f"{name}_psnr_of_mean"] = decibels(mean["mse"])
        for end in ("", "_matched"):
            found[f"{name}_psnr{end}"] = decibels(np.asarray(rows[f"{name}_mse{end}"])).mean()
            found[f"{name}_psnr_arc{end}"] = decibels(
                np.asarray(rows[f"{name}_mse_arc{end}"])).mean()
            found[f"{name}_ssim{end}"] = mean[f"ssim{end}"]
            # The truth, and targets whose noise nobody knows, have no floor but zero.
            least = np.nan_to_num(np.mean(rows[f"floor_mse{end}"])) if name == "target" else 0
            worst = np.mean(bilinear[f"{name}_mse{end}"])
            found[f"{name}_removed{end}"] = (
                (worst - mean[f"mse{end}"]) / (worst - least) if worst > least else np.nan)
    cost = {"parameters": np.nan, "macs": np.nan, "macs_per_pixel": np.nan, "ms": np.nan}
    if entrant is not None:
        # The first call loads and warms up.
        times = np.asarray(rows["ms"])[1 if len(rows) > 1 else 0:]
        cost = {"parameters": entrant.parameters, "macs": entrant.macs,
                "macs_per_pixel": entrant.macs / n_pixels, "ms": np.median(times)}
    ordered = {f"{name}_{column}": found[f"{name}_{column}"]
               for name in against for column in COLUMNS}
    return {key: float(value) for key, value in (ordered | cost).items()}


def _describe(column, name):
    name, spread = name.removesuffix("_spread"), name.endswith("_spread")
    plain = name.split("_", 1)[1] if name.split("_")[0] in AGAINST else name
    what = (COLUMNS | COST)[plain]
    column.info.description = f"standard deviation over runs: {what}" if spread else what
    column.info.format = FORMATS[plain]
    if plain.startswith("psnr"):
        column.unit = "dB"
    elif plain == "ms":
        column.unit = "ms"


def layout(summary):
    """The parts in which a summary is printed."""
    parts = []
    titles = {"target": "Against the target", "truth": "Against the truth, without noise"}
    for name in AGAINST:
        columns = [f"{name}_{column}" for column in COLUMNS
                   if f"{name}_{column}" in summary.colnames]
        columns += [f"{name}_{column}_spread" for column in ("psnr", "ssim")
                    if f"{name}_{column}_spread" in summary.colnames]
        if columns:
            part = summary["method", *columns]
            if name == "truth":
                part = part[~part["truth_mse"].mask]
            part.rename_columns(columns, [c.split("_", 1)[1] for c in columns])
            parts.append((titles[name], part))
    costs = ["runs", *(column for column in COST if column in summary.colnames)]
    cost = summary["method", *costs]
    parts.append(("Cost", cost[~cost["ms"].mask] if "ms" in costs else cost))
    return parts
