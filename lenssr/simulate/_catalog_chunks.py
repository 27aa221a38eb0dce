"""Chunks of a catalogue: manifest, simulation by workers, and truth tables."""

import dataclasses
import gzip
import io
import itertools
import json
import warnings
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from lenssr._io import atomic_write
from lenssr.exceptions import LensSRWarning
from lenssr.simulate._pair import TRUTH_COLUMNS, truth_rows
from lenssr.simulate._series import PairSeries

CHUNK_SIZE = 256  # pairs that are simulated and stored together
MAX_WAITING_CHUNKS = 64  # chunks submitted at once, since the scheduler stores every waiting task
FORMAT_VERSION = 2  # layout of the folder and of the manifest
# Packages whose versions affect the arrays.
RECORDED_PACKAGES = ("lenssr", "lenstronomy", "numpy", "torch", "astropy", "zarr")


class LazyArray:
    """
    Array on disk that is read in chunks of items along its first axis.

    ``read`` takes the number of a chunk and returns its items. Zarr itself reads a missing chunk
    as zeros; here, ``read`` is called for every chunk and reports damage.
    """

    def __init__(self, name, shape, dtype, chunk_size, read):
        self.name, self.shape, self.dtype = name, tuple(shape), dtype
        self._chunk_size, self._read, self._recent = chunk_size, read, {}

    def __len__(self):
        return self.shape[0]

    def __repr__(self):
        return f"<LazyArray {self.name!r}, shape {self.shape}, {self.dtype}>"

    def __getitem__(self, key):
        first, *inner = key if isinstance(key, tuple) else (key,)
        try:
            indices = np.arange(len(self))[first]
        except IndexError as err:
            raise IndexError(f"index {first!r} is out of range for {len(self)} pairs") from err
        if np.ndim(indices) == 0:
            values = self._chunk(int(indices) // self._chunk_size)[indices % self._chunk_size]
            return values[tuple(inner)].copy()
        values = np.empty((len(indices), *self.shape[1:]), self.dtype)
        for chunk in np.unique(indices // self._chunk_size):
            in_chunk = indices // self._chunk_size == chunk
            values[in_chunk] = self._chunk(int(chunk))[indices[in_chunk] % self._chunk_size]
        return values[(slice(None), *inner)]

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self[:], dtype=dtype)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def forget(self):
        """Drop the chunks in memory."""
        self._recent.clear()

    def _chunk(self, chunk):
        """Return the items of a chunk; keep two chunks in memory."""
        if chunk not in self._recent:
            items = self._read(chunk)
            while len(self._recent) > 1:
                del self._recent[next(iter(self._recent))]
            self._recent[chunk] = items
        return self._recent[chunk]


def truth_part(path, chunk):
    """Return the truth file of a chunk, which is written last and marks the chunk as complete."""
    return path / "truths" / f"{chunk:06d}.ecsv"


def scene_part(path, chunk):
    """Return the scene file of a chunk."""
    return path / "scenes" / f"{chunk:06d}.json.gz"


def is_made(path, chunk):
    """Return whether a chunk is complete."""
    return truth_part(path, chunk).exists()


def create_arrays(path, spec):
    """Create the empty arrays of a catalogue."""
    import zarr

    series = spec.series()
    m, s = series.size, series.size * series.scale
    shapes = {"lr": (m, m), "sigma": (m, m), "hr": (s, s), "psf": (series.optics.psf_side,) * 2}
    if series.instrument.noiseless:
        del shapes["sigma"]
    if series.target_noise:
        shapes["truth"] = (s, s)
    if series.instrument.defects is not None:
        shapes["mask"] = (m, m)
    group = zarr.open_group(path / "arrays.zarr", mode="w")
    for name, shape in shapes.items():
        # The checksum reveals damaged chunks when they are read.
        group.create_array(
            name, shape=(spec.n, *shape), chunks=(min(spec.chunk_size, spec.n), *shape),
            dtype="bool" if name == "mask" else "float32", fill_value=0,
            compressors=[zarr.codecs.ZstdCodec(level=1), zarr.codecs.Crc32cCodec()])


def make_chunk(path, spec, chunk):
    """Simulate the pairs of a chunk, write them, and return the number of the chunk."""
    import torch
    import zarr

    path = Path(path)
    series = spec.series()
    indices = spec.indices(chunk)
    # One thread, since sums depend on the number of threads in the last bit.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        batch = series.batch(indices)
    finally:
        torch.set_num_threads(threads)
    group = zarr.open_group(path / "arrays.zarr", mode="r+")
    for name, array in group.arrays():
        array[indices.start: indices.stop] = getattr(batch, name).cpu().numpy().astype(array.dtype)
    scenes = json.dumps([model.as_dict() for model in batch.models])
    _replace(scene_part(path, chunk), gzip.compress(scenes.encode(), 1, mtime=0))
    rows = [{"index": index, **row} for index, row in zip(indices, truth_rows(series, batch))]
    _replace(truth_part(path, chunk), _ecsv(rows).encode())
    return chunk


def _replace(path, content):
    """Write bytes atomically and create the folder."""
    path.parent.mkdir(exist_ok=True)
    with atomic_write(path) as tmp_path:
        tmp_path.write_bytes(content)


def _ecsv(rows):
    """Return rows of the truth table in ECSV format."""
    from astropy.table import Column, Table

    table = Table()
    for name in rows[0]:
        unit, description = TRUTH_COLUMNS.get(name, (None, "index of the pair"))
        table[name] = Column([row[name] for row in rows], unit=unit, description=description)
    out = io.StringIO()
    table.write(out, format="ascii.ecsv")
    return out.getvalue()


def merge_truths(path, n_chunks):
    """Merge the truth tables of all chunks."""
    with atomic_write(path / "truths.ecsv") as tmp_path, open(tmp_path, "w") as merged:
        for chunk in range(n_chunks):
            header = True
            with open(truth_part(path, chunk)) as part:
                for line in part:
                    # The header consists of comments and a line of names.
                    if not header or chunk == 0:
                        merged.write(line)
                    header = header and line.startswith("#")


@dataclasses.dataclass(frozen=True)
class CatalogSpec:
    """Number of pairs, options of the series, and pairs per chunk of a catalogue."""

    n: int
    options: dict
    chunk_size: int = CHUNK_SIZE

    def series(self):
        """Return the `PairSeries` of the options."""
        return PairSeries(**self.options)

    @property
    def n_chunks(self):
        """Number of chunks."""
        return -(-self.n // self.chunk_size)

    def indices(self, chunk):
        """Return the range of the indices of the pairs in a chunk."""
        start = chunk * self.chunk_size
        return range(start, min(start + self.chunk_size, self.n))

    def manifest(self):
        """Return the options as plain values, with software versions."""
        series = self.series()
        priors = [c if isinstance(c, str) else {"class": type(c).__name__, **vars(c)}
                  for c in series.classes]
        tree = {
            "format": FORMAT_VERSION, "n": self.n, "chunk_size": self.chunk_size,
            "preset": series.preset, "seed": series.seed, "engine": series.engine,
            "scale": series.scale, "size": series.size, "target_noise": series.target_noise,
            "substructure": priors,
            "population": {"class": type(series.population).__name__,
                           **series.population.as_dict()},
            "instrument": series.instrument.as_dict(),
            "custom": [name for name in ("population", "instrument")
                       if self.options.get(name) is not None],
            "versions": {package: version(package) for package in RECORDED_PACKAGES}}
        return json.loads(json.dumps(tree))


def require_zarr():
    """Raise `ImportError` with instructions if zarr is missing."""
    try:
        import zarr  # noqa: F401
    except ImportError as err:
        raise ImportError('catalogues need zarr; install it with: pip install "lenssr[all]"'
                          ) from err


def prepare_folder(path, spec):
    """Create the folder of a catalogue, or check that it holds the same catalogue."""
    manifest = spec.manifest()
    if path.exists() and not path.is_dir():
        raise ValueError(f"`path` must be a folder, got the file {str(path)!r}")
    if (path / "manifest.json").exists():
        _compare_manifests(path, read_manifest(path), manifest)
        return
    # A run that was killed before it wrote the manifest leaves these two.
    foreign = [] if not path.exists() else sorted(
        p.name for p in path.iterdir() if p.name not in ("arrays.zarr", ".manifest.json.part"))
    if foreign:
        raise ValueError("`path` must be a new or empty folder or the folder of this catalogue, "
                         f"got {str(path)!r}, which holds {foreign[0]!r}")
    path.mkdir(parents=True, exist_ok=True)
    create_arrays(path, spec)
    with atomic_write(path / "manifest.json") as tmp_path:
        tmp_path.write_text(json.dumps(manifest, indent=1) + "\n")


def read_manifest(path):
    """Read the manifest of a catalogue; raise `ValueError` unless it has `FORMAT_VERSION`."""
    try:
        manifest = json.loads((Path(path) / "manifest.json").read_text())
        version = manifest["format"]
    except (OSError, json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as err:
        raise ValueError(f"`path` must be the folder of a catalogue, got {str(path)!r}: "
                         f"manifest.json is missing or damaged ({type(err).__name__})") from err
    if version != FORMAT_VERSION:
        raise ValueError(f"`path` must be a catalogue of format {FORMAT_VERSION}, got "
                         f"{str(path)!r} of format {version!r}, made by another version of lenssr")
    return manifest


def _compare_manifests(path, stored, requested):
    """Raise `ValueError` for other options; warn of other versions of the software."""
    for key, value in requested.items():
        if key == "versions" or stored.get(key) == value:
            continue
        old = stored.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            key, old, value = next((f"{key}.{k}", old.get(k), value.get(k))
                                   for k in {**old, **value} if old.get(k) != value.get(k))
        raise ValueError(f"`path` must be a new folder or hold this catalogue, got {str(path)!r}, "
                         f"whose {key} is {old!r}, not {value!r}")
    versions = requested["versions"]
    changed = [f"{name} {old}, now {versions[name]}"
               for name, old in stored["versions"].items() if versions.get(name) != old]
    if changed:
        warnings.warn(f"part of the catalogue {str(path)!r} was made with {'; '.join(changed)}: "
                      "its pairs may differ from the new pairs", LensSRWarning, stacklevel=4)


@contextmanager
def _start_workers(path, spec, workers, client):
    """Yield a function that submits a chunk, and a function that yields completed jobs."""
    if client is not None:
        from dask.distributed import as_completed as dask_completed

        yield (lambda chunk: client.submit(make_chunk, str(path.resolve()), spec, chunk,
                                           pure=False)), dask_completed
        return
    # Spawn, since a fork of a process that has used torch's threads may hang.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        try:
            yield (lambda chunk: pool.submit(make_chunk, path, spec, chunk)), as_completed
        except BrokenProcessPool as err:
            raise RuntimeError(
                "a worker process died: a script with `workers` needs an "
                '`if __name__ == "__main__":` guard, and each process needs memory; the same '
                "call resumes the catalogue") from err
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def run_chunks(path, spec, missing, workers, client):
    """Simulate chunks and yield the number of each completed chunk."""
    if client is None and min(workers, len(missing)) <= 1:
        for chunk in missing:
            make_chunk(path, spec, chunk)
            yield chunk
        return
    chunks = iter(missing)
    with _start_workers(path, spec, workers, client) as (start, completed):
        jobs = [start(chunk) for chunk in itertools.islice(chunks, MAX_WAITING_CHUNKS)]
        while jobs:
            job = next(iter(completed(jobs)))
            jobs.remove(job)
            yield job.result()
            jobs += [start(chunk) for chunk in itertools.islice(chunks, 1)]
