"""The page as a file: what it holds, checked against what went into it."""

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty
from astropy.table import Table
from astropy.wcs import WCS

from lenssr import LensSRWarning, SuperResolvedImage, superresolve
from lenssr.evaluate import Benchmark, report, sky_grid
from lenssr.image import FWHM_PER_SIGMA, gaussian_psf, target_psf

SHAPE, SIGMA, PSF = (24, 32), 0.02, 3.0
EVIL = "<script>alert(1)</script>&\"'</script><!--"


def tan(crval=(150.1, 2.2), crpix=(8.5, 20.5), turn=0.0, kind=("RA---TAN", "DEC--TAN")):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = kind, crval, crpix
    cos, sin = np.cos(turn), np.sin(turn)
    wcs.wcs.cd = np.array([[-cos, sin], [sin, cos]]) * 0.1 / 3600
    wcs.wcs.set()
    return wcs


def blob(shape, sigma, centre, step=1.0):
    """A Gaussian of unit flux at ``centre`` (x, y); the first pixel begins at -0.5."""
    y, x = ((np.arange(n) + 0.5) * step - 0.5 for n in shape)
    radius2 = (y[:, None] - centre[1]) ** 2 + (x[None, :] - centre[0]) ** 2
    return np.exp(-radius2 / (2 * sigma**2)) / (2 * np.pi * sigma**2) * step**2


def case(scale=2, noise=0.0, flux=1000.0, unit="electron", size=2.5, **cards):
    """An image of a Gaussian, and the result that it ought to have, in closed form."""
    rng, centre = np.random.default_rng(1), (15.5, 11.5)
    sky = [np.hypot(size, fwhm / FWHM_PER_SIGMA) for fwhm in (PSF, 2 / scale)]
    image = CCDData(flux * blob(SHAPE, sky[0], centre) + noise * rng.normal(0, 1, SHAPE),
                    unit=unit, uncertainty=StdDevUncertainty(np.full(SHAPE, SIGMA)),
                    psf=gaussian_psf(PSF), wcs=tan())
    fine = tuple(scale * n for n in SHAPE)
    header = fits.Header({"OBJECT": "a blob", "SRMETHOD": "exact", "SRPSF": "target",
                          "SRFLUX": "per-pixel", "SRSCALE": scale, **cards})
    result = SuperResolvedImage(
        flux * blob(fine, sky[1], centre, 1 / scale), unit=unit, meta=header, psf=target_psf(),
        uncertainty=StdDevUncertainty(np.full(fine, SIGMA / scale**2)))
    return image, result


class Tree(HTMLParser):
    """Elements of a page, which must be closed in the order in which they were opened."""

    VOID = {"meta", "link", "img", "input", "br"}

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.text = [], [], {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs)
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):  # in SVG
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.setdefault(self.open[-1] if self.open else "", []).append(data)

    def attributes(self, name):
        return [attributes[name] for _, attributes in self.elements if name in attributes]


class Page:
    """A page, read again."""

    def __init__(self, path):
        self.raw = path.read_text(encoding="utf-8")
        self.tree = Tree(self.raw)
        data = re.search(r'<script type="application/json" id="data">(.*?)</script>', self.raw)
        self.data = json.loads(data[1])
        self.words = " ".join(self.raw.split())

    def layer(self, name):
        (layer,) = [layer for layer in self.data["layers"] if layer["name"] == name]
        return layer

    def values(self, name):
        layer = self.layer(name)
        return np.frombuffer(base64.b64decode(layer["values"]), "<f4").reshape(layer["shape"])

    def picture(self, name, stretch="asinh"):
        """Colours, the first row below, as the array has it."""
        layer = self.layer(name)
        source = layer["pictures"].get(stretch)
        if source is None:
            (source,) = re.findall(rf'<figure id="{layer["key"]}"><img src="([^"]*)"', self.raw)
        return self.decoded(source)[::-1]

    def ramp(self, name):
        return self.decoded(self.data["groups"][self.layer(name)["group"]]["ramp"])[0]

    def ticks(self, name, stretch):
        found = self.data["groups"][self.layer(name)["group"]]["ticks"][stretch]
        return np.array([[float(text.replace("−", "-")), at] for text, at in found]).T

    @staticmethod
    def decoded(source):
        from matplotlib.image import imread

        png = base64.b64decode(source.removeprefix("data:image/png;base64,"))
        return imread(io.BytesIO(png))[..., :3]

    def table(self, caption):
        """Rows of the table of a caption that begins so, by heads."""
        found = re.search(rf"<caption>{caption}.*?</table>", self.raw)[0]
        heads = [re.sub("<small>.*?</small>", "", head)
                 for head in re.findall(r"<th scope=\"col\"[^>]*>(.*?)</th>", found)]
        rows = re.findall(r"<tr>(.*?)</tr>", found.split("<tbody>")[1])
        cells = [[re.sub("<.*?>", "", cell).replace("−", "-") for cell in re.findall(
            r"<t[dh][^>]*>(.*?)</t[dh]>", row)] for row in rows]
        return [dict(zip(heads, row)) for row in cells]


