"""
Real lenses, degraded to the ground's seeing, restored and compared with what HST and JWST saw.

    python benchmarks/real_lenses.py --out real_lenses
    python benchmarks/real_lenses.py --weights runs/a/unrolled-x2.safetensors=unrolled

Every lens of the folder of real sky data (``LENSSR_SHARED_DATA``, by default ``shared/data`` beside
the checkout), those with a galaxy in the middle without its light as well, is observed again by
`lenssr.simulate.simulate_observation` at three seeings and three depths. Writes a table of each
image and one of each lens, and metrics.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from astropy.table import Table
from entrants import CLASSICAL, add_arguments, entrants, restore
from lenses import DATA, degrade, lenses, score
from tqdm import tqdm

from lenssr.evaluate import comparison_figure

SEEING = (0.5, 0.75, 1.0)  # FWHM of the optics, arcsec
SNR = (10, 50, 200)        # peak signal to noise, or what the sharp image allows
RIVAL = "richardson_lucy"

HEADER = """\
PSNR in dB against the peak of the truth of each image. `fwhm` is that of the effective PSF in input
pixels. `arcs` is the PSNR over the pixels that are brighter than a fiftieth of the peak. `flat` is
the median of the truth everywhere, what the flat sky alone scores. `limit` is the score of a
perfect image against this truth, which has the noise of the sharp image in it."""


def images(chosen, taking_part, out):
    """A row of metrics for each lens, seeing and depth."""
    for lens in tqdm(chosen, desc="lenses"):
        for seeing in SEEING:
            reached = 0
            for snr in SNR:
                pair, limit = degrade(lens, seeing, snr)
                if pair.truth["snr"] < 1.01 * reached:
                    continue  # as deep as the sharp image allows, and so was the last one
                reached = pair.truth["snr"]
                results = {label: restore(pair.lr, who) for label, who in taking_part.items()}
                row = {"lens": lens.name, "kind": lens.kind, "side": pair.lr.shape[0],
                       "seeing": seeing, "fwhm": pair.truth["fwhm"], "snr": pair.truth["snr"],
                       "limit": limit}
                flat = np.full(pair.hr.shape, np.median(pair.hr.data))
                for label, image in {"flat": flat, **results}.items():
                    row[label], row[f"{label}_arcs"] = score(pair, image)
                yield row
                if seeing == SEEING[1]:
                    figure = comparison_figure(
                        pair, {label: image for label, image in results.items()
                               if label != "wiener"},
                        f"{lens.name}, {seeing} arcsec, S/N {pair.truth['snr']:.0f}")
                    figure.savefig(out / f"{lens.name}_{snr}.png", dpi=90)


def means(table, labels):
    """A row of means for each lens, and in how many of its images each is above the rival."""
    for name in dict.fromkeys(table["lens"]):
        part = table[table["lens"] == name]
        row = {"lens": name, "kind": part["kind"][0], "images": len(part)}
        row |= {label: np.mean(part[label]) for label in labels}
        row |= {f"{label}_above": int(np.sum(part[label] > part[RIVAL]))
                for label in labels if label not in CLASSICAL}
        yield row


def verdict(table, each, label):
    """Where a method is below the rival, in words."""
    gap = table[label] - table[RIVAL]
    lines = [f"{label}: mean {np.mean(table[label]):.2f} dB, {np.mean(gap):+.2f} against {RIVAL}; "
             f"above it in {np.sum(gap > 0)} of {len(table)} images and in the mean of "
             f"{np.sum(each[label] > each[RIVAL])} of {len(each)} lenses"]
    lines += [f"    below on the mean of {row['lens']}: {row[label] - row[RIVAL]:+.2f} dB"
              for row in each if row[label] <= row[RIVAL]]
    lines += [f"    below on {row['lens']} at {row['seeing']} arcsec, S/N {row['snr']:.0f}: "
              f"{lost:+.2f} dB" for row, lost in zip(table, gap) if lost <= 0]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--out", type=Path, default=Path("real_lenses"), help="folder to write to")
    parser.add_argument("--table", type=Path, help="file to write the means of each lens to")
    parser.add_argument("--only", help="lenses whose name holds this")
    add_arguments(parser)
    args = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"the folder of real sky data is not at {DATA}; set LENSSR_SHARED_DATA")
    args.out.mkdir(parents=True, exist_ok=True)
    taking_part = entrants(args)
    chosen = [lens for lens in lenses() if (args.only or "") in lens.name]

    table = Table(list(images(chosen, taking_part, args.out)))
    each = Table(list(means(table, taking_part)))
    for part in (table, each):
        for name in part.colnames:
            if part[name].dtype.kind == "f":
                part[name].info.format = {"snr": ".0f", "seeing": ".2f"}.get(name, ".2f")
    print(HEADER, "\n")
    for part, extra in (("", ["limit"]), ("_arcs", [])):
        names = [f"{label}{part}" for label in ("flat", *taking_part)]
        table["lens", "side", "seeing", "fwhm", "snr", *names, *extra].pprint(
            max_width=-1, max_lines=-1)
        print()
    print(f"Means over seeing and depth; `above` counts the images above {RIVAL}:\n")
    each.pprint(max_width=-1, max_lines=-1)
    print()
    for label in taking_part:
        if label not in CLASSICAL:
            print(verdict(table, each, label))
    table.write(args.out / "real_lenses.ecsv", overwrite=True)
    each.write(args.out / "real_lenses_means.ecsv", overwrite=True)
    if args.table:
        each.write(args.table, overwrite=True)


if __name__ == "__main__":
    sys.exit(main())
