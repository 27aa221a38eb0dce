"""
Pairs a second of both engines of the simulator, and what catalogues of many pairs cost.

    python benchmarks/simulate.py

One process on all cores that torch finds; preset ``deeplense-2``: targets of 64 x 64 pixels, scenes
on 144 x 144 points, two to a pixel of the target. A pair is all of it: the scene is drawn and
rendered, and seen through the telescope with its noise. lenstronomy in double precision, torch in
single; times are the best of three rounds in turn. The lines of mass are in closed form in both,
and ``100 points`` is what lenstronomy takes for an axion vortex as a row of point masses, as the
public simulator has it.
"""

import argparse
import platform
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from lenssr.simulate import PairSeries, lines_as_points, render, simulate_catalog

PRESET = "deeplense-2"
CLASSES = ("no_sub", "cdm", "axion")


def seconds(run, *args, **options):
    """Time of a call."""
    start = time.perf_counter()
    run(*args, **options)
    return time.perf_counter() - start


def rates(name, n, device):
    """Pairs a second of lenstronomy and torch, and the largest difference over the peak."""
    engines = {"lenstronomy": PairSeries(PRESET, substructure=name),
               "torch": PairSeries(PRESET, substructure=name, engine="torch", device=device)}
    counts = {"lenstronomy": max(n // 4, 1), "torch": n}
    best = dict.fromkeys(engines, np.inf)
    for _ in range(3):
        for engine, series in engines.items():
            best[engine] = min(best[engine], seconds(series.batch, range(counts[engine])))
    few = [series.batch(range(16)).hr.cpu().double() for series in engines.values()]
    difference = ((few[0] - few[1]).abs().amax((1, 2)) / few[0].abs().amax((1, 2))).max().item()
    return [counts[engine] / best[engine] for engine in engines], difference


def rows_of_points(n):
    """Scenes a second of lenstronomy with the line as a hundred point masses, rendering alone."""
    series = PairSeries(PRESET, substructure="axion")
    scenes = series.models(range(n))
    for scene in scenes:
        scene.lens_models, scene.lens_kwargs = lines_as_points(scene.lens_models,
                                                               scene.lens_kwargs)
    return n / seconds(lambda: [render(scene, series.grid) for scene in scenes])


def catalogues(most, workers, folder):
    """Time, memory and disk of catalogues of growing size."""
    print(f"\ncatalogues of no_sub, cdm, axion, torch engine, {workers} "
          f"process{'es' * (workers > 1)}\n{'n':>8} {'seconds':>9} {'pairs/s':>8} "
          f"{'MB a process':>13} {'MB on disk':>11}")
    n = 100
    while n <= most:
        path = folder / f"pairs-{n}"
        t = seconds(simulate_catalog, path, n, PRESET, engine="torch", workers=workers,
                    progress=False)
        memory = max(resource.getrusage(who).ru_maxrss
                     for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024
        disk = sum(f.stat().st_size for f in path.rglob("*") if f.is_file()) / 1e6
        print(f"{n:8d} {t:9.1f} {n / t:8.1f} {memory:13.0f} {disk:11.1f}", flush=True)
        shutil.rmtree(path)
        n *= 10


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("-n", type=int, default=256, help="pairs of a class (default: 256)")
    parser.add_argument("--device", help="device of torch (default: the processor)")
    parser.add_argument("--most", type=int, default=100_000,
                        help="pairs of the largest catalogue (default: 100000; 0: none)")
    parser.add_argument("--workers", type=int, default=1, help="processes (default: 1)")
    parser.add_argument("--folder", type=Path, help="where catalogues go, and are removed again")
    args = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, "
          f"{torch.get_num_threads()} threads, device {args.device or 'cpu'}\n")
    print(f"{'class':>10} {'lenstronomy':>12} {'torch':>10} {'ratio':>6} {'difference':>11}")
    for name in CLASSES:
        (slow, fast), difference = rates(name, args.n, args.device)
        print(f"{name:>10} {slow:10.1f}/s {fast:8.1f}/s {fast / slow:6.1f} {difference:11.1e}",
              flush=True)
    print(f"{'100 points':>10} {rows_of_points(max(args.n // 8, 1)):10.1f}/s")
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        catalogues(args.most, args.workers, Path(folder))


if __name__ == "__main__":
    sys.exit(main())
