"""Level and noise of the sky background, estimated from pixels without sources."""

import warnings

import numpy as np
from astropy.stats import SigmaClip, mad_std
from scipy import ndimage

from lenssr.exceptions import LensSRWarning

MIN_SKY_FRACTION = 0.3  # fraction of the pixels that a sky background must cover
SKY_PERCENTILE = 25  # percentile of a noise map; sources only add noise
MIN_SKY_PIXELS = 25  # pixels needed for a noise estimate
# Blocks of a large image that are used, and their side in pixels.
BLOCKS_PER_AXIS, BLOCK_SIDE = 4, 256
SOURCE_STEPS = 3  # iterations of the source detection


def central_cutout(shape, side):
    """Return the slices of the central cutout of at most ``side`` pixels a side."""
    return tuple(slice(max(0, (n - side) // 2), (n + side) // 2) for n in shape)


def estimate_sky(values, mask):
    """
    Estimate the standard deviation of the sky; zero for an image without noise.

    Sources above twice the clipped noise are segmented and masked with their surroundings. The
    noise is the median absolute deviation of the other pixels.
    """
    if min(values.shape) > BLOCKS_PER_AXIS * BLOCK_SIDE:
        excerpt = _excerpt(mask)
        if (~excerpt).sum() > MIN_SKY_PIXELS:
            values, mask = _excerpt(values), excerpt
    return find_sky(values, mask)[0]


def find_sky(values, mask, threshold=2.0):
    """
    Return the noise of the sky and the mask, shape ``(ny, nx)``, of the pixels without sources.

    ``threshold`` is the detection threshold in units of the noise. At two, peaks of correlated
    noise are masked too, which makes the noise appear smaller and less correlated.
    """
    from photutils.segmentation import detect_sources

    # Squares of the faintest wings of noise-free models would underflow.
    peak = np.abs(values[~mask]).max(initial=0)
    values = np.where(np.abs(values) < np.finfo(float).eps ** 4 * peak, 0.0, values)
    clip, sky = SigmaClip(3.0, maxiters=10), ~mask & ~_unexposed(values, mask)
    mask, minimum = ~sky, max(MIN_SKY_PIXELS, 0.05 * sky.sum())
    noise = float(mad_std(clip(values[sky], masked=False)))
    if noise == 0:
        # Half of the pixels have one value, as in images of few photons. The median absolute
        # deviation is then zero, and clipping at three sigma would remove the photons.
        return float(np.std(SigmaClip(10.0)(values[sky]))), sky
    if min(values.shape) < 5:
        return noise, sky
    # Smoothing makes faint extended sources detectable.
    smooth = ndimage.gaussian_filter(np.where(mask, np.median(values[sky]), values), 1.0)
    # The median is biased until the sources of a crowded image are masked.
    for _ in range(SOURCE_STEPS):
        level = np.median(clip(values[sky], masked=False)) + threshold * mad_std(smooth[sky])
        with warnings.catch_warnings():
            # photutils warns if no source is detected.
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
    """Return blocks from the whole of a large image, side by side, to bound the run time."""
    rows, columns = (np.concatenate([np.arange(start, start + BLOCK_SIDE) for start in np.linspace(
        0, n - BLOCK_SIDE, BLOCKS_PER_AXIS).astype(int)]) for n in array.shape)
    return array[np.ix_(rows, columns)]


def _unexposed(values, mask):
    """
    Return the mask of a border without exposure, which pipelines fill with one value.

    The value is detected because it repeats and other values hardly ever do. Counts, which all
    repeat, have no such border.
    """
    sample = values[~mask]
    sample = sample[:: max(1, sample.size // 10000)]
    levels, counts = np.unique(sample, return_counts=True)
    remaining = sample.size - counts.max()
    if counts.max() < 5 or remaining < 0.1 * sample.size or levels.size - 1 < 0.5 * remaining:
        return np.zeros_like(mask)
    return values == levels[counts.argmax()]


def sky_noise(values, sigma, mask):
    """
    Return a noise map, positive and finite everywhere, and the noise of the sky.

    ``sigma`` is the known noise map or `None`. Masked pixels get the median of the other pixels.
    A `LensSRWarning` is emitted if the noise is estimated or assumed.
    """
    if sigma is not None:
        sigma = np.where(mask, np.median(sigma[~mask]), sigma)
        return sigma, float(np.percentile(sigma[~mask], SKY_PERCENTILE))
    noise = estimate_sky(values, mask)
    if noise > 0:
        warnings.warn(f"no uncertainty was given: a noise of {noise:.4g} per pixel was estimated "
                      "from the sky; it does not include the photon noise of sources",
                      LensSRWarning, stacklevel=2)
    else:
        noise = 1e-6 * float(np.abs(values[~mask]).max()) or 1.0
        warnings.warn("no uncertainty was given and the image shows no noise: a noise of "
                      f"{noise:.4g} per pixel was assumed", LensSRWarning, stacklevel=2)
    return np.full(values.shape, noise), noise


def sky_level(values, mask, noise):
    """
    Return the level of a sky background that was not subtracted.

    The level is zero if it is within three times the noise of zero, or if less than 30 % of the
    pixels have it: light that fills the image is not a sky background.
    """
    valid = values[~mask]
    # The fifth percentile of Gaussian noise is 1.645 sigma below its mean.
    low = np.percentile(valid, 5) + 1.645 * noise
    flat = np.abs(valid - low) < 3 * noise
    if abs(low) <= 3 * noise or flat.mean() < MIN_SKY_FRACTION:
        return 0.0
    return float(np.median(valid[flat]))
