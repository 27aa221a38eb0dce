"""HTML elements with escaped text, tables, colour-mapped images and the viewer."""

import base64
import hashlib
import html
import json
import math
import struct
import zlib
from dataclasses import dataclass
from importlib import resources
from string import Template

import numpy as np

from lenssr.uncertainty import sky_level

VOID_ELEMENTS = ("img", "input", "br")
NUMBER_FORMAT = ".4g"  # of numbers without a column format
MAX_TABLE_ROWS = 200  # rows of a table on the page
MASKED_TEXT = "–"  # text of masked entries


class Html(str):
    """Text that is HTML already."""


def element(name, /, *children, **attributes):
    """Make an HTML element."""
    attributes_text = [name]
    for key, value in attributes.items():
        key = key.rstrip("_").replace("_", "-")
        if value is True:
            attributes_text.append(key)
        elif value is not None and value is not False:
            attributes_text.append(f'{key}="{html.escape(str(value))}"')
    if name in VOID_ELEMENTS:
        return Html(f"<{' '.join(attributes_text)}>")
    inner = "".join(child if isinstance(child, Html) else html.escape(str(child))
                    for child in children if child is not None)
    return Html(f"<{' '.join(attributes_text)}>{inner}</{name}>")


def html_section(heading, *children, **attributes):
    """Make a section with a heading."""
    return element("section", element("h2", heading), *children, **attributes)


def definition_list(items):
    """Make a list, or a definition list from a dict."""
    if isinstance(items, dict):
        return element("dl", *(element("div", element("dt", key), element("dd", value))
                               for key, value in items.items()))
    return element("ul", *(element("li", item) for item in items))


def html_table(rows, caption, best=None, companions=()):
    """Make a sortable HTML table from an astropy table."""
    caption = str(caption)
    if len(rows) > MAX_TABLE_ROWS:
        caption += f" (the first {MAX_TABLE_ROWS} of {len(rows)} rows)"
        rows = rows[:MAX_TABLE_ROWS]
    takes_part = ~np.isin(np.asarray(rows[rows.colnames[0]]).astype(str), companions)
    columns = [_numbers(rows[name], (best or {}).get(name), takes_part) if _numeric(rows[name])
               else _texts(rows[name], heads=name == rows.colnames[0]) for name in rows.colnames]
    head = [element("th", name, _unit(rows[name].unit), scope="col",
                    class_=None if _numeric(rows[name]) else "text") for name in rows.colnames]
    body = [element("tr", *cells) for cells in zip(*columns)]
    made = element("div", element("table", element("caption", caption),
                                  element("thead", element("tr", *head)),
                                  element("tbody", *body), class_="sortable"),
                   class_="wide", tabindex=0, role="region", aria_label=caption)
    descriptions = {name: rows[name].info.description for name in rows.colnames
                    if rows[name].info.description}
    if not descriptions:
        return made
    return Html(made + element("details", element("summary", "What the columns mean"),
                               definition_list(descriptions)))


def _numeric(column):
    return column.dtype.kind in "iuf"


def _unit(unit):
    return None if unit is None or not str(unit) else element("small", str(unit))


def _texts(column, heads):
    """Make the cells of a text column; the first column holds row headers."""
    texts = [MASKED_TEXT if gone else str(value)
             for value, gone in zip(column, np.ma.getmaskarray(column))]
    return [element("th", text, scope="row", class_="text") if heads else
            element("td", text, class_="text") for text in texts]


def _numbers(column, best, takes_part):
    """Make the cells of a numeric column."""
    values = np.ma.filled(np.ma.asarray(column, dtype=float), np.nan)
    form = column.info.format or ("d" if column.dtype.kind in "iu" else NUMBER_FORMAT)
    known = values[np.isfinite(values) & takes_part]
    top = None if best is None or not len(known) else getattr(known, best)()
    cells = []
    for value, takes in zip(values, takes_part):
        if np.isnan(value):
            cells.append(element("td", MASKED_TEXT))
            continue
        text = format(int(value) if form == "d" else float(value), form).replace("-", "−")
        cells.append(element("td", element("strong", text) if takes and value == top else text,
                             data_value=repr(float(value))))
    return cells


