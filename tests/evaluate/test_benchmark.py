"""The benchmark on pairs whose answers are known, and what it says of those who fail."""

import numpy as np
import pytest
from astropy.nddata import CCDData, StdDevUncertainty
from astropy.table import Table

from lenssr import register_method
from lenssr.evaluate import LinearBaseline, benchmark, image_metrics, prepare_pair
from lenssr.methods import Restoration, unregister_method
from lenssr.networks import build_network
from lenssr.simulate import LensPair
from lenssr.weights import save_network

SIGMA, N = 0.06, 6


class Repeat:
    """Repeat each pixel, and add a constant: the truth of the pairs below, but for that."""

    def __init__(self, constant=0.0):
        self.constant = constant

    def restore(self, image, run):
        block = np.ones((run.scale, run.scale))
        mean = np.kron(image.data, block) + self.constant
        return Restoration(mean, np.kron(image.sigma, block), np.zeros(mean.shape, bool), None)


def make_pairs(n=N, noise=SIGMA, psf=None, uncertainty=0.01, scale=2, side=20):
    rng = np.random.default_rng(3)
    pairs, (y, x) = [], np.mgrid[:side, :side] - (side - 1) / 2
    for _ in range(n):
        a, b = rng.uniform(-2, 2, 2)
        lr = 2 * np.exp(-((np.hypot(x - a, y - b) - 5) / 1.5) ** 2)
        fine = np.kron(lr, np.ones((scale, scale)))
        hr = CCDData(fine + rng.normal(0, noise, fine.shape) if noise else fine, unit="MJy/sr")
        if noise:
            hr.uncertainty = StdDevUncertainty(np.full(fine.shape, noise))
        lr = CCDData(lr, unit="MJy/sr", psf=psf)
        if uncertainty:
            lr.uncertainty = StdDevUncertainty(np.full(lr.shape, uncertainty))
        pairs.append(LensPair(lr, hr, {"hr": CCDData(fine, unit="MJy/sr")} if noise else {}))
    return pairs


@pytest.fixture(autouse=True)
def methods():
    """Two methods of known score, and two that fail."""
    def broken(image, run):
        raise ValueError("it is broken")

    def wild(image, run):
        found = Repeat().restore(image, run)
        found.mean[0, 0] = np.inf
        return found

    made = {"perfect": Repeat, "off": lambda: Repeat(0.3),
            "broken": lambda: type("Broken", (), {"restore": staticmethod(broken)}),
            "wild": lambda: type("Wild", (), {"restore": staticmethod(wild)})}
    for name, factory in made.items():
        register_method(name, factory, scales=(3,) if name == "broken" else None, overwrite=True)
    yield
    for name in made:
        unregister_method(name)


def by_method(table, name):
    return table[list(table["method"]).index(name)]


def weights(path, seed, scale=2, **facts):
    import torch

    torch.manual_seed(seed)
    network = {"architecture": "srcnn", "scale": scale, "features": (4, 4), "kernels": (3, 1, 3),
               "skip": True}
    save_network(path, build_network(**network).eval(), name=path.stem, network=network, **facts)
    return path


@pytest.fixture(scope="module")
def noisy():
    found = {}

    def run():
        if not found:
            found["result"] = benchmark(make_pairs(), ["perfect", "off"], data_range=2.0)
        return found["result"]

    return run


def test_the_perfect_method_scores_the_floor(noisy):
    summary = noisy().summary
    perfect, truth = (by_method(summary, name) for name in ("perfect", "truth"))
    for name in summary.colnames[2:]:
        if name.startswith("target"):
            assert perfect[name] == pytest.approx(truth[name])
    # White noise of sigma, over the range of two.
    expected, scatter = (SIGMA / 2) ** 2, np.sqrt(2 / (N * 1600))
    assert perfect["target_mse"] == pytest.approx(expected, rel=5 * scatter)
    assert summary.meta["floor"]["mse"] == pytest.approx(perfect["target_mse"])
    assert perfect["target_psnr_of_mean"] == pytest.approx(-10 * np.log10(expected), abs=0.3)
    assert perfect["truth_mse"] == 0 and perfect["truth_psnr"] == np.inf
    assert truth["truth_mse"] is np.ma.masked


