"""Page of a result, and the public function `report`."""

import os
import re
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.table import Table

from lenssr._io import atomic_write
from lenssr._validation import check_nonnegative_int, check_positive_int
from lenssr._warnings import record_warnings, unique_messages
from lenssr.evaluate._benchmark_result import Benchmark
from lenssr.evaluate._report._benchmark_page import benchmark_page
from lenssr.evaluate._report._html import (
    MASKED_TEXT,
    STRETCHES,
    colour_scales,
    definition_list,
    element,
    footer,
    html_page,
    html_section,
    html_table,
    viewer_section,
)
from lenssr.evaluate._report._maps import (
    check_table,
    degrade_result,
    page_maps,
    spline_fwhm,
    split_result,
)
from lenssr.evaluate._report._page_data import (
    encode_floats,
    gather_page,
    match_result,
    page_cutout,
    sky_grid,
)
from lenssr.image import to_fine_pixel

CARD_MEANINGS = {
    "SRMETHOD": "method of super-resolution",
    "SRSCALE": "output pixels per input pixel, along each axis",
    "SRVERS": "version of lenssr",
    "SRWEIGHT": "first digits of the SHA-256 of the trained weights",
    "SRWNAME": "name of the trained weights",
    "SRCALIB": "type of the uncertainty; measurement: noise of the data alone; predictive: total "
               "error",
    "SRCALON": "simulated images of the calibration",
    "SRINFLAT": "factor of the errors for an image outside the training domain",
    "SRNOISE": "whether the noise of the input was given, or estimated from its sky",
    "SRFLUX": "per-pixel: fluxes, divided among the finer pixels; surface-brightness: values "
              "per area, kept",
    "SRSEED": "seed of whatever was random",
    "SRPSF": "target: a Gaussian of FWHM two output pixels; input: the PSF of the input, which "
             "interpolation leaves",
    "SRCHI2": "mean square of data minus result at their resolution, over their noise",
    "SRCHI2IN": "the same before the result was moved to agree with the data",
    "SRNCORR": "correlation of the noise of neighbouring pixels",
    "SRNITER": "iterations of Richardson-Lucy",
    "SRNPROBE": "noise probes of the measurement error",
}
RESULT_CARDS = re.compile(r"SR(?!WARN\d|WCS)[A-Z0-9]+")
WARNING_CARDS = re.compile(r"SRWARN\d+")
OBSERVATION_CARDS = ("OBJECT", "TELESCOP", "INSTRUME", "DETECTOR", "FILTER", "FILTER1", "FILTER2",
                     "BAND",
                     "DATE-OBS", "EXPTIME")


def card_table(headers):
    """Tabulate the lenssr cards of results, or return `None` without any."""
    comments = {}
    for header in headers.values():
        comments |= {card.keyword: card.comment for card in header.cards
                     if RESULT_CARDS.fullmatch(card.keyword)}
    if not comments:
        return None
    columns = {"card": list(comments)}
    columns |= {name: [str(header.get(key, MASKED_TEXT)) for key in comments]
                for name, header in headers.items()}
    return Table({**columns, "meaning": [CARD_MEANINGS.get(key, comment)
                                         for key, comment in comments.items()]})


def warnings_of(header):
    """Return the warnings in the header of a result."""
    return [str(card.value) for card in header.cards if WARNING_CARDS.fullmatch(card.keyword)]


def source_cards(header):
    """Return the observation cards of a header by keyword."""
    return {key: str(header[key]) for key in OBSERVATION_CARDS
            if key in header and str(header[key]).strip()}


APERTURE_RADII_FWHM = (0.5, 1.0, 2.0, 4.0)  # in FWHM of the PSF of the input
ASSUMED_FWHM = 4.0  # pixels, if the PSF is unknown


