"""
Real lenses, degraded to the ground's seeing, for the scripts beside it.

Of the folder of real sky data (``LENSSR_SHARED_DATA``, by default ``shared/data`` beside the
checkout).
"""

import os
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np
from astropy.io import fits
from astropy.modeling.models import Sersic2D
from scipy import ndimage, optimize

from lenssr import LensSRWarning
from lenssr.evaluate import image_metrics
from lenssr.simulate import simulate_observation
from lenssr.uncertainty import estimate_sky

DATA = Path(os.environ.get("LENSSR_SHARED_DATA",
                           Path(__file__).resolve().parents[2] / "shared" / "data"))
SIDE = 240  # pixels of the sharp image that are used at most, so that it is quick
LEAST = 24  # input pixels: smaller images fade into their sky, lest they be all edge
FADE = 6    # pixels of the sharp image over which they do
DEEPEST = 3  # times the noise that the sharp image itself has at that resolution
MARGIN = 2  # input pixels that are cut off afterwards: mirrored light comes into them
CLIP = 3.0  # noise above a model of the lens galaxy beyond which a pixel is of something else


@dataclass
class Lens:
    """
    A sharp image of a lens.

    Attributes
    ----------
    name : str
        Lens and filter.
    kind : str
        ``lens``, ``subtracted`` (without the light of the lens galaxy) or ``quasar``.
    data, psf : `~numpy.ndarray`
        Image and effective PSF.
    pixel : float
        Side of a pixel, arcsec.
    bin : int
        Pixels of it to one of the truth.
    """

    name: str
    kind: str
    data: np.ndarray
    psf: np.ndarray
    pixel: float
    bin: int = 2


def lenses(folder=DATA):
    """All real lenses of the folder; those with a galaxy in the middle, once more without it."""
    for lens in _as_observed(folder):
        yield lens
        if lens.kind == "lens":
            yield replace(lens, name=f"{lens.name}_subtracted", kind="subtracted",
                          data=lens.data - galaxy(lens))


def _as_observed(folder):
    slacs, ring = folder / "hst_slacs0946", folder / "jwst_cosmos_web_ring"
    yield Lens("slacs0946_F814W", "lens", _fits(slacs / "data"), _fits(slacs / "psf"), 0.05)
    for band, pixel, bin in (("F115W", 0.03, 3), ("F277W", 0.06, 2)):
        yield Lens(f"cosmos_web_ring_{band}", "lens", _fits(ring / f"{band}_data"),
                   _fits(ring / f"{band}_psf"), pixel, bin)
    for path in sorted((folder / "hst_arcs").glob("image_*.h5")):
        name = path.stem.removeprefix("image_")
        if name == "lens_system3_F475X":
            continue  # the same image as SL2SJ0219-0829_F475X
        with h5py.File(path) as image, h5py.File(path.with_name(f"psf_{name}.h5")) as psf:
            yield Lens(name, "lens", image["image_data"][()], psf["kernel_point_source"][()],
                       abs(image["transform_pix2angle"][0, 0]))
    quads = {key: np.load(folder / "quads" / f"{key}.npz") for key in (
        "wfi2033_814w", "wfi2033_f115W", "j0607_f160w", "j0607_MIRI560W")}
    yield Lens("wfi2033_F814W", "quasar", quads["wfi2033_814w"]["image_data"],
               quads["wfi2033_814w"]["psf_model"], 0.05)
    # The blur of the others is left in them, as if it were on the sky: no PSF comes with the first,
    # and the pixels of the last two are so coarse that they have to be those of the truth.
    point = np.pad([[1.0]], 1)
    yield Lens("wfi2033_F115W", "quasar", quads["wfi2033_f115W"]["image_data"], point, 0.031, 3)
    yield Lens("j0607_F160W", "quasar", quads["j0607_f160w"]["image_data"], point, 0.08, 1)
    yield Lens("j0607_F560W", "quasar", quads["j0607_MIRI560W"]["image_data"], point, 0.111, 1)


def _fits(path):
    return fits.getdata(path.with_suffix(".fits")).astype(float)


