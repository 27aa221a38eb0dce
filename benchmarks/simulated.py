"""
Every method on the same unseen simulated pairs, against bilinear and the best linear filter.

    python benchmarks/simulated.py --n 1000 --out simulated.ecsv

1,000 scenes of the validation series (seed 2, never trained on) of the preset ``hsc-hst``: 32 x 32
input pixels, white noise with the photon noise of the sources, noise-free truth at the declared
resolution. The scenes are rendered once, into the folder ``LENSSR_CACHE``.
"""

import argparse
import json
import sys
import warnings
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from astropy import units as u
from astropy.table import Table, vstack
from tqdm import tqdm

from lenssr import LensSRWarning, list_methods, superresolve
from lenssr.evaluate import OptimalLinearFilter, image_metrics, psnr_summary
from lenssr.simulate import SCENE_TYPES, BatchRandom, Population
from lenssr.train import CachedPairs, Data
from lenssr.weights import shipped_weights

SCALE, SEED, TRAINING_SEED = 2, 2, 1
CLASSICAL = ("bilinear", "bicubic", "lanczos", "optimal_linear", "richardson_lucy", "wiener")
SNR_BINS = (5, 15, 50, 150, 500)
LEAST = 5   # peak of the truth over the noise below which an image counts as empty
BRIGHT = 20  # peak signal to noise above which flux and place are compared
BATCH = 50

HEADER = """\
Each image is scaled to the peak of its noise-free truth, so that its data range is one: PSNR in dB
is -10 log10(MSE / peak^2).
  mean, of_mean   mean of the PSNRs of the images; PSNR of the mean MSE
  median, worst   median PSNR; PSNR that 5 % of the images are below
  ssim            mean structural similarity, windows of 7 x 7 pixels
  flux            median over images of flux / true flux, S/N > 20, all light positive
  flux_mad        its scatter: 1.48 times the median absolute deviation
  shift           median shift of the centroid of what is brighter than a tenth of the peak, in
                  output pixels, same images
  n, n_empty      images whose truth has a peak of at least five times the noise of the input (as
                  surface brightness), and those where there is nothing to see
  empty           rms error of the latter over that noise, median
  snr             peak of the noise-free input over the noise of its sky"""


class Scenes:
    """
    Observed pairs of a series of scenes, one by one.

    Parameters
    ----------
    n : int
        Number of scenes.
    seed : int
        Seed of the series, which gives the conditions of observation too.
    """

    def __init__(self, n, seed):
        data = Data(scenes=n, seed=seed, p_correlated_noise=0.0, noise_error=0.0)
        self.n, self.seed = n, seed
        self.pairs = CachedPairs(data, SCALE, progress=True)

    def __iter__(self):
        generator = torch.Generator().manual_seed(self.seed)
        population = Population()
        for start in range(0, self.n, BATCH):
            indices = range(start, min(start + BATCH, self.n))
            seen = self.pairs.observe(indices, BatchRandom(generator, len(indices)))
            psfs = self.pairs.optics.effective_psf(seen.transfer)
            for k, i in enumerate(indices):
                sky = float(seen.sky_rms[k])
                hr = self._cut(seen.hr[k], SCALE)
                # The only source of a field may lie outside the cut.
                yield {"kind": population.draw(np.random.default_rng([self.seed, i])).scene_type,
                       "snr": self._cut(seen.clean[k], 1).max() / sky, "sky": sky,
                       "empty": hr.max() < LEAST * sky, "lr": self._cut(seen.lr[k], 1),
                       "hr": hr, "sigma": self._cut(seen.sigma[k], 1),
                       "psf": psfs[k].double().numpy()}

    def _cut(self, image, factor):
        edge = self.pairs.margin * factor
        return image[edge:-edge, edge:-edge].double().numpy()


def fit_linear(n):
    """The `OptimalLinearFilter` of ``n`` pairs of the training series."""
    model = OptimalLinearFilter(scale=SCALE)
    for scene in tqdm(Scenes(n, TRAINING_SEED), total=n, desc="fitting the linear filter"):
        if not scene["empty"]:
            model.add(scene["lr"], scene["hr"])
    return model


def restore(method, scene, linear, options):
    """Surface brightness that a method makes of a scene."""
    if method == "optimal_linear":
        return linear.apply(scene["lr"])
    with warnings.catch_warnings():
        # A few PSFs are at the limits of what the network was trained on.
        warnings.simplefilter("ignore", LensSRWarning)
        result = superresolve(scene["lr"] * u.electron, method, uncertainty=scene["sigma"],
                              psf=scene["psf"], scale=SCALE, **options)
    return result.data * SCALE**2


def centroid(image, where):
    """Centre of light ``(y, x)`` of the pixels ``where``."""
    y, x = np.nonzero(where)
    light = image[where]
    return np.array([(light * y).sum(), (light * x).sum()]) / light.sum()


