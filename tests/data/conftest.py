"""Scripts that make the packaged data, for tests of their reproducibility."""

import importlib.util
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"


@pytest.fixture(scope="session")
def load_tool():
    """Function that imports a script of the folder ``tools`` by its name."""
    def load(name):
        path = TOOLS / f"{name}.py"
        if not path.exists():
            pytest.skip("the folder of tools is part of a checkout only")
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    return load
