"""Tiles: a large plane cut into pieces that are worked on one after the other."""

from dataclasses import dataclass
from numbers import Integral

MAX_UNTILED_SIDE = 1024  # input pixels along a side of an image without tiles
TILE_SIDE = 768  # input pixels along a side of a tile


@dataclass(frozen=True)
class Tile:
    """A piece of a plane with the surroundings that influence it."""

    core: tuple
    padded: tuple

    def inner(self, scale=1):
        """Slices of the core within the padded piece, on a grid ``scale`` times finer."""
        return tuple(slice((c.start - p.start) * scale, (c.stop - p.start) * scale)
                     for c, p in zip(self.core, self.padded, strict=True))

    def outer(self, scale=1):
        """Slices of the core within the plane, on a grid ``scale`` times finer."""
        return tuple(slice(c.start * scale, c.stop * scale) for c in self.core)

    def around(self, scale=1):
        """Slices of the padded piece within the plane, on a grid ``scale`` times finer."""
        return tuple(slice(p.start * scale, p.stop * scale) for p in self.padded)


def check_tile(tile):
    """``tile`` as an int or `None`; `ValueError` if it is no positive integer."""
    if tile is None:
        return None
    if isinstance(tile, bool) or not isinstance(tile, Integral) or tile < 1:
        raise ValueError(f"`tile` must be a positive integer or None, got {tile!r}")
    return int(tile)


def tiles(shape, side, halo=(0, 0)):
    """Cut a plane into tiles."""
    def pieces(n, step, reach):
        for start in range(0, n, step):
            stop = min(start + step, n)
            yield slice(start, stop), slice(max(start - reach, 0), min(stop + reach, n))

    rows, columns = (list(pieces(*a)) for a in zip(shape, side, halo, strict=True))
    return [Tile((r, c), (pr, pc)) for r, pr in rows for c, pc in columns]


def network_tiles(shape, side, halo):
    """The tiles of a plane for a network."""
    side = check_tile(side) or (max(shape) if max(shape) <= MAX_UNTILED_SIDE else TILE_SIDE)
    return tiles(shape, (side, side), (halo, halo))
