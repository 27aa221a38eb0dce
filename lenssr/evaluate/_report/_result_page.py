"""The page of a result."""

import numpy as np

from lenssr.evaluate._report._apertures import apertures
from lenssr.evaluate._report._cards import card_table, source_cards, warnings_of
from lenssr.evaluate._report._checks import figures
from lenssr.evaluate._report._html import foot, listing, page, section, table, tag
from lenssr.evaluate._report._layers import layers_of
from lenssr.evaluate._report._pictures import STRETCHES, scales_of
from lenssr.evaluate._report._sky import floats, sky_of
from lenssr.evaluate._report._viewer import viewer
from lenssr.image import to_fine_pixel

__all__ = ["result_page"]

CAVEAT = (" Every pixel of a super-resolved image is an estimate: what the data do not determine "
          "comes from the method, and two skies that differ only there give the same data.")


def result_page(subject, window, title, file, told):
    """The page of a result."""
    layers = layers_of(subject, window)
    scales = scales_of(layers, subject.image)
    sky = sky_of(subject.wcs, window.fine_shape, window.fine_start, subject.plane)
    title = title or " — ".join(filter(None, (
        str(subject.result.header.get("OBJECT", "")).strip() or file, subject.result.name)))
    checks = figures(subject, sky and sky.pixel)
    body = _head(title, subject, window, sky, checks) + tag(
        "main", _warnings(subject, told), viewer(sky, window), _gallery(layers, scales),
        _checks(subject, window, sky, checks), _made(subject)) + foot(CAVEAT)
    return page(title, body, _data(layers, scales, sky, window))


def _head(title, subject, window, sky, checks):
    ny, nx = subject.image.shape
    fine = " × ".join(str(subject.scale * n) for n in (nx, ny))
    pixel = f" of {sky.pixel:.3g}″" if sky else ""
    words = [f"Super-resolved by {subject.result.name}: {nx} × {ny} pixels to {fine}{pixel}."]
    if subject.planes > 1:
        words.append(f"Plane {subject.plane} of {subject.planes} of a cube, counted from 0.")
    if not window.whole:
        y, x = window.fine_start
        words.append(f"Shown: {window.fine_shape[1]} × {window.fine_shape[0]} pixels of it, from "
                     f"({x}, {y}) on; the checks are of the whole.")
    return tag("header", tag("h1", title), tag("p", " ".join(words), class_="lead"),
               tag("div", listing(_stats(checks)), class_="stats"))


def _stats(checks):
    """The figures that one looks for first."""
    def text(row, name, form, end=""):
        value = checks[name][row]
        return None if np.ma.is_masked(value) else f"{value:{form}}{end}"

    sky = "FWHM on the sky" in checks.colnames
    before, after = (text(k, "FWHM on the sky" if sky else "FWHM", ".2f", "″" if sky else " px")
                     for k in (0, 1))
    found = {"χ² per datum": text(1, "χ²", ".3f"), "Flux / input": text(1, "flux", ".4f"),
             "PSF": f"{before} → {after}" if before and after else after}
    if "PSNR" in checks.colnames:
        found |= {"PSNR": text(1, "PSNR", ".2f", " dB"), "SSIM": text(1, "SSIM", ".4f")}
    return {name: value for name, value in found.items() if value is not None}


def _warnings(subject, told):
    parts, before = [], warnings_of(subject.result.header)
    new = [text for text in told if text not in before]
    for heading, found in (("The restoration warned", before), ("This page warns", new)):
        if found:
            parts += [tag("h2", heading), listing(found)]
    return tag("section", *parts, class_="warnings") if parts else None


def _gallery(layers, scales):
    figs = [_figure(layer, scales[layer.group]) for layer in layers]
    return section("Maps", tag("div", *figs, class_="gallery"), id="maps")


def _figure(layer, scale):
    first = STRETCHES[0]
    ny, nx = layer.values.shape
    low, high = scale.limits(first)
    stretch = "" if scale.alike else f", {first} stretch"
    alt = f"{layer.name}: {nx} × {ny} pixels, from {low:.3g} to {high:.3g} {scale.unit}{stretch}"
    return tag("figure", tag("img", src=scale.picture(layer, first), alt=alt, class_="map",
                             width=nx * layer.repeat, height=ny * layer.repeat),
               _bar(layer, scale, first),
               tag("figcaption", tag("strong", layer.name), " ", layer.about), id=layer.key)


def _bar(layer, scale, stretch):
    marks = [tag("span", text, style=f"left:{100 * at:.1f}%")
             for text, at in scale.ticks(stretch)]
    return tag("div", tag("img", src=scale.ramp(), alt=""), tag("div", *marks, class_="ticks"),
               tag("span", scale.unit, class_="unit"), class_="bar")


def _checks(subject, window, sky, checks):
    best = {"PSNR": "max", "SSIM": "max"} if len(subject.results) > 1 else None
    flux = apertures(subject, window.centre, sky and sky.pixel)
    x, y = (to_fine_pixel(c, subject.scale) for c in window.centre)
    return section(
        "Checks", table(checks, "Resolution, flux, agreement with the data"
                        + (" and with the truth" if subject.truth is not None else ""), best),
        table(flux, f"Flux in circles about pixel ({x:.1f}, {y:.1f}) of the result"), id="checks")


def _made(subject):
    parts = []
    cards = card_table({each.name: each.header for each in subject.results})
    if cards is not None:
        parts.append(table(cards, "Cards that lenssr wrote into the header"))
    if source := source_cards(subject.result.header):
        parts += [tag("h3", "The observation"), listing(source)]
    return section("How it was made", *parts, id="made") if parts else None


def _data(layers, scales, sky, window):
    """What the script of the page works on."""
    groups = {group: {"ramp": scale.ramp(), "ticks": {
        stretch: scale.ticks(stretch) for stretch in STRETCHES}, "unit": scale.unit}
        for group, scale in scales.items()}
    return {"shape": window.fine_shape, "start": window.fine_start, "groups": groups,
            "stretches": STRETCHES, "sky": sky and sky.as_json(),
            "layers": [_layer(layer, scales[layer.group]) for layer in layers]}


def _layer(layer, scale):
    # The first picture is in the gallery already.
    others = () if scale.alike else STRETCHES[1:]
    return {"key": layer.key, "name": layer.name, "unit": layer.unit, "group": layer.group,
            "repeat": layer.repeat, "shape": layer.values.shape,
            "values": floats(layer.values),
            "pictures": {stretch: scale.picture(layer, stretch) for stretch in others}}
