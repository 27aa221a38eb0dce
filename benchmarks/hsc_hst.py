"""
HSC images of two fields in COSMOS, restored, beside what HST sees there.

    python benchmarks/hsc_hst.py --metrics docs/user_guide/images

The only test here on native pixels of a ground-based survey, with the noise and the PSF that its
pipeline left, and a truth that another telescope made. Of the folder of real sky data
(``LENSSR_SHARED_DATA``, by default ``shared/data`` beside the checkout); galaxies, not lenses.
"""

import argparse
import sys
import warnings
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.table import Table
from astropy.wcs import WCS, FITSFixedWarning
from entrants import add_arguments, entrants, restore
from lenses import DATA
from scipy import ndimage

from lenssr import LensSRWarning
from lenssr.simulate import pair_observations

FIELDS = (0, 1)
BANDS = {"r": 1, "i": 2, "z": 3}  # planes of the HSC cubes, grizy
SCALE = 2
SMOOTH = 6.0   # output pixels, sigma of what is subtracted to see the detail
EDGE = 6       # output pixels that are left out
PROBES = 8     # of the errors of methods that find them by fresh noise

HEADER = """\
`detail` is the correlation, over the field, of result and HST image, each minus itself blurred by a
Gaussian of 6 output pixels; `core` the same where HST sees anything brighter than five times its
noise. `within_1` and `within_2` are the shares of pixels where the two differ by less than one and
two standard deviations, of the method's error and HST's noise together: 0.683 and 0.954 if the
errors are right; `core_1` and `core_2` the same in the core. `shift` is the offset of the two WCSs
in output pixels, which `lenssr.simulate.pair_observations` finds and takes out; `chi2` is that of
HSC's image against HST's as HSC would see it, above one where HST's filter shows other colours."""


def observed(name, number, plane, psf):
    """An image of a field, with its WCS and PSF."""
    path = DATA / "hsc_hst_cosmos" / f"Cut_{name}{number or ''}.fits"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        data, header = fits.getdata(path, header=True)
        wcs = WCS(header, naxis=2)
    return CCDData(data[plane].astype(float), unit=u.adu, wcs=wcs, psf=psf)


def matched(number, band):
    """The pair of HSC's and HST's image."""
    folder, plane = DATA / "hsc_hst_cosmos", BANDS[band]
    with warnings.catch_warnings():
        # Noise is estimated from the sky, and the peak of HST's PSF is off its array's centre.
        warnings.simplefilter("ignore", LensSRWarning)
        return pair_observations(
            observed("HSC", number, plane, fits.getdata(folder / "PSF_HSC.fits")[plane]),
            observed("HST", number, Ellipsis, fits.getdata(folder / "PSF_HST.fits")), SCALE,
            flux="per-pixel")


def detail(image):
    """What is finer than a Gaussian of six pixels."""
    return image - ndimage.gaussian_filter(image, SMOOTH)


def metrics(result, pair):
    """What is measured on a result."""
    inner = ndimage.binary_erosion(~pair.hr.mask, iterations=EDGE)
    truth = np.where(pair.hr.mask, np.median(pair.hr.data[inner]), pair.hr.data)
    noise = np.where(pair.hr.mask, np.inf, pair.hr.uncertainty.array)
    level = np.median(truth[inner])
    core = inner & (ndimage.maximum_filter((truth - level) / noise, 5) > 5)
    one, two = detail(result.data), detail(truth)
    pull = np.abs(result.data - truth) / np.hypot(result.uncertainty.array, noise)
    row = {}
    for name, where, share in (("detail", inner, "within"), ("core", core, "core")):
        row[name] = np.corrcoef(one[where], two[where])[0, 1]
        row |= {f"{share}_{n}": np.mean(pull[where] < n) for n in (1, 2)}
    return row


def draw(rows, path):
    """One row for each band: observed, results, HST."""
    from matplotlib.figure import Figure

    count = max(len(panels) for panels in rows.values())
    figure = Figure(figsize=(2.2 * count, 2.35 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), count, squeeze=False)
    for line, (band, panels) in zip(axes, rows.items()):
        first = panels["HSC"]
        noise = 1.4826 * np.median(np.abs(first - np.median(first)))
        top = np.arcsinh(np.nanmax(panels["HST F814W"]) / (3 * noise))
        for axis, (name, image) in zip(line, panels.items()):
            axis.imshow(np.arcsinh(image / (3 * noise)), origin="lower", cmap="magma",
                        vmin=-0.5, vmax=0.9 * top, interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
            if axis in axes[0]:
                axis.set_title(name)
        line[0].set_ylabel(band)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=55, pil_kwargs={"optimize": True})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--metrics", type=Path, default=Path("."),
                        help="folder for hsc_hst_0.png and hsc_hst_1.png")
    parser.add_argument("--table", type=Path, help="file for the table, ECSV or CSV by its name")
    add_arguments(parser)
    args = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"the folder of real sky data is not at {DATA}; set LENSSR_SHARED_DATA")
    taking_part = entrants(args)
    rows = []
    for number in FIELDS:
        panels = {}
        for band in BANDS:
            pair = matched(number, band)
            results = {label: restore(pair.lr, who, PROBES, flux="per-pixel")
                       for label, who in taking_part.items()}
            shift = pair.truth["shift"].value
            for label, result in results.items():
                rows.append({"field": number, "band": band, "method": label,
                             "shift_x": shift[0], "shift_y": shift[1], "chi2": pair.truth["chi2"],
                             **metrics(result, pair)})
            hst = np.where(pair.hr.mask, np.nan, pair.hr.data)
            panels[band] = {"HSC": pair.lr.data, **{label: image.data * SCALE**2
                                                    for label, image in results.items()},
                            "HST F814W": hst * SCALE**2}
        draw(panels, args.metrics / f"hsc_hst_{number}.png")
    table = Table(rows)
    for name in table.colnames[3:]:
        table[name].info.format = ".2f" if name in ("shift_x", "shift_y", "chi2") else ".3f"
    print(HEADER, "\n")
    table.pprint(max_width=-1, max_lines=-1)
    if args.table:
        table.write(args.table, overwrite=True)


if __name__ == "__main__":
    sys.exit(main())
