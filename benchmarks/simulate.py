"""
Scenes a second of both engines of the simulator.

    python benchmarks/simulate.py

One process and one thread; 64 x 64 output pixels, supersampled twofold (128 x 128 fine pixels of
0.05 arcsec): the surface brightness of lens galaxy, neighbours and lensed source, no telescope.
Beside the times stands how far the engines are from each other.
"""

import argparse
import os
import platform
import sys
import time
from functools import partial

# Before numpy and torch: one thread each.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np  # noqa: E402
import torch  # noqa: E402

from lenssr.simulate import Grid, Population, render, render_batch  # noqa: E402
from lenssr.simulate._line_mass import lines_as_points  # noqa: E402

GRID = Grid(128, 0.05)
HEADER = """\
`difference` is the largest between the engines over the peak of its scene. The line of mass is a
hundred point masses in lenstronomy: there it shows what those points lack to be a line. Times are
the best of four rounds in turn. The last table is the torch engine in double precision,
64 scenes at a time, with 25 point masses each."""


def no_sub(rng):
    """A lens galaxy with arcs."""
    return Population(kinds=(1.0, 0, 0, 0, 0, 0)).draw(rng)


def points(rng):
    """The same with 25 point masses of 1e6 to 1e10 solar masses around the ring."""
    scene = no_sub(rng)
    # Drawn from dN/dm ~ m^-0.9, as the public sets in fact are; 3e-6 arcsec^2 per 1e6 solar
    # masses is about right for a lens at redshift 0.5 and a source at 1.
    mass = (1e6**0.1 + rng.random(25) * (1e10**0.1 - 1e6**0.1)) ** 10
    radius, angle = rng.uniform(0.25, 2, 25), rng.uniform(0, 2 * np.pi, 25)
    for m, r, a in zip(mass, radius, angle):
        scene.lens_models.append("POINT_MASS")
        scene.lens_kwargs.append(dict(theta_E=float((3e-12 * m) ** 0.5),
                                      center_x=float(r * np.cos(a)), center_y=float(r * np.sin(a))))
    return scene


def line(rng):
    """The same with one line of 3e10 solar masses, half-length 0.03 to 3 arcsec."""
    scene = no_sub(rng)
    half, angle = 3 * 10 ** -rng.uniform(0, 2), rng.uniform(0, np.pi)
    x, y = rng.uniform(-0.5, 0.5, 2)
    dx, dy = half * np.cos(angle), half * np.sin(angle)
    scene.lens_models.append("LINE_MASS")
    scene.lens_kwargs.append(dict(theta_E=0.3, x1=x - dx, y1=y - dy, x2=x + dx, y2=y + dy))
    return scene


def with_points(scene):
    """The scene as lenstronomy takes it."""
    scene.lens_models, scene.lens_kwargs = lines_as_points(scene.lens_models, scene.lens_kwargs)
    return scene


def seconds(run):
    """Time of a call and what it gives."""
    start = time.perf_counter()
    result = run()
    return time.perf_counter() - start, result


def series(draw, n, first=0):
    """Scenes of one seed."""
    return [draw(np.random.default_rng([0, i])) for i in range(first, first + n)]


def compare(draw, n, device, rounds=4):
    """Scenes a second of each engine, best of alternating rounds, and their differences."""
    few = max(n // 4, 1)
    scenes, slow = series(draw, n), [with_points(s) for s in series(draw, few)]
    runs = [lambda: [render(s, GRID)[0] for s in slow]]
    runs += [partial(in_batches, scenes, device, dtype)
             for dtype in (torch.float64, torch.float32)]
    times, results = np.inf * np.ones(3), [None] * 3
    for _ in range(rounds):
        for k, run in enumerate(runs):
            t, results[k] = seconds(run)
            times[k] = min(times[k], t)
    errors = [max(np.abs(a - b).max() / np.abs(a).max() for a, b in zip(results[0], images))
              for images in results[1:]]
    return np.array([few, n, n]) / times, errors


def in_batches(scenes, device, dtype, size=64):
    """Images of the first batch; memory does not grow with the number of scenes."""
    first = None
    for i in range(0, len(scenes), size):
        images = render_batch(scenes[i:i + size], GRID, device, dtype)[0].cpu().numpy()
        first = images if first is None else first
    return first


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("-n", type=int, default=200, help="scenes of a kind (default: 200)")
    parser.add_argument("--device", default="cpu", help="device of torch (default: cpu)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, "
          f"device {args.device}\n\n{HEADER}\n")
    print(f"{'scenes':>10} {'lenstronomy':>12} {'torch f64':>10} {'ratio':>6} {'difference':>11} "
          f"{'torch f32':>10} {'ratio':>6} {'difference':>11}")
    for draw in (no_sub, points, line):
        (slow, f64, f32), errors = compare(draw, args.n, args.device)
        print(f"{draw.__name__:>10} {slow:10.1f}/s "
              f"{f64:8.1f}/s {f64 / slow:6.1f} {errors[0]:11.1e} "
              f"{f32:8.1f}/s {f32 / slow:6.1f} {errors[1]:11.1e}", flush=True)
    print(f"\n{'n':>10} {'scenes/s':>10} {'ms/scene':>9}")
    for n in (args.n // 2, 5 * args.n, 50 * args.n):
        # Drawn in pieces: scenes that wait take memory too.
        t = sum(seconds(partial(in_batches, piece, args.device, torch.float64))[0]
                for piece in (series(points, min(512, n - i), i) for i in range(0, n, 512)))
        print(f"{n:10d} {n / t:10.1f} {1e3 * t / n:9.2f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
