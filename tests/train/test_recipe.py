"""Recipes: read whole, refused by the name of the key, and those of earlier versions understood."""

import dataclasses
import re
from pathlib import Path

import pytest

from lenssr.classify import ClassifierRecipe
from lenssr.networks import find_architecture
from lenssr.train import Data, Recipe, Training
from lenssr.weights import read_card

ROOT = Path(__file__).resolve().parents[2]
WHOLE = 'name = "x"\n[network]\narchitecture = "rcan"\nscale = 2\n'


@pytest.mark.parametrize(("text", "words"), [
    ("name = ", "is not TOML"),
    ("[network]\n", "lacks the key `name`"),
    ('name = "x"\n[netwrok]\n', "unknown key `netwrok`.*did you mean `network`"),
    ('name = "x"\n[network]\nscale = 2\n', "lacks the key `architecture`"),
    ('name = "x"\n[network]\narchitecture = "rcan"\n', "lacks the key `scale`"),
    ('name = "a/b"\n[network]\narchitecture = "rcan"\nscale = 2\n', "`name` must be a name that"),
    ('name = "x"\n[network]\n[data]\nsise = 3\n', r"unknown key `sise` in .*\[data\].*`size`"),
    (WHOLE + "channels = 3\n", "`channels` must be 1, which the pairs have, got 3"),
    (WHOLE + "[training]\nbatch = 0\n",
     "`batch` must be an integer of at least 1, got 0; the nearest valid value is 1"),
    (WHOLE + "[training]\nbatch = 7.6\n", "an integer of at least 1, got 7.6; .* value is 8"),
    (WHOLE + "[training]\nema = 1\n",
     "`ema` must be a number of at least 0 and below 1, got 1; the default is 0.999"),
    (WHOLE + "[training]\nlearning_rate = -1.0\n", "above 0, got -1.0; the default is 0.001"),
    (WHOLE + "[training]\nlearning_rate = nan\n", "`learning_rate` must be a number above 0"),
    (WHOLE + "[data]\np_psf_known = 1.5\n", "from 0 to 1, got 1.5; the nearest valid value is 1"),
    (WHOLE + '[training]\nprecision = "bflaot16"\n', "did you mean 'bfloat16'"),
    (WHOLE + '[training]\nschedule = "onecycle"\n', "did you mean 'one-cycle'"),
    (WHOLE + "[training]\nsteps = 5\nepochs = 2\n", "`steps` and `epochs` must not both"),
    (WHOLE + "[training]\nepochs = 2\n[data]\nscenes = 0\n", "`epochs` must be omitted"),
    (WHOLE + '[training]\nloss = {sism = 1.0}\n', "unknown key `sism` .*did you mean `ssim`"),
    (WHOLE + '[training]\nloss = {mse = 0}\n', "the weight of mse must be a positive number"),
    (WHOLE + '[training]\nloss = "residual"\n', "must not have 'residual' for the architecture"),
    (WHOLE + '[training]\nloss = {mse = 1.0, consistency = 0.1}\n', "must not have 'consistency'"),
    (WHOLE.replace("rcan", "unrolled") + '[training]\nloss = "consistency"\n',
     "must have more than"),
    (WHOLE + '[training]\nfreeze = [1]\n', "`freeze` must be a list of names"),
    (WHOLE + '[data]\nsubstructure = ["cmd"]\n', "unknown key `cmd` .*did you mean `cdm`"),
    (WHOLE + '[data]\ncatalog = 3\n', "`catalog` must be the folder of a catalogue, got 3"),
])
def test_bad_recipes(tmp_path, text, words):
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=words):
        Recipe.read(path)


def test_no_such_recipe():
    with pytest.raises(FileNotFoundError, match="`recipe` must be a TOML file or the name"):
        Recipe.read("nowhere")


def test_recipe_comes_back_from_its_file(tmp_path, recipe, toml):
    (tmp_path / "recipe.toml").write_text(toml(recipe))
    assert Recipe.read(tmp_path / "recipe.toml") == recipe
    assert Recipe.from_dict(recipe.as_dict()) == recipe


@pytest.mark.parametrize("path", [
    path for path in sorted((ROOT / "lenssr" / "weights").glob("*.safetensors"))
    if not path.stem.endswith("-error")], ids=lambda path: path.stem)
def test_shipped_weights_have_their_recipe_in_the_package(path):
    card = read_card(path)
    kind = ClassifierRecipe if find_architecture(
        card.network["architecture"]).inputs == "classifier" else Recipe
    assert kind.from_dict(card.recipe) == kind.read(card.name.replace("-", "_"))
    # A network that trains wider than it is used is shipped as it is used.
    assert {**card.network, **card.recipe["network"]} == card.network


def test_recipes_of_earlier_versions_mean_what_they_meant():
    """Keys that came later have the value that the card's recipe meant without them."""
    card = read_card(ROOT / "lenssr" / "weights" / "rcan-x2.safetensors")
    assert "schedule" not in card.recipe["training"]
    meant = Recipe.from_dict(card.recipe)
    assert (meant.training.schedule, meant.training.loss) == ("cosine", {"composite": 1.0})
    assert (meant.training.patience, meant.training.init, meant.data.catalog) == (0, None, None)


def test_published_recipe():
    found = Recipe.read("published_rcan_x2")
    training = found.training
    assert (training.epochs, training.batch, training.steps) == (120, 16, None)
    assert (training.schedule, training.loss) == ("cosine", {"mse": 1.0})
    assert [found.network[k] for k in ("groups", "blocks", "features")] == [10, 20, 64]


def test_documentation_has_each_key_with_its_default():
    page = (ROOT / "docs" / "user_guide" / "training.rst").read_text()
    tables = page.partition(".. list-table:: Losses")[0]
    rows = dict(re.findall(r"^    \* - ``(\w+)``\n      - (.*)$", tables, re.M))
    fields = dataclasses.fields(Data) + dataclasses.fields(Training)
    assert set(rows) == {field.name for field in fields}
    # Both parts have a seed, and it is the same.
    defaults = {**dataclasses.asdict(Data()), **dataclasses.asdict(Training())}
    for name, said in rows.items():
        default = defaults[name]
        shown = {"loss": "{composite = 1.0}"}.get(name, str(default))
        assert said == ("none" if default in (None, []) else f"``{shown}``"), name
