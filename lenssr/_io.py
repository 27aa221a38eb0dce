"""Files that are complete or absent: atomic writing, and a cache of arrays in chunks."""

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from tqdm import tqdm


@contextmanager
def atomic_write(path):
    """Yield a temporary path next to ``path``, and rename it to ``path`` on success."""
    path = Path(path)
    tmp_path = path.with_name(f".{path.name}.part")
    try:
        yield tmp_path
        os.replace(tmp_path, path)
    except BaseException:
        tmp_path.unlink(missing_ok=True)
        raise


def check_overwrite(paths, overwrite):
    """Raise `OSError` if one of the files exists and ``overwrite`` is false."""
    for path in paths:
        if not overwrite and Path(path).exists():
            raise OSError(f"{path} exists already; say overwrite=True to replace it")


def save_figure(figure, target, dpi=110):
    """Write a Matplotlib figure as PNG to a path (atomically) or to a binary file object."""
    if not hasattr(target, "write"):
        with atomic_write(target) as tmp_path, open(tmp_path, "wb") as file:
            return save_figure(figure, file, dpi)
    with warnings.catch_warnings():
        # Matplotlib 3.9 calls functions that Pillow 11.3 deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        figure.savefig(target, dpi=dpi, format="png")


def write_tables_and_figure(tables, figure, path):
    """Write ECSV tables, ``{path: table}``, and a figure to ``path``; create the folder."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    for table_path, table in tables.items():
        with atomic_write(table_path) as tmp_path:
            table.write(tmp_path, format="ascii.ecsv", overwrite=True)
    save_figure(figure, path)


class ChunkCache:
    """Arrays that are computed in chunks and kept on disk."""

    def __init__(self, folder, n, chunk_size, compute, names, label="computing"):
        self.folder, self.n, self.chunk_size = Path(folder), n, chunk_size
        self.compute, self.names, self.label = compute, tuple(names), label

    def __len__(self):
        return self.n

    @property
    def starts(self):
        """Index of the first item of each chunk."""
        return range(0, self.n, self.chunk_size)

    def path(self, start, name):
        """Return the path of the array ``name`` of the chunk that begins at ``start``."""
        stop = min(start + self.chunk_size, self.n)
        return self.folder / f"{name}-{start:07d}-{stop:07d}.npy"

    def build(self, starts=None, workers=1, progress=False):
        """Compute the missing chunks, by default all, with ``workers`` threads."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # The last array is written last: where it exists, the chunk is complete.
        missing = [start for start in (self.starts if starts is None else starts)
                   if not self.path(start, self.names[-1]).exists()]
        if workers == 1:
            for start in tqdm(missing, desc=self.label, disable=not progress, delay=2):
                self._write(start)
            return
        # Threads, not processes: torch releases the GIL, and a script that trains needs no
        # ``__main__`` guard.
        with ThreadPoolExecutor(workers) as pool:
            jobs = [pool.submit(self._write, start) for start in missing]
            try:
                for job in tqdm(jobs, desc=self.label, disable=not progress, delay=2):
                    job.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def open(self):
        """Return memory-mapped arrays of the chunks, ``{name: list of arrays}``."""
        return {name: [np.load(self.path(start, name), mmap_mode="r") for start in self.starts]
                for name in self.names}

    def read(self, workers=1, progress=False):
        """Build the missing chunks and return all items, ``{name: array}``."""
        self.build(workers=workers, progress=progress)
        return {name: np.concatenate([np.load(self.path(start, name)) for start in self.starts])
                for name in self.names}

    def _write(self, start):
        arrays = self.compute(range(start, min(start + self.chunk_size, self.n)))
        for name in self.names:
            with atomic_write(self.path(start, name)) as tmp_path, open(tmp_path, "wb") as file:
                np.save(file, arrays[name])
