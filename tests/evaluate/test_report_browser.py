"""The page in a browser: what a reader sees and does."""

import numpy as np
import pytest
from astropy.table import Table

from lenssr import superresolve
from lenssr.data import demo_lens
from lenssr.evaluate import report

SHIFT = 8  # as the protocol counts modifiers
UNDER, OVER = "document.getElementById('under')", "document.getElementById('over')"
CLIPPED = f"{OVER}.style.clipPath"


@pytest.fixture(scope="module")
def lens():
    pair = demo_lens()
    return pair, superresolve(pair.lr, "wiener")


@pytest.fixture(scope="module")
def path(lens, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "lens.html"
    pair, result = lens
    report(path, result, pair.lr, truth=pair.hr)
    return path


@pytest.fixture
def page(browser, path):
    browser.open(path)
    return browser


def requests(page):
    """Addresses that the page asked for, beside its own and what it holds itself."""
    asked = [event["params"]["request"]["url"]
             for event in page.messages("Network.requestWillBeSent")]
    return [url for url in asked if not url.startswith(("data:", "file:"))], asked


def complaints(page):
    return page.messages("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")


def names(page):
    """The maps that are named on the stage."""
    return page.value("[...document.querySelectorAll('#stage .name')]"
                      ".filter((e) => !e.hidden).map((e) => e.textContent)")


def test_no_request_and_no_error(page, path):
    for key in ("ArrowLeft", "ArrowRight", " ", " "):
        page.press(key)
    page.value("document.querySelectorAll('button').forEach((b) => b.click())")
    page.value("document.querySelectorAll('input').forEach((b) => b.click())")
    others, asked = requests(page)
    assert (others, complaints(page)) == ([], [])
    assert [url for url in asked if url.startswith("file:")] == [path.as_uri()]
    assert page.value("document.querySelectorAll('img').length > 10")
    assert page.value("[...document.images].every((i) => i.complete && i.naturalWidth > 0)")


def test_nothing_else_could_be_requested_or_run(page):
    """Whatever may get into the page: its own policy forbids it."""
    page.value("""window.refused = [];
        addEventListener("securitypolicyviolation", (e) => refused.push(e.violatedDirective));
        document.body.append(Object.assign(document.createElement("img"),
                                           { src: "http://127.0.0.1:9/x.png" }));
        document.body.insertAdjacentHTML("beforeend", "<b onclick='window.ran = true'>x</b>");
        document.body.lastChild.click();""")
    page.wait_for("refused.length === 2")
    assert set(page.value("refused")) == {"img-src", "script-src-attr"}
    assert page.value("window.ran") is None
    # It is told of what was tried, and that it was stopped.
    assert requests(page)[0] == ["http://127.0.0.1:9/x.png"]
    (failed,) = page.messages("Network.loadingFailed")
    assert failed["params"]["blockedReason"] == "csp"


def colours(page, image):
    """The colours of a picture of the page, its first row on top, shape ``(ny, nx, 3)``."""
    found = page.value(f"""(() => {{ const i = {image}, c = document.createElement("canvas");
        [c.width, c.height] = [i.naturalWidth, i.naturalHeight];
        const d = c.getContext("2d"); d.drawImage(i, 0, 0);
        return [c.height, c.width, [...d.getImageData(0, 0, c.width, c.height).data]]; }})()""")
    return np.reshape(found[2], (found[0], found[1], 4))[..., :3] / 255


def seen(page, nx=128):
    """The colour that is seen at the centre of each pixel of the result."""
    left, top, width, height = page.box("#stage")
    picture = page.picture()
    y, x = ((np.arange(nx) + 0.5) / nx * size + start for size, start in (
        (height, top), (width, left)))
    return picture[np.ix_(y.astype(int), x.astype(int))]


def overlaid(shape):
    """Pixels with nothing drawn over them: the middle, without cursor and edge."""
    free = np.zeros(shape, bool)
    free[20:55, 4:-4] = True
    return free


@pytest.mark.parametrize("way", ["keys", "mouse", "slider"])
def test_slider(page, way):
    """The left map is seen left of the edge, and the right one right of it."""
    left, right = (colours(page, image) for image in (OVER, UNDER))
    assert left.shape == (64, 64, 3) and right.shape == (128, 128, 3)
    left = left.repeat(2, axis=0).repeat(2, axis=1)
    start, top, width, height = page.box("#stage")
    if way == "keys":
        for _ in range(13):
            page.press("ArrowLeft")  # two per cent of the width each
        at = 24
    elif way == "mouse":
        page.mouse("mousePressed", start + 0.5 * width, top + height / 2, button="left",
                   buttons=1, clickCount=1)
        page.mouse("mouseMoved", start + 0.75 * width, top + height / 2, buttons=1)
        page.mouse("mouseReleased", start + 0.75 * width, top + height / 2, button="left")
        at = 75
    else:
        page.value("""(() => { const s = document.getElementById("slider"); s.value = 40;
            s.dispatchEvent(new Event("input")); })()""")
        at = 40
    found, free = seen(page), overlaid((128, 128))
    edge = at * 128 / 100
    x = np.broadcast_to(np.arange(128), free.shape)
    for image, side in ((left, x < edge - 2), (right, x > edge + 2)):
        # screenshots are encoded in another space of colours
        assert np.abs(found - image)[free & side].max() < 0.03
    assert np.abs(left - right)[free].max() > 0.2
    place = float(page.value("document.getElementById('slider').value"))
    assert place == pytest.approx(at, abs=0.5)
    assert names(page) == ["Input", "Result, wiener"]


def test_blink(page):
    page.press(" ")
    assert page.value("document.getElementById('blink').textContent") == "Stop"
    sights = []
    for _ in range(2):
        page.wait_for(f"{CLIPPED}.startsWith('inset(0px 0%')")
        assert names(page) == ["Input"]
        page.wait_for(f"{CLIPPED}.startsWith('inset(0px 100%')")
        sights += names(page)
    assert sights == ["Result, wiener"] * 2
    page.press("ArrowLeft")  # held
    found = seen(page)
    shown = colours(page, OVER).repeat(2, axis=0).repeat(2, axis=1)
    assert np.abs(found - shown)[overlaid((128, 128))].max() < 0.03
    page.press(" ")
    assert names(page) == ["Input", "Result, wiener"]
    assert page.value("document.getElementById('blink').getAttribute('aria-pressed')") == "false"


def test_stretch(page):
    sources = "[...document.querySelectorAll('img.map, #stage img')].map((i) => i.src)"
    ticks = "document.getElementById('rightbar').textContent"
    before, first = page.value(sources), page.value(ticks)
    for name in ("linear", "log"):
        page.value(f"document.querySelector('input[value={name}]').click()")
        after = page.value(sources)
        # Maps of signs and shares have one stretch only.
        changed = [a != b for a, b in zip(before, after)]
        assert changed[:2] == [True, True] and 5 <= sum(changed) < len(changed)
        assert page.value(ticks) != first
    page.value("document.querySelector('input[value=asinh]').click()")
    assert (page.value(sources), page.value(ticks)) == (before, first)


def readout(page):
    rows = page.value("[...document.querySelectorAll('#readout tr')].map((r) => "
                      "[...r.cells].map((c) => c.textContent))")
    return {name: (value.replace("−", "-"), of) for name, value, of in rows}


@pytest.mark.parametrize("x, y", [(31, 90), (0, 0), (127, 127)])
def test_values_and_places(page, lens, x, y):
    pair, result = lens
    left, top, width, height = page.box("#stage")
    page.mouse("mouseMoved", left + (x + 0.5) / 128 * width, top + (127.5 - y) / 128 * height)
    found = readout(page)
    assert found["Pixel x, y"][0] == f"{x}, {y}"
    for name, value in (("Result, wiener", result.data[y, x]), ("Truth", pair.hr.data[y, x]),
                        ("Input", pair.lr.data[y // 2, x // 2]),
                        ("Uncertainty", result.uncertainty.array[y, x])):
        assert float(found[name][0]) == pytest.approx(value, rel=6e-4)
    assert found["Input"][1] == "electron / s per input pixel"
    there = result.wcs.pixel_to_world(x, y)
    assert found["Sky"][1] == "ICRS"
    assert found["Sky"][0] == (there.ra.to_string("hourangle", sep=":", precision=3, pad=True)
                               + " " + there.dec.to_string(sep=":", precision=2, pad=True,
                                                           alwayssign=True))


def test_cursor_and_maps_by_keys(page):
    page.value("document.getElementById('stage').focus()")
    page.press("ArrowUp", SHIFT)
    page.press("ArrowRight", SHIFT)
    page.press("ArrowRight", SHIFT)
    assert readout(page)["Pixel x, y"][0] == "66, 65"
    page.press("ArrowDown")
    assert names(page) == ["Input", "Truth"]
    page.press("ArrowUp")
    page.press("ArrowUp")
    assert names(page) == ["Input", "Input"]


def test_maps_are_chosen(page):
    page.value("""(() => { const s = document.getElementById("left"); s.value = 2;
        s.dispatchEvent(new Event("change")); })()""")
    assert names(page)[0] == "Truth"
    page.value("document.querySelectorAll('.put')[1].querySelectorAll('button')[0].click()")
    assert names(page)[0] == "Result, wiener"


def test_without_script_and_on_paper(browser, path):
    """All maps and tables are there; what needs a script is not."""
    browser.open(path, script=False)
    assert browser.value("[...document.querySelectorAll('img.map')].every("
                         "(i) => i.naturalWidth > 0 && i.getBoundingClientRect().width > 99)")
    assert browser.value("document.querySelectorAll('table.sortable').length") == 3
    hidden = "getComputedStyle(document.getElementById('compare')).display"
    assert browser.value(hidden) == "none"
    browser.open(path)
    assert browser.value(hidden) != "none"
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert browser.value(hidden) == "none"
    browser.call("Emulation.setEmulatedMedia", media="")


def test_light_and_dark(page):
    """What is written can be read on both: the contrast that WCAG 2 asks for."""
    for theme in ("light", "dark"):
        page.call("Emulation.setEmulatedMedia",
                  features=[{"name": "prefers-color-scheme", "value": theme}])
        body = "getComputedStyle(document.body)"
        paper = luminance(page.value(f"{body}.backgroundColor"))
        for place in ("body", ".lead", "td.of", "summary"):
            ink = luminance(page.value(
                f"getComputedStyle(document.querySelector({place!r})).color"))
            dim, bright = sorted((ink, paper))
            assert (bright + 0.05) / (dim + 0.05) > 4.5
        assert (paper > 0.5) == (theme == "light")
    page.call("Emulation.setEmulatedMedia", features=[])


def luminance(colour):
    """Relative luminance of ``rgb(r, g, b)`` (WCAG 2.2)."""
    parts = np.array(colour.removeprefix("rgb(").rstrip(")").split(","), dtype=float) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_tables_are_sorted(browser, tmp_path):
    table = Table({"method": ["a", "c", "b", "d"], "error": [1e-3, 20.0, np.nan, 3.0]},
                  masked=True)
    table["error"].mask = np.isnan(table["error"])
    table.write(tmp_path / "some.ecsv", format="ascii.ecsv")
    report(tmp_path / "tables.html", tmp_path)
    browser.open(tmp_path / "tables.html")
    first = "[...document.querySelectorAll('tbody tr')].map((r) => r.cells[0].textContent).join('')"

    def click(k):
        browser.value(f"document.querySelectorAll('thead th button')[{k}].click()")
        return browser.value(first)

    assert [click(1), click(1), click(0), click(0)] == ["cdab", "adcb", "dcba", "abcd"]
    assert browser.value("document.querySelector('th').ariaSort") == "ascending"
    assert (requests(browser)[0], complaints(browser)) == ([], [])
