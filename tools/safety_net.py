"""Numerical results of all methods and trainings on fixed inputs, stored and compared.

Run it before and after a change of structure::

    python tools/safety_net.py run before.npz
    python tools/safety_net.py run after.npz --only methods train
    python tools/safety_net.py compare before.npz after.npz

The arrays must agree bit by bit, or within ``--tolerance`` times their standard deviation.
"""

import argparse
import dataclasses
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
CACHE = tempfile.TemporaryDirectory()
os.environ["LENSSR_CACHE"] = CACHE.name

import numpy as np  # noqa: E402
import torch  # noqa: E402
from astropy import units as u  # noqa: E402
from astropy.nddata import CCDData, InverseVariance, StdDevUncertainty  # noqa: E402

from lenssr import list_methods, superresolve  # noqa: E402
from lenssr.data import demo_lens  # noqa: E402

torch.set_num_threads(1)

CLASSICAL = ("bilinear", "bicubic", "lanczos", "richardson_lucy", "wiener")
OPTIONS = {"diffusion": {"n_samples": 4, "seed": 1}, "lens_equation": {"seed": 1}}
TINY_NETWORK = {"architecture": "rcan", "channels": 1, "scale": 2, "groups": 1, "blocks": 1,
                "features": 4, "reduction": 2, "window": 8, "conditions": 5}
TINY_TRAINING = {"steps": 6, "batch": 4, "warmup": 2, "validate_every": 3, "precision": "float32"}
TINY_DATA = {"scenes": 20, "validation_scenes": 8, "size": 8}
TINY_CALIBRATION = {"images": 20, "blank": 8, "held_out": 6, "steps": 4, "batch": 4,
                    "features": 4, "blocks": 1, "n_probes": 1}
SKIPPED_CARDS = ("SRVERS", "SRWARN")


def lens(side=48):
    """Return the centre of the demonstration lens as a `CCDData`."""
    image = demo_lens().lr
    low = (image.shape[0] - side) // 2
    part = slice(low, low + side)
    return CCDData(image.data[part, part], unit=image.unit, psf=image.psf,
                   wcs=image.wcs[part, part],
                   uncertainty=StdDevUncertainty(image.uncertainty.array[part, part]),
                   meta=dict(image.meta))


def store(out, key, image):
    """Store the arrays and the header cards of a result."""
    for name in ("data", "mask", "psf", "measurement_std", "prior_std", "samples",
                 "consistency"):
        value = getattr(image, name, None)
        if value is not None:
            out[f"{key}/{name}"] = np.asarray(value)
    if image.uncertainty is not None:
        out[f"{key}/uncertainty"] = np.asarray(image.uncertainty.array)
    if image.wcs is not None and hasattr(image.wcs, "to_header"):
        out[f"{key}/wcs"] = np.array(image.wcs.to_header().tostring())
    for name, value in getattr(image, "meta", {}).items():
        if str(name).startswith("SR") and not str(name).startswith(SKIPPED_CARDS):
            out[f"{key}/card/{name}"] = np.array(str(value))


def run_methods(out):
    """Run every method on the lens; on masked pixels, cubes and all scales where it is quick."""
    image, small = lens(), lens(32)
    for row in list_methods():
        name, scales = str(row["name"]), str(row["scales"])
        options = OPTIONS.get(name, {})
        scales = (2, 3, 4) if scales == "any" else [
            int(s) for s in scales.split(",") if s.strip().isdigit()]
        for scale in scales[:1] if name in OPTIONS else scales:
            result = superresolve(small if name in OPTIONS else image, name, scale=scale,
                                  **options)
            store(out, f"{name}-x{scale}", result)
            from photutils.aperture import CircularAperture
            centre = (result.shape[1] / 2, result.shape[0] / 2)
            total = result.aperture_sum(CircularAperture(centre, 9.3))
            out[f"{name}-x{scale}/aperture"] = np.array(
                [float(total.flux.value), float(total.error.value)])
    masked = lens()
    masked.data[20:24, 10:15] = np.nan
    masked.mask = np.zeros(masked.shape, bool)
    masked.mask[30:36, 30:33] = True
    for name in (*CLASSICAL, "rcan", "fast", "unrolled"):
        store(out, f"{name}-masked", superresolve(masked, name))
    cube = CCDData(np.stack([image.data, 2 * image.data, image.data[::-1]]), unit=image.unit,
                   psf=image.psf, uncertainty=StdDevUncertainty(
                       np.stack([image.uncertainty.array] * 3)))
    for name in ("lanczos", "wiener", "fast", "unrolled"):
        store(out, f"{name}-cube", superresolve(cube, name))
    for name in ("fast", "richardson_lucy"):
        store(out, f"{name}-consistent", superresolve(image, name, data_consistent=True))
    store(out, "unrolled-tiled", superresolve(image, "unrolled", tile=16))


