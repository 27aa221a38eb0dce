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

from lenssr._io import atomic_write
from lenssr.exceptions import LensSRWarning
from lenssr.simulate._pair import TRUTH_COLUMNS

CHUNK_SIZE = 256  # pairs


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
            name, shape=(spec.n, *shape), chunks=(min(CHUNK_SIZE, spec.n), *shape),
            dtype="bool" if name == "mask" else "float32", fill_value=0,
            compressors=[zarr.codecs.ZstdCodec(level=1), zarr.codecs.Crc32cCodec()])


def make_chunk(path, spec, chunk):
    """Simulate a chunk and write it."""
    import torch
    import zarr

    from lenssr.simulate._pair import truth_rows

    path = Path(path)
    series = spec.series()
    indices = range(chunk * CHUNK_SIZE, min((chunk + 1) * CHUNK_SIZE, spec.n))
    # Use one thread: sums depend on the number of threads in the last bit.
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
    path.parent.mkdir(exist_ok=True)
    with atomic_write(path) as tmp_path:
        tmp_path.write_bytes(content)


def _ecsv(rows):
    from astropy.table import Column, Table

    table = Table()
    for name in rows[0]:
        unit, description = TRUTH_COLUMNS.get(name, (None, "number of the pair"))
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


FORMAT_VERSION = 1
RECORDED_PACKAGES = ("lenssr", "lenstronomy", "numpy", "torch", "astropy", "zarr")


@dataclasses.dataclass(frozen=True)
class CatalogSpec:
    """Options that determine a catalogue."""

    n: int
    options: dict

    def series(self):
        """Return the series of pairs."""
        from lenssr.simulate._series import PairSeries

        return PairSeries(**self.options)

    @property
    def n_chunks(self):
        """Number of chunks."""
        return -(-self.n // CHUNK_SIZE)

    def manifest(self):
        """Return the options as plain values, with software versions."""
        series = self.series()
        priors = [c if isinstance(c, str) else {"class": type(c).__name__, **vars(c)}
                  for c in series.classes]
        tree = {
            "format": FORMAT_VERSION, "n": self.n, "chunk": CHUNK_SIZE, "preset": series.preset,
            "seed": series.seed, "engine": series.engine, "scale": series.scale,
            "size": series.size, "target_noise": series.target_noise, "substructure": priors,
            "population": {"class": type(series.population).__name__,
                           **series.population.as_dict()},
            "instrument": series.instrument.as_dict(),
            "own": [name for name in ("population", "instrument")
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


def pair_count(chunks, spec):
    return sum(min(CHUNK_SIZE, spec.n - chunk * CHUNK_SIZE) for chunk in chunks)


def prepare_folder(path, spec):
    """Create the folder of a catalogue, or check that it holds the same catalogue."""
    manifest = spec.manifest()
    if path.exists() and not path.is_dir():
        raise ValueError(f"`path` must be a folder, got the file {str(path)!r}")
    if (path / "manifest.json").exists():
        _compare_manifests(path, read_manifest(path), manifest)
        return
    # Remove remains of a run that was killed while it made the folder.
    other_files = [] if not path.exists() else [
        p.name for p in path.iterdir() if p.name not in ("arrays.zarr", ".manifest.json.part")]
    if other_files:
        raise ValueError("`path` must be a new or empty folder, or the folder of this catalogue, "
                         "got "
                         f"{str(path)!r}, which holds {sorted(other_files)[0]!r}")
    path.mkdir(parents=True, exist_ok=True)
    create_arrays(path, spec)
    with atomic_write(path / "manifest.json") as tmp_path:
        tmp_path.write_text(json.dumps(manifest, indent=1) + "\n")


def read_manifest(path):
    """Read the manifest; raise `ValueError` for other formats or versions."""
    try:
        manifest = json.loads((Path(path) / "manifest.json").read_text())
        version = manifest["format"]
    except (OSError, json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as err:
        raise ValueError(f"`path` must be the folder of a catalogue, got {str(path)!r}: "
                         f"manifest.json is missing or damaged ({type(err).__name__})") from err
    if version != FORMAT_VERSION:
        raise ValueError(
            f"`path` must be a catalogue of format {FORMAT_VERSION}, got {str(path)!r} of "
            f"format {version!r}, from another version of lenssr")
    return manifest


def _compare_manifests(path, old_manifest, new_manifest):
    for key, value in new_manifest.items():
        if key == "versions" or old_manifest.get(key) == value:
            continue
        old = old_manifest.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            key, old, value = next((f"{key}.{k}", old.get(k), value.get(k))
                                   for k in {**old, **value} if old.get(k) != value.get(k))
        raise ValueError(f"`path` must be a new folder or hold this catalogue, got {str(path)!r}, "
                         f"whose {key} is {old!r}, not {value!r}")
    changed = [f"{name} {old}, now {new_manifest['versions'][name]}"
               for name, old in old_manifest["versions"].items()
               if new_manifest["versions"].get(name) != old]
    if changed:
        warnings.warn(f"a part of the catalogue {str(path)!r} was made with {'; '.join(changed)}: "
                      "pairs of both versions may differ",
                      LensSRWarning, stacklevel=4)


@contextmanager
def _start_workers(path, spec, workers, client):
    """Return functions that start a chunk and that wait for finished chunks."""
    if client is not None:
        from dask.distributed import as_completed as dask_completed

        yield (lambda chunk: client.submit(make_chunk, str(path.resolve()), spec, chunk,
                                           pure=False)), dask_completed
        return
    # Do not fork: a process that has used torch's threads may hang in a fork.
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


def run_chunks(path, spec, missing, workers, client):
    """Simulate chunks and yield their numbers as they finish."""
    if client is None and min(workers, len(missing)) <= 1:
        for chunk in missing:
            make_chunk(path, spec, chunk)
            yield chunk
        return
    chunks = iter(missing)
    with _start_workers(path, spec, workers, client) as (start, completed):
        # Submit few chunks at once, since the scheduler stores every waiting task.
        jobs = [start(chunk) for chunk in itertools.islice(chunks, 64)]
        while jobs:
            job = next(iter(completed(jobs)))
            jobs.remove(job)
            yield job.result()
            jobs += [start(chunk) for chunk in itertools.islice(chunks, 1)]
