"""Data of a page: result, input, sky coordinates and cutout."""

import base64
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from astropy import units as u
from astropy.io import fits

from lenssr.exceptions import LensSRWarning
from lenssr.image import (
    LensImage,
    Parsed,
    SuperResolvedImage,
    combine_masks,
    expand_mask,
    flux_convention,
    get_skycoord,
    header_from,
    is_file,
    parse_image,
    parse_input,
    pixel_scale,
    sigma_from,
    to_fine_pixel,
)
from lenssr.methods import DataResidual

WCS_GRID_STEP = 16  # pixels between sky positions on the page, which interpolates between them
MAX_WCS_ERROR = 0.01  # pixels of the interpolation
EQUATORIAL_FRAMES = ("icrs", "fk5", "fk4", "gcrs", "cirs")


@dataclass
class SkyGrid:
    """Sky coordinates of the pixels of an image."""

    frame: str
    step: int
    places: np.ndarray
    pixel: float
    north: tuple
    east: tuple

    def as_json(self):
        """Return the coordinates for the script of the page."""
        return {"frame": self.frame, "step": self.step, "shape": list(self.places.shape[:2]),
                "places": encode_floats(self.places, "<f8"), "pixel": self.pixel,
                "hours": self.frame in EQUATORIAL_FRAMES}


def encode_floats(array, kind="<f4"):
    """Encode an array as base64 text, in single precision by default."""
    return base64.b64encode(np.ascontiguousarray(array, dtype=kind).tobytes()).decode()


def sky_grid(wcs, shape, origin=(0, 0), plane=0):
    """Compute the sky coordinates of a part of an image."""
    scale = pixel_scale(wcs, shape)
    if scale is None:
        return None

    def vectors(y, x):
        return _vectors(wcs, y + origin[0], x + origin[1], plane)

    step, pixel = WCS_GRID_STEP, scale.to_value(u.rad)
    while True:
        y, x = (np.arange(0, n + step, step) for n in shape)
        frame, positions = vectors(y[:, None], x[None, :])
        if step == 1 or _max_interpolation_error(vectors, y, x, positions) < MAX_WCS_ERROR * pixel:
            break
        step //= 2
    north, east = _directions(vectors, shape)
    return SkyGrid(frame, step, positions, scale.to_value(u.arcsec), north, east)


def sky_offset(wcs, finer_wcs, shape, scale, plane=0):
    """Measure the offset in pixels between the sky positions of image and result, or `None`."""
    pixel = pixel_scale(wcs, shape)
    if pixel is None or pixel_scale(finer_wcs, shape) is None:
        return None
    y, x = ((n - 1) / 2 for n in shape)
    low_position = _skycoord(wcs, y, x, plane)
    high_position = _skycoord(finer_wcs, to_fine_pixel(y, scale), to_fine_pixel(x, scale), plane)
    return float((low_position.separation(high_position) / pixel).to_value(u.one))


def _skycoord(wcs, y, x, plane):
    y, x = (np.asarray(coordinate, dtype=float) for coordinate in np.broadcast_arrays(y, x))
    further = (np.full(x.shape, float(plane)) for _ in range(wcs.low_level_wcs.pixel_n_dim - 2))
    return get_skycoord(wcs.pixel_to_world(x, y, *further))


def _vectors(wcs, y, x, plane):
    """Return the frame name and unit vectors of pixels."""
    coordinates = _skycoord(wcs, y, x, plane)
    xyz = coordinates.represent_as("unitspherical").to_cartesian().xyz.value
    return coordinates.frame.name, np.moveaxis(xyz, 0, -1)


def _max_interpolation_error(vectors, y, x, positions):
    """Measure the largest error in pixels of interpolated sky positions."""
    middle = (positions[:-1, :-1] + positions[1:, :-1] + positions[:-1, 1:] + positions[1:, 1:]) / 4
    half = (y[1] - y[0]) / 2
    _, true = vectors(y[:-1, None] + half, x[None, :-1] + half)
    off = np.linalg.norm(middle / np.linalg.norm(middle, axis=-1, keepdims=True) - true, axis=-1)
    return np.nanmax(off, initial=0)


