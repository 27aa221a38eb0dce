"""
Posterior samples on unseen simulated pairs: whether they are what they claim to be.

    python benchmarks/diffusion.py --n 1000 --work diffusion-work
    python benchmarks/diffusion.py --n 200 --work static-work --schedule static --steps 10
    python benchmarks/diffusion.py --consistency_weight 8 --metadata 256 --seconds

The pairs of ``benchmarks/simulated.py``. What was found of an image is kept in the folder of
``--work``, so that a run which was stopped goes on; ``--first`` shares the work out. The last line
makes three further tables: DDPM with all its steps against the few of the default, the likelihood
of the truth with each piece of metadata withheld, and the time that 64 samples of 64 x 64 input
pixels take.
"""

import argparse
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from astropy import units as u
from diffusion_summary import BINS, HEADER, agreement_table, metadata_table, summary
from simulated import SCALE, SEED, Scenes
from tqdm import tqdm

from lenssr import LensSRWarning, superresolve
from lenssr.evaluate import image_metrics, radial_power
from lenssr.methods import ForwardModel

EDGE = 6        # input pixels along the edge, whose light comes from beyond it
PLACES = 64     # pixels of each image whose rank among the samples is noted
PATCH = 8       # side in output pixels of the patches of the test of coverage
PATCHES = 4     # of each image
PIECE = 25      # images whose rows are written together


