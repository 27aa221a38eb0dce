"""
Make the blank skies: ``python tools/make_sky.py FOLDER [OUTPUT]``.

FOLDER holds the folder ``sky``; ``lenssr/data/README.rst`` states their
origin. OUTPUT is the folder of the new file, by default the folder of the package's data.
"""

import sys
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.stats import mad_std
from photutils.segmentation import detect_sources
from scipy import ndimage, signal

import lenssr.data

BANDS = "i", "r"
STEP = 1 / 32  # quantization step of the file over the noise
MAX_SOURCE_FRACTION = 0.35  # fraction of a field above which too little sky is without sources
BLOCK_SIDE = 15  # pixels, side of the blocks in which sources are replaced
SEED = 46  # seed of the choice of patches


def main(folder, output=Path(lenssr.data.__file__).parent):
    """Write ``sky.fits``."""
    hdus = fits.HDUList([fits.PrimaryHDU()])
    for band in BANDS:
        fields = fits.getdata(Path(folder) / "sky" / f"DES_bg_{band}.fits").astype(float)
        skies = {number: blank_sky(field) for number, field in enumerate(fields)}
        skies = {number: sky for number, sky in skies.items() if sky is not None}
        counts = np.round(np.stack([sky for sky, _, _, _ in skies.values()]) / STEP)
        hdu = fits.CompImageHDU(counts.astype(np.int16), name=f"SKY_{band}",
                                compression_type="RICE_1", tile_shape=(1, *counts.shape[1:]))
        hdu.header["STEP"] = STEP, "quantization step over the noise"
        hdu.header["LAG1"] = (round(float(np.mean([lag for _, _, lag, _ in skies.values()])), 4),
                              "correlation of neighbours without sources")
        for k, (number, (_, noise, _, fraction)) in enumerate(skies.items()):
            hdu.header[f"FIELD{k}"] = number, "index of the original field"
            hdu.header[f"NOISE{k}"] = float(f"{noise:.4g}"), "noise of the original field"
            hdu.header[f"PATCH{k}"] = round(fraction, 3), "fraction of replaced pixels"
        hdus.append(hdu)
    hdus.writeto(Path(output) / "sky.fits", overwrite=True)


def blank_sky(field):
    """
    Replace the sources of a field by sky from elsewhere in the field.

    Returns the sky in units of its noise, the noise, the correlation of neighbouring pixels without
    sources, and the fraction of replaced pixels; `None` if sources cover too much.
    """
    sources = find_sources(field)
    if sources.mean() > MAX_SOURCE_FRACTION:
        return None
    free = field[~sources]
    sky = (field - np.median(free)) / mad_std(free)
    lag = neighbour_correlation(sky, ~sources)
    rng = np.random.default_rng(SEED)
    patched = sky.copy()
    # In blocks, since no blank area is as large as a galaxy with its surroundings.
    for corner in np.ndindex(*(-(-n // BLOCK_SIDE) for n in field.shape)):
        box = tuple(slice(k * BLOCK_SIDE, (k + 1) * BLOCK_SIDE) for k in corner)
        shape = sources[box]
        # Number of source pixels in the patch at each position.
        n_sources = signal.correlate(sources.astype(float), shape.astype(float), "valid")
        y, x = rng.choice(np.argwhere(n_sources < 0.5))
        patched[box][shape] = sky[y:y + shape.shape[0], x:x + shape.shape[1]][shape]
    patched -= np.median(patched)
    return patched / mad_std(patched), mad_std(free), lag, sources.mean()


def find_sources(field):
    """Return the mask of the sources and their surroundings."""
    sources = np.zeros(field.shape, bool)
    for _ in range(3):
        sky = np.median(field[~sources])
        smooth = ndimage.gaussian_filter(field - sky, 1.5)
        segments = detect_sources(smooth, 2.5 * mad_std(smooth[~sources]), n_pixels=5)
        sources = ndimage.binary_dilation(segments.data > 0, iterations=4)
    return sources


def neighbour_correlation(sky, use):
    """Measure the correlation of neighbouring pixels in a mask, averaged over both axes."""
    sky = np.where(use, sky - sky[use].mean(), 0)
    products = []
    for axis in (-2, -1):
        # The last pixel along the axis has no neighbour.
        pairs = np.delete(use & np.roll(use, -1, axis), -1, axis)
        products.append(np.delete(sky * np.roll(sky, -1, axis), -1, axis)[pairs].mean())
    return float(np.mean(products) / sky[use].var())


if __name__ == "__main__":
    main(*sys.argv[1:])