def test_share_of_the_excess(noisy):
    for row, share in (("bilinear", 0), ("perfect", 1), ("truth", 1)):
        found = by_method(noisy().summary, row)
        for end in ("", "_matched"):
            assert found[f"target_removed{end}"] == pytest.approx(share)
            if row != "truth":
                assert found[f"truth_removed{end}"] == pytest.approx(share)
    off = by_method(noisy().summary, "off")
    mse = by_method(noisy().summary, "bilinear")["truth_mse"]
    assert off["truth_removed"] == pytest.approx(1 - 0.15**2 / mse)
    assert off["truth_removed_matched"] == pytest.approx(1)


def test_means_of_images_and_of_errors(noisy):
    images = noisy().images
    rows = images[images["method"] == "bilinear"]
    assert len(rows) == N
    found = by_method(noisy().summary, "bilinear")
    psnr = -10 * np.log10(rows["truth_mse"])
    assert found["truth_psnr"] == pytest.approx(psnr.mean())
    assert found["truth_psnr_of_mean"] == pytest.approx(-10 * np.log10(rows["truth_mse"].mean()))
    assert found["truth_ssim"] == pytest.approx(rows["truth_ssim"].mean())


def test_the_range_is_respected(noisy):
    one = by_method(noisy().summary, "off")
    two = by_method(benchmark(make_pairs(), ["off"], data_range=20.0).summary, "off")
    assert two["truth_psnr"] - one["truth_psnr"] == pytest.approx(20)
    assert two["truth_ssim"] > one["truth_ssim"]
    own = benchmark(make_pairs(2), ["off"])
    for pair, mse in zip(_drawn(make_pairs(2)), own.images[own.images["method"] == "off"]):
        peak = pair.truth["hr"].data.max()
        assert mse["truth_mse"] == pytest.approx((0.3 / peak) ** 2)
        expected = image_metrics(pair.truth["hr"].data + 0.3, pair.truth["hr"].data,
                                 data_range=peak)
        assert mse["truth_ssim"] == pytest.approx(expected["ssim"])


def _drawn(pairs, seed=2):
    return [pairs[i] for i in np.random.default_rng(seed).permutation(len(pairs))]


def test_figure(noisy):
    figure = noisy().figure()
    images = [axis for axis in figure.axes if axis.images]
    titles = [axis.get_title() for axis in images if axis.get_title()]
    assert titles == ["observed", "bilinear", "perfect", "off", "truth"]
    residuals = [axis.images[0] for axis in images if axis.images[0].get_clim() == (-6, 6)]
    assert len(residuals) == 3 * 3
    # Nothing is wrong with the second and the third but the constant that is taken off.
    for k, residual in enumerate(residuals):
        assert (abs(residual.get_array()).max() < 1e-9) == (k % 3 > 0)
    chart = figure.axes[-1]
    lines = {line.get_label(): line.get_xdata() for line in chart.lines}
    assert lines["floor of the target"][0] == pytest.approx(
        -10 * np.log10(noisy().summary.meta["floor"]["mse"]))
    assert lines["against the truth, as it is"][0] == pytest.approx(
        by_method(noisy().summary, "bilinear")["truth_psnr"])
    assert [text.get_text() for text in chart.get_yticklabels()] == [
        "bilinear", "perfect", "off", "constant"]


def test_flat_images_are_the_variance(noisy):
    rows = noisy().images[noisy().images["method"] == "constant"]
    for row, pair in zip(rows, _drawn(make_pairs())):
        assert row["target_mse"] == pytest.approx(np.var(pair.hr.data) / 4)


def test_the_linear_filter_learns_from_other_pairs():
    pairs = make_pairs(7)
    found = benchmark(pairs, ["optimal_linear"], n=7, training=3)
    assert found.summary.meta["n"] == 4
    row = by_method(found.summary, "optimal_linear")
    assert row["truth_removed"] > 0.9
    assert (row["parameters"], row["macs_per_pixel"]) == (4 * 15**2 + 1, 4 * 15**2)
    alone = benchmark(pairs[:1], ["optimal_linear"])
    assert "there is no training pair" in alone.summary.meta["not_run"]["optimal_linear"]


