"""Tiles of large images, with halos."""

from dataclasses import dataclass
from numbers import Integral

MAX_UNTILED_SIDE = 1024  # input pixels along a side of an image without tiles
TILE_SIDE = 768  # input pixels along a side of a tile


@dataclass(frozen=True)
class Tile:
    """Tile of a plane with its halo."""

    core: tuple
    padded: tuple

    def inner(self, scale=1):
        """Return slices of the core within the padded tile, on a grid ``scale`` times finer."""
        return tuple(slice((c.start - p.start) * scale, (c.stop - p.start) * scale)
                     for c, p in zip(self.core, self.padded, strict=True))

    def outer(self, scale=1):
        """Return slices of the core within the plane, on a grid ``scale`` times finer."""
        return tuple(slice(c.start * scale, c.stop * scale) for c in self.core)

    def around(self, scale=1):
        """Return slices of the padded tile within the plane, on a grid ``scale`` times finer."""
        return tuple(slice(p.start * scale, p.stop * scale) for p in self.padded)


def check_tile(tile):
    """Return ``tile`` as an int or `None`; raise `ValueError` unless it is positive."""
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
    """Cut a plane into tiles for a network."""
    side = check_tile(side) or (max(shape) if max(shape) <= MAX_UNTILED_SIDE else TILE_SIDE)
    return tiles(shape, (side, side), (halo, halo))
