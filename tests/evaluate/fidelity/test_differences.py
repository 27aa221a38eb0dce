"""Differences that are known to hold a share of the truth."""

import numpy as np
import pytest

from lenssr.evaluate import compare


def test_share_and_noise():
    rng = np.random.default_rng(0)
    truth, noise = rng.normal(size=(2, 300, 300))
    amplitude, correlation = compare(0.4 * truth + 0.3 * noise, truth)
    assert amplitude == pytest.approx(0.4, abs=0.005)
    assert correlation == pytest.approx(0.8, abs=0.01)
    assert np.abs(compare(noise, truth)).max() < 0.02
    assert compare(-truth, truth) == pytest.approx((-1, -1))
    assert compare(0 * truth, truth) == (0, 0)
    assert np.isnan(compare(truth, 0 * truth)).all()
