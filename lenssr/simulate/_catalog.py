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
    LazyArray,
    is_made,
    make_chunk,
    merge_truths,
    prepare_folder,
    read_manifest,
    require_zarr,
    run_chunks,
    scene_part,
    truth_part,
)
from lenssr.simulate._catalog_formats import FitsCatalog, FolderCatalog, export
from lenssr.simulate._instrument import Defects, Instrument
from lenssr.simulate._pair import TRUTH_COLUMNS, assemble_pair
from lenssr.simulate._population import Population, SceneModel
from lenssr.simulate._presets import find_preset
from lenssr.simulate._substructure import CLASSES
from lenssr.simulate._substructure_priors import RandomField, Subhalos, Vortex

# Priors of dark-matter substructure by the class names of a manifest.
PRIOR_CLASSES = {prior.__name__: prior for prior in (Subhalos, Vortex, RandomField)}


class DamagedChunk(ValueError):
    """Error for a chunk that cannot be read, with the call that repairs it."""

    def __init__(self, chunk, indices, part, err):
        self.chunk = chunk
        super().__init__(f"chunk {chunk} of {part} (pairs {indices[0]} to {indices[-1]}) is "
                         f"damaged: {' '.join(str(err).split()) or type(err).__name__}; "
                         f"remake({chunk}) of the catalogue repairs it")


def simulate_catalog(path, n, preset="hsc-hst", *, substructure=CLASSES, instrument=None,
                     population=None, scale=2, size=None, target_noise=None, seed=0,
                     engine="lenstronomy", workers=1, client=None, chunk_size=CHUNK_SIZE,
                     progress=True):
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
    chunk_size : int
        Number of pairs that are simulated and stored together.
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
    ``truths.ecsv`` (a row for each pair) and ``scenes`` (gzipped JSON). Chunks of pairs are
    complete or absent: an interrupted run loses the current chunks only.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from lenssr.simulate import simulate_catalog
    >>> with TemporaryDirectory() as folder:
    ...     catalog = simulate_catalog(folder, 3, size=24, progress=False)
    >>> len(catalog)
    3
    """
    options = dict(
        preset=preset, substructure=substructure, instrument=instrument, population=population,
        scale=scale, size=size, target_noise=target_noise, seed=seed, engine=engine)
    spec = CatalogSpec(check_positive_int("n", n), options,
                       check_positive_int("chunk_size", chunk_size))
    workers = check_positive_int("workers", workers)
    require_zarr()
    path = Path(path)
    prepare_folder(path, spec)
    missing = [chunk for chunk in range(spec.n_chunks) if not is_made(path, chunk)]
    n_made = spec.n - sum(len(spec.indices(chunk)) for chunk in missing)
    with tqdm(total=spec.n, initial=n_made, unit="pair", desc="simulating",
              disable=not progress, delay=1) as bar:
        for chunk in run_chunks(path, spec, missing, workers, client):
            bar.update(len(spec.indices(chunk)))
    merge_truths(path, spec.n_chunks)
    return Catalog(path)


def open_catalog(path, *, pixel_scale=None):
    """
    Open a catalogue of pairs for lazy reading.

    Parameters
    ----------
    path : path-like
        Folder of `simulate_catalog`, folder of FITS files of `write_pairs`, or folder in the
        DeepLense layout: arrays ``*.npy`` in ``HR`` and ``LR``, paired by the numbers in their
        names.
    pixel_scale : float, optional
        Side of the low-resolution pixels in arcsec, for the DeepLense layout only. Without it,
        pairs in this layout have no WCS.

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
    path = Path(path)
    if (path / "HR").is_dir() and (path / "LR").is_dir():
        return FolderCatalog(path, pixel_scale)
    if pixel_scale is not None:
        raise ValueError("`pixel_scale` must be None for a catalogue that has a pixel scale, got "
                         f"{pixel_scale!r}")
    if not (path / "manifest.json").exists() and any(path.glob("lr-*.fits")):
        return FitsCatalog(path)
    return Catalog(path)


