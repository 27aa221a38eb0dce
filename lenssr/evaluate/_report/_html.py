"""HTML from Python: elements that escape what they hold, tables, and the page around them."""

import base64
import hashlib
import html
import json
from importlib import resources
from string import Template

import numpy as np

__all__ = ["Html", "NONE", "data_uri", "foot", "listing", "page", "section", "table", "tag"]

VOID = ("img", "input", "br")
DIGITS = ".4g"    # of numbers whose column names no format
MOST_ROWS = 200   # of a table that are shown
NONE = "–"        # for what is masked


class Html(str):
    """Text that is HTML already."""


def tag(name, /, *children, **attributes):
    """An element."""
    words = [name]
    for key, value in attributes.items():
        key = key.rstrip("_").replace("_", "-")
        if value is True:
            words.append(key)
        elif value is not None and value is not False:
            words.append(f'{key}="{html.escape(str(value))}"')
    if name in VOID:
        return Html(f"<{' '.join(words)}>")
    inner = "".join(child if isinstance(child, Html) else html.escape(str(child))
                    for child in children if child is not None)
    return Html(f"<{' '.join(words)}>{inner}</{name}>")


def section(heading, *children, **attributes):
    """A section with its heading."""
    return tag("section", tag("h2", heading), *children, **attributes)


def listing(items):
    """A list, of terms and what is said of them where ``items`` is a dict."""
    if isinstance(items, dict):
        return tag("dl", *(tag("div", tag("dt", key), tag("dd", value))
                           for key, value in items.items()))
    return tag("ul", *(tag("li", item) for item in items))


def table(rows, caption, best=None, beside=()):
    """An astropy table as one that can be sorted."""
    caption = str(caption)
    if len(rows) > MOST_ROWS:
        caption += f" (the first {MOST_ROWS} of {len(rows)} rows)"
        rows = rows[:MOST_ROWS]
    takes_part = ~np.isin(np.asarray(rows[rows.colnames[0]]).astype(str), beside)
    columns = [_numbers(rows[name], (best or {}).get(name), takes_part) if _numeric(rows[name])
               else _texts(rows[name], heads=name == rows.colnames[0]) for name in rows.colnames]
    head = [tag("th", name, _unit(rows[name].unit), scope="col",
                class_=None if _numeric(rows[name]) else "text") for name in rows.colnames]
    body = [tag("tr", *cells) for cells in zip(*columns)]
    made = tag("div", tag("table", tag("caption", caption), tag("thead", tag("tr", *head)),
                          tag("tbody", *body), class_="sortable"),
               class_="wide", tabindex=0, role="region", aria_label=caption)
    told = {name: rows[name].info.description for name in rows.colnames
            if rows[name].info.description}
    if not told:
        return made
    return Html(made + tag("details", tag("summary", "What the columns mean"), listing(told)))


def _numeric(column):
    return column.dtype.kind in "iuf"


def _unit(unit):
    return None if unit is None or not str(unit) else tag("small", str(unit))


def _texts(column, heads):
    """Cells of text; those of the first column are the heads of their rows."""
    texts = [NONE if gone else str(value)
             for value, gone in zip(column, np.ma.getmaskarray(column))]
    return [tag("th", text, scope="row", class_="text") if heads else
            tag("td", text, class_="text") for text in texts]


def _numbers(column, best, takes_part):
    """Cells of numbers, as the column prints them."""
    values = np.ma.filled(np.ma.asarray(column, dtype=float), np.nan)
    form = column.info.format or ("d" if column.dtype.kind in "iu" else DIGITS)
    known = values[np.isfinite(values) & takes_part]
    top = None if best is None or not len(known) else getattr(known, best)()
    cells = []
    for value, takes in zip(values, takes_part):
        if np.isnan(value):
            cells.append(tag("td", NONE))
            continue
        text = format(int(value) if form == "d" else float(value), form).replace("-", "−")
        cells.append(tag("td", tag("strong", text) if takes and value == top else text,
                         data_value=repr(float(value))))
    return cells


def data_uri(kind, content):
    """Bytes as an address that holds them."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def foot(*words):
    """What stands at the end of a page: who made it, and what is to be said of it."""
    from lenssr import __version__

    return tag("footer", tag("p", f"Made by lenssr {__version__}.", *words))


def page(title, body, data=None):
    """The whole page."""
    def file(name):
        return (resources.files(__package__) / name).read_text(encoding="utf-8")

    script = file("tables.js") + file("maps.js")
    known = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # Within a script, nothing but "</" and "<!--" ends what it holds.
    text = json.dumps(data, allow_nan=False).replace("<", "\\u003c")
    return Template(file("page.html")).substitute(
        title=html.escape(title), body=body, data=text, style=file("style.css"), script=script,
        hash=known)
