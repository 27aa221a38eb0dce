"""What is handed to a report, checked and brought to one unit."""

import warnings
from typing import NamedTuple

import numpy as np
from astropy import units as u

from lenssr.evaluate._report._sky import apart
from lenssr.evaluate._report._subject import Restored, Subject
from lenssr.exceptions import LensSRWarning
from lenssr.image import (
    Parsed,
    SuperResolvedImage,
    combine_masks,
    flux_convention,
    header_from,
    is_file,
    parse_image,
    parse_input,
    sigma_from,
)

__all__ = ["gather", "match"]

ELSEWHERE = 0.1  # pixels of the input by which the sky of a result may be off


class Matched(NamedTuple):
    """A result and what it was made of."""

    result: SuperResolvedImage
    parsed: Parsed
    scale: int
    share: float

    @property
    def planes(self):
        """Number of planes."""
        return len(self.parsed.planes)


def match(result, data, given):
    """A result with the image that was restored."""
    result = _opened("subject", result)
    planes = len(result.data) if result.data.ndim == 3 else 1
    if data is None:
        raise ValueError("`data` must be the image that was restored, got None")
    parsed = parse_image(data, **given)
    if len(parsed.planes) != planes:
        raise ValueError(f"`data` must have the {planes} planes of `subject`, "
                         f"got {len(parsed.planes)}")
    scale = _scale(parsed.planes[0].shape, result.shape[-2:])
    kind = result.meta.get("SRFLUX") or flux_convention(result.unit)
    share = (scale**-2 if kind == "per-pixel" else 1.0) * _factor("data", parsed.unit, result.unit)
    return Matched(result, parsed, scale, share)


def gather(matched, *, truth=None, compare=(), prior_map=None, plane=0):
    """Check and bring together what a page shows."""
    result, parsed, scale, share = matched
    if plane >= matched.planes:
        raise ValueError(f"`plane` must be below {matched.planes}, the planes of `subject`, got "
                         f"{plane}")
    image = parsed.planes[plane]
    off = apart(parsed.wcs, result.wcs, image.shape, scale, plane)
    if off is not None and not off < ELSEWHERE:
        warnings.warn(f"the centres of `data` and `subject` are {off:.2g} pixels of `data` apart "
                      "on the sky", LensSRWarning, stacklevel=3)
    results = [_plane(name, each, plane, result)
               for name, each in _named(result, compare).items()]
    if truth is not None:
        truth = _truth(truth, plane, result)
    if prior_map is not None:
        prior_map = _like("prior_map", np.asarray(prior_map, dtype=float), plane, result.shape)
    return Subject(image, results, truth, prior_map, scale, share, result.unit, result.wcs, plane,
                   matched.planes)


def _opened(name, image):
    if is_file(image):
        image = SuperResolvedImage.read(image)
    if not isinstance(image, SuperResolvedImage):
        raise TypeError(f"`{name}` must be a SuperResolvedImage or a file of one, got "
                        f"{type(image).__name__}")
    return image


def _named(result, compare):
    """The result and those beside it, by names that differ."""
    if is_file(compare) or isinstance(compare, SuperResolvedImage):
        compare = [compare]
    if not isinstance(compare, dict | list | tuple):
        raise TypeError("`compare` must be a sequence or a dict of results, got "
                        f"{type(compare).__name__}")
    further = compare.items() if isinstance(compare, dict) else ((None, each) for each in compare)
    named = {}
    for name, image in ((None, result), *further):
        image = _opened("compare", image)
        if image.shape != result.shape:
            raise ValueError(f"`compare` must have the shape of `subject` {result.shape}, got "
                             f"{image.shape}")
        plain = str(image.meta.get("SRMETHOD", "result")) if name is None else str(name)
        name, k = plain, 2
        while name in named:
            name, k = f"{plain} {k}", k + 1
        named[name] = image
    return named


def _scale(shape, finer):
    scale = finer[0] // shape[0]
    if scale < 1 or tuple(scale * n for n in shape) != tuple(finer):
        raise ValueError(f"`data` must have the shape of `subject` {tuple(finer)} over a whole "
                         f"number, got {tuple(shape)}")
    return scale


def _factor(name, unit, wanted):
    """What values in ``unit`` are multiplied by to be in ``wanted``."""
    none = (None, u.dimensionless_unscaled)
    if unit == wanted or (unit in none and wanted in none):
        return 1.0
    try:
        return unit.to(wanted)
    except (AttributeError, u.UnitConversionError) as err:
        raise ValueError(f"`{name}` must be in a unit that converts to {wanted}, "
                         f"got {unit}") from err


def _plane(name, image, plane, result):
    """One plane of a result, in the unit of the page."""
    factor = _factor("compare", image.unit, result.unit)
    mask = np.zeros(image.shape, bool) if image.mask is None else np.asarray(image.mask) != 0
    maps = {}
    if image.uncertainty is not None:
        maps["uncertainty"], _ = sigma_from(image.uncertainty, mask, image.unit)
    for key in ("measurement_std", "prior_std"):
        if getattr(image, key) is not None:
            maps[key] = np.where(mask, np.nan, getattr(image, key))
    maps = {key: factor * _cut(value, plane) for key, value in maps.items()}
    if image.consistency is not None:
        maps["consistency"] = _cut(np.asarray(image.consistency, dtype=float), plane)
    data = factor * _cut(np.asarray(image.data, dtype=float), plane)
    psf = None if image.psf is None else _cut(np.asarray(image.psf, dtype=float), plane)
    return Restored(name, data, _cut(mask, plane) | ~np.isfinite(data), maps, psf,
                    header_from(image.meta))


def _cut(array, plane):
    return array[plane] if array.ndim == 3 else array


def _like(name, array, plane, shape):
    """One plane of an array that must have the shape of the result, or of one plane of it."""
    if array.shape not in (shape, shape[-2:]):
        raise ValueError(f"`{name}` must have the shape of `subject` {shape}, got {array.shape}")
    return _cut(array, plane)


def _truth(truth, plane, result):
    raw = parse_input(truth, None, {"mask", "unit"})
    values = np.asarray(raw.data, dtype=float)
    factor = 1.0 if raw.unit is None else _factor("truth", raw.unit, result.unit)
    missing = combine_masks(raw.mask, values, raw.mask_bits)
    return _like("truth", factor * np.where(missing, np.nan, values), plane, result.shape)