class Catalog:
    """Catalogue of `simulate_catalog`: a sequence of `LensPair`, with arrays and truth table."""

    unit = u.electron

    def __init__(self, path):
        require_zarr()
        import zarr

        self.path = Path(path)
        if not self.path.is_dir():
            raise ValueError(f"`path` must be the folder of a catalogue, got {str(path)!r}")
        self.manifest = read_manifest(self.path)
        # Options are read from the manifest when a chunk is simulated again.
        spec = CatalogSpec(self.manifest["n"], {}, self.manifest["chunk_size"])
        self.chunk_size, self.n_chunks, self._indices = spec.chunk_size, spec.n_chunks, spec.indices
        made = sum(is_made(self.path, chunk) for chunk in range(self.n_chunks))
        if made < self.n_chunks or not (self.path / "truths.ecsv").exists():
            raise ValueError(f"`path` must be a complete catalogue, got {str(path)!r} with {made} "
                             f"of {self.n_chunks} chunks; the same call of simulate_catalog "
                             "completes it")
        group = zarr.open_group(self.path / "arrays.zarr", mode="r")
        self.arrays = {
            name: LazyArray(name, array.shape, array.dtype, self.chunk_size,
                            functools.partial(self._read_chunk, array, name))
            for name, array in sorted(group.arrays())}
        self.lr, self.hr, self._recent = self.arrays["lr"], self.arrays["hr"], {}

    def __len__(self):
        return self.manifest["n"]

    def __repr__(self):
        return f"<Catalog {str(self.path)!r}: {len(self)} pairs of {self.manifest['preset']!r}>"

    def __getitem__(self, index):
        index = check_index(index, len(self))
        chunk, row = divmod(index, self.chunk_size)
        images = {name: array[index] for name, array in self.arrays.items()}
        scenes, rows = self._truths(chunk)
        mask, scene = images.pop("mask", None), scenes[row]
        galaxies = self._galaxies if scene["galaxy"] else None
        return assemble_pair({k: v.astype(float) for k, v in images.items()},
                             SceneModel.from_dict(scene, galaxies), rows[row], self, mask)

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
        if "instrument" not in self.manifest["custom"]:
            return find_preset(self.preset).instrument
        fields = {k: tuple(map(float, v)) if isinstance(v, list) else v
                  for k, v in self.manifest["instrument"].items()}
        # JSON has no infinity, which is stored as text.
        beta = fields["beta"]
        fields["beta"] = (math.inf, math.inf) if isinstance(beta, str) else tuple(map(float, beta))
        fields["sky_brightness"] = float(fields["sky_brightness"])
        if fields["defects"] is not None:
            fields["defects"] = Defects(**fields["defects"])
        return Instrument(**fields)

    @functools.cached_property
    def table(self):
        """Truths of all pairs, a `~astropy.table.QTable` with a row for each pair."""
        from astropy.table import QTable

        return QTable.read(self.path / "truths.ecsv", format="ascii.ecsv")

    @functools.cached_property
    def _galaxies(self):
        from lenssr.data import galaxy_stamps

        return {stamp.name: stamp.image for stamp in galaxy_stamps()}

    def _read_chunk(self, array, name, chunk):
        """Read the items of a chunk from a Zarr array."""
        indices = self._indices(chunk)
        key = array.metadata.encode_chunk_key((chunk, *(0 for _ in array.shape[1:])))
        try:
            # Zarr reads missing chunks as zeros.
            if not (array.store.root / array.path / key).exists():
                raise FileNotFoundError("its file is missing")
            return array[indices.start: indices.stop]
        except Exception as err:  # codecs raise errors of many types
            raise DamagedChunk(chunk, indices, f"`{name}`", err) from err

    def _truths(self, chunk):
        """Return the scenes and the truth rows of a chunk; keep one chunk in memory."""
        from astropy.table import Table

        if chunk in self._recent:
            return self._recent[chunk]
        indices = self._indices(chunk)
        try:
            scenes = json.loads(gzip.decompress(scene_part(self.path, chunk).read_bytes()))
            table = Table.read(truth_part(self.path, chunk), format="ascii.ecsv")
            rows = [{name: _to_scalar(value) for name, value in zip(table.colnames, row)
                     if name in TRUTH_COLUMNS} for row in table.iterrows()]
            if not len(scenes) == len(rows) == len(indices):
                raise ValueError(f"it holds {len(scenes)} scenes and {len(rows)} rows")
        except Exception as err:  # damaged text raises errors of many types
            raise DamagedChunk(chunk, indices, "the truths", err) from err
        self._recent = {chunk: (scenes, rows)}
        return scenes, rows

    def damaged(self):
        """Read all chunks from disk and return the numbers of the damaged chunks."""
        self._forget()
        damaged_chunks = []
        for chunk in range(self.n_chunks):
            try:
                self[self._indices(chunk)[0]]
            except DamagedChunk:
                damaged_chunks.append(chunk)
        return damaged_chunks

    def remake(self, chunk):
        """Simulate a chunk again and replace it."""
        if check_nonnegative_int("chunk", chunk) >= self.n_chunks:
            raise ValueError(f"`chunk` must be below {self.n_chunks}, got {chunk}")
        make_chunk(self.path, self._spec(), chunk)
        merge_truths(self.path, self.n_chunks)
        self.__dict__.pop("table", None)
        self._forget()

    def _forget(self):
        """Drop the chunks in memory."""
        self._recent = {}
        for array in self.arrays.values():
            array.forget()

    def export(self, path, layout="fits", *, scaled=True):
        """
        Write the pairs as files of one of two layouts.

        ``layout`` is ``"fits"`` for the files of `write_pairs` and the truth table, or
        ``"deeplense"`` for arrays in the folders ``LR`` and ``HR``, ``scaled`` to the range from
        0 to 1.
        """
        export(self, path, layout, scaled)

    def _spec(self):
        """Return the `CatalogSpec` of the manifest."""
        manifest = self.manifest
        options = {name: manifest[name] for name in (
            "preset", "scale", "size", "target_noise", "seed", "engine")}
        options["substructure"] = tuple(
            c if isinstance(c, str) else _prior(c) for c in manifest["substructure"])
        if "instrument" in manifest["custom"]:
            options["instrument"] = self.instrument
        if "population" in manifest["custom"]:
            fields = _lists_to_tuples(manifest["population"])
            name = fields.pop("class")
            if name != Population.__name__:
                raise ValueError("`remake` needs scenes of the class Population, got a catalogue "
                                 f"of the class {name!r}; delete the chunk's file in truths and "
                                 "repeat the call of simulate_catalog")
            options["population"] = Population(**fields)
        return CatalogSpec(len(self), options, self.chunk_size)


def _prior(fields):
    """Return the prior of dark-matter substructure of a manifest."""
    fields = _lists_to_tuples(fields)
    return PRIOR_CLASSES[fields.pop("class")](**fields)


def _lists_to_tuples(fields):
    return {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}


def _to_scalar(value):
    """Return a table entry as a Python scalar; a masked entry is an empty string."""
    if np.ma.is_masked(value):
        return ""
    return value.item() if hasattr(value, "item") else value
