"""Demonstration: a real lens at ground-based seeing, super-resolved and compared with its truth."""

import os
import warnings
from pathlib import Path

from astropy.table import Table

from lenssr._superresolve import superresolve
from lenssr.data import demo_lens
from lenssr.evaluate import comparison_figure, image_metrics

METHODS = ("bilinear", "richardson_lucy", "rcan", "unrolled")


def run_demo(folder, *, overwrite=False, device=None):
    """
    Super-resolve the demonstration lens, write files into a folder, and return a table of
    metrics.
    """
    folder = Path(folder)
    names = ["input.fits", "truth.fits", *(f"{m}.fits" for m in METHODS), "demo.png"]
    existing = [name for name in names if (folder / name).exists()]
    if existing and not overwrite:
        raise OSError(f"`folder` {str(folder)!r} holds {existing[0]} already; say overwrite=True "
                      "to replace it")
    folder.mkdir(parents=True, exist_ok=True)
    pair = demo_lens()
    for name, image in (("input", pair.lr), ("truth", pair.hr)):
        image.write(folder / f"{name}.fits", overwrite=True)
    results, rows = {}, []
    peak = float(pair.hr.data.max())
    for method in METHODS:
        result = superresolve(pair.lr, method, device=device)
        result.write(folder / f"{method}.fits", overwrite=True)
        results[method] = result
        metrics = image_metrics(result, pair.hr, data_range=peak)
        rows.append({"method": method, "PSNR": metrics["psnr"], "SSIM": metrics["ssim"],
                     "flux ratio": metrics["flux_ratio"]})
    figure = comparison_figure(pair, results, "SLACS J0946+1006 (HST F814W) at ground seeing")
    tmp_path = folder / ".part-demo.png"
    with warnings.catch_warnings():
        # Matplotlib 3.9 calls functions that Pillow 11.3 deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        figure.savefig(tmp_path, dpi=110)
    os.replace(tmp_path, folder / "demo.png")
    table = Table(rows)
    table["PSNR"].unit = "dB"
    for name, form in (("PSNR", ".2f"), ("SSIM", ".4f"), ("flux ratio", ".4f")):
        table[name].info.format = form
    return table
