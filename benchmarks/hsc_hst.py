"""
HSC images of two fields in COSMOS, restored, beside what HST sees there.

    python benchmarks/hsc_hst.py --figure docs/user_guide/images/hsc_hst.png

The only test here on native pixels of a ground-based survey, with the noise and the PSF that its
pipeline left, and a truth that another telescope made. Of the folder of real sky data
(``LENSSR_SHARED_DATA``, by default ``shared/data`` beside the checkout); galaxies, not lenses.
"""

import argparse
import os
import sys
import warnings
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS, FITSFixedWarning
from reproject import reproject_interp
from scipy import ndimage
from skimage.registration import phase_cross_correlation

from lenssr import LensSRWarning, superresolve
from lenssr.image._kernels import TARGET_FWHM
from lenssr.image._psf import parse_psf
from lenssr.simulate._matching import Matcher, gauss

METHODS = ("bilinear", "richardson_lucy", "rcan")
DATA = Path(os.environ.get("LENSSR_SHARED_DATA",
                           Path(__file__).resolve().parents[2] / "shared" / "data"))
BAND = 2       # i, of grizy
SCALE = 2
SMOOTH = 6.0   # output pixels, sigma of what is subtracted to see the detail
EDGE = 6       # output pixels that are left out

HEADER = """\
`detail` is the correlation, over the field, of result and HST image, each minus itself blurred by a
Gaussian of 6 output pixels; `core` the same where HST sees anything brighter than five times its
noise. `shift` is the offset of the two WCS in output pixels, found on the bilinear image and taken
out."""


def field(number):
    """HSC plane and HST image of a field, each with its WCS."""
    folder, suffix = DATA / "hsc_hst_cosmos", "" if number == 0 else str(number)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        cube, header = fits.getdata(folder / f"Cut_HSC{suffix}.fits", header=True)
        sharp, about = fits.getdata(folder / f"Cut_HST{suffix}.fits", header=True)
        return (cube[BAND].astype(float), WCS(header, naxis=2), sharp.astype(float),
                WCS(about, naxis=2))


def restore(data, wcs, psf, weights):
    """Results by name."""
    options = {"richardson_lucy": {"n_probes": 1}, "rcan": {"n_probes": 1}}
    if weights:
        options["rcan"]["weights"] = weights
    with warnings.catch_warnings():
        # No noise map comes with it: the noise is estimated from the sky, with a warning.
        warnings.simplefilter("ignore", LensSRWarning)
        return {m: superresolve(data * u.adu, m, psf=psf, wcs=wcs, scale=SCALE,
                                **options.get(m, {})) for m in METHODS}


def matched(sharp, psf, fwhm):
    """The HST image brought to a Gaussian of ``fwhm`` of its pixels."""
    with warnings.catch_warnings():
        # Its peak is 1.4 pixels off the centre of its array.
        warnings.simplefilter("ignore", LensSRWarning)
        psf = parse_psf(psf, sharp.shape)
    matcher = Matcher(sharp, psf, int(4 * fwhm))
    return matcher.observe(gauss(matcher.sides, fwhm, 0.0), 1, "fwhm")[0]


def on_grid(sharp, wcs, result):
    """
    The matched HST image on the grid of a result, registered to its bilinear image.

    It is interpolated, not averaged over pixels: a restored image holds samples of the sky at the
    target resolution, which is well sampled on HST's pixels.
    """
    truth, _ = reproject_interp((sharp, wcs), result.wcs, result.shape, order="bicubic")
    rows, columns = np.nonzero(np.isfinite(truth))
    both = (slice(rows.min() + EDGE, rows.max() - EDGE),
            slice(columns.min() + EDGE, columns.max() - EDGE))
    # As blurred as the ground sees it, for that is what can be compared.
    blurred = ndimage.gaussian_filter(np.nan_to_num(truth), 3.0)
    shift, _, _ = phase_cross_correlation(detail(result.data)[both], detail(blurred)[both],
                                          upsample_factor=50, normalization=None)
    moved = result.wcs.deepcopy()
    moved.wcs.crpix += shift[::-1]
    truth, _ = reproject_interp((sharp, wcs), moved, result.shape, order="bicubic")
    return truth, shift


def detail(image):
    """What is finer than a Gaussian of six pixels."""
    return image - ndimage.gaussian_filter(image, SMOOTH)


def draw(rows, path):
    """One row for each field: observed, results, HST."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 2.35 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), len(rows[0]), squeeze=False)
    for number, (line, panels) in enumerate(zip(axes, rows)):
        for axis, (name, image) in zip(line, panels.items()):
            noise = 1.4826 * np.median(np.abs(panels["HSC i"] - np.median(panels["HSC i"])))
            top = np.arcsinh(np.nanmax(panels["HST F814W"]) / (3 * noise))
            axis.imshow(np.arcsinh(image / (3 * noise)), origin="lower", cmap="magma",
                        vmin=-0.5, vmax=0.9 * top, interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
            if number == 0:
                axis.set_title(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100, pil_kwargs={"optimize": True})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--figure", type=Path, default=Path("hsc_hst.png"))
    parser.add_argument("--table", type=Path, help="file for the table, ECSV or CSV by its name")
    parser.add_argument("--weights", help="weights of rcan in place of the shipped ones")
    args = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"the folder of real sky data is not at {DATA}; set LENSSR_SHARED_DATA")
    psf = fits.getdata(DATA / "hsc_hst_cosmos" / "PSF_HSC.fits")[BAND]
    sharp_psf = fits.getdata(DATA / "hsc_hst_cosmos" / "PSF_HST.fits")

    rows, panels = [], []
    for number in range(2):
        data, wcs, sharp, sharp_wcs = field(number)
        results = restore(data, wcs, psf, args.weights)
        ratio = (results["bilinear"].wcs.proj_plane_pixel_scales()[0]
                 / sharp_wcs.proj_plane_pixel_scales()[0]).to_value(u.one)
        sharp = matched(sharp, sharp_psf, TARGET_FWHM * ratio)
        truth, shift = on_grid(sharp, sharp_wcs, results["bilinear"])
        inner = ndimage.binary_erosion(np.isfinite(truth), iterations=EDGE)
        truth = np.nan_to_num(truth)
        noise = 1.4826 * np.median(np.abs(truth[inner] - np.median(truth[inner])))
        core = inner & (ndimage.maximum_filter(truth, 5) > 5 * noise)
        row = {"field": number, "shift_x": shift[1], "shift_y": shift[0]}
        for name, image in results.items():
            one, two = detail(image.data), detail(truth)
            row[f"{name}_detail"] = np.corrcoef(one[inner], two[inner])[0, 1]
            row[f"{name}_core"] = np.corrcoef(one[core], two[core])[0, 1]
        rows.append(row)
        # HST's counts in those of HSC, for one stretch: the ratio of the fluxes
        factor = results["bilinear"].data[core].sum() / truth[core].sum()
        panels.append({"HSC i": data, **{m: image.data * SCALE**2 for m, image in results.items()},
                       "HST F814W": truth * factor * SCALE**2})
    draw(panels, args.figure)
    table = Table(rows)
    for name in table.colnames[1:]:
        table[name].info.format = ".3f"
    print(HEADER, "\n")
    table.pprint(max_width=-1, max_lines=-1)
    if args.table:
        table.write(args.table, overwrite=True)


if __name__ == "__main__":
    sys.exit(main())
