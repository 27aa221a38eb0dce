"""
Make the empty skies: ``python -m lenssr.data._make_sky FOLDER``.

FOLDER holds the folder ``sky``; README.rst says from where.
"""

import sys
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.stats import mad_std
from photutils.segmentation import detect_sources
from scipy import ndimage, signal

from lenssr.data._files import SKY_BANDS, SKY_FILE, lag_one

STEP = 1 / 32               # of the noise, in which the file counts
COVERED = 0.35              # share of a field above which sources leave too little sky
BLOCK = 15                  # pixels, side of what is patched at once
SEED = 46                   # of the choice of patches


def main(folder):
    """Write the file into the package."""
    hdus = fits.HDUList([fits.PrimaryHDU()])
    for band in SKY_BANDS:
        fields = fits.getdata(Path(folder) / "sky" / f"DES_bg_{band}.fits").astype(float)
        kept = {number: empty(field) for number, field in enumerate(fields)}
        kept = {number: field for number, field in kept.items() if field is not None}
        counts = np.round(np.stack([sky for sky, _, _, _ in kept.values()]) / STEP)
        hdu = fits.CompImageHDU(counts.astype(np.int16), name=f"SKY_{band}",
                                compression_type="RICE_1", tile_shape=(1, *counts.shape[1:]))
        hdu.header["STEP"] = STEP, "noise of a stamp in which it counts"
        hdu.header["LAG1"] = (round(float(np.mean([lag for _, _, lag, _ in kept.values()])), 4),
                              "correlation of neighbours, without sources")
        for at, (number, (_, noise, _, patched)) in enumerate(kept.items()):
            hdu.header[f"FIELD{at}"] = number, "in the original"
            hdu.header[f"NOISE{at}"] = float(f"{noise:.4g}"), "in the original's unit"
            hdu.header[f"PATCH{at}"] = round(patched, 3), "share of it that is patched"
        hdus.append(hdu)
    hdus.writeto(Path(__file__).with_name(SKY_FILE), overwrite=True)


def empty(field):
    """
    A field in units of its noise, sources patched with sky from elsewhere in it.

    Returns None where sources cover too much; and else the sky, the noise, the correlation of
    neighbours off sources, and the share that is patched.
    """
    sources = find(field)
    if sources.mean() > COVERED:
        return None
    free = field[~sources]
    sky = (field - np.median(free)) / mad_std(free)
    lag = lag_one(sky, ~sources)
    rng = np.random.default_rng(SEED)
    patched = sky.copy()
    # Block by block, since no empty place is as large as a galaxy with its surroundings.
    for corner in np.ndindex(*(-(-n // BLOCK) for n in field.shape)):
        box = tuple(slice(at * BLOCK, (at + 1) * BLOCK) for at in corner)
        shape = sources[box]
        # Sources in each place from which the patch may come.
        taken = signal.correlate(sources.astype(float), shape.astype(float), "valid")
        y, x = rng.choice(np.argwhere(taken < 0.5))
        patched[box][shape] = sky[y:y + shape.shape[0], x:x + shape.shape[1]][shape]
    patched -= np.median(patched)
    return patched / mad_std(patched), mad_std(free), lag, sources.mean()


def find(field):
    """Sources and their surroundings."""
    found = np.zeros(field.shape, bool)
    for _ in range(3):
        sky = np.median(field[~found])
        smooth = ndimage.gaussian_filter(field - sky, 1.5)
        segments = detect_sources(smooth, 2.5 * mad_std(smooth[~found]), n_pixels=5)
        found = ndimage.binary_dilation(segments.data > 0, iterations=4)
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
