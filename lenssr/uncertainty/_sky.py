"""Level and noise of the sky background, estimated from pixels without sources."""

import warnings

import numpy as np
from astropy.stats import SigmaClip, mad_std
from scipy import ndimage

from lenssr.exceptions import LensSRWarning

MIN_SKY_FRACTION = 0.3  # fraction of the pixels that must lie on a sky
SKY_PERCENTILE = 25  # of a noise map, since sources only add noise
MIN_SKY_PIXELS = 25  # pixels needed for a noise estimate
# Blocks of a large image that are used, and their side in pixels.
BLOCKS_PER_AXIS, BLOCK_SIDE = 4, 256
SOURCE_STEPS = 3  # iterations of the source detection


def estimate_sky(values, mask):
    """Noise of the sky from the pixels that hold no source."""
    if min(values.shape) > BLOCKS_PER_AXIS * BLOCK_SIDE and (~_excerpt(mask)).sum() > MIN_SKY_PIXELS:
        values, mask = _excerpt(values), _excerpt(mask)
    return find_sky(values, mask)[0]


def find_sky(values, mask, threshold=2.0):
    """The pixels that hold no source, and their noise, as in `estimate_sky`."""
    from photutils.segmentation import detect_sources

    # The far wings of noise-free models are so small that their squares are zero.
    most = np.abs(values[~mask]).max(initial=0)
    values = np.where(np.abs(values) < np.finfo(float).eps ** 4 * most, 0.0, values)
    clip, sky = SigmaClip(3.0, maxiters=10), ~mask & ~_unexposed(values, mask)
    mask, minimum = ~sky, max(MIN_SKY_PIXELS, 0.05 * sky.sum())
    noise = float(mad_std(clip(values[sky], masked=False)))
    if noise == 0:
        # Half the pixels share one value. Few photons do that: their scatter is small
        # numbers, which the median does not see and a clip at three sigma cuts off.
        return float(np.std(SigmaClip(10.0)(values[sky]))), sky
    if min(values.shape) < 5:
        return noise, sky
    # Smoothed by its neighbours, faint extended light stands out that one pixel hides.
    smooth = ndimage.gaussian_filter(np.where(mask, np.median(values[sky]), values), 1.0)
    # Where sources fill much of the image, its median is not yet that of the sky.
    for _ in range(SOURCE_STEPS):
        level = np.median(clip(values[sky], masked=False)) + threshold * mad_std(smooth[sky])
        with warnings.catch_warnings():
            # photutils warns of an image without sources, which is a good answer here.
            warnings.simplefilter("ignore")
            sources = detect_sources(smooth, level, n_pixels=5, mask=mask)
        if sources is None:
            break
        empty = ~mask & ~ndimage.binary_dilation(sources.data > 0, iterations=2)
        if empty.sum() < minimum or (empty == sky).all():
            break
        sky = empty
        noise = float(mad_std(clip(values[sky], masked=False))) or noise
    return noise, sky


def _excerpt(array):
    """Blocks from all over a large image, side by side: enough for a noise, in bounded time."""
    rows, columns = (np.concatenate([np.arange(start, start + BLOCK_SIDE) for start in np.linspace(
        0, n - BLOCK_SIDE, BLOCKS_PER_AXIS).astype(int)]) for n in array.shape)
    return array[np.ix_(rows, columns)]


def _unexposed(values, mask):
    """The rim that no exposure reached, which pipelines fill with one value, often zero."""
    sample = values[~mask]
    sample = sample[:: max(1, sample.size // 10000)]
    values_found, times = np.unique(sample, return_counts=True)
    most = times.max()
    remaining = sample.size - most
    if most < 5 or remaining < 0.1 * sample.size or values_found.size - 1 < 0.5 * remaining:
        return np.zeros_like(mask)
    return values == values_found[times.argmax()]


def sky_noise(values, sigma, mask):
    """Noise map and noise of the sky, whatever is known of them."""
    if sigma is not None:
        sigma = np.where(mask, np.median(sigma[~mask]), sigma)
        return sigma, float(np.percentile(sigma[~mask], SKY_PERCENTILE))
    noise = estimate_sky(values, mask)
    if noise > 0:
        warnings.warn(f"no uncertainty was given: a noise of {noise:.4g} per pixel was estimated "
                      "from the sky, the photon noise of sources is not in it",
                      LensSRWarning, stacklevel=2)
    else:
        noise = 1e-6 * float(np.abs(values[~mask]).max()) or 1.0
        warnings.warn("no uncertainty was given and the image shows no noise: a noise of "
                      f"{noise:.4g} per pixel was assumed", LensSRWarning, stacklevel=2)
    return np.full(values.shape, noise), noise


def sky_level(values, mask, noise):
    """Level of a sky that was not subtracted."""
    valid = values[~mask]
    # The fifth percentile of a sky of Gaussian noise is 1.645 sigma below its level.
    low = np.percentile(valid, 5) + 1.645 * noise
    flat = np.abs(valid - low) < 3 * noise
    if abs(low) <= 3 * noise or flat.mean() < MIN_SKY_FRACTION:
        return 0.0
    return float(np.median(valid[flat]))
