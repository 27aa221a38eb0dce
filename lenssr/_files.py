"""Files that are whole or not there."""

import os
from contextlib import contextmanager
from pathlib import Path

__all__ = ["whole_file"]


@contextmanager
def whole_file(path):
    """
    A place beside ``path`` to write to, which takes its name once all is written.

    If anything goes wrong, a full disk for one, what had the name keeps it, and nothing
    is left beside it.
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}.part")
    try:
        yield beside
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
