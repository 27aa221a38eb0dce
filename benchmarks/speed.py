"""
Time and peak memory of every method, each in a process of its own.

    python benchmarks/speed.py --sides 128 512 --tile 256

The image is noise with a star, the PSF a Gaussian of FWHM 4 pixels. Times are those of the second
of two calls: the first one loads weights and libraries. Memory is the peak of the process above
what it had before the first call.
"""

import argparse
import resource
import subprocess
import sys
import time

from lenssr import list_methods

HEADER = "method            side  tile   seconds  memory/MiB"


def measure(method, side, tile, device):
    """Run in the child process; prints seconds and MiB."""
    import numpy as np
    from astropy import units as u

    from lenssr import superresolve

    image = np.random.default_rng(0).normal(0, 1, (side, side)).astype(np.float32)
    image[side // 2, side // 2] += 100
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(2):
        start = time.perf_counter()
        superresolve(image * u.adu, method, psf=4 * u.pix, uncertainty=1.0, tile=tile,
                     device=device)
        seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{seconds:.3f} {(after - before) / 1024:.0f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--methods", nargs="+", default=list(list_methods()["name"]))
    parser.add_argument("--sides", nargs="+", type=int, default=[128, 512])
    parser.add_argument("--tile", type=int, help="side of the tiles; by default the method's own")
    parser.add_argument("--device")
    args = parser.parse_args()
    print(HEADER)
    for side in args.sides:
        for method in args.methods:
            code = ("import sys; sys.path.insert(0, 'benchmarks'); from speed import measure; "
                    f"measure({str(method)!r}, {side}, {args.tile}, {args.device!r})")
            found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                                   check=True)
            seconds, memory = found.stdout.split()
            print(f"{method:15s} {side:6d} {args.tile or '-':>5} {float(seconds):9.3f} {memory:>8}",
                  flush=True)


if __name__ == "__main__":
    main()
