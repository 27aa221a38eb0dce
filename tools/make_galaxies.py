"""
Make the galaxies that are sources of lenses: ``python tools/make_galaxies.py FOLDER [OUTPUT]``.

FOLDER holds the folders ``galaxies`` and ``hsc_hst_cosmos``; ``lenssr/data/README.rst`` states
their origin. OUTPUT is the folder of the new file, by default the folder of the package's data.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from astropy.io import fits
from astropy.stats import mad_std, sigma_clipped_stats
from photutils.segmentation import deblend_sources, detect_sources
from scipy import ndimage

import lenssr.data
from lenssr.networks import starlet

PIXEL_SCALE = 0.03  # arcsec
N_PLANES = 4  # wavelet planes with details
MIN_POWER_RATIO = 4.0  # power over noise power below which a wavelet plane is set to zero
TAPER_WIDTH = 8  # pixels from the outline to zero

COSMOS = "galaxies/real_galaxy_images_23.5_n1.fits"
AEGIS = "galaxies/AEGIS_F{}w_images_{}.fits"
CUT = "hsc_hst_cosmos/{}.fits"
BLANK = CUT.format("Cut_HST1")

# Name, filter, file, extension, position (x, y), and whether to deblend. Excluded: COSMOS 129658,
# which is cut by its stamp; and galaxies with a flux below 60 or a peak below 10 times the noise,
# COSMOS 178249 and three galaxies of AEGIS.
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


def main(folder, output=Path(lenssr.data.__file__).parent):
    """Write ``galaxies.fits``."""
    folder = Path(folder)
    ratios = noise_ratios(fits.getdata(folder / BLANK).astype(float))
    hdus = fits.HDUList([fits.PrimaryHDU()])
    for name, band, file, extension, position, deblend in GALAXIES:
        data = fits.getdata(folder / file, extension).astype(float)
        image, noise = clean_galaxy(data, position, deblend, ratios)
        hdu = fits.ImageHDU(image.astype(np.float32))
        for key, value, comment in (
                ("OBJECT", name, None), ("FILTER", band, None), ("ORIGIN", Path(file).name, None),
                ("PIXSCALE", PIXEL_SCALE, "[arcsec]"),
                ("HALFLITE", round(half_light_radius(image) * PIXEL_SCALE, 5), "[arcsec]"),
                ("SKYNOISE", float(f"{noise:.4g}"), "sky noise of the original over the flux")):
            hdu.header[key] = value, comment
        hdus.append(hdu)
    hdus.writeto(Path(output) / "galaxies.fits", overwrite=True)


def clean_galaxy(data, position, deblend, ratios):
    """Return a galaxy of unit sum without sky, noise and neighbours, and its relative noise."""
    sky, noise, outline = find_outline(data, position, deblend)
    clean = denoise(data - sky, noise * ratios)
    # A cosine taper outside the outline and at the edges of the image.
    inside = 1 - ndimage.distance_transform_edt(~outline) / TAPER_WIDTH
    y, x = (np.arange(n) for n in data.shape)
    edge = np.minimum(*np.broadcast_arrays(np.minimum(y, y[::-1])[:, None], np.minimum(x, x[::-1])))
    window = np.clip(np.minimum(inside, edge / TAPER_WIDTH), 0, 1)
    clean = np.clip(clean, 0, None) * (0.5 - 0.5 * np.cos(np.pi * window))
    total = clean.sum()
    return crop_to_centroid(clean) / total, noise / total


def find_outline(data, position, deblend):
    """Return sky, noise, and the mask of the galaxy at a position, by default the image centre."""
    sources = np.zeros(data.shape, bool)
    for _ in range(3):
        _, sky, noise = sigma_clipped_stats(data, mask=sources, sigma=3)
        smooth = ndimage.gaussian_filter(data - sky, 2)
        segments = detect_sources(smooth, 2 * mad_std(smooth[~sources]), n_pixels=40)
        sources = ndimage.binary_dilation(segments.data > 0, iterations=4)
    if deblend:
        segments = deblend_sources(smooth, segments, n_pixels=40, contrast=0.1,
                                   progress_bar=False)
    x, y = position or (data.shape[1] // 2, data.shape[0] // 2)
    # An opening removes filaments of noise.
    labels, _ = ndimage.label(ndimage.binary_opening(segments.data == segments.data[y, x], disk(3)))
    outline = ndimage.binary_dilation(labels == labels[y, x], disk(3))
    return sky, noise, ndimage.binary_fill_holes(outline)


def disk(radius):
    """Return the footprint of pixels within a radius."""
    axis = np.arange(-radius, radius + 1)
    return axis[:, None] ** 2 + axis**2 <= radius**2


def wavelet_planes(image):
    """Return the starlet transform of a mirrored image, shape ``(N_PLANES + 1, ny, nx)``."""
    pad = 2 * (2**N_PLANES - 1)
    padded = torch.from_numpy(np.pad(image, pad, mode="symmetric"))
    return starlet(padded[None, None], N_PLANES)[0].numpy()[:, pad:-pad, pad:-pad]


def noise_ratios(image):
    """Return the noise of each wavelet plane of a blank field over the noise of the field."""
    return np.array([mad_std(plane) for plane in wavelet_planes(image)[:-1]]) / mad_std(image)


def denoise(image, noise):
    """Scale each wavelet plane by the fraction of its local power above the noise power."""
    *planes, clean = wavelet_planes(image)
    for k, (plane, sigma) in enumerate(zip(planes, noise)):
        power = ndimage.gaussian_filter(plane**2, 2.0 * 2**k)
        noise_fraction = MIN_POWER_RATIO * sigma**2 / np.maximum(power, 1e-30)
        clean = clean + plane * np.clip(1 - noise_fraction, 0, None)
    return clean


def crop_to_centroid(image):
    """Return the smallest odd square about the centroid that holds the galaxy and a border."""
    y, x = np.nonzero(image)
    cy, cx = (round(c) for c in ndimage.center_of_mass(image))
    half = int(max(np.abs(y - cy).max(), np.abs(x - cx).max())) + 1
    padded = np.pad(image, half)
    return padded[cy:cy + 2 * half + 1, cx:cx + 2 * half + 1]


def half_light_radius(image):
    """Measure the radius in pixels of the circle about the centroid with half of the flux."""
    y, x = np.indices(image.shape)
    cy, cx = ndimage.center_of_mass(image)
    radius = np.hypot(y - cy, x - cx).ravel()
    order = np.argsort(radius, kind="stable")
    return float(np.interp(image.sum() / 2, np.cumsum(image.ravel()[order]), radius[order]))


if __name__ == "__main__":
    main(*sys.argv[1:])
