"""Fixtures shared by the tests."""

import os
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data():
    """Folder of real sky data that lies beside a developer's checkout."""
    folder = Path(os.environ.get("LENSSR_SHARED_DATA", SHARED))
    if not folder.is_dir():
        pytest.skip("the folder of real sky data (LENSSR_SHARED_DATA) is not here")
    return folder