def make(tmp_path, subject, *args, **options):
    path = tmp_path / "page.html"
    report(path, subject, *args, overwrite=True, **options)
    return Page(path)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    image, result = case()
    image.mask = np.zeros(SHAPE, bool)
    image.mask[3, 4] = True
    result.mask = np.kron(image.mask, np.ones((2, 2), bool))
    result.measurement_std = np.full(result.shape, 0.002)
    result.prior_std = np.full(result.shape, 0.004)
    result.consistency = np.linspace(0.5, 1.5, image.data.size).reshape(SHAPE)
    result.wcs = tan(crpix=(16.5, 40.5))
    other = SuperResolvedImage(result.data * 1.1, unit="electron", meta={"SRMETHOD": "other"})
    folder = tmp_path_factory.mktemp("report")
    with pytest.warns(LensSRWarning, match="centres of `data` and `subject` are 11 pixels"):
        page = make(folder, result, image, truth=result.data + 0.01, compare={"other": other},
                    prior_map=np.full(result.shape, 0.25))
    page.inputs = image, result
    return page


def test_it_is_one_well_formed_file_that_asks_for_nothing(page):
    tree = page.tree
    for name in ("src", "href", "srcset", "action", "data", "poster"):
        assert all(value.startswith(("data:", "#")) for value in tree.attributes(name))
    assert not re.search(r"https?:|//[a-z]|url\(|@import|<iframe", page.raw.split("<body>")[0])
    assert "http" not in page.raw.replace("http-equiv", "")
    ids = tree.attributes("id")
    assert len(ids) == len(set(ids))
    assert all(attributes.get("alt") is not None for tag, attributes in tree.elements
               if tag == "img")
    assert [attributes["lang"] for tag, attributes in tree.elements if tag == "html"] == ["en"]
    assert len(tree.text["h1"]) == 1 and tree.text["title"] == ["a blob — exact"]


def test_values_are_those_of_the_images(page):
    image, result = page.inputs
    hole = np.where(result.mask, np.nan, 1)
    wanted = {"Input": np.where(image.mask, np.nan, image.data),
              "Result, exact": hole * result.data, "other": result.data * 1.1,
              "Truth": result.data + 0.01, "Uncertainty": hole * SIGMA / 4,
              "Measurement error": hole * 0.002, "Prior error": hole * 0.004,
              "Consistency": result.consistency, "Prior fraction": np.full(result.shape, 0.25),
              "exact − truth": hole * -0.01 / (SIGMA / 4),
              "other − truth": (result.data * 0.1 - 0.01) / (SIGMA / 4)}
    for name, values in wanted.items():
        np.testing.assert_allclose(page.values(name), values, rtol=1e-6, atol=1e-6)
    assert {layer["name"] for layer in page.data["layers"]} == {*wanted, "Input − exact"}
    assert page.data["shape"] == list(result.shape)
    assert [page.layer(name)["repeat"] for name in ("Input", "Consistency", "Truth")] == [2, 2, 1]


@pytest.mark.parametrize("stretch", ["asinh", "linear", "log"])
@pytest.mark.parametrize("name", ["Result, exact", "other", "Truth", "Input", "Uncertainty"])
def test_colours_say_what_the_bar_says(page, name, stretch):
    """Each pixel has, within a level, the colour that the bar has at its value."""
    ramp, picture, values = page.ramp(name), page.picture(name, stretch), page.values(name)
    if name == "Input":
        values = values / 4  # drawn per output pixel
    known = np.isfinite(values)
    index = np.abs(picture[:, :, None] - ramp).sum(axis=-1).argmin(axis=-1)
    np.testing.assert_array_equal(picture[known], ramp[index[known]])
    if not known.all():
        assert np.ptp(picture[~known]) == 0  # grey
    numbers, places = page.ticks(name, stretch)
    assert len(numbers) >= 3 and (np.diff(places) > 0).all()
    for number, place in zip(numbers, places):
        levels = place * (len(ramp) - 1)
        assert (index[known & (values <= number)] <= levels + 0.51).all()
        assert (index[known & (values >= number)] >= levels - 0.51).all()


