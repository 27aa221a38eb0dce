"""
The three published experiments, from the training of the networks to the tables.

    python benchmarks/published.py clean noisy observed --runs runs --out scores

*clean* and *noisy*: every architecture is trained on the pairs of the preset, RCAN, SRResNet and
FSRCNN with three seeds, and tested on others. *observed*: of 300 pairs of ``observed-like`` a
tenth is held out. RCAN as it comes with lenssr, trained on the other 270 alone for as many steps as
fine-tuning takes, fine-tuned in two stages, and adapted to the images without their targets; the
fine-tuned one in five ways to hold out a tenth. A run that was stopped goes on; what is trained
already is not trained again. Hours on two cores.
"""

import argparse
from pathlib import Path

import numpy as np
from astropy.table import Table

from lenssr.evaluate import EXPERIMENTS, benchmark
from lenssr.simulate import simulate_catalog
from lenssr.train import Data, Recipe, Training, adapt, finetune, fit, split

NETWORKS = {  # sizes that two cores train in minutes
    "srcnn": dict(features=[64, 32], kernels=[9, 5, 5], skip=True),
    "fsrcnn": dict(d=32, s=12, m=4, skip=True),
    "fsrcnn_equivariant": dict(d=8, s=4, m=3, skip=True),
    "fsrcnn_hybrid": dict(d=8, s=4, m=3, skip=True),
    "edsr": dict(blocks=6, features=24),
    "rdn": dict(blocks=3, layers=3, growth=16, features=24),
    "rcan": dict(groups=2, blocks=3, features=24, reduction=8, window=32),
    "srresnet": dict(blocks=6, features=24),
    "fast": dict(blocks=6, features=24),
}
SEEDS = {"rcan": (1, 2, 3), "srresnet": (1, 2, 3), "fsrcnn": (1, 2, 3)}
CLASSES = ["no_sub", "cdm", "axion"]
BASELINES = ("bilinear", "bicubic", "optimal_linear", "richardson_lucy", "wiener")
STEPS, SCENES = 600, 3000
LONGER = {"noisy": {"edsr": 8}}  # how near to the floor one comes with more of them

PRETRAINED, FOLDS, PAIRS, HELD = "rcan-x2", 5, 300, 30
STAGES, RATES, BATCH = (60, 140), (1e-4, 2e-4), 8


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("experiments", nargs="*", default=list(EXPERIMENTS),
                        help="clean, noisy, observed; all by default")
    parser.add_argument("--runs", type=Path, required=True, help="folder of the trainings")
    parser.add_argument("--out", type=Path, required=True, help="folder for the tables")
    parser.add_argument("--n", type=int, default=100, help="pairs that are tested")
    parser.add_argument("--steps", type=int, default=STEPS, help="steps of each network")
    parser.add_argument("--folds", type=int, default=FOLDS, help="folds of the observed pairs")
    args = parser.parse_args()
    for name in args.experiments:
        if name == "observed":
            observed(args)
        else:
            simulated(name, args)


def simulated(name, args):
    """Train all on a preset, and test all on other pairs of it."""
    weights = {}
    for architecture in NETWORKS:
        for seed in SEEDS.get(architecture, (1,)):
            recipe = simulated_recipe(name, architecture, seed, args.steps)
            weights.setdefault(f"{architecture} (trained here)", []).append(
                trained(recipe, args.runs / name / recipe.name))
    for architecture, times in LONGER.get(name, {}).items():
        recipe = simulated_recipe(name, architecture, 1, times * args.steps)
        weights[f"{architecture} (trained {times} times as long)"] = [
            trained(recipe, args.runs / name / f"{recipe.name}-longer")]
    found = benchmark(name, BASELINES, weights=weights, n=args.n, out=args.out, overwrite=True,
                      progress=True)
    print(found)


