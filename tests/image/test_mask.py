"""Missing pixels: which they are, and that nothing of them gets through."""

import numpy as np
import pytest

from lenssr.image import combine_masks, expand_mask, fill_masked

RNG = np.random.default_rng(5)


def test_what_is_not_finite_is_missing():
    values = np.array([[1.0, np.nan], [np.inf, -np.inf]])
    np.testing.assert_array_equal(combine_masks(None, values), [[False, True], [True, True]])
    np.testing.assert_array_equal(combine_masks([[1, 0], [0, 0]], values), [[True] * 2] * 2)


@pytest.mark.parametrize("mask", [np.ma.nomask, False, np.False_])
def test_a_single_false_masks_nothing(mask):
    assert not combine_masks(mask, np.zeros((2, 3))).any()


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, ">i4", np.uint32, np.uint64, float])
def test_each_flag_masks(dtype):
    flags = np.array([[0, 1], [0, 1]]).astype(dtype)
    np.testing.assert_array_equal(combine_masks(flags, np.zeros((2, 2))), [[False, True]] * 2)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint32, np.uint64])
def test_only_some_flags_mask(dtype):
    flags = np.array([[0, 1], [2, 64]], dtype)
    np.testing.assert_array_equal(combine_masks(flags, np.zeros((2, 2)), 1),
                                  [[False, True], [False, False]])
    np.testing.assert_array_equal(combine_masks(flags, np.zeros((2, 2)), (1 << 24) | 2),
                                  [[False, False], [True, False]])
    # which is meant of integers only
    assert combine_masks(flags > 0, np.zeros((2, 2)), 2).sum() == 3


def test_one_mask_for_all_planes():
    cube = np.zeros((3, 2, 2))
    cube[1, 0, 0] = np.nan
    mask = combine_masks(np.eye(2, dtype=bool), cube)
    assert mask.shape == cube.shape and mask.sum() == 6
    mask = combine_masks(np.array([[0, 1], [0, 0]]), cube)
    np.testing.assert_array_equal(mask.sum(axis=0), [[1, 3], [0, 0]])


@pytest.mark.parametrize("mask", [np.zeros((3, 2), bool), np.zeros(4, bool), True])
def test_shape(mask):
    with pytest.raises(ValueError, match=r"`mask` must have the shape of the data \(2, 2\), got"):
        combine_masks(mask, np.zeros((2, 2)))


def test_type():
    for mask in (np.full((2, 2), 0.5), np.full((2, 2), np.nan), [["a", "b"], ["c", "d"]]):
        with pytest.raises(TypeError, match="`mask` must be boolean or integer, got dtype"):
            combine_masks(mask, np.zeros((2, 2)))
    with pytest.raises(ValueError, match="`mask` must be a regular array"):
        combine_masks([[0, 1], [0]], np.zeros((2, 2)))


@pytest.mark.parametrize("spoilt", [1e30, -1e30, np.nan, np.inf])
def test_what_lies_under_the_mask_never_counts(spoilt):
    values = RNG.normal(5, 1, (30, 31))
    mask = RNG.random(values.shape) < 0.2
    mask[5:20, 8:23] = True
    filled = fill_masked(np.where(mask, spoilt, values), mask)
    np.testing.assert_array_equal(filled, fill_masked(np.where(mask, 0, values), mask))
    np.testing.assert_array_equal(filled[~mask], values[~mask])
    assert values[~mask].min() <= filled.min() and filled.max() <= values[~mask].max()


def test_fill_follows_its_neighbours():
    """On a plane the fill of a single pixel, symmetric about it, is the plane's value."""
    y, x = np.mgrid[:21, :21]
    plane = 3.0 + 0.5 * x - 0.2 * y
    mask = np.zeros(plane.shape, bool)
    mask[10, 12] = True
    assert fill_masked(plane, mask)[10, 12] == pytest.approx(plane[10, 12], abs=1e-9)


def test_far_inside_a_hole_stands_the_median():
    values = RNG.normal(0, 1, (80, 80))
    mask = np.zeros(values.shape, bool)
    mask[10:70, 10:70] = True
    assert fill_masked(values, mask)[40, 40] == np.median(values[~mask])


def test_nothing_to_fill():
    values = np.arange(6, dtype=">i2").reshape(2, 3)
    filled = fill_masked(values, np.zeros((2, 3), bool))
    assert filled.dtype == np.float64
    np.testing.assert_array_equal(filled, values)


def test_expanded_masks_cover_their_pixels():
    mask = np.array([[True, False], [False, False]])
    np.testing.assert_array_equal(expand_mask(mask, 3), np.kron(mask, np.ones((3, 3))) > 0)
    assert expand_mask(np.zeros((5, 2, 2), bool), 2).shape == (5, 4, 4)
