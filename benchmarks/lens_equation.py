"""
Super-resolution through the lens equation: lenses found, images restored, beside RCAN.

    python benchmarks/lens_equation.py --n 500 --out lens_equation.ecsv
    python benchmarks/lens_equation.py --slacs

The scenes are those of ``simulated.py``: the preset ``hsc-hst``, seed 2, never trained on, every
kind of scene that it has. Rows are written as they come, and a run goes on where an earlier one
stopped; ``--first`` and ``--n`` share the work out. ``--slacs`` fits SLACS J0946+1006 as HST sees
it by lenstronomy, and as the ground would see it by this method.
"""

import argparse
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from astropy import units as u
from astropy.io import fits
from astropy.table import Table, vstack
from lenses import DATA, galaxy, lenses
from scipy import optimize
from simulated import SCALE, SEED, Scenes

from lenssr import LensSRWarning, superresolve
from lenssr.data import demo_lens
from lenssr.simulate import Population

HEADER = """\
  chi2       misfit of the model per pixel; share of images within 0.9 to 1.1
  theta_E    median of |found / true - 1|, over the lenses and over those where one was found
  psnr       mean over the images with something to see, as in simulated.py
  within     share of pixels where the error is below one and two of the standard deviations
  seconds    median for an image of 32 x 32 pixels, on one core"""
METHODS = ("lens_equation", "bilinear", "rcan")
PIXEL = 0.168
RING = (0.6, 1.9)     # arcsec about the lens that are fitted in HST's image
SHAPELETS = 10


def restored(scene, method):
    """The result of a method on a scene."""
    return superresolve(scene["lr"] * u.nJy, method, uncertainty=scene["sigma"], psf=scene["psf"],
                        flux="surface-brightness")


def row(scene, index):
    """What is measured on a scene."""
    model = Population().draw(np.random.default_rng([SEED, index]))
    truth, found = scene["hr"], {}
    for method in METHODS:
        began = time.perf_counter()
        found[method] = restored(scene, method)
        if method == "lens_equation":
            seconds = time.perf_counter() - began
    result = found["lens_equation"]
    pull = np.abs(result.data - truth) / result.uncertainty.array
    radius, error = (np.nan, np.nan) if result.lens is None else result.lens["theta_E"]
    true = model.lens_kwargs[0]["theta_E"] / PIXEL * SCALE if model.lens_kwargs else np.nan
    return {"index": index, "kind": scene["kind"], "snr": scene["snr"],
            "empty": bool(scene["empty"]), "chi2": result.meta["SRCHI2"], "theta_E": radius,
            "error": error, "true": true, "within_1": np.mean(pull < 1),
            "within_2": np.mean(pull < 2), "seconds": seconds,
            **{method: 10 * np.log10(truth.max()**2 / np.mean((image.data - truth) ** 2))
               for method, image in found.items()}}


def measure(first, n, path):
    """Rows of the scenes from ``first`` on, those of the file taken from there."""
    rows = Table.read(path) if path.exists() else None
    done = set() if rows is None else set(rows["index"].tolist())
    for index, scene in enumerate(Scenes(1000, SEED)):
        if index >= first + n:
            break
        if index < first or index in done:
            continue
        new = Table([row(scene, index)])
        rows = new if rows is None else vstack([rows, new])
        rows.write(path, overwrite=True)
    return rows


def summary(rows):
    """A line for each kind, and for all."""
    lines = []
    for kind in (*sorted(set(rows["kind"])), "all"):
        some = rows if kind == "all" else rows[rows["kind"] == kind]
        seen = some[~some["empty"]]
        off = np.abs(some["theta_E"] / some["true"] - 1)
        lens = np.isfinite(some["true"])
        lines.append({
            "kind": kind, "n": len(some), "chi2": np.mean(some["chi2"]),
            "chi2_ok": np.mean(np.abs(some["chi2"] - 1) <= 0.1),
            "found": np.mean(np.isfinite(some["theta_E"])),
            "theta_E": np.median(np.nan_to_num(off[lens], nan=1)) if lens.any() else np.nan,
            "theta_E_found": np.nanmedian(off[lens]) if lens.any() else np.nan,
            **{method: np.mean(seen[method]) for method in METHODS},
            "within_1": np.mean(some["within_1"]), "within_2": np.mean(some["within_2"]),
            "seconds": np.median(some["seconds"])})
    table = Table(lines)
    for name in table.colnames[2:]:
        table[name].info.format = ".4f" if name.startswith("theta") else ".3f"
    return table