def test_pairs_to_learn_from_can_be_given():
    pairs = make_pairs(7)
    found = benchmark(pairs[:3], ["optimal_linear"], training=pairs[3:])
    assert found.summary.meta["n"] == 3
    model = LinearBaseline(2)
    for pair in pairs[3:]:
        model.add(prepare_pair(pair))
    expected = [np.mean((model(p) / p.span - p.best) ** 2) for p in map(prepare_pair, pairs[:3])]
    rows = found.images[found.images["method"] == "optimal_linear"]
    np.testing.assert_allclose(sorted(rows["truth_mse"]), sorted(expected))
    with pytest.raises(ValueError, match="`training` must be a number for pairs of a preset"):
        benchmark("clean", training=pairs)


def test_the_linear_filter_knows_pedestals():
    # Of the input alone, or of both images.
    for share in (0, 1):
        pairs = make_pairs(12, noise=0)
        for k, pair in enumerate(pairs):
            pair.lr.data += k % 4
            pair.hr.data += share * (k % 4)
        found = benchmark(pairs, ["optimal_linear"], n=4, training=8, data_range=2.0).summary
        row = by_method(found, "optimal_linear")
        assert row["target_psnr"] == pytest.approx(row["target_psnr_matched"], abs=0.2)
        assert row["target_psnr"] > 35


def test_who_cannot_is_listed_with_the_reason():
    found = benchmark(make_pairs(2), ["wiener", "richardson_lucy", "broken", "wild"])
    reasons = found.summary.meta["not_run"]
    assert set(reasons) == {"wiener", "richardson_lucy", "broken", "wild"}
    assert "`psf` must be given" in reasons["wiener"]
    assert "`scale` must be one of (3,)" in reasons["broken"]
    assert "not finite" in reasons["wild"]
    assert set(found.summary["method"]) == {"bilinear", "constant", "truth"}
    assert "wild: the result has values that are not finite" in str(found)
    from astropy import units as u

    found = benchmark(make_pairs(2), ["wiener"], psf=2 * u.pix)
    assert not found.summary.meta["not_run"] and "wiener" in found.summary["method"]


def test_failing_late_takes_back_all():
    pairs = make_pairs(3)
    last = _drawn(pairs)[-1]
    last.lr.psf = None
    for pair in pairs:
        if pair is not last:
            pair.lr.psf = np.ones((3, 3)) / 9
    found = benchmark(pairs, ["wiener"])
    assert "(at pair 2)" in found.summary.meta["not_run"]["wiener"]
    assert "wiener" not in found.images["method"]
    assert all("wiener" not in results for _, results in found.shown)


def test_networks_of_several_seeds(tmp_path):
    files = [weights(tmp_path / f"net{seed}.safetensors", seed) for seed in range(3)]
    other = weights(tmp_path / "other.safetensors", 0, scale=3)
    found = benchmark(make_pairs(2), ["perfect"], weights={"net": files, "other": other})
    row = by_method(found.summary, "net")
    assert row["runs"] == 3
    each = [by_method(benchmark(make_pairs(2), ["perfect"], weights=file).summary, file.stem)
            for file in files]
    psnr = [line["truth_psnr"] for line in each]
    assert row["truth_psnr"] == pytest.approx(np.mean(psnr))
    assert row["truth_psnr_spread"] == pytest.approx(np.std(psnr, ddof=1))
    assert by_method(found.summary, "perfect")["truth_psnr_spread"] is np.ma.masked
    assert row["parameters"] == 9 * 4 + 4 + 16 + 4 + 9 * 4 + 1
    assert row["macs_per_pixel"] == 4 * (9 * 4 + 16 + 9 * 4)
    assert row["macs"] == 400 * row["macs_per_pixel"]
    assert "scale 3, not 2" in found.summary.meta["not_run"]["other"]
    # What all of them warn of is told once.
    assert found.summary.meta["notes"]["net"] == [
        "no `psf` was given: the network infers its width from the image (2 of 2 images)"]


def test_noise_is_declared_where_there_is_none():
    found = benchmark(make_pairs(2, noise=0, uncertainty=None), ["perfect"])
    assert "peak / 22" in found.summary.meta["input_noise"]
    assert found.summary.meta["target_noise"] == "not known, taken for none"
    assert "truth_mse" not in found.summary.colnames
    assert "truth" not in found.summary["method"]
    assert by_method(found.summary, "perfect")["target_removed"] == 1


