"""Which dark matter is in images: the front door."""

import warnings
from numbers import Number
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table

from lenssr.classify._judge import open_judge
from lenssr.exceptions import LensSRWarning
from lenssr.image import parse_image
from lenssr.networks import MAX_IMAGE_SIDE, MIN_IMAGE_SIDE
from lenssr.uncertainty import sky_level

__all__ = ["classify"]

SHIPPED = "classifier-resnet18"
AT_ONCE = 250  # images of a catalogue that are read together


def classify(data, classifier=SHIPPED, *, hdu=None, mask=None, device=None):
    """
    Probabilities of the classes of dark matter in images of lenses.

    The probabilities are those among the classes of the simulations that the classifier was
    trained on, equally frequent, after temperature scaling (Guo et al. 2017, arXiv:1706.04599).
    They do not depend on the unit of the flux, nor, being means over them, on mirroring and
    rotation by right angles.

    Parameters
    ----------
    data : file, HDUList, HDU, NDData, Quantity, array, catalogue, or a list of such images
        An image of one band with sides of 32 to 150 pixels, resolved as results of
        `lenssr.superresolve` are: two pixels to the FWHM of its PSF. Or what
        `lenssr.simulate.open_catalog` gives, or its folder: the sharp images of its pairs.
    classifier : str or path-like
        Name of shipped weights, or a ``.safetensors`` file of `train_classifier`. By default the
        one for sharp images without noise; ``"classifier-resnet18-sr-all"`` is for observed ones
        that ``superresolve(..., method="rcan", weights="rcan-all")`` restored.
    hdu : int, str or tuple, optional
        Which HDU of a file.
    mask : array-like, optional
        Pixels that are not to be looked at, of a single image; they are filled from their
        neighbours.
    device : str, optional
        Torch device; CUDA where there is one by default.

    Returns
    -------
    table : `~astropy.table.Table`
        A row for each image: ``image``, its number; ``class``, the most probable one; a column
        ``p_CLASS`` for each class, of sum one; ``distance`` from the images of the training,
        in units of what one of them in 200 exceeds; and ``out_of_domain``, where that is above
        one, or the header tells that other weights restored the image than those of the
        training: then the probabilities mean nothing. ``meta`` tells the weights.

    Raises
    ------
    ValueError
        If an image is too small or too large, has several bands, or nothing but masked pixels
        or no light; or the weights are of no classifier.
    TypeError, FileNotFoundError
        If something is not what it must be.

    Warns
    -----
    LensSRWarning
        If images are out of the domain, or do not tell what restored them and the classifier is
        for restored ones.
    """
    judge = open_judge(classifier, device)
    chances, far, restored_by = [], [], []
    for images, weights in _batches(data, hdu, mask):
        found = judge(images)
        chances.append(found[0])
        far.append(found[1])
        restored_by += [weights] * len(images)
    chances, far = np.concatenate(chances), np.concatenate(far)
    other = [weights not in (None, judge.restored_by) for weights in restored_by]
    table = Table({"image": np.arange(len(far)),
                   "class": np.array(judge.classes)[chances.argmax(axis=1)]})
    for k, name in enumerate(judge.classes):
        table[f"p_{name}"] = chances[:, k]
        table[f"p_{name}"].info.format = ".3f"
    table["distance"] = far
    table["distance"].info.format = ".2f"
    table["out_of_domain"] = (far > 1) | other
    table.meta = {"classifier": judge.card.name, "sha256": judge.card.sha256[:16],
                  "trained_on": judge.card.recipe["data"]["preset"]}
    _tell(table, judge, restored_by.count(None))
    return table


def _tell(table, judge, unknown):
    looks = judge.card.recipe["looks"]
    outside = int(table["out_of_domain"].sum())
    by = f", restored by {Path(looks['weights']).stem}" if looks["input"] == "sr" else ""
    if by and unknown:
        warnings.warn(f"headers of {unknown} of {len(table)} images do not tell what restored "
                      f"them; {judge.card.name} says something of those{by} alone",
                      LensSRWarning, stacklevel=3)
    if outside:
        warnings.warn(f"{outside} of {len(table)} images {'is' if outside == 1 else 'are'} unlike "
                      f"those that {judge.card.name} was trained on, of the preset "
                      f"{table.meta['trained_on']}{by}: their probabilities mean nothing",
                      LensSRWarning, stacklevel=3)


def _batches(data, hdu, mask):
    """
    Images of the same shape together, as arrays ``(n, ny, nx)`` on a sky of zero, and what
    restored them, None where that is not told.
    """
    if isinstance(data, str | Path) and Path(data).is_dir():
        from lenssr.simulate import open_catalog

        data = open_catalog(data)
    if hasattr(data, "hr") and hasattr(data, "table"):
        for start in range(0, len(data), AT_ONCE):
            stop = min(start + AT_ONCE, len(data))
            yield np.stack([_plane(np.asarray(data.hr[i], dtype=float), None, None, f" {i}")[0]
                            for i in range(start, stop)]), "none"
        return
    several = _are_several(data)
    if several and mask is not None:
        raise ValueError("`mask` must be left out for several images, which carry their own")
    for k, each in enumerate(data if several else [data]):
        values, restored_by = _plane(each, hdu, mask, f" {k}" if several else "")
        yield values[None], restored_by


def _are_several(data):
    """Whether a list holds images, and not the rows of one."""
    if not isinstance(data, list | tuple) or isinstance(data, fits.HDUList) or not data:
        return False
    first = data[0]
    return not isinstance(first, list | tuple | Number) and np.ndim(
        first if isinstance(first, np.ndarray) else np.zeros((2, 2))) > 1


def _plane(data, hdu, mask, which):
    """
    One image on a sky of zero, checked, and what its header says of the weights that restored
    it; ``which`` is its number for errors.
    """
    with warnings.catch_warnings():
        # Images are looked at relative to their peak, whatever their noise.
        warnings.filterwarnings("ignore", "no uncertainty was given", LensSRWarning)
        parsed = parse_image(data, hdu=hdu, mask=mask, unit="")
    planes = parsed.planes
    if len(planes) != 1:
        raise ValueError(f"`data` must be an image of one band, got{which} a cube of "
                         f"{len(planes)}")
    image = planes[0]
    if min(image.shape) < MIN_IMAGE_SIDE or max(image.shape) > MAX_IMAGE_SIDE:
        raise ValueError(f"`data` must be an image with sides of {MIN_IMAGE_SIDE} to {MAX_IMAGE_SIDE} pixels, "
                         f"got{which} {image.shape[0]} x {image.shape[1]}")
    if image.mask.all():
        raise ValueError(f"`mask` must leave pixels to look at, got image{which} with none")
    values = image.data - sky_level(image.data, image.mask, image.noise)
    if not values[~image.mask].max() > 0:
        raise ValueError(f"`data` must show light above its sky, got image{which} without")
    return values, parsed.header.get("SRWEIGHT")
