"""One pair and one result: units, range, noise and constants, against what is known."""

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import CCDData, StdDevUncertainty, VarianceUncertainty

from lenssr.evaluate import (
    edge_level,
    image_metrics,
    noise_floor,
    prepare_pair,
    score_both,
    score_image,
)
from lenssr.simulate import LensPair

SIGMA = 0.05


def make_pair(unit="MJy/sr", noise=SIGMA, side=32, uncertainty=0.01, truth=True):
    """A ring of peak 2 in blocks of 2 x 2, which its input shows without any blur."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    lr = 2 * np.exp(-((np.hypot(x, y) - side / 4) / 3) ** 2)
    area = 4 if u.Unit(unit) == u.electron else 1
    fine = np.kron(lr, np.ones((2, 2))) / area
    sigma = noise / area
    target = fine + np.random.default_rng(1).normal(0, sigma, fine.shape) if noise else fine
    lr = CCDData(lr, unit=unit, uncertainty=uncertainty and StdDevUncertainty(
        np.full(lr.shape, uncertainty)))
    hr = CCDData(target, unit=unit, uncertainty=StdDevUncertainty(
        np.full(fine.shape, sigma)) if noise else None)
    return LensPair(lr, hr, {"hr": CCDData(fine, unit=unit)} if noise and truth else {})


@pytest.mark.parametrize("unit", ["MJy/sr", "electron"])
def test_everything_is_surface_brightness_over_the_peak(unit):
    pair = prepare_pair(make_pair(unit))
    peak = pair.plane.data.max()
    assert pair.span == pytest.approx(peak)
    assert pair.truth.max() == pytest.approx(1)
    assert np.allclose(pair.truth, np.kron(pair.plane.data, np.ones((2, 2))) / peak)
    assert pair.noise == pytest.approx(SIGMA / peak)


@pytest.mark.parametrize("uncertainty, truth, sigma", [
    (0.01, True, 3 * 0.01),    # three times the noise of the input,
    (0.2, True, None),         # or a tenth of the peak where that is less,
    (0.01, False, None),       # or where the target has noise and is all there is
])
def test_what_is_bright(uncertainty, truth, sigma):
    pair = prepare_pair(make_pair(uncertainty=uncertainty, truth=truth))
    above = pair.best - np.median(pair.best)
    assert (pair.arc == (above > (0.1 * above.max() if sigma is None else sigma / pair.span))).all()


@pytest.mark.parametrize("unit, span", [("MJy/sr", 5.0), ("electron", 20.0)])
def test_one_range_for_all(unit, span):
    # It is in the unit of the target, which is finer.
    assert prepare_pair(make_pair(unit), data_range=5.0).span == span


def test_floor_is_the_noise_of_the_target():
    pair = prepare_pair(make_pair())
    found = noise_floor(pair)
    expected = (SIGMA / pair.span) ** 2
    assert found["mse"] == pytest.approx(expected, rel=5 * np.sqrt(2 / pair.target.size))
    own = image_metrics(pair.truth, pair.target, data_range=1.0)
    assert (found["mse"], found["ssim"]) == (own["mse"], own["ssim"])
    # Without a truth at hand the uncertainty says it; of SSIM it says nothing.
    found = noise_floor(prepare_pair(make_pair(truth=False)))
    assert found["mse"] == pytest.approx((SIGMA / make_pair(truth=False).hr.data.max()) ** 2)
    assert np.isnan(found["ssim"])


def test_floor_of_variances():
    pair = make_pair(truth=False)
    pair.hr.uncertainty = VarianceUncertainty(np.full(pair.hr.shape, SIGMA**2))
    assert prepare_pair(pair).noise * prepare_pair(pair).span == pytest.approx(SIGMA)


def test_targets_without_noise_and_targets_nobody_knows_of():
    pair = make_pair(noise=0)
    assert np.isnan(list(noise_floor(prepare_pair(pair)).values())).all()
    pair.truth["target_sigma"] = 0 * u.electron
    assert noise_floor(prepare_pair(pair)) == {"mse": 0, "ssim": 1, "mse_arc": 0, "mse_matched": 0,
                                               "ssim_matched": 1, "mse_arc_matched": 0}


def test_a_constant_is_taken_off():
    pair = prepare_pair(make_pair())
    found = score_both(pair.truth + 0.3, pair)
    for name in ("truth_mse", "truth_mse_arc"):
        assert found[name] == pytest.approx(0.09)
        assert found[f"{name}_matched"] == pytest.approx(0, abs=1e-20)
    assert found["truth_ssim"] < 0.9
    assert found["truth_ssim_matched"] == pytest.approx(1)
    # Least squares: no other constant leaves less.
    found = score_image(pair.truth + 0.3, pair.target, pair.mask, pair.arc)
    assert found["mse_matched"] == pytest.approx(np.var(pair.target - pair.truth))


def test_arcs_alone():
    pair = prepare_pair(make_pair())
    wrong = pair.truth + np.where(pair.arc, 0.2, 0)
    found = score_image(wrong, pair.truth, pair.mask, pair.arc)
    assert found["mse_arc"] == pytest.approx(0.04)
    assert found["mse"] == pytest.approx(0.04 * pair.arc.mean())


def test_masked_pixels_count_for_nobody():
    pair = make_pair()
    pair.lr.mask = np.zeros(pair.lr.shape, bool)
    pair.lr.mask[3, 4] = True
    pair.hr.data[20, 20] = np.nan
    ready = prepare_pair(pair)
    assert ready.mask.sum() == 5 and ready.mask[6:8, 8:10].all() and ready.mask[20, 20]
    wrong = np.where(ready.mask, 1e3, ready.truth)
    assert score_image(wrong, ready.truth, ready.mask, ready.arc)["mse"] == 0


@pytest.mark.parametrize("spoil", [np.nan, np.inf])
def test_failures_are_not_left_out(spoil):
    pair = prepare_pair(make_pair())
    wrong = pair.truth.copy()
    wrong[3, 3] = spoil
    with pytest.raises(ValueError, match="not finite"):
        score_image(wrong, pair.truth, pair.mask, pair.arc)
    with pytest.raises(ValueError, match="has the shape"):
        score_image(wrong[1:], pair.truth, pair.mask, pair.arc)


def test_noise_for_want_of_one():
    pair = make_pair(uncertainty=None)
    ready = prepare_pair(pair, assumed_snr=20)
    assert ready.noise_from == "declared"
    assert ready.plane.noise == pytest.approx(pair.lr.data.max() / 20)
    rng = np.random.default_rng(2)
    pair.lr.data += rng.normal(0, 0.02, pair.lr.shape)
    ready = prepare_pair(pair, assumed_snr=None)
    assert ready.noise_from == "sky"
    assert ready.plane.noise == pytest.approx(0.02, rel=0.2)
    assert "estimated from the sky" in ready.warned[0]


def test_nothing_to_see():
    pair = make_pair(uncertainty=1.0)
    assert prepare_pair(pair) is None
    pair = make_pair(uncertainty=None)
    pair.lr.data -= 10
    assert prepare_pair(pair) is None


def test_level_of_the_edges():
    image = np.full((9, 8), 3.0)
    image[2:-2, 2:-2] = 100
    image[0, 0] = np.nan
    assert edge_level(image) == 3
