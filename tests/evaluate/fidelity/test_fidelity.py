"""Fidelity runs on methods whose faults are known."""

import warnings

import numpy as np
import pytest
from astropy.nddata import CCDData, StdDevUncertainty
from astropy.table import Table
from scipy import ndimage, special, stats

from lenssr import LensSRWarning, SuperResolvedImage, register_method, superresolve
from lenssr.cli import main
from lenssr.evaluate import fidelity
from lenssr.image import gaussian_psf, psf_fwhm, target_psf
from lenssr.methods import ForwardModel, Restoration, unregister_method
from lenssr.networks import build_network
from lenssr.simulate import LensPair, make_ccd
from lenssr.weights import save_network

SIGMA, SIDE = 0.05, 32
ON_PAIRS = ("flux", "shift", "coverage", "transfer")


class Repeat:
    """Repeat each pixel, which are the truths below; then spoil that in a known way."""

    def __init__(self, gain=1.0, shift=0.0, errors=1.0):
        self.gain, self.shift, self.errors = gain, shift, errors

    def restore(self, image, run):
        block = np.ones((run.scale, run.scale))
        mean = self.gain * ndimage.shift(np.kron(image.data, block), (0, self.shift))
        return Restoration(mean, self.errors * np.kron(image.sigma, block),
                           np.zeros(mean.shape, bool), target_psf())


@pytest.fixture(autouse=True)
def methods():
    """Methods by what is wrong with them."""
    def wild(image, run):
        found = Repeat().restore(image, run)
        found.mean[0, 0] = np.nan
        return found

    made = {"fine": Repeat, "bright": lambda: Repeat(gain=1.05), "moved": lambda: Repeat(shift=1),
            "bold": lambda: Repeat(errors=0.5),
            "wild": lambda: type("Wild", (), {"restore": staticmethod(wild)})}
    for name, factory in made.items():
        register_method(name, factory, overwrite=True)
    yield
    for name in (*made, "seen"):
        unregister_method(name)