def run_image(out):
    """Parse images of different units, uncertainties and headers, and read a written result."""
    image = lens()
    store(out, "no-psf", superresolve(CCDData(image.data, unit="nJy"), "rcan"))
    for flux in ("per-pixel", "surface-brightness"):
        store(out, flux, superresolve(image, "bicubic", flux=flux))
    ivar = CCDData(image.data, unit="adu", psf=image.psf,
                   uncertainty=InverseVariance(1 / image.uncertainty.array**2))
    store(out, "inverse-variance", superresolve(ivar, "fast"))
    store(out, "fwhm", superresolve(image.data * u.mJy, "wiener", psf=3.2 * u.pix,
                                    uncertainty=np.ones(image.shape)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "result.fits"
        result = superresolve(image, "unrolled")
        result.write(path)
        store(out, "read", type(result).read(path))
        image.write(Path(folder) / "input.fits")
        store(out, "file", superresolve(Path(folder) / "input.fits", "lanczos"))


def run_simulate(out):
    """Simulate pairs of every preset and class, a catalogue, and observations of a sharp image."""
    from lenssr import simulate

    def keep(key, pair):
        for side in ("lr", "hr"):
            plane = getattr(pair, side)
            out[f"{key}/{side}"] = np.asarray(plane.data)
            if plane.uncertainty is not None:
                out[f"{key}/{side}-sigma"] = np.asarray(plane.uncertainty.array)
            if plane.psf is not None:
                out[f"{key}/{side}-psf"] = np.asarray(plane.psf)
        for name in ("theta_e", "z_lens", "z_source", "seeing", "snr"):
            if name in pair.truth:
                out[f"{key}/{name}"] = np.array(float(u.Quantity(pair.truth[name]).value))

    for preset in simulate.PRESETS:
        for engine in ("lenstronomy", "torch"):
            keep(f"{preset}-{engine}", simulate.simulate_pair(preset, seed=3, engine=engine))
    for name in simulate.SUBSTRUCTURES:
        keep(name, simulate.simulate_pair(substructure=name, seed=7))
    for name in simulate.INSTRUMENTS:
        keep(name, simulate.simulate_pair(instrument=name, seed=8, size=32))
    with tempfile.TemporaryDirectory() as folder:
        catalog = simulate.simulate_catalog(Path(folder) / "c", 9, "hsc-hst", engine="torch",
                                            size=32, progress=False)
        out["catalog/lr"], out["catalog/hr"] = np.asarray(catalog.lr), np.asarray(catalog.hr)
        for name in catalog.table.colnames:
            column = catalog.table[name]
            if column.dtype.kind in "fi" and name not in ("correlation", "kernel_width"):
                out[f"catalog/{name}"] = np.asarray(column)
    observe = getattr(simulate, "simulate_observation", None) or simulate.reobserve
    pair = simulate.simulate_pair("hsc-hst", seed=2)
    keep("observation", observe(pair.hr, pixel_scale=0.084, seeing=0.7, snr=50.0, seed=1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        keep("observed-pair", simulate.pair_observations(pair.lr, pair.hr))


def run_train(out):
    """Take a few steps of every kind of training."""
    from lenssr.simulate import simulate_pair
    from lenssr.train import (
        Adversarial,
        Data,
        Recipe,
        Training,
        adapt,
        draw_arcs,
        find_learning_rate,
        finetune,
        fit,
    )
    from lenssr.weights import load_network, read_card

    fields = {field.name for field in dataclasses.fields(Data)}
    imperfect = {name: value for name, value in (
        ("masked", 0.3), ("p_masked", 0.3), ("correlated", 0.5), ("p_correlated_noise", 0.5),
        ("p_psf_known", 0.7), ("p_psf_known", 0.7)) if name in fields}
    folder = Path(tempfile.mkdtemp(dir=CACHE.name))

    def keep(key, path):
        state = load_network(path)[0].state_dict()
        out[f"{key}/weights"] = torch.cat([v.flatten().double() for v in state.values()]).numpy()
        card = read_card(path)
        metrics = card.figures if hasattr(card, "figures") else card.metrics
        for name, value in metrics.items():
            if isinstance(value, int | float):
                out[f"{key}/metric/{name}"] = np.array(float(value))
        return path

    def train(name, network=TINY_NETWORK, data=None, training=None, *parts):
        recipe = Recipe(name, network, Data(**{**TINY_DATA, **(data or {})}),
                        Training(**{**TINY_TRAINING, **(training or {})}), *parts)
        return keep(name, fit(recipe, folder / name, device="cpu", progress=False))

    plain = train("plain")
    train("imperfect", data=imperfect)
    for loss in ("mse", "ssim", "charbonnier", "perceptual"):
        train(loss, training={"loss": {loss: 1.0}})
    train("muon", training={"optimizer": "muon", "learning_rate": 1e-2})
    train("one-cycle", training={"schedule": "one-cycle"})
    train("stream", data={"scenes": 0, "size": 16})
    train("fast", {"architecture": "fast", "scale": 2, "features": 4, "blocks": 1,
                   "conditions": 5})
    train("unrolled", {"architecture": "unrolled", "scale": [2, 3], "iterations": 2,
                       "blocks": 1, "features": 8, "memory": 4}, {"preset": "any-telescope"})
    train("lens_equation", {"architecture": "lens_equation", "scale": [2], "guesses": 3,
                            "features": 8},
          {"size": 24}, {"loss": {"residual": 1.0}})
    game = Adversarial(weight=0.5, features=4, stages=2, hidden=8)
    train("srgan", {"architecture": "srgan", "scale": 2, "blocks": 1, "features": 4,
                    "norm": False, "conditions": 5}, None, None, game)
    arcs = train("arcs", {"architecture": "arcs", "side": 48, "scale": 2, "latent": 4,
                          "features": 4}, {"preset": "arcs"}, None, game)
    out["arcs/images"] = np.asarray(draw_arcs(2, weights=str(arcs)))
    train("diffusion", {"architecture": "diffusion", "base": "fsrcnn-x2", "scale": 2,
                        "features": 8, "blocks": 1, "depth": 1}, {"size": 16})
    pairs = [simulate_pair(size=16, seed=4, index=index) for index in range(12)]
    keep("finetune", finetune(plain, pairs, folder / "tuned", steps=(3, 2), batch=4, size=8,
                              progress=False))
    keep("adapt", adapt(plain, pairs, folder / "adapted", steps=4, batch=4, size=8, scenes=20,
                        device="cpu", progress=False))
    recipe = Recipe("sweep", TINY_NETWORK, Data(**TINY_DATA), Training(**TINY_TRAINING))
    sweep = find_learning_rate(recipe, device="cpu", progress=False)
    for field in dataclasses.fields(sweep):
        value = getattr(sweep, field.name)
        if isinstance(value, np.ndarray | list | tuple):
            out[f"sweep/{field.name}"] = np.asarray(value, float)


def run_calibrate(out):
    """Calibrate a small network and a physics network."""
    from lenssr.train import Data, Recipe, Training, calibrate, fit
    from lenssr.weights import read_card

    folder = Path(tempfile.mkdtemp(dir=CACHE.name))
    unrolled = {"architecture": "unrolled", "scale": [2, 3], "iterations": 2, "blocks": 1,
                "features": 8, "memory": 4}
    for name, network in (("rcan", TINY_NETWORK), ("unrolled", unrolled)):
        recipe = Recipe(name, network, Data(**TINY_DATA), Training(**TINY_TRAINING))
        weights = fit(recipe, folder / name, device="cpu", progress=False)
        path = calibrate(weights, folder / f"{name}-calibrated", device="cpu", progress=False,
                         **TINY_CALIBRATION)
        calibration = read_card(path).calibration
        for scale, table in calibration["scales"].items():
            for key in ("factors", "chi2"):
                out[f"{name}/{scale}/{key}"] = np.array(table[key], float)
            for key in ("faint", "bright", "sums"):
                if key in table["correlation"]:
                    out[f"{name}/{scale}/{key}"] = np.array(table["correlation"][key], float)
        for key, limits in sorted(calibration["domain"].items()):
            out[f"{name}/domain/{key}"] = np.array(limits, float)


def run_classify(out):
    """Classify simulated images with the shipped classifiers, and train a small classifier."""
    from lenssr.classify import ClassifierRecipe, classify, train_classifier
    from lenssr.simulate import simulate_pair
    from lenssr.train import Data, Training
    from lenssr.weights import load_network

    images = [simulate_pair("classification", substructure=name, seed=2).hr
              for name in ("no_sub", "cdm", "axion")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = classify(images)
    for name in table.colnames:
        if table[name].dtype.kind in "fib":
            out[f"shipped/{name}"] = np.asarray(table[name], float)
    data = Data("classification", scenes=24, validation_scenes=24, size=16, noise_error=0.0,
                substructure=["no_sub", "cdm", "axion"])
    recipe = ClassifierRecipe("tiny", {"architecture": "resnet", "width": 4, "blocks": [1, 1]},
                              data, Training(**{**TINY_TRAINING, "batch": 8}))
    path = train_classifier(recipe, Path(tempfile.mkdtemp(dir=CACHE.name)), progress=False)
    state = load_network(path)[0].state_dict()
    out["tiny/weights"] = torch.cat([v.flatten().double() for v in state.values()]).numpy()


def run_evaluate(out):
    """Measure metrics, a small benchmark, fidelity tests and a prior map."""
    from lenssr.evaluate import benchmark, fidelity, image_metrics, prior_map
    from lenssr.simulate import simulate_pair

    pair = demo_lens()
    pairs = [simulate_pair(seed=5, size=32, index=index) for index in range(6)]
    result = superresolve(pair.lr, "fast")
    for name, value in image_metrics(result, pair.hr, data_range=1.0).items():
        out[f"metrics/{name}"] = np.array(float(value))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tables = {"benchmark": benchmark(pairs, ["bilinear", "wiener", "fast"], training=2),
                  "fidelity": fidelity(pairs, ["bilinear", "fast"], n=4)}
        prior = prior_map(result, pair.lr)
    stored = {"benchmark/summary": tables["benchmark"].summary,
              "benchmark/images": tables["benchmark"].images,
              **{f"fidelity/{name}": table for name, table in tables["fidelity"].tables.items()}}
    for key, table in stored.items():
        for k, column in enumerate(table.colnames):
            if table[column].dtype.kind in "fi" and "time" not in column:
                out[f"{key}/{k}"] = np.asarray(table[column], float)
    out["prior"] = np.asarray(prior)


SECTIONS = {name.removeprefix("run_"): function for name, function in list(globals().items())
            if name.startswith("run_")}


def run(path, names):
    """Run sections and write their arrays to an .npz file."""
    arrays = {}
    for name in names:
        out, start = {}, time.perf_counter()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            SECTIONS[name](out)
        arrays |= {f"{name}/{key}": value for key, value in out.items()}
        print(f"{name}: {len(out)} arrays, {len(caught)} warnings, "
              f"{time.perf_counter() - start:.0f} s", flush=True)
    np.savez_compressed(path, **arrays)


def difference(old, new):
    """Return the largest difference in units of the standard deviation of the old array."""
    if old.shape != new.shape or old.dtype.kind in "US" or new.dtype.kind in "US":
        return 0.0 if np.array_equal(old, new) else np.inf
    old, new = old.astype(float), new.astype(float)
    if np.array_equal(old, new, equal_nan=True):
        return 0.0
    if not np.array_equal(np.isfinite(old), np.isfinite(new)):
        return np.inf
    valid = np.isfinite(old)
    spread = np.std(old[valid]) or np.max(np.abs(old[valid])) or 1.0
    return float(np.max(np.abs(old[valid] - new[valid])) / spread)


def compare(before, after, tolerance):
    """Print the differences of two files; return whether all are within the tolerance."""
    old, new = np.load(before), np.load(after)
    sections = {key.split("/")[0] for key in new.files}
    keys = [key for key in old.files if key.split("/")[0] in sections]
    missing = [key for key in keys if key not in new.files]
    added = [key for key in new.files if key not in old.files]
    worst = {key: difference(old[key], new[key]) for key in keys if key in new.files}
    for key, value in sorted(worst.items(), key=lambda item: -item[1]):
        if value:
            text = f"{old[key]} -> {new[key]}" if old[key].ndim == 0 else ""
            print(f"{value:9.2e}  {key}  {text}")
    print(f"{sum(not v for v in worst.values())} of {len(worst)} arrays are equal to the bit; "
          f"missing: {missing}; new: {added}")
    return not missing and all(value <= tolerance for value in worst.values())


def main():
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    first = commands.add_parser("run")
    first.add_argument("path")
    first.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    second = commands.add_parser("compare")
    second.add_argument("before")
    second.add_argument("after")
    second.add_argument("--tolerance", type=float, default=0.0)
    options = parser.parse_args()
    if options.command == "run":
        return run(options.path, options.only)
    return not compare(options.before, options.after, options.tolerance)


if __name__ == "__main__":
    sys.exit(main())
