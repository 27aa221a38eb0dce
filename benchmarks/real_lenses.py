"""
Real lenses, degraded to the ground's seeing, restored and compared with what HST and JWST saw.

    python benchmarks/real_lenses.py --out real_lenses

Every lens of the folder of real sky data (``LENSSR_SHARED_DATA``, by default ``shared/data`` beside
the checkout) is observed again by `lenssr.simulate.reobserve` at two seeings and two depths. Writes
a table and a figure for each.
"""

import argparse
import os
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from astropy.io import fits
from astropy.table import Table
from scipy import ndimage
from tqdm import tqdm

from lenssr import LensSRWarning, superresolve
from lenssr.evaluate import comparison_figure, image_metrics
from lenssr.image._noise import estimate_sky
from lenssr.simulate import reobserve

METHODS = ("bilinear", "richardson_lucy", "wiener", "rcan")
SEEING = (3.2, 4.5)  # FWHM of the optics in input pixels; the pixel itself adds some 0.1
SNR = (30, 150)      # or what DEEPEST allows
DATA = Path(os.environ.get("LENSSR_SHARED_DATA",
                           Path(__file__).resolve().parents[2] / "shared" / "data"))
SIDE = 240  # pixels of the sharp image that are used at most, so that it is quick
LEAST = 24  # input pixels: smaller images fade into their sky, lest they be all edge
FADE = 6    # pixels of the sharp image over which they do
DEEPEST = 3  # times the noise that the sharp image itself has at that resolution
MARGIN = 2  # input pixels that are cut off afterwards: mirrored light comes into them

HEADER = """\
PSNR in dB against the peak of the truth of each image. `arcs` is the same over the pixels that are
brighter than a fiftieth of the peak. `flat` is the median of the truth everywhere, what the flat
sky alone scores. `limit` is the score of a perfect image against this truth, which has the noise of
the sharp image in it. `gap` is rcan above richardson_lucy."""


@dataclass
class Lens:
    """A sharp image, its PSF, the side of its pixels (arcsec), and pixels per one of the truth."""

    name: str
    data: np.ndarray
    psf: np.ndarray
    pixel: float
    bin: int = 2


def lenses(folder):
    """All real lenses of the folder."""
    slacs, ring = folder / "hst_slacs0946", folder / "jwst_cosmos_web_ring"
    yield Lens("slacs0946_F814W", _fits(slacs / "data"), _fits(slacs / "psf"), 0.05)
    for band, pixel in (("F115W", 0.03), ("F277W", 0.06)):
        yield Lens(f"cosmos_web_ring_{band}", _fits(ring / f"{band}_data"),
                   _fits(ring / f"{band}_psf"), pixel)
    for path in sorted((folder / "hst_arcs").glob("image_*.h5")):
        name = path.stem.removeprefix("image_")
        if name == "lens_system3_F475X":
            continue  # the same image as SL2SJ0219-0829_F475X
        with h5py.File(path) as image, h5py.File(path.with_name(f"psf_{name}.h5")) as psf:
            yield Lens(name, image["image_data"][()], psf["kernel_point_source"][()],
                       abs(image["transform_pix2angle"][0, 0]))
    quads = {key: np.load(folder / "quads" / f"{key}.npz") for key in (
        "wfi2033_814w", "wfi2033_f115W", "j0607_f160w", "j0607_MIRI560W")}
    yield Lens("wfi2033_F814W", quads["wfi2033_814w"]["image_data"],
               quads["wfi2033_814w"]["psf_model"], 0.05)
    # The blur of the others is left in them, as if it were on the sky: no PSF comes with the first,
    # and the pixels of the last two are so coarse that they have to be those of the truth.
    point = np.pad([[1.0]], 1)
    yield Lens("wfi2033_F115W", quads["wfi2033_f115W"]["image_data"], point, 0.031)
    yield Lens("j0607_F160W", quads["j0607_f160w"]["image_data"], point, 0.08, bin=1)
    yield Lens("j0607_F560W", quads["j0607_MIRI560W"]["image_data"], point, 0.111, bin=1)


def _fits(path):
    return fits.getdata(path.with_suffix(".fits")).astype(float)


