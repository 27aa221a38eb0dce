"""
lenssr beside STARRED, on real lenses degraded to the ground's seeing.

    python benchmarks/peers.py --env starred --out peers

STARRED (Michalewicz et al. 2023, doi:10.21105/joss.05340; Millon et al. 2024,
doi:10.3847/1538-3881/ad4da7) is another package that restores an image at twice the resolution,
given its PSF and its noise, and aims at the same one: a Gaussian of FWHM two output pixels. It
wants packages of its own, and runs in a virtual environment, ``--env``, which is made if it is
not there. All see the same images and are told the same PSF and noise. STARRED has its own
defaults but for the number of iterations, and is told of no point sources: see
``starred_worker.py``. What it made is kept in the folder of ``--out`` and not made again: it takes
minutes for an image.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
from astropy.table import Table
from entrants import add_arguments, entrants, restore
from lenses import DATA, degrade, lenses, score
from scipy import fft
from tqdm import tqdm

from lenssr.image import relative_kernel
from lenssr.methods import ForwardModel

SEEING, SNR = 0.75, 100  # FWHM of the optics, arcsec; peak signal to noise
SCALE = 2
ITERATIONS = 3000
FLOOR = 1e-3  # power of the transfer of a pixel below which it is not divided by
STARRED = "starred-astro"

HEADER = """\
PSNR in dB against the peak of the truth of each image. `limit` is the score of a perfect image
against this truth, which has the noise of the sharp image in it; `starred_chi2` is the mean square
of what STARRED's image leaves of the data, over their noise."""


def environment(folder):
    """The interpreter of STARRED's environment, and the version in it."""
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"making an environment for {STARRED} in {folder}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", STARRED], check=True)
    asked = f"from importlib.metadata import version; print(version('{STARRED}'))"
    try:
        answer = subprocess.run([str(python), "-c", asked], check=True, capture_output=True,
                                text=True)
    except (OSError, subprocess.CalledProcessError):
        sys.exit(f"--env must be an environment that has {STARRED}, or a new folder, got {folder}")
    return python, answer.stdout.strip()


def narrow_psf(psf):
    r"""
    What STARRED convolves a restored image with, before it adds up the pixels.

    Parameters
    ----------
    psf : `~numpy.ndarray`
        Effective PSF on the grid of the data.

    Returns
    -------
    narrow : `~numpy.ndarray`
        On the output grid, odd, centred, of sum one.

    Notes
    -----
    lenssr's kernel :math:`R` takes a restored image to the data at once. STARRED's :math:`N` is
    followed by a sum over 2 x 2 pixels, :math:`\hat N = \hat R \hat B^* / |\hat B|^2`, divided as
    `lenssr.image.relative_kernel` does it: the sum is blind at the highest frequency,
    where next to nothing is left of a PSF.
    """
    kernel = relative_kernel(psf, SCALE)
    sides = [fft.next_fast_len(n + 16, real=True) for n in kernel.shape]
    # The kernel's element k is at (k + 0.5) - n / 2 output pixels; the sum, at -1/2 and 1/2.
    box = np.multiply.outer(np.cos(np.pi * fft.fftfreq(sides[0])),
                            np.cos(np.pi * fft.rfftfreq(sides[1])))
    fy, fx = fft.fftfreq(sides[0])[:, None], fft.rfftfreq(sides[1])[None, :]
    half = np.exp(-1j * np.pi * (fy + fx))  # on to the next element, which is the middle one
    spectrum = fft.rfft2(kernel, s=sides) * half * box * (1 + FLOOR) / (box**2 + FLOOR)
    narrow = fft.irfft2(spectrum, s=sides)[1:kernel.shape[0], 1:kernel.shape[1]]
    return narrow / narrow.sum()