def hst_radius():
    """Einstein radius of SLACS J0946+1006 (arcsec), of a lenstronomy fit of HST's image."""
    from lenstronomy.Data.imaging_data import ImageData
    from lenstronomy.Data.psf import PSF
    from lenstronomy.ImSim.image_linear_solve import ImageLinearFit
    from lenstronomy.LensModel.lens_model import LensModel
    from lenstronomy.LightModel.light_model import LightModel

    lens = next(one for one in lenses() if one.name == "slacs0946_F814W")
    data, half = lens.data - galaxy(lens), 45
    noise = fits.getdata(DATA / "hst_slacs0946" / "noise_map.fits").astype(float)
    middle = [n // 2 for n in data.shape]
    part = tuple(slice(m - half, m + half + 1) for m in middle)
    data, noise = data[part], noise[part]
    y, x = lens.pixel * (np.indices(data.shape) - half)
    ring = (np.hypot(x, y) > RING[0]) & (np.hypot(x, y) < RING[1])
    image = ImageData(data, noise_map=noise, ra_at_xy_0=-half * lens.pixel,
                      dec_at_xy_0=-half * lens.pixel,
                      transform_pix2angle=lens.pixel * np.eye(2))
    model = ImageLinearFit(
        image, PSF("PIXEL", kernel_point_source=lens.psf / lens.psf.sum()),
        lens_model_class=LensModel(["EPL", "SHEAR"]),
        source_model_class=LightModel(["SHAPELETS"]),
        kwargs_numerics={"supersampling_factor": 1}, likelihood_mask=ring)

    def solve(p):
        mass = [dict(theta_E=p[0], gamma=p[1], e1=p[2], e2=p[3], center_x=p[4], center_y=p[5]),
                dict(gamma1=p[6], gamma2=p[7], ra_0=0, dec_0=0)]
        source = [dict(n_max=SHAPELETS, beta=p[10], center_x=p[8], center_y=p[9])]
        found, *_ = model.image_linear_solve(mass, source)
        return ((data - found) / noise)[ring]

    best = None
    for angle in range(0, 360, 60):
        start = [1.4, 2.0, 0, 0, 0, 0, 0, 0, 0.2 * np.cos(np.deg2rad(angle)),
                 0.2 * np.sin(np.deg2rad(angle)), 0.15]
        found = optimize.least_squares(
            solve, start, x_scale=[0.1, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.05, 0.1, 0.1, 0.05],
            bounds=([0.9, 1.6, -0.4, -0.4, -0.1, -0.1, -0.2, -0.2, -0.6, -0.6, 0.05],
                    [1.8, 2.4, 0.4, 0.4, 0.1, 0.1, 0.2, 0.2, 0.6, 0.6, 0.5]), max_nfev=25)
        if best is None or found.cost < best.cost:
            best = found
    return best.x[0], 2 * best.cost / ring.sum()


def slacs():
    """Print the Einstein radii of SLACS J0946+1006."""
    pair = demo_lens()
    began = time.perf_counter()
    result = superresolve(pair.lr, "lens_equation")
    seconds = time.perf_counter() - began
    arcsec = 0.1  # a pixel of the result
    radius, error = result.lens["theta_E"]
    print(f"ground: theta_E {radius * arcsec:.4f} +- {error * arcsec:.4f} arcsec, chi2 "
          f"{result.meta['SRCHI2']:.3f}, {seconds:.0f} s", flush=True)
    truth = pair.hr.data
    for method in METHODS:
        image = result if method == "lens_equation" else superresolve(pair.lr, method)
        square = np.mean((image.data - truth) ** 2)
        print(f"{method}: PSNR {10 * np.log10(truth.max()**2 / square):.2f} dB")
    hst, chi2 = hst_radius()
    print(f"HST, lenstronomy: theta_E {hst:.4f} arcsec, chi2 {chi2:.3f} per pixel of the ring; "
          f"the ground's is {radius * arcsec / hst - 1:+.2%} off")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--n", type=int, default=500, help="scenes")
    parser.add_argument("--first", type=int, default=0, help="index of the first one")
    parser.add_argument("--out", type=Path, default=Path("lens_equation.ecsv"),
                        help="file of the rows, which a run goes on from")
    parser.add_argument("--slacs", action="store_true", help="SLACS J0946+1006 instead")
    args = parser.parse_args()
    warnings.simplefilter("ignore", LensSRWarning)
    torch.set_num_threads(1)
    if args.slacs:
        return slacs()
    rows = measure(args.first, args.n, args.out)
    print(HEADER, "\n")
    summary(rows).pprint(max_width=-1, max_lines=-1)


if __name__ == "__main__":
    sys.exit(main())