def galaxy(lens):
    """
    The light of the galaxy in the middle of an image: two Sersic profiles of one centre.

    Pixels that are brighter than the model by `CLIP` times the noise, of arcs and neighbours,
    are left out, and the fit is made again. What it misses stays in the image with either
    sign, as it does in the images that lenses are modelled from.
    """
    data = lens.data
    middle = tuple(slice(max((n - SIDE) // 2, 0), (n + SIDE) // 2) for n in data.shape)
    y, x = (a - (n - 1) / 2 for a, n in zip(np.indices(data.shape), data.shape))
    noise = estimate_sky(data, ~np.isfinite(data))
    sky = np.median(data)
    # A twentieth of what is there is forgiven everywhere: no profile fits a core to its noise.
    scale = np.hypot(noise, 0.05 * np.maximum(ndimage.gaussian_filter(data, 1.0) - sky, 0.0))

    def model(p):
        light = np.full(data.shape, p[0])
        for amplitude, radius, index, ellipticity, angle in p[3:].reshape(-1, 5):
            light += Sersic2D(np.exp(amplitude), np.exp(radius), index, p[1], p[2], ellipticity,
                              angle)(x, y)
        return light

    peak = np.log(ndimage.gaussian_filter(data, 1.0)[middle].max() - sky)
    inner, outer = np.log(0.1 / lens.pixel), np.log(0.8 / lens.pixel)
    found = np.array([sky, 0, 0, peak - 1, inner, 1.0, 0.1, 0, peak - 3, outer, 1.0, 0.1, 0])
    low = [-np.inf, -4, -4] + [-np.inf, np.log(0.5), 0.3, 0.0, -np.inf] * 2
    high = [np.inf, 4, 4] + [np.inf, np.log(max(data.shape)), 6.0, 0.7, np.inf] * 2
    use = np.zeros(data.shape, bool)
    use[middle] = True
    for _ in range(4):
        found = optimize.least_squares(
            lambda p, use: ((data - model(p)) / scale)[use], found, bounds=(low, high),
            loss="soft_l1", max_nfev=60, args=(use,)).x
        left = ndimage.uniform_filter((data - model(found)) / scale, 3)
        use = np.zeros(data.shape, bool)
        use[middle] = (left < CLIP / 3)[middle]  # means of nine
    return model(found) - found[0]


def framed(image, min_side):
    """The middle of a large image, square; a small one is set into its sky."""
    side = min(*image.shape, SIDE)
    corner = [(n - side) // 2 for n in image.shape]
    image = image[corner[0]: corner[0] + side, corner[1]: corner[1] + side]
    if side >= min_side:
        return image
    sky = np.percentile(image, 2)
    edge = np.minimum(np.arange(side), np.arange(side)[::-1]) + 0.5
    ramp = np.sin(0.5 * np.pi * np.minimum(edge / FADE, 1)) ** 2
    return np.pad(sky + (image - sky) * np.outer(ramp, ramp), (min_side - side) // 2,
                  constant_values=sky)


def degrade(lens, seeing, snr, seed=1):
    """
    Observe a lens from the ground, by `lenssr.simulate.simulate_observation`.

    Parameters
    ----------
    lens : `Lens`
        The lens.
    seeing : float
        FWHM of the optics, arcsec.
    snr : float
        Peak signal to noise, less where the noise of the sharp image sets the limit.
    seed : int
        Of the noise.

    Returns
    -------
    pair : `~lenssr.simulate.LensPair`
        Images of fluxes per pixel, twice the pixels in the truth.
    limit : float
        PSNR in dB that the noise of the truth itself allows.
    """
    step = 2 * lens.bin
    data = framed(lens.data, LEAST * step)
    noise = estimate_sky(lens.data, ~np.isfinite(lens.data))

    def again(snr):
        with warnings.catch_warnings():
            # Empirical PSFs that are off their centre by a fraction of a pixel.
            warnings.simplefilter("ignore", LensSRWarning)
            return simulate_observation(data, lens.psf, pixel_scale=lens.pixel, bin=lens.bin,
                                        snr=snr,
                                        seeing=seeing, margin=MARGIN, seed=seed)

    pair = again(snr)
    sky = pair.lr.uncertainty.array[0, 0]
    own = noise * pair.truth["gain_lr"] * step**2
    if sky < DEEPEST * own:
        pair = again(snr * sky / (DEEPEST * own))
    limit = 20 * np.log10(pair.hr.data.max() / (noise * pair.truth["gain_hr"] * lens.bin**2))
    return pair, limit


def score(pair, image):
    """PSNR over all of an image and where there is light, in dB below the peak of its truth."""
    truth, peak = pair.hr.data, pair.hr.data.max()
    light = ndimage.binary_dilation(truth > peak / 50, iterations=2)
    return (image_metrics(image, truth, data_range=peak)["psnr"],
            image_metrics(image, truth, data_range=peak, mask=~light)["psnr"])