def restored(scene, method, **options):
    """Result of a method as surface brightness in units of the noise, and its samples."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LensSRWarning)
        found = superresolve(scene["lr"] * u.electron, method, uncertainty=scene["sigma"],
                             psf=scene["psf"], scale=SCALE, n_probes=1, **options)
    unit = SCALE**2 / scene["sky"]
    samples = None if found.samples is None else found.samples * unit
    return found.data * unit, found.uncertainty.array * unit, samples, found.meta


def reduced_chi2(image, scene, degrade):
    """Of an image against the data, without the pixels along the edge."""
    left = (scene["lr"] / scene["sky"] - degrade.forward(image)) * scene["sky"] / scene["sigma"]
    return np.mean(left[EDGE:-EDGE, EDGE:-EDGE]**2)


def coverage_of(samples, truth, rng):
    """
    Share of the samples that are nearer to a random point than the truth is, of some patches.

    TARP (Lemos et al. 2023, arXiv:2302.03026): if the samples are of the posterior it is uniform.
    Distances are in units of the spread of samples and truth together, one no other than the
    others: in that of the samples alone, which are nearer to their own mean, the truth would be too
    far off.
    """
    images = np.stack([*samples, truth])
    images = (images - images.mean(0)) / images.std(0)
    found = []
    for _ in range(PATCHES):
        y, x = (rng.integers(2 * EDGE, n - 2 * EDGE - PATCH) for n in truth.shape)
        point = rng.normal(size=(PATCH, PATCH))
        distance = np.sum((images[:, y:y + PATCH, x:x + PATCH] - point)**2, axis=(1, 2))
        found.append(np.mean(distance[:-1] < distance[-1]))
    return found


def measure(scene, i, args):
    """All that is noted of an image."""
    rng = np.random.default_rng([SEED, i, 7])
    truth = scene["hr"] / scene["sky"]
    peak = max(truth.max(), 1.0)
    mean, std, samples, meta = restored(
        scene, "diffusion", n_samples=args.samples, seed=i, weights=args.weights,
        schedule=args.schedule, sampler=args.sampler, steps=args.steps)
    images = {"mean": mean, "sample": samples[0], **{
        name: restored(scene, name)[0] for name in args.against}}
    row = {"snr": scene["snr"], "empty": scene["empty"], "steps": meta["SRSTEPS"]}
    for name, image in images.items():
        metrics = image_metrics(image / peak, truth / peak, data_range=1.0)
        row[f"mse_{name}"], row[f"ssim_{name}"] = metrics["mse"], metrics["ssim"]
        row[f"power_{name}"] = radial_power(image / peak, truth / peak)
    degrade = ForwardModel(scene["psf"], SCALE, scene["lr"].shape)
    row["chi2_samples"] = np.mean([reduced_chi2(each, scene, degrade) for each in samples[:8]])
    row["chi2_mean"] = reduced_chi2(mean, scene, degrade)
    row["chi2_truth"] = reduced_chi2(truth, scene, degrade)
    inner = np.s_[2 * EDGE:-2 * EDGE, 2 * EDGE:-2 * EDGE]
    snr = np.abs(mean / np.repeat(np.repeat(scene["sigma"] / scene["sky"], 2, 0), 2, 1))
    distance = np.abs(mean - truth) / std
    which, distance = np.digitize(snr[inner], BINS), distance[inner]
    row["covered"] = np.array([[np.sum((which == k) & (distance < times))
                                for times in (np.inf, 1, 2)] for k in range(len(BINS) + 1)])
    places = rng.permutation(truth[inner].size)[:PLACES]
    row["rank"] = np.sum(samples[(slice(None), *inner)].reshape(len(samples), -1)[:, places]
                         < truth[inner].ravel()[places], axis=0)
    row["rank_bin"] = which.ravel()[places]
    row["tarp"] = np.array(coverage_of(samples, truth, rng))
    return row


def rows_of(args):
    """Rows of all images, measured or read."""
    args.work.mkdir(parents=True, exist_ok=True)
    rows, piece = [], []
    for i, scene in enumerate(tqdm(Scenes(args.n, SEED), total=args.n, desc="drawing")):
        path = args.work / f"{i // PIECE:05d}.npz"
        if i < args.first:
            continue
        if path.exists():
            if i % PIECE == 0:
                with np.load(path) as kept:
                    rows += [{key: kept[key][k] for key in kept} for k in range(
                        min(len(kept["snr"]), args.n - i))]
            continue
        piece.append(measure(scene, i, args))
        if len(piece) == PIECE or i == args.n - 1:
            if len(piece) == PIECE:
                with open(path, "wb") as file:
                    np.savez(file, **{key: np.stack([row[key] for row in piece])
                                      for key in piece[0]})
            rows += piece
            piece = []
    return rows


def seconds(args):
    """Time of 64 samples of 64 x 64 input pixels, the second of two calls."""
    import torch

    image = np.random.default_rng(0).normal(size=(64, 64))
    image[28:36, 28:36] += 50
    for _ in range(2):
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LensSRWarning)
            superresolve(image * u.adu, "diffusion", psf=4 * u.pix, uncertainty=1.0, n_samples=64,
                         weights=args.weights)
        last = time.perf_counter() - start
    print(f"64 samples, 64 x 64 -> 128 x 128: {last:.2f} s, {torch.get_num_threads()} threads")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--n", type=int, default=0, help="number of pairs")
    parser.add_argument("--first", type=int, default=0,
                        help=f"pairs that are left to another run, a multiple of {PIECE}")
    parser.add_argument("--work", type=Path, default=Path("diffusion-work"), help="folder")
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--weights", help="weights in place of the shipped ones")
    parser.add_argument("--against", nargs="*", default=["srcnn", "rcan"], help="other methods")
    parser.add_argument("--sampler", default="dpm")
    parser.add_argument("--schedule", default="dynamic", choices=["dynamic", "static"])
    parser.add_argument("--steps", type=int)
    parser.add_argument("--consistency_weight", type=int, default=0, metavar="N",
                        help="pairs on which DDPM and the default sampler are compared")
    parser.add_argument("--metadata", type=int, default=0, metavar="N",
                        help="validation pairs whose metadata are withheld")
    parser.add_argument("--seconds", action="store_true", help="measure the time")
    args = parser.parse_args()
    if args.n:
        print(HEADER, "\n")
        for table in summary(rows_of(args), args.against):
            table.pprint(max_width=-1, max_lines=-1)
            print()
    if args.consistency_weight:
        pairs = []
        for i, scene in enumerate(Scenes(args.consistency_weight, SEED)):
            pairs.append([restored(scene, "diffusion", n_samples=args.samples, seed=seed,
                                   sampler=sampler, weights=args.weights)[2]
                          for seed, sampler in ((2 * i, "dpm"), (2 * i + 1, "ddpm"))])
        agreement_table(pairs).pprint(max_width=-1)
    if args.metadata:
        metadata_table(args.metadata, args.weights).pprint(max_width=-1)
    if args.seconds:
        seconds(args)


if __name__ == "__main__":
    sys.exit(main())
