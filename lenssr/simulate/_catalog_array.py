"""Arrays of a catalogue on disk, whose damage is told by the number of the chunk."""

import functools

import numpy as np

from lenssr.simulate._catalog_chunk import CHUNK_SIZE

__all__ = ["DamagedChunk", "LazyArray"]


class LazyArray:
    """An array of a catalogue on disk: indexing reads the chunks that are needed."""

    def __init__(self, array, name):
        self.array, self.name = array, name
        self.shape, self.dtype = array.shape, array.dtype

    def __len__(self):
        return self.shape[0]

    def __repr__(self):
        return f"<LazyArray {self.name!r}, shape {self.shape}, {self.dtype}>"

    def __getitem__(self, key):
        first = key[0] if isinstance(key, tuple) else key
        try:
            wanted = np.arange(len(self))[first]
        except IndexError as err:
            raise IndexError(f"index {first!r} is out of range for {len(self)} pairs") from err
        # One chunk after the other: what is damaged can be named, and what is missing, which
        # zarr takes for zeros.
        chunks = np.unique(wanted // CHUNK_SIZE)
        parts = {chunk: self._read(int(chunk)) for chunk in chunks}
        if np.ndim(wanted) == 0:
            found = parts[int(chunks[0])][wanted % CHUNK_SIZE]
        else:
            found = np.empty((len(wanted), *self.shape[1:]), self.dtype)
            for chunk, part in parts.items():
                here = wanted // CHUNK_SIZE == chunk
                found[here] = part[wanted[here] % CHUNK_SIZE]
        if not isinstance(key, tuple):
            return found
        return found[key[1:] if np.ndim(wanted) == 0 else (slice(None), *key[1:])]

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self[:], dtype=dtype)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    @functools.lru_cache(maxsize=2)  # noqa: B019 - two chunks to an array, gone with it
    def _read(self, chunk):
        start = chunk * CHUNK_SIZE
        stop = min(start + CHUNK_SIZE, len(self))
        key = self.array.metadata.encode_chunk_key((chunk, *(0 for _ in self.shape[1:])))
        file = self.array.store.root / self.array.path / key
        try:
            if not file.exists():
                raise FileNotFoundError("its file is missing")
            return self.array[start:stop]
        except Exception as err:
            raise DamagedChunk(chunk, start, stop, f"`{self.name}`", err) from err


class DamagedChunk(ValueError):
    """A chunk of a catalogue that cannot be read, and how to make it again."""

    def __init__(self, chunk, start, stop, what, err):
        self.chunk = chunk
        super().__init__(f"chunk {chunk} of {what} (pairs {start} to {stop - 1}) is damaged: "
                         f"{' '.join(str(err).split()) or type(err).__name__}; remake({chunk}) of "
                         "the catalogue makes it again alone")
