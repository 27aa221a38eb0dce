"""What the package promises of itself, before any image is looked at."""

import json
import re
import subprocess
import sys
from importlib.metadata import entry_points, metadata, requires, version
from pathlib import Path

import pytest

import lenssr
from lenssr.weights import find_weights, read_card

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("dask", "lenstronomy", "matplotlib", "torch")


@pytest.mark.parametrize("module", ["lenssr", "lenssr.image", "lenssr.classify"])
def test_import_is_light(module):
    """An import of the package loads no heavy one; in a process of its own, since this has."""
    code = f"import sys, json, {module}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert "lenssr" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_public_names_are_loaded_on_first_use():
    for name in lenssr.__all__:
        assert getattr(lenssr, name) is not None
    assert set(lenssr.__all__) <= set(dir(lenssr))
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = lenssr.no_such_name


def test_version():
    """The version in the package is that of the installation, and one that pip can order."""
    assert lenssr.__version__ == version("lenssr")
    assert re.match(r"\d+(\.\d+)+", lenssr.__version__)


def lower_bounds():
    """Required packages and the versions that the metadata promise to work with."""
    return dict(re.match(r"([\w-]+)\s*>=\s*([\d.]+)", line).groups()
                for line in requires("lenssr") if "extra ==" not in line)


def test_metadata():
    about = metadata("lenssr")
    assert about["Requires-Python"] == ">=3.11"
    assert about["License-Expression"] == "BSD-3-Clause"
    assert {"all", "train", "test", "docs"} <= set(about.get_all("Provides-Extra"))
    assert set(lower_bounds()) == {
        "astropy", "lenstronomy", "matplotlib", "numpy", "photutils", "reproject", "safetensors",
        "scikit-image", "scipy", "torch", "tqdm"}
    (command,) = entry_points(group="console_scripts", name="lenssr")
    assert command.load() is not None


def readme_commands():
    """The commands of README.rst that a reader without anything installed is to type."""
    return re.findall(r"^    (pip install .*)$", (ROOT / "README.rst").read_text(), re.M)


def test_readme_has_the_two_commands():
    assert readme_commands() == ["pip install . && lenssr demo", 'pip install ".[test]" && pytest']


def test_ci_runs_the_commands_of_the_readme():
    steps = re.findall(r"^step '(.*)'$", (ROOT / ".ci" / "run").read_text(), re.M)
    assert [step for step in steps if step in readme_commands()] == readme_commands()


def test_tox_pins_the_lower_bounds():
    """What `oldestdeps` tries is what the metadata promise."""
    pins = dict(re.findall(r"oldestdeps: ([\w-]+)==([\d.]+\d)", (ROOT / "tox.ini").read_text()))
    assert pins == lower_bounds()


@pytest.mark.parametrize("pattern", ["data/*.fits", "data/README.rst", "train/recipes/*.toml",
                                     "weights/*.safetensors", "weights/*.json",
                                     "evaluate/_report/*.html", "evaluate/_report/*.css",
                                     "evaluate/_report/*.js"])
def test_data_are_there(pattern):
    """What the package reads at run time lies in it, with nothing to download."""
    assert list(Path(lenssr.__file__).parent.glob(pattern))


def test_data_are_installed():
    """Each file of the package's folder that is no module has arrived in the installation."""
    source, installed = ROOT / "lenssr", Path(lenssr.__file__).parent
    data = [path.relative_to(source) for path in source.rglob("*.*")
            if path.is_file() and path.suffix not in (".py", ".pyc")]
    assert data
    assert [path for path in data if not (installed / path).is_file()] == []


def test_each_weights_file_has_its_card():
    folder = Path(lenssr.__file__).parent / "weights"
    found = {path.stem for path in folder.glob("*.safetensors")}
    weights = {name for name in found if not name.endswith("-error")}
    assert weights and weights <= {path.stem for path in folder.glob("*.json")}
    # A head of errors lies beside weights whose card has a calibration by one, and no others.
    assert found - weights == {f"{name}-error" for name in weights
                               if "head" in read_card(find_weights(name)).calibration}


def test_each_method_has_its_section():
    """The table of methods in the documentation links to them, and no section is left over."""
    from lenssr.methods import all_methods

    pages = (ROOT / "docs" / "user_guide" / "methods").glob("*.rst")
    labels = [label for page in pages
              for label in re.findall(r"^\.\. _method-(\w+):$", page.read_text(), re.M)]
    # Other tests may have registered methods.
    ours = [name for name, spec in all_methods().items() if spec.reference]
    assert sorted(labels) == sorted(ours)