def test_empty_pairs_are_counted():
    pairs = make_pairs(3)
    pairs[1].truth["hr"].data[:] = 0
    assert benchmark(pairs, ["perfect"]).summary.meta["left_out"] == 1
    with pytest.raises(ValueError, match="`pairs` must hold a pair with a visible source"):
        benchmark(pairs[1:2], ["perfect"])


def test_pairs_without_a_length_are_read_as_far_as_needed():
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield make_pairs(1)[0]

    assert benchmark(endless(), ["perfect"], n=3).summary.meta["n"] == 3
    assert len(taken) == 3


def test_folder(tmp_path):
    for k, pair in enumerate(make_pairs(4)):
        for name, image in (("LR", pair.lr), ("HR", pair.hr)):
            (tmp_path / name).mkdir(exist_ok=True)
            # Each image scaled on its own, as the public sets are.
            data = image.data / image.data.max()
            np.save(tmp_path / name / f"sample_{k}.npy", data[None].astype(np.float32))
    found = benchmark(tmp_path, ["perfect", "wiener"], n=3)
    meta = found.summary.meta
    assert (found.name, meta["n"], meta["scale"]) == (tmp_path.name, 3, 2)
    assert "`psf` must be given" in meta["not_run"]["wiener"]
    # Neither image is divided among pixels: what is left is noise and its own peak.
    assert by_method(found.summary, "perfect")["target_psnr"] > 20
    assert benchmark(str(tmp_path), ["perfect"], n=3).name == tmp_path.name


def test_preset_written_and_read(tmp_path):
    options = dict(n=2, training=2, name="small", out=tmp_path / "out")
    found = benchmark("noisy", ["optimal_linear", "perfect"], **options)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "small-images.ecsv", "small.ecsv", "small.png"]
    assert (tmp_path / "out" / "small.png").read_bytes()[:4] == b"\x89PNG"
    back = Table.read(tmp_path / "out" / "small.ecsv")
    meta = back.meta
    assert (meta["preset"], meta["seed"], meta["n"]) == ("deeplense-noisy", 2, 2)
    assert meta["floor"]["mse"] == pytest.approx(9e-4, rel=0.03)
    assert meta["versions"]["lenssr"]
    assert str(back["target_psnr"].unit) == "dB"
    assert "noise floor, truth against target" in str(found)
    with pytest.raises(OSError, match="exists already"):
        benchmark("noisy", ["perfect"], **options)
    again = benchmark("noisy", ["optimal_linear", "perfect"], overwrite=True, **options)
    for name in again.images.colnames:
        if name != "ms":
            assert list(map(str, again.images[name])) == list(map(str, found.images[name])), name


def test_networks_that_saw_the_pairs_are_told(tmp_path):
    file = weights(tmp_path / "net.safetensors", 0,
                   recipe={"data": {"preset": "deeplense-clean", "seed": 5}})
    for seed, seen in ((5, True), (6, False)):
        found = benchmark("clean", ["perfect"], weights=file, n=1, seed=seed)
        notes = found.summary.meta["notes"]["net"]
        assert any("its training saw" in note for note in notes) == seen


@pytest.mark.parametrize("options, message", [
    (dict(pairs="nosy"), "`pairs` must be one of clean, noisy, observed, .* got 'nosy'"),
    (dict(pairs=[]), "`pairs` must hold at least one pair"),
    (dict(methods=["bilinaer"]), "`methods` must be names .* did you mean 'bilinear'"),
    (dict(n=0), "`n` must be a positive integer, got 0"),
    (dict(training=-1), "`training` must be a non-negative integer"),
    (dict(seed=0.5), "`seed` must be a non-negative integer"),
    (dict(scale=3), "`scale` must be the scale of the pairs, 2, got 3"),
    (dict(data_range=0), "`data_range` must be a positive number"),
    (dict(assumed_snr=-1), "`assumed_snr` must be a positive number"),
    (dict(weights={"bilinear": "x"}), "`weights` must have labels that no method has"),
])
def test_errors_name_the_argument(options, message):
    options = {"pairs": make_pairs(1), "methods": ["bilinear"], **options}
    with pytest.raises(ValueError, match=message):
        benchmark(**options)


def test_no_such_weights():
    with pytest.raises(FileNotFoundError, match="`weights` must be the name"):
        benchmark(make_pairs(1), ["bilinear"], weights="nowhere.safetensors")