def _framed(image, least):
    """The middle of a large image; a small one is set into its sky."""
    corner = [max((n - SIDE) // 2, 0) for n in image.shape]
    image = image[corner[0]: corner[0] + SIDE, corner[1]: corner[1] + SIDE]
    if min(image.shape) >= least:
        return image
    sky = np.percentile(image, 2)
    edge = [np.minimum(np.arange(n), np.arange(n)[::-1]) + 0.5 for n in image.shape]
    ramps = [np.sin(0.5 * np.pi * np.minimum(e / FADE, 1)) ** 2 for e in edge]
    faded = sky + (image - sky) * np.multiply.outer(*ramps)
    return np.pad(faded, [(max(least - n, 0) // 2,) * 2 for n in image.shape],
                  constant_values=sky)


def degrade(lens, seeing, snr):
    """The `~lenssr.simulate.LensPair` of a lens, and the PSNR that its own noise allows."""
    step = 2 * lens.bin
    data = _framed(lens.data, LEAST * step)
    noise = estimate_sky(lens.data, ~np.isfinite(lens.data))

    def again(snr):
        with warnings.catch_warnings():
            # Empirical PSFs that are off their centre by a fraction of a pixel.
            warnings.simplefilter("ignore", LensSRWarning)
            return reobserve(data, lens.psf, pixel_scale=lens.pixel, bin=lens.bin, snr=snr,
                             seeing=seeing * step * lens.pixel, margin=MARGIN, seed=1)

    pair = again(snr)
    sky = pair.lr.uncertainty.array[0, 0]
    own = noise * pair.truth["gain_lr"] * step**2
    if sky < DEEPEST * own:
        pair = again(int(snr * sky / (DEEPEST * own)))
    limit = 20 * np.log10(pair.hr.data.max() / (noise * pair.truth["gain_hr"] * lens.bin**2))
    return pair, limit


def arcs(truth):
    """Where there is light: above a fiftieth of the peak, and two pixels about it."""
    return ndimage.binary_dilation(truth > truth.max() / 50, iterations=2)


def score(pair, image):
    """PSNR over all of an image, and where there is light."""
    truth, peak = pair.hr.data, pair.hr.data.max()
    dark = ~arcs(truth)
    return (image_metrics(image, truth, data_range=peak)["psnr"],
            image_metrics(image, truth, data_range=peak, mask=dark)["psnr"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--out", type=Path, default=Path("real_lenses"), help="folder to write to")
    parser.add_argument("--weights", help="weights of rcan in place of the shipped ones")
    parser.add_argument("--table", type=Path, help="file to write the means of each lens to")
    parser.add_argument("--only", help="lenses whose name holds this")
    args = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"the folder of real sky data is not at {DATA}; set LENSSR_SHARED_DATA")
    args.out.mkdir(parents=True, exist_ok=True)
    options = {"richardson_lucy": {"n_probes": 1}, "rcan": {"n_probes": 1}}
    if args.weights:
        options["rcan"]["weights"] = args.weights

    rows = []
    chosen = [lens for lens in lenses(DATA) if (args.only or "") in lens.name]
    for lens in tqdm(chosen, desc="lenses"):
        for seeing in SEEING:
            for snr in SNR:
                pair, limit = degrade(lens, seeing, snr)
                results = {m: superresolve(pair.lr, m, **options.get(m, {})) for m in METHODS}
                row = {"lens": lens.name, "side": pair.lr.shape[0], "fwhm": pair.truth["fwhm"],
                       "snr": int(pair.truth["snr"]), "limit": limit}
                flat = np.full(pair.hr.shape, np.median(pair.hr.data))
                for name, image in {"flat": flat, **results}.items():
                    row[name], row[f"{name}_arcs"] = score(pair, image)
                row["gap"] = row["rcan"] - row["richardson_lucy"]
                rows.append(row)
                figure = comparison_figure(
                    pair, {m: results[m] for m in ("bilinear", "richardson_lucy", "rcan")},
                    f"{lens.name}, FWHM {pair.truth['fwhm']:.1f} px, S/N {row['snr']}")
                figure.savefig(args.out / f"{lens.name}_{seeing}_{snr}.png", dpi=90)

    table = Table(rows)
    for name in table.colnames[2:]:
        table[name].info.format = "d" if name == "snr" else ".2f"
    print(HEADER, "\n")
    for part in ("", "_arcs"):
        names = [f"{m}{part}" for m in ("flat", *METHODS)]
        extra = ["limit", "gap"] if not part else []
        table["lens", "side", "fwhm", "snr", *names, *extra].pprint(max_width=-1, max_lines=-1)
        print()
    lines = []
    for name in dict.fromkeys(table["lens"]):
        part = table[table["lens"] == name]
        lines.append({"lens": name, **{m: np.mean(part[m]) for m in (*METHODS, "gap")}})
    each = Table(lines)
    for name in each.colnames[1:]:
        each[name].info.format = ".2f"
    print("Means over seeing and depth:\n")
    each.pprint(max_width=-1, max_lines=-1)
    means = ", ".join(f"{m} {np.mean(table[m]):.2f}" for m in METHODS)
    print(f"\nmean PSNR: {means}; rcan above richardson_lucy in {(table['gap'] > 0).sum()} of "
          f"{len(table)} images, least gap {table['gap'].min():+.2f} dB, and in "
          f"{(each['gap'] > 0).sum()} of {len(each)} lenses")
    table.write(args.out / "real_lenses.ecsv", overwrite=True)
    if args.table:
        each.write(args.table, overwrite=True)


if __name__ == "__main__":
    sys.exit(main())