def make_pairs(n=12, seed=3):
    """Rings on blocks of pixels, seen with noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    for k in range(n):
        a, b = rng.uniform(-2, 2, 2)
        clean = 2 * np.exp(-((np.hypot(x - a, y - b) - 6) / 1.5) ** 2)
        lr = make_ccd(clean + rng.normal(0, SIGMA, clean.shape), 0.2, psf=gaussian_psf(3.0),
                      sigma=np.full(clean.shape, SIGMA))
        yield LensPair(lr, make_ccd(np.kron(clean, np.ones((2, 2))) / 4, 0.1),
                       {"scene_type": ("lens", "quasar")[k % 2]})


@pytest.fixture(scope="module")
def found():
    results = {}

    def run():
        if not results:
            results["one"] = fidelity(make_pairs(), ["fine", "bright", "moved", "bold"],
                                      parts=ON_PAIRS, n=12)
        return results["one"]

    return run


def rows(result, table, method, **known):
    table = result.tables[table]
    where = table["method"] == method
    for key, value in known.items():
        where &= table[key] == value
    return table[where]


def test_flux_bias_is_found(found):
    for method, gain in (("fine", 1), ("bright", 1.05)):
        for radius in (0, 3, 10):
            row = rows(found(), "flux", method, aperture=radius)[0]
            assert row["ratio"] == pytest.approx(gain, abs=5 * row["error"] + 1e-3)
            assert row["n"] == 12 and row["error"] < 0.01
    summary = found().tables["summary"]
    assert summary["flux_bias"][list(summary["method"]).index("bright")] == pytest.approx(
        0.05, abs=0.003)


def test_consistency_is_that_of_the_results_and_of_the_truth():
    """Of truths it is noise; of results, what their headers say."""
    rng, psf = np.random.default_rng(4), gaussian_psf(3.0)
    pairs = []
    for pair in make_pairs(8):
        truth = ndimage.gaussian_filter(pair.hr.data, 2) * 4
        seen = ForwardModel(psf, 2, (SIDE, SIDE)).forward(truth)
        lr = make_ccd(seen + rng.normal(0, SIGMA, seen.shape), 0.2, psf=psf,
                      sigma=np.full(seen.shape, SIGMA))
        pairs.append(LensPair(lr, make_ccd(truth / 4, 0.1), {}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LensSRWarning)  # that they do not explain the data
        result = fidelity(pairs, ["fine", "bright"], parts=("consistency",), n=8)
        chi2 = [superresolve(pair.lr, "bright", flux="per-pixel").header["SRCHI2"]
                for pair in pairs]
    row = rows(result, "consistency", "bright")[0]
    assert row["n"] == 8 and row["chi2"] == pytest.approx(np.median(chi2))
    assert row["near"] == np.mean(np.abs(np.array(chi2) - 1) <= 0.1)
    assert row["above"] == np.mean(np.array(chi2) > 1.1)
    row = rows(result, "consistency", "truth")[0]
    assert row["chi2"] == pytest.approx(1, abs=3 * np.sqrt(2 / SIDE**2)) and row["near"] == 1
    assert not len(rows(result, "consistency", "bilinear"))
    assert result.tables["summary"]["chi2"].mask[0]


def test_shift_is_found_with_its_sign(found):
    row = rows(found(), "shift", "moved")[0]
    assert (row["dx"], row["dy"]) == pytest.approx((1, 0), abs=0.02)
    row = rows(found(), "shift", "fine")[0]
    assert (row["dx"], row["dy"]) == pytest.approx((0, 0), abs=0.02)
    assert row["dx_scatter"] < 0.05


def normal(z):
    return 2 * stats.norm.cdf(z) - 1


def test_coverage_of_pixels(found):
    for method, factor in (("fine", 1), ("bold", 0.5)):
        table = rows(found(), "coverage", method)
        for row in table[(table["split"] != "snr") & (table["pixels"] > 3000)]:
            for k in (1, 2):
                assert row[f"within_{k}"] == pytest.approx(normal(k * factor), abs=0.03)
        assert set(table["bin"][table["split"] == "kind"]) == {"lens", "quasar"}
        for split in ("all", "snr", "radius", "kind"):
            assert table["pixels"][table["split"] == split].sum() == 12 * 4 * SIDE**2
    # Bins by the result itself: of pixels that happen to look bright, fewer are right.
    assert list(rows(found(), "coverage", "fine", split="snr")["bin"]) == [
        "below 1", "1-3", "3-10", "10-30", "above 30"]


def test_methods_are_told_what_is_wrong(found):
    """Noise of half as much makes error bars those of the bold one; the PSF is seen wider."""
    def seen(image, run):
        widths.append(psf_fwhm(image.psf))
        return Repeat().restore(image, run)

    widths = []
    register_method("seen", lambda: type("Seen", (), {"restore": staticmethod(seen)}),
                    overwrite=True)
    result = fidelity(make_pairs(), ["fine", "seen"], parts="coverage", n=12, noise_scale_error=0.5,
                      psf_scale_error=1.1)
    bold = rows(found(), "coverage", "bold", split="all")[0]
    row = rows(result, "coverage", "fine", split="all")[0]
    assert row["within_1"] == pytest.approx(bold["within_1"], abs=1e-9)
    assert widths == pytest.approx([3.3] * 12, rel=0.02)
    assert (result.meta["noise_scale_error"], result.meta["psf_scale_error"]) == (0.5, 1.1)
    bare = [LensPair(CCDData(p.lr.data, unit="adu"), p.hr) for p in make_pairs(1)]
    for name in ("psf_scale_error", "noise_scale_error"):
        result = fidelity(bare, ["fine"], parts="coverage", **{name: 1.1})
        assert f"`{name}` must be 1 for pairs without" in result.meta["not_run"]["fine"]


def test_quadrature_understates_apertures(found):
    table = rows(found(), "apertures", "fine")
    assert set(table["errors"]) == {"quadrature"}
    # Four output pixels have one error: large apertures have twice that of the quadrature.
    row = table[list(table["aperture"]).index(10)]
    assert row["within_1"] == pytest.approx(normal(0.5), abs=0.12)
    assert row["within_2"] == pytest.approx(normal(1.0), abs=0.12)


def test_errors_of_apertures_are_asked_of_the_result(monkeypatch):
    def aperture_sum(self, aperture):
        flux, error = aperture.do_photometry(self.data, error=self.uncertainty.array)
        return flux * self.unit, 2 * error * self.unit

    monkeypatch.setattr(SuperResolvedImage, "aperture_sum", aperture_sum, raising=False)
    result = fidelity(make_pairs(), ["fine"], parts="coverage", n=12)
    table = rows(result, "apertures", "fine")
    assert set(table["errors"]) == {"aperture_sum"}
    row = table[list(table["aperture"]).index(10)]
    assert row["within_1"] == pytest.approx(normal(1), abs=0.12)


def test_transfer_of_a_gain(found):
    def curves(name):
        table = rows(found(), "transfer", name, snr_low=40.0)
        return np.array(table["transfer"]), np.array(table["correlation"])

    fine, bright, moved = (curves(name) for name in ("fine", "bright", "moved"))
    assert bright[0] == pytest.approx(1.05 * fine[0])
    assert bright[1] == pytest.approx(fine[1])
    assert fine[0][1] == pytest.approx(1, abs=0.01)
    # Of a shift by one pixel, the mean cosine of its phase around a ring is a Bessel function.
    k = np.array(rows(found(), "transfer", "fine", snr_low=40.0)["k"])[:6]
    assert moved[1][:6] / fine[1][:6] == pytest.approx(special.j0(2 * np.pi * k), abs=0.05)


def test_noise_of_a_real_target_is_counted():
    rng, pairs = np.random.default_rng(0), list(make_pairs())
    for pair in pairs:
        noise = 2 * SIGMA / 4 * np.ones(pair.hr.shape)
        pair.hr.data = pair.hr.data + rng.normal(0, noise)
        pair.hr.uncertainty = StdDevUncertainty(noise)
    table = rows(fidelity(pairs, ["fine"], parts="coverage"), "coverage", "fine", split="all")
    assert table["within_1"][0] == pytest.approx(normal(1), abs=0.02)


def test_who_fails_is_left_out_with_the_reason(tmp_path):
    weights = {}
    for scale in (2, 3):
        network = {"architecture": "srcnn", "scale": scale, "features": (4, 4),
                   "kernels": (3, 1, 3), "skip": True}
        file = tmp_path / f"net{scale}.safetensors"
        save_network(file, build_network(**network).eval(), name="net", network=network)
        weights[f"x{scale}"] = [file] * 2 if scale == 2 else file
    pairs = list(make_pairs(3))
    for pair in pairs:
        pair.lr.psf = None
    result = fidelity(pairs, ["fine", "wild", "wiener", "unrolled"], parts=["flux", "stars"],
                      weights=weights)
    assert list(result.tables["summary"]["method"]) == ["bilinear", "fine", "x2", "x2#2"]
    reasons = result.meta["not_run"]
    assert "not finite" in reasons["wild"] and "`psf` must be given" in reasons["wiener"]
    assert "must be given" in reasons["unrolled"] and "scale 3, not 2" in reasons["x3"]
    assert "no PSF or no pixel scale" in reasons["part stars"]
    assert "wild" not in result.tables["flux"]["method"]
    assert any("no `psf` was given" in note for note in result.meta["notes"]["x2"])
    assert "Not run" in str(result) and "wild" in str(result)


def test_scenes_of_its_own(tmp_path):
    result = fidelity(make_pairs(2), ["fine", "bold"], n=5, out=tmp_path, name="small",
                      parts=("shape", "stars", "blank", "twins"))
    stars = result.tables["stars"]
    assert list(stars["method"]) == ["bilinear", "fine", "bold"]
    assert stars["n"].tolist() == [16] * 3
    # Stars are what bilinear interpolation says that they are; three pixels are not one.
    assert stars["ratio"][0] == pytest.approx(1, abs=0.03)
    assert stars["ratio"][1] > 2
    assert abs(stars["dx"][0]) < 0.05 and abs(stars["dy"][0]) < 0.05
    blank = result.tables["blank"]
    white = blank[blank["noise"] == "white"]
    assert white["pixels"].tolist() == [5 * 100**2] * 3
    by_method = dict(zip(white["method"], white["by_uncertainty"]))
    # Half the error: what is above 2.5 sigma, four pixels to a source.
    expected = 5 * 50**2 * stats.norm.sf(2.5)
    assert by_method["bold"] == pytest.approx(expected, abs=4 * np.sqrt(expected) + 5)
    assert by_method["fine"] < 3
    twins = result.tables["twins"]
    assert (twins["amplitude"] > 0).all() and (twins["correlation"] < 1).all()
    assert result.tables["shape"]["n"][0] == 5 or result.tables["shape"]["n"][0] == 2
    names = ["blank", "correction", "shape", "stars", "summary", "twins"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *(f"small-fidelity-{name}.ecsv" for name in names), "small-fidelity.png"]
    back = Table.read(tmp_path / "small-fidelity-stars.ecsv")
    assert back.meta["fidelity"] == "stars" and back["fwhm"].unit == "pix"
    assert back["ratio"].description == "median of measured over true value"
    with pytest.raises(OSError, match="exists already"):
        fidelity(make_pairs(2), ["fine"], n=2, out=tmp_path, name="small", parts="flux")


def test_figure_and_correction():
    # Galaxies of many S/N through a method that knows them: the slope is one.
    result = fidelity(make_pairs(1), ["fine"], parts=["shape", "flux"], n=36)
    axes = [axis for axis in result.figure().axes if axis.get_title()]
    assert [axis.get_title() for axis in axes] == [
        "flux / true flux, entire image", "slope of ellipticity (dashed: curve of the correction)"]
    row = rows(result, "correction", "fine", of="galaxies")[0]
    e = result.correct_ellipticity([0.1, -0.2], 50.0, "fine")
    assert e == pytest.approx(np.array([0.1, -0.2]) * (row["a"] + row["b"] / 2500))
    with pytest.raises(ValueError, match="`method` must have a correction curve"):
        result.correct_ellipticity([0.1], 50.0, "bicubic")


def test_the_same_seed_gives_the_same_figures():
    one, two, other = (fidelity("hsc-hst", ["bilinear"], parts=["flux", "blank"], n=2, seed=seed)
                       for seed in (4, 4, 5))
    for name in one.tables:
        assert one.tables[name].pformat() == two.tables[name].pformat()
    assert one.tables["flux"].pformat() != other.tables["flux"].pformat()


def test_einstein_radii():
    result = fidelity("deeplense-2", ["bilinear"], parts="einstein", n=5)
    table = result.tables["einstein"]
    assert list(table["method"]) == ["target", "input", "bilinear"]
    assert table["to_hr"][0] == 1 and table["to_truth"][0] == pytest.approx(1, abs=2e-3)
    assert np.array(table["to_hr"])[1:] == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("options, message", [
    (dict(pairs="nosy"), "`pairs` must be one of clean"),
    (dict(parts=["flux", "fluxes"]), "`parts` must be some of flux, shift, .* got 'fluxes'"),
    (dict(parts=()), "`parts` must be some of .* got 'none'"),
    (dict(methods=["optimal_linear"]), "`methods` must be names that `lenssr methods` lists"),
    (dict(methods=["bilinaer"]), "did you mean 'bilinear'"),
    (dict(n=0), "`n` must be a positive integer, got 0"),
    (dict(psf_scale_error=0), "`psf_scale_error` must be a positive number, got 0"),
    (dict(noise_scale_error=-1), "`noise_scale_error` must be a positive number"),
    (dict(seed=-1), "`seed` must be a non-negative integer"),
    (dict(scale=3), "`scale` must be the scale of the pairs, 2, got 3"),
    (dict(weights={"bilinear": "x"}), "`weights` must have labels that no method has"),
])
def test_errors_name_the_argument(options, message):
    options = {"pairs": list(make_pairs(1)), "methods": ["bilinear"], "parts": "flux", **options}
    with pytest.raises(ValueError, match=message):
        fidelity(**options)


def test_images_without_a_unit_are_compared_as_they_are():
    pairs = [LensPair(CCDData(p.lr.data, unit="", psf=p.lr.psf, uncertainty=StdDevUncertainty(
        p.lr.uncertainty.array)), CCDData(4 * p.hr.data, unit="")) for p in make_pairs(3)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        row = rows(fidelity(pairs, ["fine"], parts="flux"), "flux", "fine", aperture=0)[0]
    assert row["ratio"] == pytest.approx(1, abs=0.01)


def test_command(tmp_path, capsys):
    words = ["fidelity", "deeplense-2", "--n", "1", "--methods", "bilinear", "--parts", "flux",
             "transfer", "--out", str(tmp_path)]
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert "deeplense-2: preset deeplense-2" in out and "flux_bias" in out and not err
    assert (tmp_path / "deeplense-2-fidelity-flux.ecsv").exists()
    assert main(words) == 1
    assert "exists already; say overwrite=True" in capsys.readouterr()[1]
    assert main([*words, "--overwrite", "--parts", "nothing"]) == 1
    assert "`parts` must be some of" in capsys.readouterr()[1]