def apertures(subject, centre, pixel=None):
    """Measure circular aperture fluxes of the input and the results."""
    image, scale = subject.image, subject.scale
    radii = _radii(image, np.array(centre))
    result_circles = [_circle(centre, r) for r in radii]
    fine = [_circle(to_fine_pixel(np.array(centre), scale), r * scale) for r in radii]
    area = scale**2 * subject.flux_factor
    table = Table({"radius": radii * scale * (pixel or 1)}, masked=True)
    table["radius"].unit = u.arcsec if pixel else u.pix
    table["input"], table["error"] = _sums(result_circles, area * image.data, image.mask,
                                           area * image.sigma)
    (table["result"],) = _sums(fine, subject.result.data, subject.mask)
    if subject.truth is not None:
        (table["truth"],) = _sums(fine, subject.truth, subject.mask | np.isnan(subject.truth))
    for result in subject.results:
        back = degrade_result(subject, result)
        (same,) = _sums(fine, result.data, subject.mask) if back is None else \
            _sums(result_circles, area * back, image.mask)
        table[f"{result.name} / input"] = np.ma.masked_invalid(
            np.ma.divide(same, np.ma.masked_equal(table["input"], 0)))
    return _describe_apertures(table, subject)


def _radii(image, centre):
    """Return radii in pixels of circles inside the image."""
    most = min((centre + 0.5).min(), (np.array(image.shape[::-1]) - 0.5 - centre).min())
    fwhm = ASSUMED_FWHM if image.psf is None else spline_fwhm(image.psf)
    radii = np.array([radius * fwhm for radius in APERTURE_RADII_FWHM if radius * fwhm < most])
    return radii if len(radii) else np.array([most])


def _circle(centre, radius):
    from photutils.aperture import CircularAperture

    return CircularAperture(centre, radius)


def _sums(circles, data, mask, sigma=None):
    """Sum over circles, with errors of independent pixels."""
    from photutils.aperture import aperture_photometry

    sums = aperture_photometry(np.where(mask, 0, data), circles, error=sigma, mask=mask)
    names = ("aperture_sum",) if sigma is None else ("aperture_sum", "aperture_sum_err")
    return [np.array([sums[f"{name}_{k}"][0] for k in range(len(circles))]) for name in names]


def _describe_apertures(table, subject):
    about = {"radius": "radius of the circle",
             "input": "flux in the input, summed over output pixels",
             "error": "error of the input flux for independent pixels",
             "result": f"flux in the result by {subject.result.name}, at its own resolution: a "
                       "sharper image has more flux in a small circle",
             "truth": "flux in the truth"}
    at_input = "flux of the result at the resolution of the input, over the flux of the input"
    about |= {f"{restored.name} / input": at_input if subject.degrades(restored)
              else "flux of the result over the flux of the input"
              for restored in subject.results}
    for name in table.colnames:
        table[name].info.description = about[name]
        table[name].info.format = ".3f" if name == "radius" else ".4f" if "/" in name else ".4g"
        if name in ("input", "error", "result", "truth"):
            table[name].unit = subject.unit
    return table


CAVEAT_TEXT = (
    " Every pixel of a super-resolved image is an estimate. The part that the data do not "
    "determine comes from the prior of the method.")


def result_page(subject, window, title, file, warned):
    """Make the page of a result."""
    layers = page_maps(subject, window)
    scales = colour_scales(layers, subject.image)
    sky = sky_grid(subject.wcs, window.fine_shape, window.fine_start, subject.plane)
    title = title or " — ".join(filter(None, (
        str(subject.result.header.get("OBJECT", "")).strip() or file, subject.result.name)))
    checks = check_table(subject, sky and sky.pixel)
    body = _head(title, subject, window, sky, checks) + element(
        "main", _warnings(subject, warned), viewer_section(sky, window), _gallery(layers, scales),
        _checks(subject, window, sky, checks), _provenance(subject)) + footer(CAVEAT_TEXT)
    return html_page(title, body, _data(layers, scales, sky, window))


def _head(title, subject, window, sky, checks):
    ny, nx = subject.image.shape
    fine = " × ".join(str(subject.scale * n) for n in (nx, ny))
    pixel = f" of {sky.pixel:.3g}″" if sky else ""
    texts = [f"Super-resolved by {subject.result.name}: {nx} × {ny} pixels to {fine}{pixel}."]
    if subject.planes > 1:
        texts.append(f"Plane {subject.plane} of {subject.planes} of a cube, counted from 0.")
    if not window.whole:
        y, x = window.fine_start
        texts.append(f"Shown: {window.fine_shape[1]} × {window.fine_shape[0]} pixels of it, from "
                     f"({x}, {y}) on; the checks use the entire image.")
    return element("header", element("h1", title), element("p", " ".join(texts), class_="lead"),
                   element("div", definition_list(_stats(checks)), class_="stats"))


