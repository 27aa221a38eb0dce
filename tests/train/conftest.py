"""A recipe that takes no time, and the scenes that it needs."""


import pytest
import torch

from lenssr.train import Data, Recipe, Training
from lenssr.weights import load_network


@pytest.fixture(scope="session")
def cache_folder(tmp_path_factory):
    """Scenes are rendered once for all tests here."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module", autouse=True)
def cache(cache_folder):
    """No more scenes than are needed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LENSSR_CACHE", str(cache_folder))
        yield


@pytest.fixture(scope="session")
def recipe():
    """A recipe of six steps."""
    return Recipe(
        "tiny", dict(architecture="rcan", channels=1, scale=2, groups=1, blocks=1, features=4,
                     reduction=2, window=8, conditions=5),
        Data(scenes=20, validation_scenes=8, size=8),
        Training(steps=6, batch=4, warmup=2, validate_every=3, precision="float32"))


@pytest.fixture(scope="session")
def toml():
    """The text of a recipe file."""
    def text(recipe):
        def value(x):
            if isinstance(x, bool):
                return str(x).lower()
            if isinstance(x, dict):
                return "{" + ", ".join(f"{k} = {value(v)}" for k, v in x.items()) + "}"
            return repr(x).replace("'", '"')

        tree = recipe.as_dict()
        lines = [f'name = "{tree["name"]}"']
        for part in ("network", "data", "training"):
            lines.append(f"[{part}]")
            lines += [f"{k} = {value(v)}" for k, v in tree[part].items() if v is not None]
        return "\n".join(lines) + "\n"
    return text


@pytest.fixture(scope="session")
def values():
    """All numbers of a file of weights, one after the other."""
    return lambda path: torch.cat(
        [v.flatten() for v in load_network(path)[0].state_dict().values()])
