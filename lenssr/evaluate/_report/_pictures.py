"""Maps as pictures: one scale for what is to be compared, by the stretches of astropy."""

import struct
import zlib
from dataclasses import dataclass

import numpy as np

from lenssr.evaluate._report._html import data_uri
from lenssr.uncertainty import sky_level

__all__ = ["STRETCHES", "Scale", "indexed_png", "scales_of"]

STRETCHES = ("asinh", "linear", "log")
COLOURS = {"flux": "magma", "std": "viridis", "sigma": "RdBu_r", "chi2": "RdBu_r",
           "share": "cividis"}
LEVELS = 255         # colours of a picture; one more is for what is missing
MISSING = (128, 128, 128)
MOST = {"sigma": (-6.0, 6.0), "chi2": (0.0, 2.0), "share": (0.0, 1.0)}
BELOW, SOFT = 2.0, 3.0   # noises below the sky at which pictures begin; that are nearly linear
CONTRAST = 1e3       # of the logarithm
CLIPPED = 99.5       # percentile at which the linear stretch ends
APART = 0.13         # of a colour bar, from one number to the next


@dataclass
class Scale:
    """How the maps of a group are drawn."""

    colours: str
    norms: dict
    unit: str

    def picture(self, layer, stretch):
        """A map as PNG, its first row below, each of its pixels one of the picture."""
        place = np.ma.filled(self.norms[stretch](layer.factor * layer.values), np.nan)
        index = np.where(np.isfinite(layer.values), np.clip(place, 0, 1) * (LEVELS - 1), LEVELS)
        return data_uri("image/png", indexed_png(np.rint(index)[::-1], self._palette()))

    def ramp(self):
        """The colours from the least to the most, as PNG."""
        return data_uri("image/png", indexed_png(np.arange(LEVELS)[None], self._palette()))

    def ticks(self, stretch):
        """Round numbers and where along the colours they are, from 0 to 1."""
        norm = self.norms[stretch]
        taken = {}
        for value in _round_numbers(norm.vmin, norm.vmax):
            at = float(norm(value))
            if all(abs(at - other) > APART for other in taken.values()):
                taken[value] = at
        return [(f"{value:g}".replace("-", "−"), at) for value, at in sorted(taken.items())]

    @property
    def alike(self):
        """Whether all stretches are one."""
        return len({id(norm) for norm in self.norms.values()}) == 1

    def limits(self, stretch):
        """The least and the most."""
        return float(self.norms[stretch].vmin), float(self.norms[stretch].vmax)

    def _palette(self):
        from matplotlib import colormaps

        return [*colormaps[self.colours](np.linspace(0, 1, LEVELS), bytes=True)[:, :3].tolist(),
                MISSING]


def scales_of(layers, image):
    """A scale for each group of maps."""
    units = {layer.group: layer.unit for layer in layers}  # the last: not that of the input
    return {group: Scale(COLOURS[group], _norms(group, layers, image), unit)
            for group, unit in units.items()}


def _norms(group, layers, image):
    from astropy.visualization import AsinhStretch, ImageNormalize, LinearStretch, LogStretch

    if group in MOST:
        low, high = MOST[group]
        norm = ImageNormalize(vmin=low, vmax=high, stretch=LinearStretch(), clip=True)
        return dict.fromkeys(STRETCHES, norm)
    low, noise = 0.0, 0.0
    if group == "flux":
        share = layers[0].factor
        noise = share * image.noise
        low = share * sky_level(image.data, image.mask, image.noise) - BELOW * noise
    # The input's peaks are lower, and its noise is none of the results': these decide.
    seen = np.concatenate([layer.values[np.isfinite(layer.values)] for layer in layers
                           if layer.group == group and layer.repeat == 1])
    least = low + (2 * BELOW * noise or 1e-12)
    most = max(float(seen.max(initial=least)), least)
    high = max(float(np.percentile(seen, CLIPPED)), least) if len(seen) else most
    soft = min(SOFT * noise / (most - low), 1.0) if noise else 0.1
    return {"asinh": ImageNormalize(vmin=low, vmax=most, stretch=AsinhStretch(soft), clip=True),
            "linear": ImageNormalize(vmin=low, vmax=high, stretch=LinearStretch(), clip=True),
            "log": ImageNormalize(vmin=low, vmax=most, stretch=LogStretch(CONTRAST), clip=True)}


def _round_numbers(low, high):
    """Zero, powers of ten, and five and two times these, the roundest first."""
    top = int(np.floor(np.log10(max(abs(low), abs(high)))))
    decades = 10.0 ** np.arange(top, top - 5, -1)
    numbers = [0.0, *(sign * times * size for times in (1, 5, 2, 3) for size in decades
                      for sign in (1, -1))]
    return [number for number in numbers if low <= number <= high]


def indexed_png(index, palette):
    """A picture of few colours as PNG (ISO/IEC 15948, colour type 3)."""
    rows = np.pad(np.asarray(index, dtype=np.uint8), ((0, 0), (1, 0)))  # filter 0 of each row
    height, width = np.shape(index)

    def chunk(kind, content):
        return (struct.pack(">I", len(content)) + kind + content
                + struct.pack(">I", zlib.crc32(kind + content)))

    return (b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0))
            + chunk(b"PLTE", np.asarray(palette, dtype=np.uint8).tobytes())
            + chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)) + chunk(b"IEND", b""))