def _directions(vectors, shape):
    """Return unit vectors ``(x, y)`` to north and east at the centre."""
    y, x = ((n - 1) / 2 for n in shape)
    _, (centre, right, up) = vectors(np.array([y, y, y + 1]), np.array([x, x + 1, x]))
    lon = np.arctan2(centre[1], centre[0])
    east = np.array([-np.sin(lon), np.cos(lon), 0])
    north = np.cross(centre, east)
    # Sky offset per pixel; the inverse holds the pixels per offset to north and east.
    rate = np.array([[step @ axis for step in (right - centre, up - centre)]
                     for axis in (north, east)])
    directions = np.linalg.inv(rate).T
    return tuple(tuple(direction / np.linalg.norm(direction)) for direction in directions)


@dataclass
class RestoredPlane:
    """One plane of a result."""

    name: str
    data: np.ndarray
    mask: np.ndarray
    maps: dict
    psf: np.ndarray | None
    header: fits.Header

    @property
    def values(self):
        """Data with NaN at missing pixels."""
        return np.where(self.mask, np.nan, self.data)


@dataclass
class PageData:
    """Contents of a page, in one unit."""

    image: LensImage
    results: list
    truth: np.ndarray | None
    prior: np.ndarray | None
    scale: int
    flux_factor: float
    unit: object
    wcs: object
    plane: int = 0
    planes: int = 1

    @property
    def result(self):
        """Result that the page is about."""
        return self.results[0]

    @property
    def mask(self):
        """Output pixels inside a masked input pixel."""
        return expand_mask(self.image.mask, self.scale)

    @cached_property
    def residual(self):
        """Residual operator between results and data."""
        return DataResidual(self.image, self.scale)

    def degrades(self, restored):
        """Return whether PSFs allow to degrade a result to the resolution of the data."""
        return self.image.psf is not None and restored.header.get("SRPSF") == "target"


MAX_SKY_OFFSET = 0.1  # input pixels between the sky positions of result and input


class MatchedResult(NamedTuple):
    """Result with the parsed input image."""

    result: SuperResolvedImage
    parsed: Parsed
    scale: int
    flux_factor: float

    @property
    def planes(self):
        """Number of planes."""
        return len(self.parsed.planes)


def match_result(result, data, overrides):
    """Match a result with its input image."""
    result = _open_result("subject", result)
    planes = len(result.data) if result.data.ndim == 3 else 1
    if data is None:
        raise ValueError("`data` must be the image that was restored, got None")
    parsed = parse_image(data, **overrides)
    if len(parsed.planes) != planes:
        raise ValueError(f"`data` must have the {planes} planes of `subject`, "
                         f"got {len(parsed.planes)}")
    scale = _scale(parsed.planes[0].shape, result.shape[-2:])
    kind = result.meta.get("SRFLUX") or flux_convention(result.unit)
    flux_factor = (scale**-2 if kind == "per-pixel" else 1.0) * _factor("data", parsed.unit,
                                                                        result.unit)
    return MatchedResult(result, parsed, scale, flux_factor)


def gather_page(matched, *, truth=None, compare=(), prior_map=None, plane=0):
    """Check and collect the contents of a page."""
    result, parsed, scale, flux_factor = matched
    if plane >= matched.planes:
        raise ValueError(f"`plane` must be below {matched.planes}, the planes of `subject`, got "
                         f"{plane}")
    image = parsed.planes[plane]
    off = sky_offset(parsed.wcs, result.wcs, image.shape, scale, plane)
    if off is not None and not off < MAX_SKY_OFFSET:
        warnings.warn(f"the centres of `data` and `subject` are {off:.2g} pixels of `data` apart "
                      "on the sky", LensSRWarning, stacklevel=3)
    results = [_plane(name, item, plane, result)
               for name, item in _unique_names(result, compare).items()]
    if truth is not None:
        truth = _truth(truth, plane, result)
    if prior_map is not None:
        prior_map = _matching_plane("prior_map", np.asarray(prior_map, dtype=float), plane,
                                    result.shape)
    return PageData(image, results, truth, prior_map, scale, flux_factor, result.unit, result.wcs,
                    plane,
                    matched.planes)


def _open_result(name, image):
    if is_file(image):
        image = SuperResolvedImage.read(image)
    if not isinstance(image, SuperResolvedImage):
        raise TypeError(f"`{name}` must be a SuperResolvedImage or a file of one, got "
                        f"{type(image).__name__}")
    return image


def _unique_names(result, compare):
    """Return the results by unique names."""
    if is_file(compare) or isinstance(compare, SuperResolvedImage):
        compare = [compare]
    if not isinstance(compare, dict | list | tuple):
        raise TypeError("`compare` must be a sequence or a dict of results, got "
                        f"{type(compare).__name__}")
    further = compare.items() if isinstance(compare, dict) else ((None, item) for item in compare)
    named = {}
    for name, image in ((None, result), *further):
        image = _open_result("compare", image)
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


