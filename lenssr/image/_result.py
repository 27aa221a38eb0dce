"""The super-resolved image: a CCDData that remembers how far to believe it."""

import os
import warnings

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData

from ._read import UNCERTAINTIES, merged_header
from ._wcs import wcs_from_hdus, wcs_to_fits
from ._wcs_cards import strip_wcs

__all__ = ["SuperResolvedImage"]

# Attributes beyond those of CCDData, and the extensions that hold them.
EXTENSIONS = {"measurement_std": "MEASSTD", "prior_std": "PRIORSTD", "samples": "SAMPLES",
              "consistency": "CONSIST"}


class SuperResolvedImage(CCDData):
    """
    Result of `lenssr.superresolve`.

    A `~astropy.nddata.CCDData`, so that every tool of Astropy takes it, with:

    Attributes
    ----------
    measurement_std : `~numpy.ndarray` or None
        Standard deviation that the noise of the data alone gives each pixel, in
        the unit of the image.
    prior_std : `~numpy.ndarray` or None
        Standard deviation of what the data do not determine.
    samples : `~numpy.ndarray` or None
        Posterior samples, first axis.
    consistency : `~numpy.ndarray` or None
        Reduced chi-squared map of the re-degraded result against the data.

    Notes
    -----
    ``psf`` is the effective PSF of the result on its own grid; slicing keeps it
    and cuts the maps along with the data.
    """

    def __init__(self, *args, measurement_std=None, prior_std=None, samples=None,
                 consistency=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.measurement_std, self.prior_std = measurement_std, prior_std
        self.samples, self.consistency = samples, consistency

    def __getitem__(self, item):
        cut = super().__getitem__(item)
        cut.psf = self.psf
        for name in ("measurement_std", "prior_std"):
            if (value := getattr(self, name)) is not None:
                setattr(cut, name, value[item])
        if self.samples is not None:
            item = item if isinstance(item, tuple) else (item,)
            cut.samples = self.samples[(slice(None), *item)]
        return cut

    def to_hdulist(self):
        """
        The image as FITS, in the layout of `~astropy.nddata.CCDData`.

        Returns
        -------
        hdus : `~astropy.io.fits.HDUList`
            Data and header in the primary HDU; ``MASK``, ``UNCERT`` and
            ``PSFIMAGE`` as `CCDData.read <astropy.nddata.CCDData.read>` knows them;
            the further maps, and what the WCS needs beside its cards.

        Raises
        ------
        ValueError
            If the WCS is of a kind that no file can hold.
        """
        header, beside = strip_wcs(self.meta), []
        if self.wcs is not None:
            cards, beside = wcs_to_fits(self.wcs)
            header.update(cards)
        header["BUNIT"] = self.unit.to_string()
        hdus = fits.HDUList([fits.PrimaryHDU(self.data, header)])
        if self.mask is not None:
            hdus.append(fits.ImageHDU(self.mask.astype(np.uint8), name="MASK"))
        if self.uncertainty is not None:
            about = fits.Header()
            about["UTYPE"] = type(self.uncertainty).__name__
            if self.uncertainty.unit is not None:
                about["BUNIT"] = self.uncertainty.unit.to_string()
            hdus.append(fits.ImageHDU(self.uncertainty.array, about, name="UNCERT"))
        if self.psf is not None:
            hdus.append(fits.ImageHDU(self.psf, name="PSFIMAGE"))
        for name, extension in EXTENSIONS.items():
            if (value := getattr(self, name)) is not None:
                hdus.append(fits.ImageHDU(value, name=extension))
        hdus.extend(beside)
        return hdus

    def write(self, path, *, overwrite=False):
        """
        Write everything into one FITS file.

        Parameters
        ----------
        path : path-like
            The file; ``.fits.gz`` compresses it.
        overwrite : bool
            Replace a file that is there.

        Raises
        ------
        OSError
            If the file exists and ``overwrite`` is false, or it can't be written.

        Notes
        -----
        Written beside and renamed: a file of that name is always whole.
        """
        path = os.fspath(path)
        if os.path.exists(path) and not overwrite:
            raise OSError(f"`path` {path!r} exists already; say overwrite=True to replace it")
        folder, name = os.path.split(path)
        beside = os.path.join(folder, f".part-{os.getpid()}-{name}")
        try:
            with warnings.catch_warnings():
                # Keywords of more than eight letters become HIERARCH cards.
                warnings.simplefilter("ignore", fits.verify.VerifyWarning)
                self.to_hdulist().writeto(beside, overwrite=True)
            os.replace(beside, path)
        finally:
            if os.path.exists(beside):
                os.remove(beside)

    @classmethod
    def read(cls, path):
        """
        Read what `write` wrote.

        Parameters
        ----------
        path : path-like or file object
            The file.

        Returns
        -------
        image : `SuperResolvedImage`

        Raises
        ------
        OSError
            If it is not a FITS file.
        ValueError
            If it is not one of lenssr's.
        """
        with fits.open(path, memmap=False) as hdus:
            primary = hdus[0]
            if primary.data is None or "SRMETHOD" not in primary.header:
                raise ValueError(f"`path` must be a file written by SuperResolvedImage.write, "
                                 f"{path} has no card SRMETHOD")
            wcs = wcs_from_hdus(primary.header, hdus)
            parts = {hdu.name: _native(hdu.data) for hdu in hdus[1:] if hdu.is_image}
            unit = u.Unit(primary.header["BUNIT"], parse_strict="silent")
            uncertainty = None
            if "UNCERT" in parts:
                about = hdus["UNCERT"].header
                own = about.get("BUNIT")
                uncertainty = UNCERTAINTIES[about["UTYPE"]](
                    parts["UNCERT"], unit=None if own is None
                    else u.Unit(own, parse_strict="silent"))
            header = strip_wcs(merged_header(fits.Header(), primary.header))
            del header["BUNIT"]
            mask = parts["MASK"].astype(bool) if "MASK" in parts else None
            return cls(_native(primary.data), unit=unit, uncertainty=uncertainty, mask=mask,
                       wcs=wcs, meta=header, psf=parts.get("PSFIMAGE"),
                       **{name: parts.get(key) for name, key in EXTENSIONS.items()})


def _native(array):
    return array.astype(array.dtype.newbyteorder("="), copy=False)
