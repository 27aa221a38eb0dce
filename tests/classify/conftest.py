"""A classifier that was trained for no time, and the scenes that it needs."""

from contextlib import contextmanager

import pytest

from lenssr.classify import ClassifierRecipe, train_classifier
from lenssr.train import Data, Training

CLASSES = ["no_sub", "cdm", "axion"]


@pytest.fixture(scope="session")
def tiny_recipe():
    """A recipe of six steps."""
    return ClassifierRecipe(
        "tiny", dict(architecture="resnet", width=4, blocks=[1, 1]),
        Data("classification", scenes=24, validation_scenes=24, size=16, substructure=CLASSES,
             p_correlated_noise=0.0, noise_error=0.0),
        Training(steps=6, batch=8, warmup=2, validate_every=3, precision="float32"))


@pytest.fixture(scope="session")
def few_scenes(tmp_path_factory):
    """A context in which no more scenes are rendered than are needed."""
    folder = str(tmp_path_factory.mktemp("cache"))

    @contextmanager
    def context():
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LENSSR_CACHE", folder)
            yield

    return context


@pytest.fixture(scope="module", autouse=True)
def cache(few_scenes):
    """The tests of a module in that context."""
    with few_scenes():
        yield


@pytest.fixture(scope="session")
def tiny(tiny_recipe, few_scenes, tmp_path_factory):
    """Weights of the recipe."""
    with few_scenes():
        return train_classifier(tiny_recipe, tmp_path_factory.mktemp("tiny"), progress=False)
