"""The optimal linear filter, against maps that are known and against Wiener's formula."""

import numpy as np
import pytest
from scipy import ndimage

from lenssr.evaluate import OptimalLinearFilter


def test_recovers_a_linear_map():
    rng = np.random.default_rng(1)
    kernel = rng.normal(size=(5, 5))
    model = OptimalLinearFilter(size=7, scale=1, ridge=0)
    for _ in range(6):
        image = rng.normal(size=(20, 23))
        model.add(image, ndimage.correlate(image, kernel, mode="reflect"))
    expected = np.zeros((7, 7))
    expected[1:-1, 1:-1] = kernel
    assert np.allclose(model.weights[0, 0], expected, atol=1e-10)


def test_recovers_each_phase():
    rng = np.random.default_rng(2)
    kernels = rng.normal(size=(2, 2, 3, 3))
    model = OptimalLinearFilter(size=3, scale=2, ridge=0)

    def finer(image):
        out = np.empty((2 * image.shape[0], 2 * image.shape[1]))
        for a in range(2):
            for b in range(2):
                out[a::2, b::2] = ndimage.correlate(image, kernels[a, b], mode="reflect")
        return out

    for _ in range(4):
        image = rng.normal(size=(12, 10))
        model.add(image, finer(image))
    assert np.allclose(model.weights, kernels, atol=1e-10)
    unseen = rng.normal(size=(9, 14))
    assert np.allclose(model.apply(unseen), finer(unseen), atol=1e-9)


def test_is_the_least_square_estimate():
    # White signal of variance S and white noise of variance N: the best filter is the
    # number S / (S + N), here in the norm that divides each image by its peak.
    rng = np.random.default_rng(3)
    model = OptimalLinearFilter(size=3, scale=1)
    for _ in range(200):
        truth = rng.normal(size=(32, 32))
        model.add(truth + rng.normal(0, 0.5, truth.shape), truth)
    weights = model.weights[0, 0]
    assert weights[1, 1] == pytest.approx(1 / 1.25, abs=0.01)
    weights[1, 1] = 0
    assert abs(weights).max() < 0.01


def test_images_weigh_by_their_peak():
    # The same two images at other brightness give the same filter.
    rng = np.random.default_rng(4)
    images = [(rng.normal(size=(16, 16)), rng.normal(size=(16, 16))) for _ in range(2)]
    weights = []
    for factor in (1.0, 1e6):
        model = OptimalLinearFilter(size=3, scale=1)
        model.add(*images[0])
        model.add(*(factor * image for image in images[1]))
        weights.append(model.weights)
    assert np.allclose(*weights)


def test_empty_truths_teach_nothing():
    model = OptimalLinearFilter(size=3, scale=2)
    model.add(np.ones((4, 4)), np.zeros((8, 8)))
    assert model.n_pairs == 0
    with pytest.raises(ValueError, match="learnt from no pair"):
        model.apply(np.ones((4, 4)))


@pytest.mark.parametrize("options, message", [
    ({"size": 4}, "`size` must be an odd positive integer, got 4"),
    ({"scale": 1.5}, "`scale` must be a positive integer, got 1.5"),
    ({"ridge": -1}, "`ridge` must not be negative, got -1"),
])
def test_bad_parameters(options, message):
    with pytest.raises(ValueError, match=message):
        OptimalLinearFilter(**options)


def test_bad_images():
    model = OptimalLinearFilter(size=9)
    with pytest.raises(ValueError, match="2 times the shape"):
        model.add(np.ones((8, 8)), np.ones((8, 8)))
    with pytest.raises(ValueError, match="at least 4 pixels"):
        model.add(np.ones((3, 8)), np.ones((6, 16)))
    model.add(np.eye(8), np.ones((16, 16)))
    with pytest.raises(ValueError, match="2 dimensions, got 1"):
        model.apply(np.ones(8))
