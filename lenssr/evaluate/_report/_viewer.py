"""Where two maps of a page are compared; hidden until its script has filled it."""

import math

from lenssr.evaluate._report._html import Html, section, tag
from lenssr.evaluate._report._pictures import STRETCHES

__all__ = ["viewer"]

KEYS = (("←", "→"), "move the slider, or show one map or the other while blinking"), \
    (("Space",), "start or stop blinking"), \
    (("↑", "↓"), "another map on the right"), \
    (("Shift", "arrow"), "move the cursor by a pixel")


def viewer(sky, window):
    """The section, empty."""
    stage = tag(
        "div", tag("img", id="under", alt="", draggable="false"),
        tag("img", id="over", alt="", draggable="false"), tag("div", id="edge"),
        tag("div", id="cross", hidden=True), tag("span", id="leftname", class_="name"),
        tag("span", id="rightname", class_="name"),
        *(() if sky is None else (_ruler(sky, window), _compass(sky))),
        id="stage", tabindex=0, role="application", style=_ratio(window),
        aria_label="Two maps, one over the other. Arrow keys move the slider, space blinks.")
    return section(
        "Compare", tag("div", tag("div", stage, tag(
            "input", type="range", id="slider", min=0, max=100, value=50, step=0.5,
            aria_label="Place of the slider, per cent from the left"), _keys(), class_="left"),
            tag("div", _controls(), _bars(), _readout(), class_="right"), class_="split"),
        id="compare", hidden=True)


def _ratio(window):
    ny, nx = window.fine_shape
    return f"aspect-ratio:{nx}/{ny};--ratio:{nx / ny:.4f}"


def _controls():
    stretches = [tag("label", tag("input", type="radio", name="stretch", value=name,
                                  checked=k == 0), name) for k, name in enumerate(STRETCHES)]
    return tag("div", tag("label", "Left", tag("select", id="left")),
               tag("label", "Right", tag("select", id="right")),
               tag("fieldset", tag("legend", "Stretch"), *stretches, id="stretches"),
               tag("button", "Blink", id="blink", type="button", aria_pressed="false"),
               class_="controls")


def _bars():
    return tag("div", *(tag("div", id=name) for name in ("leftbar", "rightbar")), class_="bars")


def _readout():
    return tag("div", tag("table", tag("caption", "At the cursor"), tag("tbody", id="readout")),
               class_="readout", aria_live="polite")


def _keys():
    keys = [Html("<span>" + " ".join(tag("kbd", key) for key in names) + f" {what}</span>")
            for names, what in KEYS]
    return tag("p", *keys, class_="keys")


def _ruler(sky, window):
    """A length of one, two or five of some power of ten, at most a third of the width."""
    most = window.fine_shape[1] * sky.pixel / 3
    power = 10.0 ** math.floor(math.log10(most))
    length = max(n * power for n in (1, 2, 5) if n * power <= most)
    share = length / (window.fine_shape[1] * sky.pixel)
    return tag("div", tag("span", f"{length:g}″" if length < 60 else f"{length / 60:.3g}′"),
               class_="ruler", style=f"width:{100 * share:.2f}%")


def _compass(sky):
    """Arrows to north and east; the y axis of SVG points down."""
    def arrow(way, name):
        x, y = way[0], -way[1]
        return (f'<line x1="0" y1="0" x2="{16 * x:.2f}" y2="{16 * y:.2f}"/>'
                f'<text x="{24 * x:.2f}" y="{24 * y:.2f}">{name}</text>')

    return Html('<svg id="compass" viewBox="-32 -32 64 64" role="img" aria-label="North and east">'
                f'{arrow(sky.north, "N")}{arrow(sky.east, "E")}</svg>')
