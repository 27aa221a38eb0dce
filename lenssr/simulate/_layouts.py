"""Other layouts of catalogues: pairs of FITS files, and the folders of DeepLense."""

from pathlib import Path

import numpy as np

from lenssr._io import atomic_write

__all__ = ["export", "write_pairs"]

LAYOUTS = ("fits", "deeplense")


def write_pairs(pairs, path):
    """
    Write pairs as FITS files, which `open_catalog` opens.

    Parameters
    ----------
    pairs : iterable of `LensPair`
        Pairs, such as `pair_observations` makes of two images of one field.
    path : path-like
        A new or empty folder: gets ``lr-000000.fits``, ``hr-000000.fits`` and so on, with
        WCS, unit, uncertainty, mask and PSF.

    Raises
    ------
    ValueError
        If the folder holds something.
    """
    path = _new_folder(path)
    for index, pair in enumerate(pairs):
        for name, image in (("lr", pair.lr), ("hr", pair.hr)):
            with atomic_write(path / f"{name}-{index:06d}.fits") as beside:
                image.write(beside, format="fits")


def _new_folder(path):
    path = Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(f"`path` must be a new or empty folder, got {str(path)!r}")
    path.mkdir(parents=True, exist_ok=True)
    return path


def export(catalog, path, layout, scaled):
    """Write the pairs of a catalogue as files; `Catalog.export` says how."""
    if layout not in LAYOUTS:
        raise ValueError(f"`layout` must be one of {', '.join(LAYOUTS)}, got {layout!r}")
    path = Path(path)
    if layout == "fits":
        write_pairs(catalog, path)
        catalog.table.write(path / "truths.ecsv", format="ascii.ecsv")
        return
    _new_folder(path)
    for name in ("LR", "HR"):
        (path / name).mkdir()
        for index, image in enumerate(catalog.arrays[name.lower()]):
            image = image.astype(np.float32)
            if scaled:
                low, high = np.nanmin(image), np.nanmax(image)
                image = (image - low) / (high - low if high > low else 1)
            with atomic_write(path / name / f"sample_{index}.npy") as beside:
                with open(beside, "wb") as file:
                    np.save(file, image[None])