def _stats(checks):
    """Return the key figures of a result."""
    def text(row, name, form, end=""):
        value = checks[name][row]
        return None if np.ma.is_masked(value) else f"{value:{form}}{end}"

    sky = "FWHM on the sky" in checks.colnames
    before, after = (text(k, "FWHM on the sky" if sky else "FWHM", ".2f", "″" if sky else " px")
                     for k in (0, 1))
    metrics = {"χ² per datum": text(1, "χ²", ".3f"), "Flux / input": text(1, "flux", ".4f"),
               "PSF": f"{before} → {after}" if before and after else after}
    if "PSNR" in checks.colnames:
        metrics |= {"PSNR": text(1, "PSNR", ".2f", " dB"), "SSIM": text(1, "SSIM", ".4f")}
    return {name: value for name, value in metrics.items() if value is not None}


def _warnings(subject, warned):
    parts, before = [], warnings_of(subject.result.header)
    new = [text for text in warned if text not in before]
    for heading, lines in (("The restoration warned", before), ("This page warns", new)):
        if lines:
            parts += [element("h2", heading), definition_list(lines)]
    return element("section", *parts, class_="warnings") if parts else None


def _gallery(layers, scales):
    figs = [_map_figure(layer, scales[layer.group]) for layer in layers]
    return html_section("Maps", element("div", *figs, class_="gallery"), id="maps")


def _map_figure(layer, scale):
    first = STRETCHES[0]
    ny, nx = layer.values.shape
    low, high = scale.limits(first)
    stretch = "" if scale.alike else f", {first} stretch"
    alt = f"{layer.name}: {nx} × {ny} pixels, from {low:.3g} to {high:.3g} {scale.unit}{stretch}"
    return element("figure", element("img", src=scale.picture(layer, first), alt=alt, class_="map",
                                     width=nx * layer.repeat, height=ny * layer.repeat),
                   _bar(layer, scale, first),
                   element("figcaption", element("strong", layer.name), " ", layer.about),
                   id=layer.key)


def _bar(layer, scale, stretch):
    marks = [element("span", text, style=f"left:{100 * at:.1f}%")
             for text, at in scale.ticks(stretch)]
    return element("div", element("img", src=scale.ramp(), alt=""),
                   element("div", *marks, class_="ticks"),
                   element("span", scale.unit, class_="unit"), class_="bar")


def _checks(subject, window, sky, checks):
    best = {"PSNR": "max", "SSIM": "max"} if len(subject.results) > 1 else None
    flux = apertures(subject, window.centre, sky and sky.pixel)
    x, y = (to_fine_pixel(c, subject.scale) for c in window.centre)
    return html_section(
        "Checks", html_table(checks, "Resolution, flux, agreement with the data"
                             + (" and with the truth" if subject.truth is not None else ""), best),
        html_table(flux, f"Flux in circles about pixel ({x:.1f}, {y:.1f}) of the result"),
        id="checks")


def _provenance(subject):
    parts = []
    cards = card_table({restored.name: restored.header for restored in subject.results})
    if cards is not None:
        parts.append(html_table(cards, "Cards that lenssr wrote into the header"))
    if source := source_cards(subject.result.header):
        parts += [element("h3", "The observation"), definition_list(source)]
    return html_section("Provenance", *parts, id="made") if parts else None


def _data(layers, scales, sky, window):
    """Return the data for the script of the page."""
    groups = {group: {"ramp": scale.ramp(), "ticks": {
        stretch: scale.ticks(stretch) for stretch in STRETCHES}, "unit": scale.unit}
        for group, scale in scales.items()}
    return {"shape": window.fine_shape, "start": window.fine_start, "groups": groups,
            "stretches": STRETCHES, "sky": sky and sky.as_json(),
            "layers": [_map_json(layer, scales[layer.group]) for layer in layers]}


def _map_json(layer, scale):
    # The gallery shows the first image already.
    other_stretches = () if scale.alike else STRETCHES[1:]
    return {"key": layer.key, "name": layer.name, "unit": layer.unit, "group": layer.group,
            "repeat": layer.repeat, "shape": layer.values.shape,
            "values": encode_floats(layer.values),
            "pictures": {stretch: scale.picture(layer, stretch) for stretch in other_stretches}}