def simulated_recipe(name, architecture, seed, steps):
    """How an architecture is trained on a preset."""
    data = Data(EXPERIMENTS[name], scenes=SCENES, seed=11, validation_scenes=64,
                validation_seed=12, substructure=CLASSES, p_correlated_noise=0.0, noise_error=0.0,
                p_psf_known=1.0)
    # Errors count as they do in the table; in noise units, against noisy targets, without bias.
    training = Training(seed=seed, steps=steps, batch=8, warmup=60, ema=0.99,
                        optimizer="muon", learning_rate=1e-3,
                        loss={"mse_linear": 1.0}, validate_every=max(1, steps // 4))
    return Recipe(f"{architecture}-{name}-{seed}",
                  dict(architecture=architecture, channels=1, scale=2, **NETWORKS[architecture]),
                  data, training)


def trained(recipe, folder):
    """The weights of a recipe, trained if they are not there."""
    path = folder / f"{recipe.name}.safetensors"
    return path if path.exists() else fit(recipe, folder, progress=True)


def observed(args):
    """Four ways to come by a network for observed pairs, and a spread of the one that counts."""
    folder = args.runs / "observed"
    pairs = str(folder / "pairs")
    catalog = simulate_catalog(pairs, PAIRS, EXPERIMENTS["observed"], substructure=CLASSES,
                               engine="torch", seed=21)
    rows = []
    for fold in range(args.folds):
        ways = {"fine-tuned": tuned}
        if fold == 0:
            ways |= {"unpretrained": unpretrained, "adapted": adapted}
        weights = {label: make(pairs, folder / f"{label}-{fold}", fold)
                   for label, make in ways.items()}
        kept, held = split(PAIRS, HELD, fold, 0)
        found = benchmark([catalog[i] for i in held], (*BASELINES, "rcan"), weights=weights,
                          n=HELD, training=[catalog[i] for i in kept],
                          name="observed" if fold == 0 else f"observed-{fold}", out=args.out,
                          overwrite=True, progress=True)
        print(found)
        rows.append(found.summary)
    spread(rows, args.out / "observed-folds.ecsv")


def unpretrained(pairs, folder, fold):
    """The network from fresh weights, on the observed pairs alone."""
    from lenssr.weights import find_weights, read_card

    network = read_card(find_weights(PRETRAINED)).network
    steps = sum(STAGES)
    data = Data(catalog=pairs, fold=fold, validation_fraction=HELD / PAIRS, validation_seed=0)
    training = Training(steps=steps, batch=BATCH, warmup=30, ema=0.99,
                        validate_every=max(1, steps // 10))
    return trained(Recipe("rcan-unpretrained", network, data, training), folder)


def tuned(pairs, folder, fold):
    """The shipped network, fine-tuned in two stages."""
    path = folder / "all" / f"{PRETRAINED}-tuned.safetensors"
    return path if path.exists() else finetune(
        PRETRAINED, pairs, folder, steps=STAGES, learning_rates=RATES, batch=BATCH,
        validation_fraction=HELD / PAIRS, fold=fold)


def adapted(pairs, folder, fold):
    """The shipped network, adapted to the images without their targets."""
    path = folder / f"{PRETRAINED}-adapted.safetensors"
    return path if path.exists() else adapt(
        PRETRAINED, pairs, folder, steps=sum(STAGES), batch=BATCH, min_steps=100,
        validation_fraction=HELD / PAIRS, fold=fold)


def spread(tables, path):
    """Write the mean over the folds, and the standard deviation, of what is compared."""
    columns = ("truth_psnr", "truth_psnr_matched", "truth_ssim_matched", "target_psnr_matched")
    rows = []
    for method in tables[-1]["method"]:
        row = {"method": method}
        for column in columns:
            values = [float(t[column][list(t["method"]).index(method)]) for t in tables
                      if column in t.colnames]
            row[column], row[f"{column}_spread"] = np.mean(values), np.std(values, ddof=1)
        rows.append(row)
    table = Table(rows)
    for name in table.colnames[1:]:
        table[name].info.format = ".3f"
    table.write(path, format="ascii.ecsv", overwrite=True)
    table.pprint_all()


if __name__ == "__main__":
    main()