def _factor(name, unit, target_unit):
    """Return the factor that converts values to the target unit."""
    none = (None, u.dimensionless_unscaled)
    if unit == target_unit or (unit in none and target_unit in none):
        return 1.0
    try:
        return unit.to(target_unit)
    except (AttributeError, u.UnitConversionError) as err:
        raise ValueError(f"`{name}` must be in a unit that converts to {target_unit}, "
                         f"got {unit}") from err


def _plane(name, image, plane, result):
    """Return one plane of a result in the unit of the page."""
    factor = _factor("compare", image.unit, result.unit)
    mask = np.zeros(image.shape, bool) if image.mask is None else np.asarray(image.mask) != 0
    maps = {}
    if image.uncertainty is not None:
        maps["uncertainty"], _ = sigma_from(image.uncertainty, mask, image.unit)
    for key in ("measurement_std", "prior_std"):
        if getattr(image, key) is not None:
            maps[key] = np.where(mask, np.nan, getattr(image, key))
    maps = {key: factor * _select_plane(value, plane) for key, value in maps.items()}
    if image.consistency is not None:
        maps["consistency"] = _select_plane(np.asarray(image.consistency, dtype=float), plane)
    data = factor * _select_plane(np.asarray(image.data, dtype=float), plane)
    psf = None if image.psf is None else _select_plane(np.asarray(image.psf, dtype=float), plane)
    return RestoredPlane(name, data, _select_plane(mask, plane) | ~np.isfinite(data), maps, psf,
                         header_from(image.meta))


def _select_plane(array, plane):
    return array[plane] if array.ndim == 3 else array


def _matching_plane(name, array, plane, shape):
    """Return one plane of an array with the shape of the result or of one plane."""
    if array.shape not in (shape, shape[-2:]):
        raise ValueError(f"`{name}` must have the shape of `subject` {shape}, got {array.shape}")
    return _select_plane(array, plane)


def _truth(truth, plane, result):
    raw = parse_input(truth, None, {"mask", "unit"})
    values = np.asarray(raw.data, dtype=float)
    factor = 1.0 if raw.unit is None else _factor("truth", raw.unit, result.unit)
    missing = combine_masks(raw.mask, values, raw.mask_bits)
    return _matching_plane("truth", factor * np.where(missing, np.nan, values), plane, result.shape)


@dataclass
class Cutout:
    """Part of an image in whole input pixels."""

    start: tuple
    shape: tuple
    scale: int
    centre: tuple
    whole: bool

    @property
    def fine_start(self):
        """First pixel ``(y, x)`` in the result."""
        return tuple(self.scale * a for a in self.start)

    @property
    def fine_shape(self):
        """Shape in pixels of the result."""
        return tuple(self.scale * n for n in self.shape)

    def cut(self, array, repeat):
        """Cut an array with pixels of ``repeat`` output pixels."""
        factor = self.scale // repeat
        return array[tuple(slice(factor * a, factor * (a + n))
                           for a, n in zip(self.start, self.shape))]


def page_cutout(subject, center, size):
    """Return the part of the image on the page."""
    scale, shape = subject.scale, subject.image.shape
    fine = tuple(scale * n for n in shape)
    if center is None:
        center = tuple((n - 1) / 2 for n in fine[::-1])
    try:
        x, y = (float(coordinate) for coordinate in center)
    except (TypeError, ValueError) as err:
        raise ValueError(f"`center` must be a pixel (x, y), got {center!r}") from err
    if not (-0.5 <= x <= fine[1] - 0.5 and -0.5 <= y <= fine[0] - 0.5):
        raise ValueError(f"`center` must be a pixel (x, y) of the result, {fine[1]} by {fine[0]} "
                         f"of them, got {center!r}")
    side = max(size // scale, 1)
    centre = tuple((coordinate + 0.5) / scale - 0.5 for coordinate in (x, y))
    cut = tuple(min(side, n) for n in shape)
    start = tuple(int(np.clip(round(c - (m - 1) / 2), 0, n - m))
                  for c, m, n in zip(centre[::-1], cut, shape))
    window = Cutout(start, cut, scale, centre, cut == shape)
    if not window.whole:
        warnings.warn(f"the page shows {window.fine_shape[1]} x {window.fine_shape[0]} of "
                      f"{fine[1]} x {fine[0]} pixels (say `center` and `size`)", LensSRWarning,
                      stacklevel=3)
    return window
