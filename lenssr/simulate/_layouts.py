"""Other layouts of catalogues: pairs of FITS files, and the folders of DeepLense."""

import os
import re
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.table import Table

from lenssr._checks import check_index, positive_number

from ._pair import LensPair, make_ccd

__all__ = ["FolderCatalog", "export"]

LAYOUTS = ("fits", "deeplense")


def export(catalog, path, layout, scaled):
    """Write the pairs of a catalogue as files; `Catalog.export` says how."""
    if layout not in LAYOUTS:
        raise ValueError(f"`layout` must be one of {', '.join(LAYOUTS)}, got {layout!r}")
    path = Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(f"`path` must be a new or empty folder, got {str(path)!r}")
    path.mkdir(parents=True, exist_ok=True)
    if layout == "fits":
        for index, pair in enumerate(catalog):
            for name, image in (("lr", pair.lr), ("hr", pair.hr)):
                image.write(path / f"{name}-{index:06d}.fits")
        catalog.table.write(path / "truths.ecsv", format="ascii.ecsv")
        return
    for name in ("LR", "HR"):
        (path / name).mkdir()
        for index, image in enumerate(catalog.arrays[name.lower()]):
            image = image.astype(np.float32)
            if scaled:
                low, high = np.nanmin(image), np.nanmax(image)
                image = (image - low) / (high - low if high > low else 1)
            beside = path / name / f".sample_{index}.npy"
            np.save(beside, image[None])
            os.replace(beside, path / name / f"sample_{index}.npy")


def _number(path):
    """Order of files: by the numbers in their names."""
    return [int(digits) for digits in re.findall(r"\d+", path.stem)], path.stem


class _Images:
    """The images of a folder as an array that is read by parts."""

    def __init__(self, files):
        self.files = files
        first = self._read(files[0])
        self.shape, self.dtype = (len(files), *first.shape), first.dtype

    def __len__(self):
        return len(self.files)

    def __getitem__(self, key):
        first, rest = (key[0], key[1:]) if isinstance(key, tuple) else (key, ())
        wanted = np.arange(len(self))[first]
        if np.ndim(wanted) == 0:
            return self._checked(self.files[wanted])[rest]
        images = np.stack([self._checked(self.files[i]) for i in wanted])
        return images[(slice(None), *rest)]

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self[:], dtype=dtype)

    def _checked(self, file):
        image = self._read(file)
        if image.shape != self.shape[1:]:
            raise ValueError(f"{file} must have the shape of the others {self.shape[1:]}, "
                             f"got {image.shape}")
        return image

    @staticmethod
    def _read(file):
        try:
            image = np.load(file, allow_pickle=False)
        except (OSError, ValueError, EOFError) as err:
            raise ValueError(f"{file} is not an image in numpy's format: {err}") from err
        image = image.squeeze()
        if image.ndim != 2:
            raise ValueError(f"{file} must hold one image of one channel, got shape {image.shape}")
        return image


class FolderCatalog:
    """
    Pairs in the layout of DeepLense, opened as a catalogue.

    The images have no noise map, PSF or unit, and, unless ``pixel_scale`` is given, no WCS;
    nothing is made up for them.

    Parameters
    ----------
    path : path-like
        Folder with ``HR/*.npy`` and ``LR/*.npy``.
    pixel_scale : float, optional
        Side of a pixel of the images of low resolution, arcsec.

    Raises
    ------
    ValueError
        If the files do not belong together.
    """

    def __init__(self, path, pixel_scale=None):
        self.path = Path(path)
        self.pixel_scale = None if pixel_scale is None else positive_number("pixel_scale",
                                                                            pixel_scale)
        low, high = (sorted((self.path / name).glob("*.npy"), key=_number)
                     for name in ("LR", "HR"))
        if not low or len(low) != len(high):
            raise ValueError(f"`path` must hold as many files *.npy in LR as in HR, got {len(low)} "
                             f"and {len(high)} in {str(path)!r}")
        for one, other in zip(low, high):
            if _number(one)[0] != _number(other)[0]:
                raise ValueError(f"`path` must hold pairs of files of the same number, got "
                                 f"LR/{one.name} and HR/{other.name} in {str(path)!r}")
        self.lr, self.hr = _Images(low), _Images(high)
        self.arrays = {"lr": self.lr, "hr": self.hr}
        sides = {(b / a) for a, b in zip(self.lr.shape[1:], self.hr.shape[1:])}
        self.scale = int(next(iter(sides)))
        if sides != {float(self.scale)} or self.scale < 1:
            raise ValueError("`path` must hold images in HR whose sides are the same multiple of "
                             f"those in LR, got {self.hr.shape[1:]} and {self.lr.shape[1:]}")
        self.table = Table({"index": np.arange(len(low)), "lr": [f.name for f in low],
                            "hr": [f.name for f in high]})

    def __len__(self):
        return len(self.lr)

    def __repr__(self):
        return f"<FolderCatalog {str(self.path)!r}: {len(self)} pairs>"

    def __getitem__(self, index):
        index, images = check_index(index, len(self)), []
        for array, factor in ((self.lr, 1), (self.hr, self.scale)):
            pixel = None if self.pixel_scale is None else self.pixel_scale / factor
            images.append(make_ccd(array[index].astype(float), pixel,
                                   unit=u.dimensionless_unscaled))
        return LensPair(*images, {"index": index})

    def __iter__(self):
        return (self[i] for i in range(len(self)))
