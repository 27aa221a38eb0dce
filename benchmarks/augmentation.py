"""
Whether arcs of a generative adversarial network make a network better that has few pairs.

    python benchmarks/augmentation.py --runs runs/augmentation --out augmentation.ecsv

A small network is trained on pairs of the preset ``arcs``: lensed galaxies alone, of 500, 2,000 or
8,000 scenes, each observed anew at each use and turned and mirrored at random. *plain*: these
scenes alone. *own*: half of each batch are arcs of a generator that was trained on the same scenes,
which is what augmentation can do for somebody who has no others. *shipped*: the same with the
generator in the package, which has seen 8,000. All take the same number of steps, and are tested on
the same scenes that nobody has seen. A run that was stopped goes on. An hour on one core.

For each generator: how far its arcs are from the nearest of those it was trained on, in units of
how far unseen true ones are. One that copies has less than one.
"""

import argparse
from pathlib import Path

import torch
from astropy.table import Table
from torch.nn import functional

from lenssr.networks import apply_symmetry, sinh_scale, to_asinh
from lenssr.simulate import BatchRandom
from lenssr.train import (
    ArcImages,
    CachedPairs,
    Data,
    Recipe,
    Training,
    draw_arcs,
    fit,
)
from lenssr.weights import load_network

PRESET, SCALE, SHIPPED, UNSEEN = "arcs", 2, "arcs-x2", 2
NETWORK = dict(architecture="fast", scale=SCALE, blocks=6, features=24, conditions=5)
SIZES, SEEDS = (500, 2000, 8000), (1, 2)
BATCH, POOLED = 50, 4

HEADER = """\
  n        scenes that the network was trained on
  arcs     where the other half of its pairs is from
  seed     of its training
  psnr     mean over the unseen images, dB, against the peak of each noise-free truth
  gain     mean over the same images of what it is above the plain one of the same n and seed
  error    standard error of that
  faint    gain of the images of a peak below 30 times the noise"""


def generator_for(n, args):
    """Weights of a generator that was trained on ``n`` scenes."""
    recipe = Recipe.read("arcs_x2")
    if n == recipe.data.scenes:
        return args.generator
    data = {**vars(recipe.data), "scenes": n}
    training = {**vars(recipe.training), "steps": args.generator_steps}
    name = f"arcs-{n}"
    recipe = Recipe(name, recipe.network, Data(**data), Training(**training), recipe.adversarial)
    return str(fit(recipe, args.runs / name, device=args.device))


def train_network(n, arcs, generator, seed, args):
    """Weights of the small network."""
    data = Data(preset=PRESET, scenes=n, validation_scenes=250)
    if generator is not None:
        data = Data(**{**vars(data), "gan_fraction": 0.5, "gan_weights": generator})
    name = f"fast-{n}-{arcs}-{seed}"
    training = Training(seed=seed, steps=args.steps, batch=8, optimizer="muon", learning_rate=2e-3,
                        warmup=100, validate_every=args.steps)
    return fit(Recipe(name, NETWORK, data, training), args.runs / name, device=args.device)


@torch.no_grad()
def score(weights, args):
    """PSNR of each unseen image, and its peak over the noise."""
    network, _ = load_network(weights)
    pairs = CachedPairs(Data(preset=PRESET, scenes=args.n, seed=UNSEEN, p_correlated_noise=0.0,
                             noise_error=0.0, p_psf_known=1.0), SCALE)
    generator, found = torch.Generator().manual_seed(UNSEEN), []
    for start in range(0, args.n, BATCH):
        batch = pairs.take(range(start, start + BATCH), BatchRandom(generator, BATCH))
        error = sinh_scale(network(*batch.inputs("cpu"))) - batch.truth
        peak = batch.truth.amax(dim=(1, 2, 3))
        psnr = 10 * (peak**2 / error.square().mean(dim=(1, 2, 3))).log10()
        found.append(torch.stack([psnr, peak])[:, peak > 5])
    return torch.cat(found, dim=1).numpy()


def summary(n, arcs, seed, scores, plain):
    """A row of the table."""
    gain = scores[0] - plain[0]
    return {"n": n, "arcs": arcs, "seed": seed, "psnr": scores[0].mean(), "gain": gain.mean(),
            "error": gain.std() / len(gain)**0.5, "faint": gain[scores[1] < 30].mean()}


def shrunk(images):
    """Images as a generator gives them, coarse enough for distances to mean something."""
    return functional.avg_pool2d(to_asinh(images)[:, None], POOLED).flatten(1)


def nearest(n, generator, args):
    """How near generated arcs, and unseen true ones, are to those trained on; a row."""
    recipe = Recipe.read("arcs_x2")

    def true(count, seed):
        data = Data(**{**vars(recipe.data), "scenes": count, "seed": seed})
        pairs = ArcImages(Recipe(recipe.name, recipe.network, data, recipe.training,
                                 recipe.adversarial))
        scenes = [pairs.bank.take(pairs.opened, range(k, min(k + 250, count)))[0]
                  for k in range(0, count, 250)]
        return torch.cat([functional.avg_pool2d(torch.from_numpy(s)[:, None], 2)[:, 0]
                          for s in scenes])

    known = true(n, recipe.data.seed)
    known = torch.cat([shrunk(torch.stack([apply_symmetry(image, turn) for image in known]))
                       for turn in range(8)])
    made = shrunk(torch.from_numpy(draw_arcs(args.judged, weights=generator)))
    unseen = shrunk(true(args.judged, UNSEEN))
    near = {name: torch.cdist(images, known).amin(dim=1) for name, images in
            (("made", made), ("unseen", unseen))}
    ratio = near["made"].median() / near["unseen"].median()
    lowest = near["unseen"].quantile(0.01)
    return {"n": n, "distance": near["made"].median().item(), "ratio": ratio.item(),
            "nearer": (near["made"] < lowest).float().mean().item(),
            "spread": (torch.pdist(made).mean() / torch.pdist(unseen).mean()).item()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--runs", type=Path, required=True, help="folder of the trainings")
    parser.add_argument("--out", type=Path, required=True, help="table to write, ECSV or CSV")
    parser.add_argument("--n", type=int, default=500, help="unseen scenes, in fifties")
    parser.add_argument("--steps", type=int, default=1500, help="steps of each network")
    parser.add_argument("--generator", default=SHIPPED, help="weights of the shipped generator")
    parser.add_argument("--generator-steps", type=int, default=800,
                        help="steps of the generators of 500 and 2,000 scenes")
    parser.add_argument("--judged", type=int, default=250, help="arcs whose neighbours are sought")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()

    rows, neighbours = [], []
    for n in args.sizes:
        generators = {"plain": None, "own": generator_for(n, args), "shipped": args.generator}
        neighbours.append(nearest(n, generators["own"], args))
        if generators["own"] == args.generator:
            del generators["own"]
        for seed in args.seeds:
            scores = {arcs: score(train_network(n, arcs, generator, seed, args), args)
                      for arcs, generator in generators.items()}
            rows += [summary(n, arcs, seed, each, scores["plain"])
                     for arcs, each in scores.items()]
    for name, table in (("", Table(rows)), ("_neighbours", Table(neighbours))):
        for column in table.colnames:
            if table[column].dtype.kind == "f":
                table[column].info.format = ".3f"
        table.pprint(max_lines=-1, max_width=-1)
        table.write(args.out.with_stem(args.out.stem + name), overwrite=True)
    print(HEADER)


if __name__ == "__main__":
    main()
