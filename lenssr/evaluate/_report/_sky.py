"""Where on the sky a pixel lies, put so that a page can tell it without a library."""

import base64
from dataclasses import dataclass

import numpy as np
from astropy import units as u

from lenssr.image import get_skycoord, pixel_scale, to_fine_pixel

__all__ = ["Sky", "apart", "floats", "sky_of"]

STEP = 16      # pixels between the places that the page is told; it interpolates between them
EXACT = 0.01   # of a pixel, by which that may be off
EQUATORIAL = ("icrs", "fk5", "fk4", "gcrs", "cirs")


@dataclass
class Sky:
    """Coordinates of the pixels of an image."""

    frame: str
    step: int
    places: np.ndarray
    pixel: float
    north: tuple
    east: tuple

    def as_json(self):
        """What the page is told."""
        return {"frame": self.frame, "step": self.step, "shape": list(self.places.shape[:2]),
                "places": floats(self.places, "<f8"), "pixel": self.pixel,
                "hours": self.frame in EQUATORIAL}


def floats(array, kind="<f4"):
    """Numbers as text, in single precision unless told otherwise."""
    return base64.b64encode(np.ascontiguousarray(array, dtype=kind).tobytes()).decode()


def sky_of(wcs, shape, origin=(0, 0), plane=0):
    """The sky of a part of an image."""
    scale = pixel_scale(wcs, shape)
    if scale is None:
        return None

    def vectors(y, x):
        return _vectors(wcs, y + origin[0], x + origin[1], plane)

    step, pixel = STEP, scale.to_value(u.rad)
    while True:
        y, x = (np.arange(0, n + step, step) for n in shape)
        frame, places = vectors(y[:, None], x[None, :])
        if step == 1 or _worst(vectors, y, x, places) < EXACT * pixel:
            break
        step //= 2
    north, east = _directions(vectors, shape)
    return Sky(frame, step, places, scale.to_value(u.arcsec), north, east)


def apart(wcs, finer_wcs, shape, scale, plane=0):
    """Pixels between what the WCSs of an image and of its result say of its centre, or None."""
    pixel = pixel_scale(wcs, shape)
    if pixel is None or pixel_scale(finer_wcs, shape) is None:
        return None
    y, x = ((n - 1) / 2 for n in shape)
    here = _place(wcs, y, x, plane)
    there = _place(finer_wcs, to_fine_pixel(y, scale), to_fine_pixel(x, scale), plane)
    return float((here.separation(there) / pixel).to_value(u.one))


def _place(wcs, y, x, plane):
    y, x = (np.asarray(each, dtype=float) for each in np.broadcast_arrays(y, x))
    further = (np.full(x.shape, float(plane)) for _ in range(wcs.low_level_wcs.pixel_n_dim - 2))
    return get_skycoord(wcs.pixel_to_world(x, y, *further))


def _vectors(wcs, y, x, plane):
    """Name of the frame, and unit vectors of pixels."""
    place = _place(wcs, y, x, plane)
    xyz = place.represent_as("unitspherical").to_cartesian().xyz.value
    return place.frame.name, np.moveaxis(xyz, 0, -1)


def _worst(vectors, y, x, places):
    """How far the places between the given ones are from where they are said to be."""
    middle = (places[:-1, :-1] + places[1:, :-1] + places[:-1, 1:] + places[1:, 1:]) / 4
    half = (y[1] - y[0]) / 2
    _, true = vectors(y[:-1, None] + half, x[None, :-1] + half)
    off = np.linalg.norm(middle / np.linalg.norm(middle, axis=-1, keepdims=True) - true, axis=-1)
    return np.nanmax(off, initial=0)


def _directions(vectors, shape):
    """Unit vectors ``(x, y)`` to north and east, at the centre."""
    y, x = ((n - 1) / 2 for n in shape)
    _, (here, right, up) = vectors(np.array([y, y, y + 1]), np.array([x, x + 1, x]))
    lon = np.arctan2(here[1], here[0])
    east = np.array([-np.sin(lon), np.cos(lon), 0])
    north = np.cross(here, east)
    # The sky per pixel; its inverse has the pixels per north and east.
    rate = np.array([[step @ axis for step in (right - here, up - here)]
                     for axis in (north, east)])
    ways = np.linalg.inv(rate).T
    return tuple(tuple(way / np.linalg.norm(way)) for way in ways)