def test_linear_is_linear(page):
    numbers, places = page.ticks("Truth", "linear")
    slope, offset = np.polyfit(numbers, places, 1)
    np.testing.assert_allclose(slope * numbers + offset, places, atol=1e-6)
    numbers, places = page.ticks("Truth", "asinh")
    assert np.abs(np.polyval(np.polyfit(numbers, places, 1), numbers) - places).max() > 0.05


def test_surface_brightness_is_drawn_as_it_is(tmp_path):
    image, result = case(unit="MJy/sr", SRFLUX="surface-brightness")
    flat = SuperResolvedImage(np.full(result.shape, 3.0), unit="MJy/sr", meta=result.meta)
    image.data[:] = 3.0
    page = make(tmp_path, flat, image, truth=flat)
    colours = {tuple(page.picture(name, "linear")[0, 0])
               for name in ("Input", "Truth", "Result, exact")}
    assert len(colours) == 1
    assert page.layer("Input")["unit"] == "MJy / sr"


def figures(page, row=1):
    return page.table("Resolution")[row]


def test_a_result_that_is_right_explains_the_data(tmp_path):
    """The exact image, blurred and binned, is the noiseless data: what is left is their noise."""
    image, result = case(noise=SIGMA)
    page = make(tmp_path, result, image)
    assert float(figures(page)["χ²"]) == pytest.approx(1, abs=5 * np.sqrt(2 / image.data.size))
    image, result = case()
    assert float(figures(make(tmp_path, result, image))["χ²"]) < 2e-3
    # off by two sigma everywhere, which no blur changes
    image.data += 2 * SIGMA
    page = make(tmp_path, result, image)
    assert float(figures(page)["χ²"]) == pytest.approx(4, abs=0.01)
    residual = page.values("Input − exact")
    known = np.isfinite(residual)
    assert known[8:-8, 8:-8].all()
    assert residual[known] == pytest.approx(2 * np.ones(known.sum()), abs=0.25)


def test_resolution_and_flux(tmp_path):
    image, result = case()
    result.wcs = image.wcs = None
    page = make(tmp_path, result, image)
    rows = page.table("Resolution")
    assert float(rows[0]["FWHM"]) == pytest.approx(2 * PSF, rel=0.005)
    assert float(rows[1]["FWHM"]) == pytest.approx(2, rel=0.005)
    assert "FWHM on the sky" not in rows[0] and page.data["sky"] is None
    assert float(rows[1]["flux"]) == pytest.approx(1, abs=1e-3)
    double = SuperResolvedImage(2 * result.data, unit="electron", meta=result.meta)
    assert float(figures(make(tmp_path, double, image))["flux"]) == pytest.approx(2, abs=2e-3)


def test_flux_in_circles(tmp_path):
    """Of a Gaussian, 1 - exp(-r**2 / 2 sigma**2) lies within r; errors add in quadrature."""
    image, result = case()
    result.wcs = tan()  # taken as it is: pixels of 0.1 arcsec
    image.wcs = None
    rows = make(tmp_path, result, image, truth=result).table("Flux in circles")
    # 1/2, 1, 2 and 4 FWHM
    assert [float(row["radius"]) for row in rows] == pytest.approx([0.3, 0.6, 1.2, 2.4], rel=5e-3)
    for row in rows:
        radius = float(row["radius"]) / 0.2  # input pixels
        for name, fwhm, pixel in (("input", PSF, 1), ("result", 1, 0.5), ("truth", 1, 0.5)):
            # A pixel counts with the share of it that lies within: its light is all over it.
            sigma2 = 2.5**2 + (fwhm / FWHM_PER_SIGMA) ** 2 + pixel**2 / 12
            assert float(row[name]) == pytest.approx(
                1000 * (1 - np.exp(-radius**2 / (2 * sigma2))), rel=0.01)
        assert float(row["error"]) == pytest.approx(SIGMA * np.sqrt(np.pi) * radius, rel=0.01)
        assert float(row["exact / input"]) == pytest.approx(1, abs=2e-3)
    with pytest.warns(LensSRWarning, match="shows 8 x 8 of 64 x 48 pixels"):
        off = make(tmp_path, result, image, center=(10, 40), size=9).table("Flux in circles")
    assert float(off[0]["input"]) < 0.1 * float(rows[0]["input"])


