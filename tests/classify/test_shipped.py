"""The classifiers in the package, on lenses that they have not seen."""

import warnings

import numpy as np
import pytest

from lenssr import superresolve
from lenssr.classify import TEST_SEED, auc, classify, lens_images, open_classifier
from lenssr.exceptions import LensSRWarning
from lenssr.simulate import CLASSES, PairSeries

N = 90
RESTORED = "classifier-resnet18-sr-all"


@pytest.fixture(scope="module")
def judge():
    return open_classifier("classifier-resnet18")


@pytest.fixture(scope="module")
def batch():
    series = PairSeries("classification", substructure=CLASSES, seed=TEST_SEED, engine="torch")
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


def restore(image, method="rcan", **options):
    """As a user does."""
    return superresolve(image.data, method=method, uncertainty=image.sigma, psf=image.psf,
                        flux="per-pixel", **options)


@pytest.mark.slow
def test_restored_images(batch):
    """Observed, restored by the network of the recipe, told apart."""
    restored = [restore(image, weights="rcan-all") for image in lens_images(batch)[0][:60]]
    labels = np.arange(60) % 3
    table = classify(restored, RESTORED)
    # Three standard errors of 60 images below what is so of 1,800.
    assert (table["class"] == np.array(CLASSES)[labels]).mean() > 0.64
    assert auc(table["p_cdm"], labels == 1) > 0.83
    assert table["out_of_domain"].mean() < 0.06
    with pytest.warns(LensSRWarning, match="unlike those that classifier-resnet18 was trained on"):
        sharp = classify(restored)
    assert sharp["out_of_domain"].all()


def test_what_others_restored_is_told(batch, truths, tmp_path):
    image = lens_images(batch)[0][0]
    restore(image, weights="rcan-all").write(tmp_path / "own.fits")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LensSRWarning)  # its training ends at a PSF little wider
        restore(image, "unrolled").write(tmp_path / "other.fits")
    own = classify(tmp_path / "own.fits", RESTORED)
    assert not own["out_of_domain"][0]
    with pytest.warns(LensSRWarning, match="1 of 2 images is unlike those that .*, restored by "
                      "rcan-all: their"):
        both = classify([tmp_path / "own.fits", tmp_path / "other.fits"], RESTORED)
    assert both["out_of_domain"].tolist() == [False, True]
    # Its features are like those of its training, but it was not taught what these mean.
    assert both["distance"][1] < 1
    with pytest.warns(LensSRWarning, match="headers of 1 of 1 images do not state"):
        unknown = classify(truths[0], RESTORED)
    assert not unknown["out_of_domain"][0]
