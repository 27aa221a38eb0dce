"""Catalogues of simulated pairs: simulation, lazy reading and repair."""

import functools
import gzip
import json
import math
from pathlib import Path

import numpy as np
from astropy import units as u
from tqdm import tqdm

from lenssr._validation import check_index, check_nonnegative_int, check_positive_int
from lenssr.simulate._catalog_chunks import (
    CHUNK_SIZE,
    CatalogSpec,
    is_made,
    make_chunk,
    merge_truths,
    pair_count,
    prepare_folder,
    read_manifest,
    require_zarr,
    run_chunks,
    scene_part,
    truth_part,
)
from lenssr.simulate._instrument import Defects, Instrument
from lenssr.simulate._pair import TRUTH_COLUMNS, assemble_pair
from lenssr.simulate._population import Population, SceneModel
from lenssr.simulate._presets import find_preset
from lenssr.simulate._substructure import CLASSES
from lenssr.simulate._substructure_priors import RandomField, Subhalos, Vortex


class LazyArray:
    """Array of a catalogue on disk; indexing reads the necessary chunks."""

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
            indices = np.arange(len(self))[first]
        except IndexError as err:
            raise IndexError(f"index {first!r} is out of range for {len(self)} pairs") from err
        # Read chunk by chunk, so that damaged and missing chunks are named; zarr reads
        # missing chunks as zeros.
        chunks = np.unique(indices // CHUNK_SIZE)
        parts = {chunk: self._read(int(chunk)) for chunk in chunks}
        if np.ndim(indices) == 0:
            values = parts[int(chunks[0])][indices % CHUNK_SIZE]
        else:
            values = np.empty((len(indices), *self.shape[1:]), self.dtype)
            for chunk, part in parts.items():
                in_chunk = indices // CHUNK_SIZE == chunk
                values[in_chunk] = part[indices[in_chunk] % CHUNK_SIZE]
        if not isinstance(key, tuple):
            return values
        return values[key[1:] if np.ndim(indices) == 0 else (slice(None), *key[1:])]

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self[:], dtype=dtype)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    @functools.lru_cache(maxsize=2)  # noqa: B019 - two chunks of an array, freed with it
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
    """Error for a chunk that cannot be read, with the call that remakes it."""

    def __init__(self, chunk, start, stop, what, err):
        self.chunk = chunk
        super().__init__(f"chunk {chunk} of {what} (pairs {start} to {stop - 1}) is damaged: "
                         f"{' '.join(str(err).split()) or type(err).__name__}; remake({chunk}) of "
                         "the catalogue simulates it again")


PRIOR_CLASSES = {kind.__name__: kind for kind in (Subhalos, Vortex, RandomField)}


def simulate_catalog(path, n, preset="hsc-hst", *, substructure=CLASSES, instrument=None,
                     population=None, scale=2, size=None, target_noise=None, seed=0,
                     engine="lenstronomy", workers=1, client=None, progress=True):
    """
    Simulate a catalogue of pairs, or resume an interrupted simulation.

    Parameters
    ----------
    path : path-like
        Folder of the catalogue: new, empty, or with a part of the same catalogue.
    n : int
        Number of pairs.
    preset : str
        One of ``lenssr.simulate.PRESETS``.
    substructure : str, `Subhalos`, `Vortex`, or a sequence of them
        Classes of dark-matter substructure, which alternate.
    instrument, population, scale, size, target_noise
        As in `simulate_pair`.
    seed : int
        Seed of the series; a pair depends on seed, index and class alone.
    engine : {"lenstronomy", "torch"}
        Renderer of the scenes.
    workers : int
        Worker processes, without effect on the result. A script with several workers needs an
        ``if __name__ == "__main__":`` guard.
    client : `dask.distributed.Client`, optional
        Dask cluster in place of worker processes; its workers must reach ``path``.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    catalog : `Catalog`
        The catalogue, as returned by `open_catalog`.

    Raises
    ------
    ValueError
        If an argument is invalid, or ``path`` holds other files.
    ImportError
        If zarr is not installed.
    RuntimeError
        If a worker process dies.

    Warns
    -----
    LensSRWarning
        If a part was made by other software versions.

    Notes
    -----
    The folder holds ``manifest.json`` (options and versions), ``arrays.zarr`` (Zarr group with
    ``lr``, ``sigma``, ``hr``, ``psf`` and, if necessary, ``mask`` and the noise-free ``truth``),
    ``truths.ecsv`` (a row for each pair) and ``scenes`` (gzipped JSON). Chunks of 256 pairs are
    complete or absent, so that an interrupted run loses the current chunks only.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from lenssr.simulate import simulate_catalog
    >>> with TemporaryDirectory() as folder:
    ...     catalog = simulate_catalog(folder, 3, size=24, progress=False)
    >>> len(catalog)
    3
    """
    spec = CatalogSpec(check_positive_int("n", n), dict(
        preset=preset, substructure=substructure, instrument=instrument, population=population,
        scale=scale, size=size, target_noise=target_noise, seed=seed, engine=engine))
    workers = check_positive_int("workers", workers)
    require_zarr()
    path = Path(path)
    prepare_folder(path, spec)
    missing = [chunk for chunk in range(spec.n_chunks) if not is_made(path, chunk)]
    with tqdm(total=spec.n, initial=spec.n - pair_count(missing, spec), unit="pair",
              desc="simulating", disable=not progress, delay=1) as bar:
        for chunk in run_chunks(path, spec, missing, workers, client):
            bar.update(pair_count([chunk], spec))
    merge_truths(path, spec.n_chunks)
    return Catalog(path)


