"""A chunk of a catalogue: made by one worker, whole or not at all."""

import gzip
import io
import json
from pathlib import Path

from lenssr._io import atomic_write
from lenssr.simulate._truth import TRUTHS

__all__ = ["CHUNK_SIZE", "create_arrays", "is_made", "make_chunk", "merge_truths", "truth_part"]

CHUNK_SIZE = 256  # pairs


def truth_part(path, chunk):
    """File of the truths of a chunk, written last: where it is, the chunk is made."""
    return path / "truths" / f"{chunk:06d}.ecsv"


def scene_part(path, chunk):
    """File of the scenes of a chunk."""
    return path / "scenes" / f"{chunk:06d}.json.gz"


def is_made(path, chunk):
    """Whether a chunk is there."""
    return truth_part(path, chunk).exists()


def create_arrays(path, spec):
    """The empty arrays of a catalogue."""
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
        # A checksum: a chunk that was damaged is found when it is read.
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
    # Sums over threads are not the same to the last bit for any number of them.
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
    with atomic_write(path) as beside:
        beside.write_bytes(content)


def _ecsv(rows):
    from astropy.table import Column, Table

    table = Table()
    for name in rows[0]:
        unit, description = TRUTHS.get(name, (None, "number of the pair"))
        table[name] = Column([row[name] for row in rows], unit=unit, description=description)
    out = io.StringIO()
    table.write(out, format="ascii.ecsv")
    return out.getvalue()


def merge_truths(path, n_chunks):
    """One table of truths of those of the chunks, which have the same header."""
    with atomic_write(path / "truths.ecsv") as beside, open(beside, "w") as whole:
        for chunk in range(n_chunks):
            header = True
            with open(truth_part(path, chunk)) as part:
                for line in part:
                    # The header is comments and a line of names.
                    if not header or chunk == 0:
                        whole.write(line)
                    header = header and line.startswith("#")
