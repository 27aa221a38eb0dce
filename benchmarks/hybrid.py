"""
What each term of the hybrid loss is worth: squared error, + structural similarity, + perceptual.

    python benchmarks/hybrid.py --runs runs/hybrid --out hybrid.ecsv --features lens

One small network, the same pairs and the same number of steps, with the loss ``mse`` alone, with
``ssim``, and with ``perceptual``, whose features are those of the classifier in the package
(``lens``), of torchvision (``vgg19``), or of a file. Tested on unseen pairs of ``hsc-hst``,
noise-free truth. A run that was stopped goes on. A quarter of an hour on one core.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from astropy.table import Table

from lenssr.evaluate import image_metrics, radial_power, transfer_function
from lenssr.networks import sinh_scale
from lenssr.simulate import BatchRandom
from lenssr.train import CachedPairs, Data, Recipe, Training, fit
from lenssr.weights import load_network

SCALE, UNSEEN, BATCH = 2, 2, 50
NETWORK = dict(architecture="fast", scale=SCALE, blocks=6, features=24, conditions=5)
TERMS = {"mse": 1.0, "ssim": 0.1, "perceptual": 0.05}
BRIGHT = 20  # peak over noise from which fluxes are compared

HEADER = """\
  psnr      mean over the images, dB, against the peak of each noise-free truth
  gain      mean over the same images of what it is above that of the same seed with mse alone
  error     standard error of that
  ssim      mean structural similarity, windows of 7 x 7 pixels
  transfer  mean of |T(k) - 1| over rings of spatial frequency
  phase     mean correlation with the truth over the same rings
  flux      median of flux / true flux of bright images; mad: its scatter"""


def trained(terms, seed, args):
    """Weights of the network with these terms of the loss."""
    name = "-".join(["fast", *terms, *([args.features] if "perceptual" in terms else []),
                     str(seed)]).replace("/", "_")
    training = Training(
        seed=seed, steps=args.steps, batch=8, optimizer="muon", learning_rate=2e-3, warmup=100,
        validate_every=args.steps, features=args.features,
        loss={term: TERMS[term] for term in terms})
    recipe = Recipe(name, NETWORK, Data(validation_scenes=250), training)
    return fit(recipe, args.runs / name, device=args.device)


@torch.no_grad()
def score(weights, args):
    """What is measured on the unseen images: arrays by name, and their summed power."""
    network, _ = load_network(weights)
    pairs = CachedPairs(Data(scenes=args.n, seed=UNSEEN, p_correlated_noise=0.0, noise_error=0.0,
                             p_psf_known=1.0), SCALE)
    generator, rows, power = torch.Generator().manual_seed(UNSEEN), [], 0.0
    for start in range(0, args.n, BATCH):
        batch = pairs.take(range(start, start + BATCH), BatchRandom(generator, BATCH))
        images = sinh_scale(network(*batch.inputs("cpu")))
        for image, truth in zip(images[:, 0].double().numpy(), batch.truth[:, 0].double().numpy()):
            peak = truth.max()
            if peak < 5:
                continue
            found = radial_power(image, truth)
            power = power + found / found[1].sum()
            metrics = image_metrics(image / peak, truth / peak, data_range=1.0)
            flux = metrics["flux_ratio"] if peak > BRIGHT and truth.min() > -1e-3 * peak else np.nan
            rows.append((-10 * np.log10(metrics["mse"]), metrics["ssim"], flux))
    return dict(zip(("psnr", "ssim", "flux"), np.array(rows).T)), power


def summary(terms, seed, scores, first):
    """A row of the table."""
    found, power = scores
    gain = found["psnr"] - first[0]["psnr"]
    t, r = transfer_function(power)
    flux = found["flux"][np.isfinite(found["flux"])]
    return {"loss": " + ".join(terms), "seed": seed, "psnr": found["psnr"].mean(),
            "gain": gain.mean(), "error": gain.std() / len(gain)**0.5,
            "ssim": found["ssim"].mean(), "transfer": abs(t - 1).mean(), "phase": r.mean(),
            "flux": np.median(flux), "mad": 1.4826 * np.median(abs(flux - np.median(flux)))}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--runs", type=Path, required=True, help="folder of the trainings")
    parser.add_argument("--out", type=Path, required=True, help="table to write, ECSV or CSV")
    parser.add_argument("--features", default="lens", help="lens, vgg19, or a file of weights")
    parser.add_argument("--terms", nargs="+", default=list(TERMS), choices=list(TERMS),
                        help="added one by one")
    parser.add_argument("--n", type=int, default=500, help="unseen pairs, in fifties")
    parser.add_argument("--steps", type=int, default=2000, help="steps of each network")
    parser.add_argument("--seeds", type=int, nargs="+", default=(1, 2))
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()

    rows = []
    for seed in args.seeds:
        first = None
        for count in range(1, len(args.terms) + 1):
            terms = args.terms[:count]
            scores = score(trained(terms, seed, args), args)
            first = first or scores
            rows.append(summary(terms, seed, scores, first))
    table = Table(rows)
    for name in table.colnames[2:]:
        table[name].info.format = ".2f" if name in ("psnr", "gain", "error") else ".4f"
    table.pprint(max_lines=-1, max_width=-1)
    table.write(args.out, overwrite=True)
    print(HEADER)


if __name__ == "__main__":
    main()
