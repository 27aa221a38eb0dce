"""Catalogues: series of pairs written chunk by chunk, resumable, by many workers."""

import dataclasses
import itertools
import json
import warnings
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

from tqdm import tqdm

from lenssr._io import atomic_write
from lenssr._validation import check_positive_int
from lenssr.exceptions import LensSRWarning
from lenssr.simulate._catalog_chunk import (
    CHUNK_SIZE,
    create_arrays,
    is_made,
    make_chunk,
    merge_truths,
)

__all__ = ["CatalogSpec", "read_manifest", "simulate_catalog"]

FORMAT = 1
CLASSES = ("no_sub", "cdm", "axion")
PACKAGES = ("lenssr", "lenstronomy", "numpy", "torch", "astropy", "zarr")


@dataclasses.dataclass(frozen=True)
class CatalogSpec:
    """All that decides what a catalogue holds."""

    n: int
    options: dict

    def series(self):
        """The series of pairs."""
        from lenssr.simulate._series import PairSeries

        return PairSeries(**self.options)

    @property
    def n_chunks(self):
        """Number of chunks."""
        return -(-self.n // CHUNK_SIZE)

    def manifest(self):
        """The same in plain lists and numbers, with the versions of the software."""
        series = self.series()
        priors = [c if isinstance(c, str) else {"class": type(c).__name__, **vars(c)}
                  for c in series.classes]
        tree = {
            "format": FORMAT, "n": self.n, "chunk": CHUNK_SIZE, "preset": series.preset,
            "seed": series.seed, "engine": series.engine, "scale": series.scale,
            "size": series.size, "target_noise": series.target_noise, "substructure": priors,
            "population": {"class": type(series.population).__name__,
                           **series.population.as_dict()},
            "instrument": series.instrument.as_dict(),
            "own": [name for name in ("population", "instrument")
                    if self.options.get(name) is not None],
            "versions": {package: version(package) for package in PACKAGES}}
        return json.loads(json.dumps(tree))


def simulate_catalog(path, n, preset="hsc-hst", *, substructure=CLASSES, instrument=None,
                     population=None, scale=2, size=None, target_noise=None, seed=0,
                     engine="lenstronomy", workers=1, client=None, progress=True):
    """
    Simulate a catalogue of pairs, or go on where an earlier run of it stopped.

    Parameters
    ----------
    path : path-like
        Folder of the catalogue: new, empty, or with a part of this catalogue.
    n : int
        Number of pairs.
    preset : str
        One of ``lenssr.simulate.PRESETS``.
    substructure : str, `Subhalos`, `Vortex`, or a sequence of them
        Classes of dark matter, which take turns.
    instrument, population, scale, size, target_noise
        As for `simulate_pair`.
    seed : int
        Pair ``i`` depends on the seed, on ``i`` and its class alone.
    engine : {"lenstronomy", "torch"}
        What renders the scenes.
    workers : int
        Processes on this machine; a script that starts several must call this below
        ``if __name__ == "__main__":``. What is written does not depend on their number.
    client : `dask.distributed.Client`, optional
        A Dask cluster to do the work in place of processes of this machine; its workers
        must see ``path``.
    progress : bool
        Show a progress bar.

    Returns
    -------
    catalog : `Catalog`
        The complete catalogue, as `open_catalog` opens it.

    Raises
    ------
    ValueError
        If an argument is wrong, or ``path`` holds something else.
    ImportError
        If zarr is not installed.
    RuntimeError
        If a process ends before its work.

    Warns
    -----
    LensSRWarning
        If a part was made by other versions of the software.

    Notes
    -----
    The folder has ``manifest.json`` (what it is, and by which versions), ``arrays.zarr`` (a
    Zarr group: ``lr``, ``sigma``, ``hr``, ``psf`` and, where there is need, ``mask`` and
    ``truth``, the target without its noise), ``truths.ecsv`` (a table with a row for each
    pair) and ``scenes`` (all parameters of each scene, gzipped JSON). Chunks of 256 pairs are
    written one after the other, and counted as made when all of it is there: a run that is
    killed loses no more than the chunks in hand.
    """
    from lenssr.simulate._catalog_read import Catalog

    spec = CatalogSpec(check_positive_int("n", n), dict(
        preset=preset, substructure=substructure, instrument=instrument, population=population,
        scale=scale, size=size, target_noise=target_noise, seed=seed, engine=engine))
    workers = check_positive_int("workers", workers)
    require_zarr()
    path = Path(path)
    prepare(path, spec)
    missing = [chunk for chunk in range(spec.n_chunks) if not is_made(path, chunk)]
    with tqdm(total=spec.n, initial=spec.n - _pairs(missing, spec), unit="pair",
              desc="simulating", disable=not progress, delay=1) as bar:
        for chunk in _made(path, spec, missing, workers, client):
            bar.update(_pairs([chunk], spec))
    merge_truths(path, spec.n_chunks)
    return Catalog(path)


def require_zarr():
    """Say how to get zarr where it is missing."""
    try:
        import zarr  # noqa: F401
    except ImportError as err:
        raise ImportError('catalogues need zarr; install it with: pip install "lenssr[all]"'
                          ) from err


def _pairs(chunks, spec):
    return sum(min(CHUNK_SIZE, spec.n - chunk * CHUNK_SIZE) for chunk in chunks)


def prepare(path, spec):
    """Make the folder of a catalogue, or see that it is the one that is there."""
    manifest = spec.manifest()
    if path.exists() and not path.is_dir():
        raise ValueError(f"`path` must be a folder, got the file {str(path)!r}")
    if (path / "manifest.json").exists():
        _compare(path, read_manifest(path), manifest)
        return
    # What a run that was killed while it made the folder may have left.
    others = [] if not path.exists() else [
        p.name for p in path.iterdir() if p.name not in ("arrays.zarr", ".manifest.json.part")]
    if others:
        raise ValueError(f"`path` must be a new or empty folder or that of this catalogue, got "
                         f"{str(path)!r}, which holds {sorted(others)[0]!r}")
    path.mkdir(parents=True, exist_ok=True)
    create_arrays(path, spec)
    with atomic_write(path / "manifest.json") as beside:
        beside.write_text(json.dumps(manifest, indent=1) + "\n")


def read_manifest(path):
    """The manifest of a catalogue; `ValueError` if it is none that this version can read."""
    try:
        manifest = json.loads((Path(path) / "manifest.json").read_text())
        found = manifest["format"]
    except (OSError, json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as err:
        raise ValueError(f"`path` must be the folder of a catalogue, got {str(path)!r}: "
                         f"manifest.json is missing or damaged ({type(err).__name__})") from err
    if found != FORMAT:
        raise ValueError(f"`path` must be a catalogue of format {FORMAT}, got {str(path)!r} of "
                         f"format {found!r}, which another version of lenssr made")
    return manifest


def _compare(path, there, here):
    for key, value in here.items():
        if key == "versions" or there.get(key) == value:
            continue
        old = there.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            key, old, value = next((f"{key}.{k}", old.get(k), value.get(k))
                                   for k in {**old, **value} if old.get(k) != value.get(k))
        raise ValueError(f"`path` must be a new folder or hold this catalogue, got {str(path)!r}, "
                         f"whose {key} is {old!r}, not {value!r}")
    other = [f"{name} {old}, now {here['versions'][name]}"
             for name, old in there["versions"].items() if here["versions"].get(name) != old]
    if other:
        warnings.warn(f"a part of the catalogue {str(path)!r} was made with {'; '.join(other)}: "
                      "pairs of the two may differ in their last digits, or more",
                      LensSRWarning, stacklevel=4)


@contextmanager
def _spread(path, spec, workers, client):
    """A function that starts a chunk, and one that gives what is started as it ends."""
    if client is not None:
        from dask.distributed import as_completed as dask_completed

        yield (lambda chunk: client.submit(make_chunk, str(path.resolve()), spec, chunk,
                                           pure=False)), dask_completed
        return
    # Not forked: a process that has used torch's threads may hang in a fork.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        try:
            yield (lambda chunk: pool.submit(make_chunk, path, spec, chunk)), as_completed
        except BrokenProcessPool as err:
            raise RuntimeError(
                "the processes of `workers` ended before their work: a script that starts them "
                'must do so below `if __name__ == "__main__":`, and they need memory each; the '
                "same call goes on where this one stopped") from err
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _made(path, spec, missing, workers, client):
    """Make chunks, and yield each as it is done."""
    if client is None and min(workers, len(missing)) <= 1:
        for chunk in missing:
            make_chunk(path, spec, chunk)
            yield chunk
        return
    chunks = iter(missing)
    with _spread(path, spec, workers, client) as (start, completed):
        # Not all at once: a scheduler has to remember each that waits.
        jobs = [start(chunk) for chunk in itertools.islice(chunks, 64)]
        while jobs:
            job = next(iter(completed(jobs)))
            jobs.remove(job)
            yield job.result()
            jobs += [start(chunk) for chunk in itertools.islice(chunks, 1)]