def open_catalog(path, *, pixel_scale=None):
    """
    Open a catalogue of pairs, which is read lazily.

    Parameters
    ----------
    path : path-like
        Folder of `simulate_catalog`; or folder of FITS files as from `write_pairs`; or folder in
        the layout of DeepLense, with arrays ``*.npy`` in ``HR`` and ``LR``, matched by the numbers
        in their names.
    pixel_scale : float, optional
        Side of the low-resolution pixels in arcsec for the layout of DeepLense, whose pairs have no
        WCS without it.

    Returns
    -------
    catalog : `Catalog`, `FitsCatalog` or `FolderCatalog`
        ``len(catalog)``; ``catalog[i]``, a `LensPair`; ``catalog.table``, a row for each pair;
        ``catalog.lr`` and ``catalog.hr``, lazy arrays.

    Raises
    ------
    ValueError
        If the folder is not a catalogue, is incomplete, or has another version.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from lenssr.simulate import open_catalog, simulate_pair, write_pairs
    >>> with TemporaryDirectory() as folder:
    ...     write_pairs([simulate_pair(size=24)], folder)
    ...     len(open_catalog(folder))
    1
    """
    from lenssr.simulate._catalog_formats import FitsCatalog, FolderCatalog

    path = Path(path)
    if (path / "HR").is_dir() and (path / "LR").is_dir():
        return FolderCatalog(path, pixel_scale)
    if pixel_scale is not None:
        raise ValueError("`pixel_scale` must be None for a catalogue with pixel scales, got "
                         f"{pixel_scale!r}")
    if not (path / "manifest.json").exists() and any(path.glob("lr-*.fits")):
        return FitsCatalog(path)
    return Catalog(path)


