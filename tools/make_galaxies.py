"""
Make the galaxies to be lensed: ``python -m lenssr.data._make_galaxies FOLDER``.

FOLDER holds the folders ``galaxies`` and ``hsc_hst_cosmos``; README.rst says from where.
"""

import sys
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.stats import mad_std, sigma_clipped_stats
from photutils.segmentation import deblend_sources, detect_sources
from scipy import ndimage

from lenssr.data._files import GALAXY_FILE, half_light_radius

SCALE = 0.03                # arcsec, pixels of all of them
LEVELS = 4                  # wavelet planes
KEEP = 4.0                  # power over that of the noise below which a plane is only noise
TAPER = 8                   # pixels from the outline to zero

COSMOS = "galaxies/real_galaxy_images_23.5_n1.fits"
AEGIS = "galaxies/AEGIS_F{}w_images_{}.fits"
CUT = "hsc_hst_cosmos/{}.fits"
BLANK = CUT.format("Cut_HST1")

# Name, filter, file, extension, where (x, y), and whether to part it from its neighbours. Left out:
# COSMOS 129658, which its stamp cuts, and what has less than sixty times its noise in all, or a
# peak of less than ten: COSMOS 178249 and three of AEGIS.
GALAXIES = [
    *((f"COSMOS {ident}", "F814W", COSMOS, hdu, None, False) for hdu, ident in (
        (0, 141190), (1, 143346), (2, 93315), (3, 166341), (4, 176290), (7, 9205), (8, 110283),
        (9, 29162))),
    ("COSMOS 147246", "F814W", "galaxies/147246.0_150.416558_1.998697_masknoise.fits", 0, None,
     False),
    *((f"COSMOS field {field} ({x}, {y})", "F814W", CUT.format(name), 0, (x, y), field == 2)
      for field, name, x, y in (
          (1, "Cut_HST", 120, 130), (1, "Cut_HST", 208, 140), (2, "Cut_HST1", 44, 106),
          (2, "Cut_HST1", 142, 183), (2, "Cut_HST1", 165, 118))),
    *((f"AEGIS {part}-1", f"F{band}W", AEGIS.format(band, part), 1, None, False)
      for part in ("01", "02") for band in (606, 814)),
]


def main(folder):
    """Write the file into the package."""
    folder = Path(folder)
    ratios = noise_of_planes(fits.getdata(folder / BLANK).astype(float))
    hdus = fits.HDUList([fits.PrimaryHDU()])
    for name, band, file, extension, where, apart in GALAXIES:
        data = fits.getdata(folder / file, extension).astype(float)
        image, noise = cut(data, where, apart, ratios)
        hdu = fits.ImageHDU(image.astype(np.float32))
        for key, value, comment in (
                ("OBJECT", name, None), ("FILTER", band, None), ("ORIGIN", Path(file).name, None),
                ("PIXSCALE", SCALE, "[arcsec]"),
                ("HALFLITE", round(half_light_radius(image) * SCALE, 5), "[arcsec]"),
                ("SKYNOISE", float(f"{noise:.4g}"), "of the original, as a share of the flux")):
            hdu.header[key] = value, comment
        hdus.append(hdu)
    hdus.writeto(Path(__file__).with_name(GALAXY_FILE), overwrite=True)


def cut(data, where, apart, ratios):
    """Galaxy at ``where``, without sky, noise and neighbours, of sum one; and its noise."""
    sky, noise, outline = find(data, where, apart)
    clean = denoise(data - sky, noise * ratios)
    # A cosine from the outline outwards, and to the edge of what was observed.
    inside = 1 - ndimage.distance_transform_edt(~outline) / TAPER
    y, x = (np.arange(n) for n in data.shape)
    edge = np.minimum(*np.broadcast_arrays(np.minimum(y, y[::-1])[:, None], np.minimum(x, x[::-1])))
    window = np.clip(np.minimum(inside, edge / TAPER), 0, 1)
    clean = np.clip(clean, 0, None) * (0.5 - 0.5 * np.cos(np.pi * window))
    total = clean.sum()
    return centre(clean) / total, noise / total


def find(data, where, apart):
    """Sky, noise, and the outline of the galaxy at ``where``."""
    found = np.zeros(data.shape, bool)
    for _ in range(3):
        _, sky, noise = sigma_clipped_stats(data, mask=found, sigma=3)
        smooth = ndimage.gaussian_filter(data - sky, 2)
        segments = detect_sources(smooth, 2 * mad_std(smooth[~found]), n_pixels=40)
        found = ndimage.binary_dilation(segments.data > 0, iterations=4)
    if apart:
        segments = deblend_sources(smooth, segments, n_pixels=40, contrast=0.1,
                                   progress_bar=False)
    x, y = where or (data.shape[1] // 2, data.shape[0] // 2)
    # Noise grows filaments on the outline.
    labels, _ = ndimage.label(ndimage.binary_opening(segments.data == segments.data[y, x], disk(3)))
    outline = ndimage.binary_dilation(labels == labels[y, x], disk(3))
    return sky, noise, ndimage.binary_fill_holes(outline)


def disk(radius):
    """Footprint of pixels within ``radius``."""
    axis = np.arange(-radius, radius + 1)
    return axis[:, None] ** 2 + axis**2 <= radius**2


def planes(image):
    """
    Starlet transform: ``LEVELS`` planes of detail, and what is left.

    Starck, Fadili & Murtagh (2007ITIP...16..297S).
    """
    for level in range(LEVELS):
        kernel = np.zeros(4 * 2**level + 1)
        kernel[:: 2**level] = np.array([1, 4, 6, 4, 1]) / 16
        smooth = ndimage.convolve1d(ndimage.convolve1d(image, kernel, 0), kernel, 1)
        yield image - smooth
        image = smooth
    yield image


def noise_of_planes(image):
    """Noise of each plane over that of the image, where noise is as in the field ``image``."""
    return np.array([mad_std(plane) for plane in planes(image)][:LEVELS]) / mad_std(image)


def denoise(image, noise):
    """Image of which each plane is kept as far as its power exceeds that of the noise."""
    *details, rest = planes(image)
    for level, (detail, sigma) in enumerate(zip(details, noise)):
        power = ndimage.gaussian_filter(detail**2, 2.0 * 2**level)
        rest = rest + detail * np.clip(1 - KEEP * sigma**2 / np.maximum(power, 1e-30), 0, None)
    return rest


def centre(image):
    """Smallest odd square around the flux centroid that holds all of ``image``, and a border."""
    y, x = np.nonzero(image)
    cy, cx = (round(c) for c in ndimage.center_of_mass(image))
    half = int(max(np.abs(y - cy).max(), np.abs(x - cx).max())) + 1
    padded = np.pad(image, half)
    return padded[cy:cy + 2 * half + 1, cx:cx + 2 * half + 1]


if __name__ == "__main__":
    main(*sys.argv[1:])