def metrics(image, scene):
    """What is measured on one result."""
    hr, peak = scene["hr"], scene["hr"].max()
    if scene["empty"]:
        return {"empty": np.sqrt(np.mean((image - hr) ** 2)) / scene["sky"]}
    row = image_metrics(image / peak, hr / peak, data_range=1.0)
    bright = scene["snr"] > BRIGHT and hr.min() > -1e-3 * peak
    if bright:
        core = hr > 0.1 * peak
        row["shift"] = float(np.hypot(*(centroid(image, core) - centroid(hr, core))))
    row["flux"] = row["flux_ratio"] if bright else np.nan
    return row


def summary(method, rows, scenes):
    """One line of the table."""
    seen = [(r, s) for r, s in zip(rows, scenes, strict=True) if "mse" in r]
    mse = np.array([r["mse"] for r, _ in seen])
    flux = np.array([r["flux"] for r, _ in seen])
    flux = flux[np.isfinite(flux)]
    snr, kind = np.array([s["snr"] for _, s in seen]), np.array([s["kind"] for _, s in seen])
    empty = [r["empty"] for r in rows if "empty" in r]
    line = {"method": method, "n": len(seen), "n_empty": len(empty), **psnr_summary(mse, 1.0),
            "ssim": np.mean([r["ssim"] for r, _ in seen]),
            "flux": np.median(flux), "flux_mad": 1.4826 * np.median(abs(flux - np.median(flux))),
            "shift": np.median([r["shift"] for r, _ in seen if "shift" in r]),
            "empty": np.median(empty) if empty else np.nan}
    parts = {f"snr_{a}_{b}": (snr >= a) & (snr < b) for a, b in zip(SNR_BINS, SNR_BINS[1:])}
    parts |= {name: kind == name for name in SCENE_TYPES if name != "empty"}
    for name, where in parts.items():
        line[name] = psnr_summary(mse[where], 1.0)["mean"] if where.any() else np.nan
    return line


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--n", type=int, default=1000, help="number of pairs")
    parser.add_argument("--training", type=int, default=3000,
                        help="training pairs of the linear filter")
    networks = [str(row["name"]) for row in list_methods()
                if row["family"] == "network" and SCALE in shipped_weights(str(row["name"]))]
    parser.add_argument("--methods", nargs="+", default=[*CLASSICAL, *networks],
                        choices=[*CLASSICAL, *networks])
    parser.add_argument("--weights", help="weights of rcan in place of the shipped ones")
    parser.add_argument("--out", type=Path, help="file for the table, ECSV or CSV by its name")
    parser.add_argument("--update", action="store_true",
                        help="keep the rows of --out of methods that are not run now")
    parser.add_argument("--record", action="store_true",
                        help="write the gains over bilinear into the package")
    args = parser.parse_args()

    options = {name: {"n_probes": 1} for name in ("richardson_lucy", *networks)}
    if args.weights:
        options["rcan"]["weights"] = args.weights
    linear = fit_linear(args.training) if "optimal_linear" in args.methods else None
    scenes, rows = [], {method: [] for method in args.methods}
    for scene in tqdm(Scenes(args.n, SEED), total=args.n, desc="restoring"):
        scenes.append({"kind": scene["kind"], "snr": scene["snr"]})
        for method in args.methods:
            image = restore(method, scene, linear, options.get(method, {}))
            rows[method].append(metrics(image, scene))

    table = formatted(Table([summary(method, rows[method], scenes) for method in args.methods]))
    print(f"{args.n} unseen pairs, {SCALE} x. {HEADER}\n")
    split = table.colnames.index("empty") + 1
    for part in (table.colnames[1:split], table.colnames[split: split + len(SNR_BINS) - 1],
                 table.colnames[split + len(SNR_BINS) - 1:]):
        table["method", *part].pprint(max_width=-1, max_lines=-1)
        print()
    if args.out:
        if args.update:
            old = Table.read(args.out)
            table = formatted(vstack([old[~np.isin(old["method"], table["method"])], table]))
        table.write(args.out, overwrite=True)
    if args.record:
        record(table, args.n)


def formatted(table):
    """The table with as many digits as its metrics are worth."""
    for name in table.colnames[3:]:
        table[name].info.format = {"ssim": ".4f", "flux": ".4f", "flux_mad": ".4f",
                                   "shift": ".3f", "empty": ".3f"}.get(name, ".2f")
    return table


def record(table, n):
    """Write the gains into the package, where `lenssr.list_methods` finds them."""
    path = Path(str(resources.files("lenssr.methods") / "gains.json"))
    mean = {row["method"]: row["mean"] for row in table}
    gains = {name: round(value - mean["bilinear"], 2) for name, value in mean.items()}
    title, known = f"hsc-hst, {SCALE} x, {n} unseen pairs of 32 x 32 input pixels", json.loads(
        path.read_text())
    if known["set"] == title:
        # Methods that were not run again keep theirs.
        gains = {**known["gain"], **gains}
    path.write_text(json.dumps({"set": title, "gain": gains}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