def report(path, subject, data=None, *, truth=None, compare=(), prior_map=None, hdu=None,
           psf=None, uncertainty=None, mask=None, wcs=None, unit=None, plane=0, center=None,
           size=512, title=None, overwrite=False):
    """
    Write a result or a benchmark as one HTML page.

    The page contains all its data and loads nothing from the network.

    Parameters
    ----------
    path : path-like
        Output file, usually ``.html``.
    subject : `~lenssr.SuperResolvedImage`, `Benchmark` or path-like
        Result, or its file; benchmark, or a folder with tables (ECSV) and figures (PNG), for
        example from `Benchmark.write`.
    data : path, file, HDUList, HDU, NDData, Cutout2D, Quantity or array-like
        Input image of the result, in any form of `lenssr.superresolve`. Required for results, not
        allowed for benchmarks.
    truth : path, NDData, Quantity or array-like, optional
        Truth on the grid of the result.
    compare : sequence or dict, optional
        Further results of the same image, named after their methods or by the keys.
    prior_map : bool or array-like, optional
        Map of the fraction that the prior determines, from 0 to 1; `True` computes it with
        `lenssr.evaluate.prior_map`.
    hdu, psf, uncertainty, mask, wcs, unit : optional
        Further input of ``data``, as in `lenssr.superresolve`.
    plane : int
        Plane of a cube.
    center : tuple of float, optional
        Pixel ``(x, y)`` of the result, centre of the apertures and of the cutout of a large
        image; the image centre by default.
    size : int
        Largest number of result pixels along each axis.
    title : str, optional
        Title of the page; object or file, and method by default.
    overwrite : bool
        Whether to replace an existing file.

    Raises
    ------
    ValueError, TypeError
        If an argument is invalid.
    FileNotFoundError
        If a file does not exist.
    OSError
        If the file exists and ``overwrite`` is false, or cannot be written.

    Warns
    -----
    LensSRWarning
        If the image is larger than the cutout, if image and result have different sky positions,
        and for estimated input, as in `lenssr.superresolve`.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from lenssr import superresolve
    >>> from lenssr.data import demo_lens
    >>> from lenssr.evaluate import report
    >>> image = demo_lens().lr
    >>> with TemporaryDirectory() as folder:
    ...     report(Path(folder) / "lens.html", superresolve(image, "lanczos"), image)
    """
    path = Path(os.path.expanduser(path))
    if path.exists() and not overwrite:
        raise OSError(f"`path` {str(path)!r} exists already; say overwrite=True to replace it")
    if not path.parent.is_dir():
        raise OSError(f"`path` must be in a folder that is there, got {str(path)!r}")
    plane, size = check_nonnegative_int("plane", plane), check_positive_int("size", size)
    overrides = {"hdu": hdu, "psf": psf, "uncertainty": uncertainty, "mask": mask, "wcs": wcs,
                 "unit": unit}
    if _is_benchmark(subject):
        of_result = {"data": data, "truth": truth, "compare": compare, "prior_map": prior_map,
                     "center": center, **overrides}
        for name, value in of_result.items():
            if value is not None and not (name == "compare" and np.size(value) == 0):
                raise ValueError(f"`{name}` goes with a result, got a benchmark as `subject`")
        text = benchmark_page(subject, title)
    else:
        with record_warnings() as caught:
            page_data = gather_page(match_result(subject, data, overrides), truth=truth,
                                    compare=compare,
                                    prior_map=None if prior_map is True else prior_map, plane=plane)
            if prior_map is True:
                page_data.prior = split_result(page_data).prior_fraction
            window = page_cutout(page_data, center, size)
            file = Path(subject).stem if isinstance(subject, str | os.PathLike) else None
            text = result_page(page_data, window, title, file, unique_messages(caught))
    with atomic_write(path) as tmp_path:
        tmp_path.write_text(text, encoding="utf-8")


def _is_benchmark(subject):
    return isinstance(subject, Benchmark) or (
        isinstance(subject, str | os.PathLike) and Path(subject).is_dir())