class Catalog:
    """Catalogue of simulated pairs."""

    unit = u.electron

    def __init__(self, path):
        require_zarr()
        import zarr

        self.path = Path(path)
        if not self.path.is_dir():
            raise ValueError(f"`path` must be the folder of a catalogue, got {str(path)!r}")
        self.manifest = read_manifest(self.path)
        self.n_chunks = -(-self.manifest["n"] // CHUNK_SIZE)
        made = sum(is_made(self.path, chunk) for chunk in range(self.n_chunks))
        if made < self.n_chunks or not (self.path / "truths.ecsv").exists():
            raise ValueError(f"`path` must be a complete catalogue, got {str(path)!r} with {made} "
                             f"of {self.n_chunks} chunks; the same call of simulate_catalog goes "
                             "on with it")
        group = zarr.open_group(self.path / "arrays.zarr", mode="r")
        self.arrays = {name: LazyArray(array, name) for name, array in sorted(group.arrays())}
        self.lr, self.hr = self.arrays["lr"], self.arrays["hr"]

    def __len__(self):
        return self.manifest["n"]

    def __repr__(self):
        return f"<Catalog {str(self.path)!r}: {len(self)} pairs of {self.manifest['preset']!r}>"

    def __getitem__(self, index):
        index = check_index(index, len(self))
        chunk, row = divmod(index, CHUNK_SIZE)
        images = {name: array[index] for name, array in self.arrays.items()}
        scenes, rows = self._chunk(chunk)
        mask, tree = images.pop("mask", None), scenes[row]
        galaxies = self._galaxies if tree["galaxy"] else None
        return assemble_pair({k: v.astype(float) for k, v in images.items()},
                             SceneModel.from_dict(tree, galaxies), rows[row], self, mask)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    @property
    def scale(self):
        """Output pixels per input pixel."""
        return self.manifest["scale"]

    @property
    def seed(self):
        """Seed of the series."""
        return self.manifest["seed"]

    @property
    def preset(self):
        """Name of the preset."""
        return self.manifest["preset"]

    @functools.cached_property
    def instrument(self):
        """`Instrument` of the catalogue, without measured PSFs and skies of the user."""
        if "instrument" not in self.manifest["own"]:
            return find_preset(self.preset).instrument
        tree = {k: tuple(map(float, v)) if isinstance(v, list) else v
                for k, v in self.manifest["instrument"].items()}
        tree["beta"] = _to_numbers(tree["beta"])
        tree["sky_brightness"] = float(tree["sky_brightness"])
        if tree["defects"] is not None:
            tree["defects"] = Defects(**tree["defects"])
        return Instrument(**tree)

    @functools.cached_property
    def table(self):
        """Truths of all pairs, a `~astropy.table.QTable` with a row for each pair."""
        from astropy.table import QTable

        return QTable.read(self.path / "truths.ecsv", format="ascii.ecsv")

    @functools.cached_property
    def _galaxies(self):
        from lenssr.data import galaxy_stamps

        return {stamp.name: stamp.image for stamp in galaxy_stamps()}

    @functools.lru_cache(maxsize=2)  # noqa: B019 - two chunks of a catalogue, freed with it
    def _chunk(self, chunk):
        from astropy.table import Table

        try:
            scenes = json.loads(gzip.decompress(scene_part(self.path, chunk).read_bytes()))
            table = Table.read(truth_part(self.path, chunk), format="ascii.ecsv")
            rows = [{name: _plain(value) for name, value in zip(table.colnames, row)
                     if name in TRUTH_COLUMNS} for row in table.iterrows()]
            if not len(scenes) == len(rows) == min(CHUNK_SIZE, len(self) - chunk * CHUNK_SIZE):
                raise ValueError(f"it holds {len(scenes)} scenes and {len(rows)} rows")
        except Exception as err:
            start = chunk * CHUNK_SIZE
            raise DamagedChunk(chunk, start, min(start + CHUNK_SIZE, len(self)), "the truths",
                               err) from err
        return scenes, rows

    def damaged(self):
        """Read all chunks and return the numbers of damaged chunks."""
        damaged_chunks = []
        for chunk in range(self.n_chunks):
            try:
                for array in self.arrays.values():
                    array[chunk * CHUNK_SIZE]
                self._chunk(chunk)
            except DamagedChunk:
                damaged_chunks.append(chunk)
        return damaged_chunks

    def remake(self, chunk):
        """Simulate one chunk again."""
        if check_nonnegative_int("chunk", chunk) >= self.n_chunks:
            raise ValueError(f"`chunk` must be below {self.n_chunks}, got {chunk}")
        make_chunk(self.path, self._spec(), chunk)
        merge_truths(self.path, self.n_chunks)
        self.__dict__.pop("table", None)
        self._chunk.cache_clear()
        for array in self.arrays.values():
            array._read.cache_clear()

    def _spec(self):
        manifest, options = self.manifest, {}
        if "population" in manifest["own"]:
            tree = dict(manifest["population"])
            if tree.pop("class") != "Population":
                raise ValueError("`remake` needs the class of the population, got a catalogue of "
                                 "the class {manifest['population']['class']!r}; delete the "
                                 "chunk's "
                                 "file in truths and call simulate_catalog as before")
            options["population"] = Population(**{
                k: tuple(v) if isinstance(v, list) else v for k, v in tree.items()})
        if "instrument" in manifest["own"]:
            options["instrument"] = self.instrument
        classes = tuple(c if isinstance(c, str) else _prior(c) for c in manifest["substructure"])
        fields = {k: manifest[k]
                  for k in ("preset", "scale", "size", "target_noise", "seed", "engine")}
        return CatalogSpec(len(self), dict(substructure=classes, **options, **fields))

    def export(self, path, layout="fits", *, scaled=True):
        """Write the pairs as files."""
        from lenssr.simulate._catalog_formats import export

        export(self, path, layout, scaled)


def _to_numbers(value):
    # JSON has no infinity, so that it is written as text.
    if isinstance(value, str):
        return (math.inf, math.inf)
    return tuple(map(float, value))


def _prior(tree):
    tree = {k: tuple(v) if isinstance(v, list) else v for k, v in tree.items()}
    return PRIOR_CLASSES[tree.pop("class")](**tree)


def _plain(value):
    if np.ma.is_masked(value):
        return ""
    return value.item() if hasattr(value, "item") else value
