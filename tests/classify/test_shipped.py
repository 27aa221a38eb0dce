"""The classifiers in the package, on lenses that they have not seen."""

import numpy as np
import pytest

from lenssr import superresolve
from lenssr.classify import classify
from lenssr.classify._judge import open_judge
from lenssr.classify._plan import CLASSES, TESTED
from lenssr.classify._scores import auc
from lenssr.classify._sights import lens_images
from lenssr.exceptions import LensSRWarning
from lenssr.simulate._series import PairSeries

N = 90


@pytest.fixture(scope="module")
def judge():
    return open_judge("classifier-resnet18")


@pytest.fixture(scope="module")
def batch():
    series = PairSeries("classification", substructure=CLASSES, seed=TESTED, engine="torch")
    return series.batch(range(N))


@pytest.fixture(scope="module")
def truths(batch):
    return batch.truth.numpy()


@pytest.fixture(scope="module")
def verdict(judge, truths):
    return judge(truths)


def test_it_tells_classes_apart(verdict):
    chances, far = verdict
    labels = np.arange(N) % 3
    # Three standard errors of 90 images below what its card says.
    assert (chances.argmax(axis=1) == labels).mean() > 0.84
    assert auc(chances[:, 0], labels == 0) > 0.96
    assert (far > 1).mean() < 0.06


@pytest.mark.parametrize("shift", [(1, 0), (-2, 3), (4, -4)])
def test_a_shift_changes_little(judge, truths, verdict, shift):
    """What changes a class are lenses that were undecided."""
    moved, _ = judge(np.roll(truths, shift, axis=(1, 2)))
    same = moved.argmax(axis=1) == verdict[0].argmax(axis=1)
    assert same.mean() > 0.93
    assert np.median(np.abs(moved - verdict[0]).max(axis=1)) < 0.05


def test_turned_mirrored_and_of_another_unit(judge, truths, verdict):
    for other in (np.rot90(truths, axes=(1, 2)), truths[:, ::-1], 1e-9 * truths):
        np.testing.assert_allclose(judge(np.ascontiguousarray(other))[0], verdict[0], atol=1e-3)


def test_noise_is_no_lens(judge):
    noise = np.random.default_rng(0).normal(size=(8, 64, 64))
    assert (judge(noise)[1] > 1).all()


def test_restored_images(batch, truths):
    """As a user has them: observed, restored by the network of the recipe, told apart."""
    restored = [superresolve(image.data, scale=2, method="rcan", weights="rcan-all",
                             uncertainty=image.sigma, psf=image.psf, flux="per-pixel")
                for image in lens_images(batch)[0][:60]]
    labels = np.arange(60) % 3
    table = classify(restored, classifier="classifier-resnet18-sr-all")
    assert (table["class"] == np.array(CLASSES)[labels]).mean() > 0.65
    assert auc(table["p_cdm"], labels == 1) > 0.85
    assert table["out_of_domain"].mean() < 0.06
    with pytest.warns(LensSRWarning, match="unlike those that classifier-resnet18 was trained on"):
        sharp = classify(restored)
    assert sharp["out_of_domain"].mean() > 0.9
