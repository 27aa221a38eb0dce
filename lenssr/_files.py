"""Files that are whole or not there."""

import os
import warnings
from contextlib import contextmanager
from pathlib import Path

__all__ = ["check_absent", "save_figure", "whole_file", "write_report"]


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


def check_absent(paths, overwrite):
    """`OSError` if one of the files is there that is not to be replaced."""
    for path in paths:
        if not overwrite and Path(path).exists():
            raise OSError(f"{path} exists already; say overwrite=True to replace it")


def save_figure(figure, path):
    """Write a Matplotlib figure as PNG."""
    with warnings.catch_warnings():
        # Older matplotlib calls what newer Pillow has renamed.
        warnings.simplefilter("ignore", DeprecationWarning)
        figure.savefig(path, dpi=110, format="png")


def write_report(tables, figure, path):
    """
    Write tables, and a figure beside them, each whole; the folder is made if it is not there.

    Parameters
    ----------
    tables : dict
        `~astropy.table.Table` by path.
    figure : `~matplotlib.figure.Figure`
        The figure.
    path : path-like
        Where it goes.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    for place, table in tables.items():
        with whole_file(place) as beside:
            table.write(beside, format="ascii.ecsv", overwrite=True)
    with whole_file(path) as beside:
        save_figure(figure, beside)