def misfit(narrow, psf, truth):
    """Largest difference of what both make of a restored image, over the peak; inside."""
    from scipy.signal import fftconvolve

    ny, nx = (n // SCALE for n in truth.shape)
    seen = fftconvolve(truth, narrow, mode="same").reshape(ny, SCALE, nx, SCALE).mean(axis=(1, 3))
    ours = ForwardModel(psf, SCALE, (ny, nx)).forward(truth)
    inner = (slice(ny // 4, -ny // 4), slice(nx // 4, -nx // 4))
    return np.abs(seen - ours)[inner].max() / ours.max()


def run_starred(python, pairs, folder, iterations):
    """Results of STARRED by name: flux per output pixel, and chi2 of the data."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, pair in pairs.items():
        given = {"data": pair.lr.data, "sigma": pair.lr.uncertainty.array,
                 "psf": narrow_psf(pair.lr.psf)}
        if not same(folder / f"{name}.npz", given):
            (folder / f"{name}.starred.npz").unlink(missing_ok=True)
            np.savez(folder / f"{name}.npz", **given)
    worker = Path(__file__).with_name("starred_worker.py")
    with subprocess.Popen([str(python), str(worker), str(folder), str(iterations)],
                          stdout=subprocess.PIPE, text=True) as process:
        for _ in tqdm(process.stdout, desc="STARRED"):
            pass
    if process.returncode:
        sys.exit(f"STARRED ended with status {process.returncode}")
    found = {}
    for name in pairs:
        with np.load(folder / f"{name}.starred.npz") as made:
            found[name] = made["image"], float(made["chi2"])
    return found


def same(path, given):
    """Whether a file holds these arrays, so that what was made of them can be used again."""
    if not path.exists():
        return False
    with np.load(path) as old:
        return all(np.array_equal(old[key], array) for key, array in given.items())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--env", type=Path, default=Path("starred"),
                        help="virtual environment with STARRED, made if it is not there")
    parser.add_argument("--out", type=Path, default=Path("peers"), help="folder to write to")
    parser.add_argument("--table", type=Path, help="file to write the table to as well")
    parser.add_argument("--only", help="lenses whose name holds this")
    parser.add_argument("--iterations", type=int, default=ITERATIONS, help="of STARRED")
    parser.add_argument("--seeing", type=float, default=SEEING, help="FWHM of the optics, arcsec")
    parser.add_argument("--snr", type=float, default=SNR, help="peak signal to noise")
    add_arguments(parser)
    args = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"the folder of real sky data is not at {DATA}; set LENSSR_SHARED_DATA")
    taking_part = entrants(args)
    python, version = environment(args.env)
    args.out.mkdir(parents=True, exist_ok=True)

    chosen = [lens for lens in lenses() if (args.only or "") in lens.name]
    made = {lens.name: degrade(lens, args.seeing, args.snr) for lens in chosen}
    pairs = {name: pair for name, (pair, _) in made.items()}
    starred = run_starred(python, pairs, args.out / f"starred_{args.iterations}", args.iterations)
    rows = []
    for lens in tqdm(chosen, desc="lenses"):
        pair, limit = made[lens.name]
        results = {label: restore(pair.lr, who) for label, who in taking_part.items()}
        results["starred"], chi2 = starred[lens.name]
        row = {"lens": lens.name, "kind": lens.kind, "fwhm": pair.truth["fwhm"],
               "snr": pair.truth["snr"], "limit": limit}
        row |= {label: score(pair, image)[0] for label, image in results.items()}
        rows.append(row | {"starred_chi2": chi2})
    table = Table(rows)
    table.add_row(["mean", "", *(np.mean(table[name]) for name in table.colnames[2:])])
    table.meta.update(seeing=args.seeing, snr=args.snr, starred=version,
                      iterations=args.iterations)
    for name in table.colnames[2:]:
        table[name].info.format = ".0f" if name == "snr" else ".2f"
    print(f"{len(chosen)} lenses, seeing {args.seeing} arcsec, {STARRED} {version}. {HEADER}\n")
    table.pprint(max_width=-1, max_lines=-1)
    worst = max(misfit(narrow_psf(p.lr.psf), p.lr.psf, p.hr.data) for p in pairs.values())
    print(f"\nThe PSF that STARRED is told differs from lenssr's by {worst:.1e} of the peak of any "
          "image at most.")
    table.write(args.out / "peers.ecsv", overwrite=True)
    if args.table:
        table.write(args.table, overwrite=True)
    with (args.out / "peers.txt").open("w") as file:
        file.write("\n".join(table.pformat(max_width=-1, max_lines=-1)) + "\n")


if __name__ == "__main__":
    sys.exit(main())