def test_against_the_truth(tmp_path):
    image, result = case()
    rng, sigma = np.random.default_rng(2), SIGMA / 4
    truth = result.data + rng.normal(0, sigma, result.shape)
    row = figures(make(tmp_path, result, image, truth=truth))
    for name, share in (("within 1 σ", 0.6827), ("within 2 σ", 0.9545)):
        scatter = 100 * np.sqrt(share * (1 - share) / truth.size)
        assert float(row[name]) == pytest.approx(100 * share, abs=5 * scatter)
    assert float(row["PSNR"]) == pytest.approx(20 * np.log10(truth.max() / sigma), abs=0.3)


def test_of_what_is_not_known_nothing_is_said(tmp_path):
    image, result = case(SRPSF="input")
    page = make(tmp_path, result, image)
    assert figures(page)["χ²"] == "–" and "PSNR" not in figures(page)
    assert not [layer for layer in page.data["layers"] if "−" in layer["name"]]
    image.psf = result.psf = result.uncertainty = None
    result.meta["SRPSF"] = "target"
    page = make(tmp_path, result, image)
    assert [row["FWHM"] for row in page.table("Resolution")] == ["–", "–"]
    assert [layer["name"] for layer in page.data["layers"]] == ["Input", "Result, exact"]


@pytest.mark.parametrize("wcs", [
    tan(), tan(crval=(0.0, 0.0), turn=0.7), tan(crval=(0.0, 90.0)), tan(crval=(200.0, -89.9999)),
    tan(crval=(120.0, 30.0), kind=("GLON-TAN", "GLAT-TAN")), tan(crpix=(3000, -2000))])
def test_the_page_knows_where_each_pixel_lies(wcs):
    """Vectors between those that the page is told, as its script makes them."""
    sky = sky_grid(wcs, (37, 50), (5, 9))
    y, x = np.mgrid[:37, :50]
    i, j = y // sky.step, x // sky.step
    v, w = (y / sky.step - i)[..., None], (x / sky.step - j)[..., None]
    found = ((1 - v) * ((1 - w) * sky.places[i, j] + w * sky.places[i, j + 1])
             + v * ((1 - w) * sky.places[i + 1, j] + w * sky.places[i + 1, j + 1]))
    found = SkyCoord(*np.moveaxis(found, -1, 0), representation_type="cartesian",
                     frame=sky.frame)
    true = wcs.pixel_to_world(x + 9, y + 5)
    assert found.separation(true).max() < 0.01 * 0.1 * u.arcsec
    assert sky.pixel == pytest.approx(0.1, rel=1e-6)


@pytest.mark.parametrize("turn", [0.0, 0.4, 2.0])
def test_north_and_east(turn):
    """From the definition: the direction in which declination, or right ascension, grows."""
    wcs = tan(crval=(10.0, 50.0), turn=turn)
    sky = sky_grid(wcs, (17, 17))
    here = wcs.pixel_to_world(8, 8)
    for way, angle in ((sky.north, 0 * u.deg), (sky.east, 90 * u.deg)):
        there = here.directional_offset_by(angle, 0.1 * u.arcsec)
        x, y = wcs.world_to_pixel(there)
        assert way == pytest.approx(((x - 8), (y - 8)), abs=1e-5)