def data_uri(kind, content):
    """Encode bytes as a data URI."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def footer(*texts):
    """Make the footer of a page."""
    from lenssr import __version__

    return element("footer", element("p", f"Made by lenssr {__version__}.", *texts))


def html_page(title, body, data=None):
    """Make a complete page."""
    def file(name):
        return (resources.files(__package__) / name).read_text(encoding="utf-8")

    script = file("tables.js") + file("maps.js")
    known = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # Inside a script element, only "</" and "<!--" can end it.
    text = json.dumps(data, allow_nan=False).replace("<", "\\u003c")
    return Template(file("page.html")).substitute(
        title=html.escape(title), body=body, data=text, style=file("style.css"), script=script,
        hash=known)


STRETCHES = ("asinh", "linear", "log")
COLOUR_MAPS = {"flux": "magma", "std": "viridis", "sigma": "RdBu_r", "chi2": "RdBu_r",
               "share": "cividis"}
N_COLOURS = 255  # colours of an image; one more marks missing pixels
MISSING_COLOUR = (128, 128, 128)
COLOUR_LIMITS = {"sigma": (-6.0, 6.0), "chi2": (0.0, 2.0), "share": (0.0, 1.0)}
# Sky noises below the sky at the dark end; sky noises of the linear part.
STRETCH_MIN, STRETCH_LINEAR = 2.0, 3.0
LOG_CONTRAST = 1e3  # dynamic range of the logarithmic stretch
LINEAR_PERCENTILE = 99.5  # bright end of the linear stretch
MIN_TICK_DISTANCE = 0.13  # between the labels of a colour bar, of its length


@dataclass
class ColourScale:
    """Colour scale of a group of maps."""

    colours: str
    norms: dict
    unit: str

    def picture(self, layer, stretch):
        """Encode a map as PNG with the first row at the bottom."""
        levels = np.ma.filled(self.norms[stretch](layer.factor * layer.values), np.nan)
        index = np.where(np.isfinite(layer.values), np.clip(levels, 0, 1) * (N_COLOURS - 1),
                         N_COLOURS)
        return data_uri("image/png", indexed_png(np.rint(index)[::-1], self._palette()))

    def ramp(self):
        """Encode the colour bar as PNG."""
        return data_uri("image/png", indexed_png(np.arange(N_COLOURS)[None], self._palette()))

    def ticks(self, stretch):
        """Return round numbers and their positions from 0 to 1 on the colour bar."""
        norm = self.norms[stretch]
        taken = {}
        for value in _round_numbers(norm.vmin, norm.vmax):
            at = float(norm(value))
            if all(abs(at - tick) > MIN_TICK_DISTANCE for tick in taken.values()):
                taken[value] = at
        return [(f"{value:g}".replace("-", "−"), at) for value, at in sorted(taken.items())]

    @property
    def alike(self):
        """True if all stretches are equal."""
        return len({id(norm) for norm in self.norms.values()}) == 1

    def limits(self, stretch):
        """Lower and upper limit."""
        return float(self.norms[stretch].vmin), float(self.norms[stretch].vmax)

    def _palette(self):
        from matplotlib import colormaps

        return [*colormaps[self.colours](np.linspace(0, 1, N_COLOURS), bytes=True)[:, :3].tolist(),
                MISSING_COLOUR]


def colour_scales(layers, image):
    """Return a colour scale for each group of maps."""
    units = {layer.group: layer.unit for layer in layers}  # last group: results, not the input
    return {group: ColourScale(COLOUR_MAPS[group], _norms(group, layers, image), unit)
            for group, unit in units.items()}


def _norms(group, layers, image):
    from astropy.visualization import AsinhStretch, ImageNormalize, LinearStretch, LogStretch

    if group in COLOUR_LIMITS:
        low, high = COLOUR_LIMITS[group]
        norm = ImageNormalize(vmin=low, vmax=high, stretch=LinearStretch(), clip=True)
        return dict.fromkeys(STRETCHES, norm)
    low, noise = 0.0, 0.0
    if group == "flux":
        factor = layers[0].factor
        noise = factor * image.noise
        low = factor * sky_level(image.data, image.mask, image.noise) - STRETCH_MIN * noise
    # The results have the higher peaks and set the stretch; the input sets the noise.
    finite_values = np.concatenate([layer.values[np.isfinite(layer.values)] for layer in layers
                                    if layer.group == group and layer.repeat == 1])
    minimum = low + (2 * STRETCH_MIN * noise or 1e-12)
    most = max(float(finite_values.max(initial=minimum)), minimum)
    high = max(float(np.percentile(finite_values, LINEAR_PERCENTILE)),
               minimum) if len(finite_values) else most
    soft = min(STRETCH_LINEAR * noise / (most - low), 1.0) if noise else 0.1
    return {"asinh": ImageNormalize(vmin=low, vmax=most, stretch=AsinhStretch(soft), clip=True),
            "linear": ImageNormalize(vmin=low, vmax=high, stretch=LinearStretch(), clip=True),
            "log": ImageNormalize(vmin=low, vmax=most, stretch=LogStretch(LOG_CONTRAST), clip=True)}


def _round_numbers(low, high):
    """Return zero, powers of ten, and 5 and 2 times powers of ten, the roundest first."""
    top = int(np.floor(np.log10(max(abs(low), abs(high)))))
    decades = 10.0 ** np.arange(top, top - 5, -1)
    numbers = [0.0, *(sign * times * size for times in (1, 5, 2, 3) for size in decades
                      for sign in (1, -1))]
    return [number for number in numbers if low <= number <= high]


def indexed_png(index, palette):
    """Encode a palette image as PNG (ISO/IEC 15948, colour type 3)."""
    # PNG filter type 0 of each row.
    rows = np.pad(np.asarray(index, dtype=np.uint8), ((0, 0), (1, 0)))
    height, width = np.shape(index)

    def chunk(kind, content):
        return (struct.pack(">I", len(content)) + kind + content
                + struct.pack(">I", zlib.crc32(kind + content)))

    return (b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0))
            + chunk(b"PLTE", np.asarray(palette, dtype=np.uint8).tobytes())
            + chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)) + chunk(b"IEND", b""))


KEYBOARD_HELP = (("←", "→"), "move the slider, or show one map or the other while blinking"), \
    (("Space",), "start or stop blinking"), \
    (("↑", "↓"), "another map on the right"), \
    (("Shift", "arrow"), "move the cursor by a pixel")


def viewer_section(sky, window):
    """Make the viewer section."""
    stage = element(
        "div", element("img", id="under", alt="", draggable="false"),
        element("img", id="over", alt="", draggable="false"), element("div", id="edge"),
        element("div", id="cross", hidden=True), element("span", id="leftname", class_="name"),
        element("span", id="rightname", class_="name"),
        *(() if sky is None else (_ruler(sky, window), _compass(sky))),
        id="stage", tabindex=0, role="application", style=_ratio(window),
        aria_label="Two maps on top of each other. Arrow keys move the slider, space blinks.")
    return html_section(
        "Compare", element("div", element("div", stage, element(
            "input", type="range", id="slider", min=0, max=100, value=50, step=0.5,
            aria_label="Position of the slider, per cent from the left"), _keys(), class_="left"),
            element("div", _controls(), _colour_bars(), _readout(), class_="right"),
            class_="split"),
        id="compare", hidden=True)


def _ratio(window):
    ny, nx = window.fine_shape
    return f"aspect-ratio:{nx}/{ny};--ratio:{nx / ny:.4f}"


def _controls():
    stretches = [element("label", element("input", type="radio", name="stretch", value=name,
                                          checked=k == 0), name)
                 for k, name in enumerate(STRETCHES)]
    return element("div", element("label", "Left", element("select", id="left")),
                   element("label", "Right", element("select", id="right")),
                   element("fieldset", element("legend", "Stretch"), *stretches, id="stretches"),
                   element("button", "Blink", id="blink", type="button", aria_pressed="false"),
                   class_="controls")


def _colour_bars():
    return element("div", *(element("div", id=name) for name in ("leftbar", "rightbar")),
                   class_="bars")


def _readout():
    return element("div", element("table", element("caption", "At the cursor"),
                                  element("tbody", id="readout")),
                   class_="readout", aria_live="polite")


def _keys():
    keys = [Html("<span>" + " ".join(element("kbd", key) for key in names) + f" {what}</span>")
            for names, what in KEYBOARD_HELP]
    return element("p", *keys, class_="keys")


def _ruler(sky, window):
    """Make a scale bar of at most a third of the image width."""
    most = window.fine_shape[1] * sky.pixel / 3
    power = 10.0 ** math.floor(math.log10(most))
    length = max(n * power for n in (1, 2, 5) if n * power <= most)
    fraction = length / (window.fine_shape[1] * sky.pixel)
    return element("div", element("span", f"{length:g}″" if length < 60 else f"{length / 60:.3g}′"),
                   class_="ruler", style=f"width:{100 * fraction:.2f}%")


def _compass(sky):
    """Make arrows to north and east; the y axis of SVG points down."""
    def arrow(direction, name):
        x, y = direction[0], -direction[1]
        return (f'<line x1="0" y1="0" x2="{16 * x:.2f}" y2="{16 * y:.2f}"/>'
                f'<text x="{24 * x:.2f}" y="{24 * y:.2f}">{name}</text>')

    return Html('<svg id="compass" viewBox="-32 -32 64 64" role="img" aria-label="North and east">'
                f'{arrow(sky.north, "N")}{arrow(sky.east, "E")}</svg>')
