"""Catalogues in other formats: folders of DeepLense arrays or FITS files."""

import re
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.nddata import CCDData, StdDevUncertainty
from astropy.table import Table

from lenssr._io import atomic_write
from lenssr._pair import LensPair
from lenssr._validation import check_index, check_positive_number
from lenssr.simulate._pair import make_ccd


def _file_number(path):
    """Return the numbers in a file name, for sorting."""
    return [int(digits) for digits in re.findall(r"\d+", path.stem)], path.stem


def _check_pairs(path, low, high):
    """Raise `ValueError` unless both folders hold files of the same numbers."""
    if not low or len(low) != len(high):
        raise ValueError(f"`path` must hold as many images of low as of high resolution, got "
                         f"{len(low)} and {len(high)} in {str(path)!r}")
    for low_file, high_file in zip(low, high):
        if _file_number(low_file)[0] != _file_number(high_file)[0]:
            raise ValueError("`path` must hold pairs of files of the same number, got "
                             f"{low_file.relative_to(path)} and {high_file.relative_to(path)} in "
                             f"{str(path)!r}")


def _scale(path, low, high):
    """Return the ratio of the image sizes of both folders."""
    sides = {b / a for a, b in zip(low, high)}
    scale = int(next(iter(sides)))
    if sides != {float(scale)} or scale < 1:
        raise ValueError("`path` must hold high-resolution images with a multiple of the "
                         "low-resolution sides, got {tuple(high)} and {tuple(low)} in "
                         f"{str(path)!r}")
    return scale


class _FolderImages:
    """Images of a folder as a lazily read array."""

    def __init__(self, files):
        self.files = files
        first = self._read(files[0])
        self.shape, self.dtype = (len(files), *first.shape), first.dtype

    def __len__(self):
        return len(self.files)

    def __getitem__(self, key):
        first, remaining_key = (key[0], key[1:]) if isinstance(key, tuple) else (key, ())
        indices = np.arange(len(self))[first]
        if np.ndim(indices) == 0:
            return self._checked(self.files[indices])[remaining_key]
        images = np.stack([self._checked(self.files[i]) for i in indices])
        return images[(slice(None), *remaining_key)]

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self[:], dtype=dtype)

    def _checked(self, file):
        image = self._read(file)
        if image.shape != self.shape[1:]:
            raise ValueError(f"{file} must have the shape of the other images {self.shape[1:]}, "
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
    """Catalogue in the layout of DeepLense."""

    unit = None

    def __init__(self, path, pixel_scale=None):
        self.path = Path(path)
        self.pixel_scale = None if pixel_scale is None else check_positive_number("pixel_scale",
                                                                                  pixel_scale)
        low, high = (sorted((self.path / name).glob("*.npy"), key=_file_number)
                     for name in ("LR", "HR"))
        _check_pairs(self.path, low, high)
        self.lr, self.hr = _FolderImages(low), _FolderImages(high)
        self.arrays = {"lr": self.lr, "hr": self.hr}
        self.scale = _scale(self.path, self.lr.shape[1:], self.hr.shape[1:])
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


class FitsCatalog:
    """Catalogue of FITS files ``lr-000000.fits`` and ``hr-000000.fits``."""

    def __init__(self, path):
        self.path = Path(path)
        low, high = (sorted(self.path.glob(f"{name}-*.fits"), key=_file_number)
                     for name in ("lr", "hr"))
        _check_pairs(self.path, low, high)
        self.pairs = [LensPair(*(CCDData.read(file) for file in files), {"index": k})
                      for k, files in enumerate(zip(low, high))]
        self.arrays = {"lr": self._stack("data", "lr"), "hr": self._stack("data", "hr")}
        self.lr, self.hr = self.arrays["lr"], self.arrays["hr"]
        self.unit = self.pairs[0].hr.unit
        self.scale = _scale(self.path, self.lr.shape[1:], self.hr.shape[1:])
        for name, what in (("sigma", "uncertainty"), ("psf", "psf")):
            present = [getattr(pair.lr, what) is not None for pair in self.pairs]
            if any(present) and not all(present):
                raise ValueError(f"`path` must hold images that all have {what} or none, "
                                 f"{low[present.index(False)]} has none")
            if all(present):
                self.arrays[name] = self._stack(what, "lr")
        if any(pair.lr.mask is not None for pair in self.pairs):
            self.arrays["mask"] = np.stack([
                np.zeros(pair.lr.shape, bool) if pair.lr.mask is None else pair.lr.mask
                for pair in self.pairs])
        self.table = Table({"index": np.arange(len(low)), "lr": [f.name for f in low],
                            "hr": [f.name for f in high]})

    def _stack(self, what, which):
        planes = [getattr(getattr(pair, which), what) for pair in self.pairs]
        if what == "uncertainty":
            planes = [plane.represent_as(StdDevUncertainty).array for plane in planes]
        sides = {plane.shape for plane in planes}
        if what == "psf" and len(sides) > 1:
            # Pad PSFs of several sizes to the largest.
            side = [max(s[k] for s in sides) for k in (0, 1)]
            planes = [np.pad(p, [((n - m) // 2,) * 2 for n, m in zip(side, p.shape)])
                      for p in planes]
        elif len(sides) > 1:
            raise ValueError(f"`path` must hold images of one size in {which}, got "
                             f"{sorted(sides)} in {str(self.path)!r}")
        return np.stack([np.asarray(plane, dtype=np.float32) for plane in planes])

    def __len__(self):
        return len(self.pairs)

    def __repr__(self):
        return f"<FitsCatalog {str(self.path)!r}: {len(self)} pairs>"

    def __getitem__(self, index):
        return self.pairs[check_index(index, len(self))]

    def __iter__(self):
        return iter(self.pairs)


LAYOUTS = ("fits", "deeplense")


def write_pairs(pairs, path):
    """
    Write pairs as FITS files, which `open_catalog` reads.

    Parameters
    ----------
    pairs : iterable of `LensPair`
        Pairs, for example from `pair_observations`.
    path : path-like
        New or empty folder for ``lr-000000.fits``, ``hr-000000.fits``, and so on, with WCS, unit,
        uncertainty, mask and PSF.

    Raises
    ------
    ValueError
        If the folder is not empty.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from lenssr.simulate import simulate_pair, write_pairs
    >>> with TemporaryDirectory() as folder:
    ...     write_pairs([simulate_pair(size=24)], folder)
    """
    path = _new_folder(path)
    for index, pair in enumerate(pairs):
        for name, image in (("lr", pair.lr), ("hr", pair.hr)):
            with atomic_write(path / f"{name}-{index:06d}.fits") as tmp_path:
                image.write(tmp_path, format="fits")


def _new_folder(path):
    path = Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(f"`path` must be a new or empty folder, got {str(path)!r}")
    path.mkdir(parents=True, exist_ok=True)
    return path


def export(catalog, path, layout, scaled):
    """Write the pairs of a catalogue as files."""
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
            with atomic_write(path / name / f"sample_{index}.npy") as tmp_path:
                with open(tmp_path, "wb") as file:
                    np.save(file, image[None])