def test_large_images_are_cut(tmp_path):
    image, result = case()
    result.wcs = tan(crpix=(16.5, 40.5))
    image.wcs = None
    with pytest.warns(LensSRWarning, match="the page shows 20 x 20 of 64 x 48 pixels"):
        page = make(tmp_path, result, image, center=(40, 9), size=21)
    ny, nx = page.data["shape"]
    y, x = page.data["start"]
    assert (ny, nx) == (20, 20) and y == 0 and 30 <= x <= 31
    np.testing.assert_allclose(page.values("Result, exact"), result.data[y:y + 20, x:x + 20],
                               rtol=1e-6)
    np.testing.assert_allclose(page.values("Input"),
                               image.data[y // 2:y // 2 + 10, x // 2:x // 2 + 10], rtol=1e-6)
    first = np.frombuffer(base64.b64decode(page.data["sky"]["places"]), "<f8")[:3]
    there = result.wcs.pixel_to_world(x, y)
    np.testing.assert_allclose(first, there.cartesian.xyz.value, atol=1e-12)
    assert "Shown: 20 × 20 pixels of it" in page.raw and "This page warns" in page.raw


def test_nothing_in_a_header_is_taken_for_html(tmp_path):
    image, result = case(OBJECT=EVIL, SRMETHOD=EVIL, SRODD=EVIL, TELESCOP=EVIL,
                         SRWARN1=EVIL)
    result.meta.comments["SRODD"] = "<i>"
    page = make(tmp_path, result, image, compare={EVIL: result})
    scripts = [attributes for tag, attributes in page.tree.elements if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "data"}, {}]
    assert page.tree.text["h1"] == [f"{EVIL} — {EVIL}"]
    assert EVIL in page.tree.text["li"] and EVIL in page.tree.text["dd"]
    assert page.data["layers"][1]["name"] == f"Result, {EVIL}"
    assert {EVIL, "<i>"} <= set(page.tree.text["td"])


def test_cards_and_warnings_of_the_restoration(tmp_path):
    image, _ = case()
    with pytest.warns(LensSRWarning, match="no unit"):
        result = superresolve(image.data, "bilinear", uncertainty=SIGMA)
    result.write(tmp_path / "result.fits")
    with pytest.warns(LensSRWarning, match="no unit|estimated"):
        page = make(tmp_path, tmp_path / "result.fits", image.data, uncertainty=None)
    assert page.tree.text["title"] == ["result — bilinear"]  # by its file
    told = page.raw.split("The restoration warned")[1]
    assert told.index("the image has no unit") < told.index("This page warns")
    assert "a noise of" in told.split("This page warns")[1]
    (row,) = [row for row in page.table("Cards") if row["card"] == "SRPSF"]
    assert row["bilinear"] == "unknown" and "interpolation" in row["meaning"]


def test_a_plane_of_a_cube(tmp_path):
    rng = np.random.default_rng(0)
    cube = CCDData(rng.normal(5, 1, (3, 8, 10)), unit="nJy",
                   uncertainty=StdDevUncertainty(np.ones((3, 8, 10))))
    result = superresolve(cube, "bilinear")
    page = make(tmp_path, result, cube, plane=2)
    np.testing.assert_allclose(page.values("Result, bilinear"), result.data[2], rtol=1e-6)
    np.testing.assert_allclose(page.values("Input"), cube.data[2], rtol=1e-6)
    assert "Plane 2 of 3" in page.raw
    with pytest.raises(ValueError, match="`plane` must be below 3"):
        make(tmp_path, result, cube, plane=3)


@pytest.mark.parametrize("change, error, message", [
    ({"data": None}, ValueError, "`data` must be the image that was restored, got None"),
    ({"data": np.ones((5, 5))}, ValueError, "`data` must have the shape of `subject`"),
    ({"subject": np.ones((5, 5))}, TypeError, "`subject` must be a SuperResolvedImage"),
    ({"truth": np.ones((5, 5))}, ValueError, "`truth` must have the shape of `subject`"),
    ({"truth": CCDData(np.ones((48, 64)), unit="Jy")}, ValueError, "`truth` must be in a unit"),
    ({"prior_map": np.ones(3)}, ValueError, "`prior_map` must have the shape"),
    ({"compare": 3}, TypeError, "`compare` must be a sequence or a dict"),
    ({"compare": ["none.fits"]}, FileNotFoundError, "none.fits"),
    ({"unit": "Jy"}, ValueError, "`data` must be in a unit that converts to electron, got Jy"),
    ({"center": (99, 3)}, ValueError, r"`center` must be a pixel \(x, y\) of the result, 64 by 48"),
    ({"center": "here"}, ValueError, r"`center` must be a pixel \(x, y\), got 'here'"),
    ({"size": 0}, ValueError, "`size` must be a positive integer, got 0"),
    ({"plane": 1}, ValueError, "`plane` must be below 1"),
])
def test_bad_arguments(tmp_path, change, error, message):
    image, result = case()
    image.uncertainty = image.uncertainty if "unit" not in change else None
    arguments = {"subject": result, "data": image, **change}
    with pytest.raises(error, match=message):
        report(tmp_path / "page.html", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_files_are_kept(tmp_path):
    image, result = case()
    (tmp_path / "page.html").write_text("precious")
    with pytest.raises(OSError, match="exists already; say overwrite=True"):
        report(tmp_path / "page.html", result, image)
    assert (tmp_path / "page.html").read_text() == "precious"
    with pytest.raises(OSError, match="`path` must be in a folder that is there"):
        report(tmp_path / "no" / "page.html", result, image)


def run(tmp_path, name, psnr):
    """A benchmark of two methods and as many images, as `Benchmark.write` leaves it."""
    summary = Table({"method": ["bilinear", "mine", "truth"], "runs": [1, 1, 1],
                     "target_psnr": [20.0, psnr, 99.0]}, masked=True)
    summary["target_psnr"].unit, summary["target_psnr"].info.format = "dB", ".2f"
    summary.meta = {"source": f"pairs of {EVIL}", "n": 2, "shape": [8, 8], "scale": 2, "seed": 1,
                    "left_out": 0, "data_range": "peak", "input_noise": "given", "threads": 1,
                    "target_noise": "none", "arc": "bright", "device": "cpu",
                    "floor": {"mse": 0.0, "ssim": None}, "not_run": {"other": "it cannot"},
                    "notes": {"mine": ["it warned"]}}
    images = Table({"method": np.repeat(["bilinear", "mine"], 2), "run": [0] * 4,
                    "pair": [0, 1] * 2, "target_mse": [1e-2, 1e-3, 1e-3, 1e-5]})
    summary.write(tmp_path / f"{name}.ecsv")
    images.write(tmp_path / f"{name}-images.ecsv")
    return Benchmark(name, summary, images)


def test_benchmark(tmp_path):
    """From the folder and from the object: the same figures, reasons, and the best in bold."""
    folder = tmp_path / "scores"
    folder.mkdir()
    found = run(folder, "first", 30.5)
    for page in (make(tmp_path, found), make(tmp_path, folder)):
        rows = page.table("Against the target")
        assert [(row["method"], row["psnr"]) for row in rows] == [
            ("bilinear", "20.00"), ("mine", "30.50"), ("truth", "99.00")]
        assert re.findall("<strong>(.*?)</strong>", page.raw) == ["30.50"]
        # 10 and 20 dB above bilinear
        assert "Medians in dB: mine +15.00" in page.raw
        assert "other: it cannot" in page.raw and "mine: it warned" in page.raw
        assert len(page.table("A row for each image")) == 4
        assert f"pairs of {EVIL}" in page.tree.text["p"]
        assert page.data is None


def test_folder_of_tables_and_figures(tmp_path):
    from matplotlib.image import imsave

    folder = tmp_path / "scores"
    folder.mkdir()
    run(folder, "first", 30.5)
    rng = np.random.default_rng(0)
    flux = Table({"snr": [1, 10], "bias": [-0.01, 2.5e-4]}, meta={"preset": "hsc"})
    flux["bias"].info.description = "of the flux"
    flux.write(folder / "flux.ecsv")
    many = Table({"k": np.arange(500)})
    many.write(folder / "many.ecsv")
    picture = rng.uniform(size=(6, 9, 3))
    imsave(folder / "flux.png", picture)
    imsave(folder / "lone.png", picture)
    imsave(folder / "many.png", rng.uniform(size=(900, 2000, 3)))  # above 4 MB
    page = make(tmp_path, folder, title="All of it")
    assert page.tree.text["h1"] == ["All of it"]
    assert page.tree.text["h2"] == ["first", "flux", "many", "Figures"]
    assert page.table("flux") == [{"snr": "1", "bias": "-0.01"}, {"snr": "10", "bias": "0.00025"}]
    assert "of the flux" in page.tree.text["dd"] and "hsc" in page.tree.text["dd"]
    assert len(page.table("many")) == 200 and "the first 200 of 500 rows" in page.raw
    shown = {attributes["alt"]: attributes["src"] for tag, attributes in page.tree.elements
             if tag == "img"}
    for name in ("flux", "lone"):
        np.testing.assert_allclose(page.decoded(shown[name]), picture, atol=1 / 255)
    assert page.decoded(shown["many"]).shape == (720, 1600, 3)


def test_bad_benchmarks(tmp_path):
    with pytest.raises(ValueError, match=r"`subject` must be a folder with tables"):
        report(tmp_path / "page.html", tmp_path)
    found = run(tmp_path, "first", 30.5)
    for name in ("data", "truth", "compare", "psf"):
        with pytest.raises(ValueError, match=f"`{name}` goes with a result, got a benchmark"):
            report(tmp_path / "page.html", found, **{name: np.ones((3, 3))})
    assert not (tmp_path / "page.html").exists()
