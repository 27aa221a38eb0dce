"""Catalogues in other formats: folders of DeepLense arrays or FITS files."""

import re
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.nddata import CCDData, StdDevUncertainty
from astropy.table import Table

from lenssr._io import atomic_write
from lenssr._pair import LensPair
from lenssr._validation import check_index, check_name, check_positive_number
from lenssr.simulate._catalog_chunks import LazyArray
from lenssr.simulate._pair import make_ccd

LAYOUTS = ("fits", "deeplense")  # layouts of exported catalogues


def _number(path):
    """Return the numbers in a file name and the name, for sorting."""
    return [int(digits) for digits in re.findall(r"\d+", path.stem)], path.stem


class _FileCatalog:
    """Catalogue of one file per image: paired files, scale and table."""

    chunk_size = None

    def __init__(self, path, patterns):
        self.path = Path(path)
        self.low, self.high = (sorted(self.path.glob(p), key=_number) for p in patterns)
        if not self.low or len(self.low) != len(self.high):
            raise ValueError("`path` must hold as many images of low as of high resolution, got "
                             f"{len(self.low)} and {len(self.high)} in {str(path)!r}")
        for low, high in zip(self.low, self.high):
            if _number(low)[0] != _number(high)[0]:
                raise ValueError("`path` must hold pairs of files of the same number, got "
                                 f"{low.relative_to(path)} and {high.relative_to(path)} in "
                                 f"{str(path)!r}")
        self.table = Table({"index": np.arange(len(self.low)), "lr": [f.name for f in self.low],
                            "hr": [f.name for f in self.high]})

    def __len__(self):
        return len(self.low)

    def __repr__(self):
        return f"<{type(self).__name__} {str(self.path)!r}: {len(self)} pairs>"

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    @property
    def lr(self):
        """Low-resolution images, shape ``(n, ny, nx)``."""
        return self.arrays["lr"]

    @property
    def hr(self):
        """High-resolution images, shape ``(n, scale * ny, scale * nx)``."""
        return self.arrays["hr"]

    def _find_scale(self):
        """Return the integer ratio of the image sides, or raise `ValueError`."""
        low, high = self.lr.shape[1:], self.hr.shape[1:]
        ratios = {b / a for a, b in zip(low, high)}
        scale = int(next(iter(ratios)))
        if ratios != {float(scale)} or scale < 1:
            raise ValueError("`path` must hold images of high resolution whose sides are one "
                             f"multiple of the sides at low resolution, got {tuple(high)} and "
                             f"{tuple(low)} in {str(self.path)!r}")
        return scale


class FolderCatalog(_FileCatalog):
    """Catalogue in the DeepLense layout: ``*.npy`` files in the folders ``LR`` and ``HR``."""

    unit = None

    def __init__(self, path, pixel_scale=None):
        super().__init__(path, ("LR/*.npy", "HR/*.npy"))
        self.pixel_scale = pixel_scale
        if pixel_scale is not None:
            self.pixel_scale = check_positive_number("pixel_scale", pixel_scale)
        self.arrays = {"lr": _file_array("lr", self.low), "hr": _file_array("hr", self.high)}
        self.scale = self._find_scale()

    def __getitem__(self, index):
        index, images = check_index(index, len(self)), []
        for array, factor in ((self.lr, 1), (self.hr, self.scale)):
            pixel = None if self.pixel_scale is None else self.pixel_scale / factor
            images.append(make_ccd(array[index].astype(float), pixel,
                                   unit=u.dimensionless_unscaled))
        return LensPair(*images, {"index": index})


def _file_array(name, files):
    """Return the images of ``.npy`` files as a `LazyArray` with the shape of the first image."""
    first = _read_npy(files[0])

    def read(index):
        image = _read_npy(files[index])
        if image.shape != first.shape:
            raise ValueError(f"{files[index]} must have the shape {first.shape} of the first "
                             f"image, got {image.shape}")
        return image[None]

    return LazyArray(name, (len(files), *first.shape), first.dtype, 1, read)


def _read_npy(file):
    """Return the image of a ``.npy`` file, shape ``(ny, nx)``."""
    try:
        image = np.load(file, allow_pickle=False).squeeze()
    except (OSError, ValueError, EOFError) as err:
        raise ValueError(f"{file} is not an image in numpy's format: {err}") from err
    if image.ndim != 2:
        raise ValueError(f"{file} must hold one image of one channel, got shape {image.shape}")
    return image


class FitsCatalog(_FileCatalog):
    """Catalogue of FITS files ``lr-000000.fits`` and ``hr-000000.fits``, read into memory."""

    def __init__(self, path):
        super().__init__(path, ("lr-*.fits", "hr-*.fits"))
        self.pairs = [LensPair(*(CCDData.read(file) for file in files), {"index": k})
                      for k, files in enumerate(zip(self.low, self.high))]
        self.arrays = {"lr": self._stack("data", "lr"), "hr": self._stack("data", "hr")}
        self.unit, self.scale = self.pairs[0].hr.unit, self._find_scale()
        for name, attribute in (("sigma", "uncertainty"), ("psf", "psf")):
            present = [getattr(pair.lr, attribute) is not None for pair in self.pairs]
            if any(present) and not all(present):
                raise ValueError(f"`path` must hold images that all have {attribute} or none, "
                                 f"{self.low[present.index(False)]} has none")
            if all(present):
                self.arrays[name] = self._stack(attribute, "lr")
        if any(pair.lr.mask is not None for pair in self.pairs):
            self.arrays["mask"] = np.stack([
                np.zeros(pair.lr.shape, bool) if pair.lr.mask is None else pair.lr.mask
                for pair in self.pairs])

    def __getitem__(self, index):
        return self.pairs[check_index(index, len(self))]

    def _stack(self, attribute, name):
        """Return an attribute of all images ``lr`` or ``hr`` as a float32 array."""
        planes = [getattr(getattr(pair, name), attribute) for pair in self.pairs]
        if attribute == "uncertainty":
            planes = [plane.represent_as(StdDevUncertainty).array for plane in planes]
        shapes = {plane.shape for plane in planes}
        if attribute == "psf":
            # Pad PSFs of several sizes to the largest.
            side = [max(shape[k] for shape in shapes) for k in (0, 1)]
            planes = [np.pad(p, [((n - m) // 2,) * 2 for n, m in zip(side, p.shape)])
                      for p in planes]
        elif len(shapes) > 1:
            raise ValueError(f"`path` must hold images of one size in {name}, got "
                             f"{sorted(shapes)} in {str(self.path)!r}")
        return np.stack([np.asarray(plane, dtype=np.float32) for plane in planes])


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
    """Create a folder; raise `ValueError` unless it is new or empty."""
    path = Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(f"`path` must be a new or empty folder, got {str(path)!r}")
    path.mkdir(parents=True, exist_ok=True)
    return path


def export(catalog, path, layout, scaled):
    """Write the pairs of a catalogue as files of a layout, ``"fits"`` or ``"deeplense"``."""
    check_name("layout", layout, LAYOUTS)
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
