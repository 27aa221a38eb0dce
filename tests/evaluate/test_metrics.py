"""Metrics against closed forms."""

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import CCDData

from lenssr.evaluate import image_metrics, psnr_summary


@pytest.fixture
def truth():
    y, x = np.mgrid[:24, :20]
    return 3 + np.exp(-((y - 10.0) ** 2 + (x - 9.0) ** 2) / 20)


def test_closed_forms(truth):
    # An offset of 0.1 everywhere: every figure can be written down.
    figures = image_metrics(truth + 0.1, truth, data_range=2.0)
    assert figures["mse"] == pytest.approx(0.01)
    assert figures["psnr"] == pytest.approx(10 * np.log10(4 / 0.01))
    assert figures["flux_ratio"] == pytest.approx(1 + 0.1 * truth.size / truth.sum())
    assert 0.9 < figures["ssim"] < 1


def test_ssim_of_constants():
    # Without any variance only the luminance term of Wang et al. (2004), eq. 6, is left.
    one, two = np.full((12, 12), 2.0), np.full((12, 12), 3.0)
    c1 = (0.01 * 4.0) ** 2
    expected = (2 * 2 * 3 + c1) / (2**2 + 3**2 + c1)
    assert image_metrics(one, two, data_range=4.0)["ssim"] == pytest.approx(expected)


def test_perfect(truth):
    figures = image_metrics(truth, truth, data_range=1.0)
    assert figures == {"mse": 0, "psnr": np.inf, "ssim": pytest.approx(1), "flux_ratio": 1}


def test_data_range_moves_psnr_by_its_square(truth):
    a, b = (image_metrics(truth + 0.1, truth, data_range=r)["psnr"] for r in (1.0, 10.0))
    assert b - a == pytest.approx(20)


@pytest.mark.parametrize("masked", ["keyword", "estimate", "nan"])
def test_masked_pixels_do_not_count(truth, masked):
    mask = np.zeros(truth.shape, bool)
    mask[3:5, 15] = True
    good = image_metrics(truth + 0.1, truth, data_range=1.0, mask=mask)
    spoilt = np.where(mask, 1e6, truth + 0.1)
    if masked == "keyword":
        found = image_metrics(spoilt, truth, data_range=1.0, mask=mask)
    elif masked == "estimate":
        found = image_metrics(CCDData(spoilt, unit="adu", mask=mask), truth, data_range=1.0)
    else:
        found = image_metrics(np.where(mask, np.nan, spoilt), truth, data_range=1.0)
    assert found == good
    assert good["mse"] == pytest.approx(0.01)


def test_ssim_where_no_window_is_whole(truth):
    mask = np.zeros(truth.shape, bool)
    mask[::5, ::5] = True
    assert 0 < image_metrics(truth + 0.1, truth, data_range=1.0, mask=mask)["ssim"] < 1


def test_units(truth):
    one, two = CCDData(truth * 1e3, unit="mJy"), CCDData(truth, unit="Jy")
    assert image_metrics(one, two, data_range=1.0)["psnr"] > 200
    assert image_metrics(truth * 1e3 * u.mJy, two, data_range=1.0)["psnr"] > 200
    with pytest.raises(ValueError, match="`estimate` must have a unit that converts to Jy"):
        image_metrics(CCDData(truth, unit="adu"), two, data_range=1.0)


def test_no_flux_to_compare_with(truth):
    figures = image_metrics(truth, np.zeros(truth.shape), data_range=1.0)
    assert np.isnan(figures["flux_ratio"])


@pytest.mark.parametrize("estimate, other, options, error, message", [
    (np.ones((8, 9)), np.ones((9, 8)), {}, ValueError, r"one shape, got \(8, 9\) and \(9, 8\)"),
    (np.ones((2, 8, 9)), np.ones((2, 8, 9)), {}, ValueError, "must be 2-D"),
    (np.ones((6, 9)), np.ones((6, 9)), {}, ValueError, "at least 7 pixels"),
    (np.ones((8, 9)), np.ones((8, 9)), {"data_range": 0}, ValueError, "`data_range` must be"),
    (np.ones((8, 9)), np.ones((8, 9)), {"mask": np.ones(3)}, ValueError, "`mask` must have"),
    (np.ones((8, 9)), np.full((8, 9), np.nan), {}, ValueError, "must leave at least one pixel"),
    ({}, np.ones((8, 9)), {}, TypeError, "`estimate` must be an image, got dict"),
])
def test_errors(estimate, other, options, error, message):
    with pytest.raises(error, match=message):
        image_metrics(estimate, other, **{"data_range": 1.0, **options})


def test_both_means():
    summary = psnr_summary([1e-2, 1e-4], 1.0)
    assert summary["mean"] == summary["median"] == pytest.approx(30)
    assert summary["of_mean"] == pytest.approx(-10 * np.log10(0.00505))
    assert summary["worst"] == pytest.approx(21)
    each = psnr_summary([1e-2, 4e-4], [1.0, 2.0])
    assert each == pytest.approx(summary)
    with pytest.raises(ValueError, match="positive numbers"):
        psnr_summary([], 1.0)
    with pytest.raises(ValueError, match="positive numbers"):
        psnr_summary([0.0], 1.0)
