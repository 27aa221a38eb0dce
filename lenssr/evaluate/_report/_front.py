"""The front door of reports: what is to be shown, and where to."""

import os
from pathlib import Path

import numpy as np

from lenssr._io import atomic_write
from lenssr._validation import check_nonnegative_int, check_positive_int
from lenssr._warnings import record_warnings, unique_messages
from lenssr.evaluate._benchmark_result import Benchmark
from lenssr.evaluate._parts import parts_of
from lenssr.evaluate._report._benchmark_page import benchmark_page
from lenssr.evaluate._report._gather import gather, match
from lenssr.evaluate._report._result_page import result_page
from lenssr.evaluate._report._window import window_of

__all__ = ["report"]


def report(path, subject, data=None, *, truth=None, compare=(), prior_map=None, hdu=None,
           psf=None, uncertainty=None, mask=None, wcs=None, unit=None, plane=0, center=None,
           size=512, title=None, overwrite=False):
    """
    Write one page of HTML that shows a result, or a benchmark.

    The page holds all that it shows and asks the network for nothing: it can be sent, kept
    and opened anywhere.

    Parameters
    ----------
    path : path-like
        The file, ``.html`` by custom.
    subject : `~lenssr.SuperResolvedImage`, `Benchmark` or path-like
        A result, or a file of one; a benchmark, or a folder with the tables (ECSV) and
        figures (PNG) that `Benchmark.write` and its like have written.
    data : path, file, HDUList, HDU, NDData, Cutout2D, Quantity or array-like
        The image that was restored, as `lenssr.superresolve` takes it. Only, and always,
        with a result.
    truth : path, NDData, Quantity or array-like, optional
        What the result ought to be, on its grid.
    compare : sequence or dict, optional
        Further results of the same image, by name, or called by their methods.
    prior_map : bool or array-like, optional
        Share of each pixel of the result that the data do not determine, from 0 to 1; `True`
        for that of `lenssr.evaluate.prior_map`.
    hdu, psf, uncertainty, mask, wcs, unit : optional
        Of ``data``, as in `lenssr.superresolve`, where it does not carry them.
    plane : int
        Which plane of a cube is shown.
    center : tuple of float, optional
        Pixel ``(x, y)`` of the result about which apertures lie and large images are cut; the
        centre of the image by default.
    size : int
        Pixels of the result along each axis that are shown at most.
    title : str, optional
        Title of the page; by default the object, or the file, and the method.
    overwrite : bool
        Replace a file that is there.

    Raises
    ------
    ValueError, TypeError
        If an argument is not what it must be; the message names it.
    FileNotFoundError
        If there is no such file.
    OSError
        If the file is there already and ``overwrite`` is false, or can't be written.

    Warns
    -----
    LensSRWarning
        If the image is larger than what is shown, or lies elsewhere on the sky than its
        result; for what is estimated, as by `lenssr.superresolve`.

    Notes
    -----
    Maps of one kind are drawn on one scale, by the stretches of `astropy.visualization`. The
    page holds their values, too, in single precision, for whoever points at them.
    """
    path = Path(os.path.expanduser(path))
    if path.exists() and not overwrite:
        raise OSError(f"`path` {str(path)!r} exists already; say overwrite=True to replace it")
    if not path.parent.is_dir():
        raise OSError(f"`path` must be in a folder that is there, got {str(path)!r}")
    plane, size = check_nonnegative_int("plane", plane), check_positive_int("size", size)
    given = {"hdu": hdu, "psf": psf, "uncertainty": uncertainty, "mask": mask, "wcs": wcs,
             "unit": unit}
    if _is_benchmark(subject):
        of_result = {"data": data, "truth": truth, "compare": compare, "prior_map": prior_map,
                     "center": center, **given}
        for name, value in of_result.items():
            if value is not None and not (name == "compare" and np.size(value) == 0):
                raise ValueError(f"`{name}` goes with a result, got a benchmark as `subject`")
        text = benchmark_page(subject, title)
    else:
        with record_warnings() as caught:
            found = gather(match(subject, data, given), truth=truth, compare=compare,
                           prior_map=None if prior_map is True else prior_map, plane=plane)
            if prior_map is True:
                found.prior = parts_of(found).share
            window = window_of(found, center, size)
            file = Path(subject).stem if isinstance(subject, str | os.PathLike) else None
            text = result_page(found, window, title, file, unique_messages(caught))
    with atomic_write(path) as beside:
        beside.write_text(text, encoding="utf-8")


def _is_benchmark(subject):
    return isinstance(subject, Benchmark) or (
        isinstance(subject, str | os.PathLike) and Path(subject).is_dir())
