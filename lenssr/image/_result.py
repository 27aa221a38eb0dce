"""The super-resolved image: a CCDData that remembers how far to believe it."""

import copy
import os
import warnings

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs import WCS
from astropy.wcs.wcsapi import BaseHighLevelWCS, HighLevelWCSWrapper, SlicedLowLevelWCS

from lenssr.exceptions import LensSRWarning
from lenssr.image._aperture import sum_apertures
from lenssr.image._fits import open_fits
from lenssr.image._noise import POWERS, base_class
from lenssr.image._result_file import from_hdulist, to_hdulist, write_whole
from lenssr.image._units import parse_unit, power_of
from lenssr.image._wcs_cards import rescale_alternates
from lenssr.image._wcs_rescale import resample_wcs

__all__ = ["SuperResolvedImage"]


class SuperResolvedImage(CCDData):
    """
    Result of `lenssr.superresolve`.

    A `~astropy.nddata.CCDData`, so that every tool of Astropy takes it, with:

    Attributes
    ----------
    wcs : WCS or None
        FITS WCS, as in CCDData, or any other of APE 14.
    measurement_std : `~numpy.ndarray` or None
        Standard deviation that the noise of the data alone gives each pixel, in
        the unit of the image.
    prior_std : `~numpy.ndarray` or None
        Standard deviation of what the data do not determine.
    samples : `~numpy.ndarray` or None
        Posterior samples, first axis.
    consistency : `~numpy.ndarray` or None
        Reduced chi-squared map of the re-degraded result against the data, on the grid of the
        image: at each pixel of the data that got its light. NaN where next to none of it fell
        on valid data; None where a resolution is not known, or interpolation left that of
        the data.
    correlation : `~lenssr.image.ErrorCorrelation` or None
        How the errors that `measurement_std` and `prior_std` hold are correlated.
    lens : `~lenssr.image.LensSolution` or None
        The lens and its source, of methods that find them; of a cube a list, one for each
        plane.

    Notes
    -----
    ``psf`` is the effective PSF of the result on its own grid, or one for each plane of
    a cube. Slicing keeps it and cuts the maps that have the shape of the data; cards of
    alternate WCSs, and the lens, which are of the whole image, are left out. Arithmetic keeps
    the PSF and the header, and `measurement_std`, `prior_std`, `correlation` and `lens` if the
    other operand is a number.
    """

    _any_wcs = None

    def __init__(self, *args, measurement_std=None, prior_std=None, samples=None,
                 consistency=None, correlation=None, lens=None, **kwargs):
        super().__init__(*args, **kwargs)
        source = args[0] if args else kwargs.get("data")
        maps = {"measurement_std": measurement_std, "prior_std": prior_std, "samples": samples,
                "consistency": consistency, "correlation": correlation, "lens": lens}
        for name, value in maps.items():
            value = getattr(source, name, None) if value is None else value
            setattr(self, name, copy.deepcopy(value) if kwargs.get("copy") else value)

    @property
    def solutions(self):
        """The lens of each plane, a list."""
        return self.lens if isinstance(self.lens, list) else [self.lens]

    @property
    def wcs(self):
        # CCDData looks at `_wcs`, which must be a FITS WCS.
        return self._any_wcs if self._wcs is None else self._wcs

    @wcs.setter
    def wcs(self, value):
        if value is not None and not isinstance(value, BaseHighLevelWCS):
            value = HighLevelWCSWrapper(value)
        low = None if value is None else value.low_level_wcs
        self._wcs, self._any_wcs = (low, None) if isinstance(low, WCS) else (None, value)

    def _slice(self, item):
        kept = super()._slice(item)
        kept["meta"] = _without_alternates(self.meta)
        kept["psf"], kept["correlation"] = self.psf, self.correlation
        if self.ndim == 3:
            planes = np.arange(len(self.data))[:, None, None]
            planes = np.unique(np.broadcast_to(planes, self.shape)[item])
            planes = planes if np.ndim(kept["data"]) == 3 else planes[0]
            if self.psf is not None and self.psf.ndim == 3:
                kept["psf"] = self.psf[planes]
            if self.correlation is not None:
                kept["correlation"] = self.correlation[planes]
        if kept["correlation"] is not None:
            kept["correlation"] = kept["correlation"].at_steps(item, self.ndim)
        for name in ("measurement_std", "prior_std", "consistency"):
            value = getattr(self, name)
            if value is not None and value.shape == self.shape:
                kept[name] = value[item]
        if self.samples is not None:
            items = item if isinstance(item, tuple) else (item,)
            kept["samples"] = self.samples[(slice(None), *items)]
        return kept

    def _slice_wcs(self, item):
        if self.wcs is None:
            return None
        # Not `WCS.__getitem__`, which leaves look-up tables behind and gets steps wrong.
        cut = SlicedLowLevelWCS(self.wcs.low_level_wcs, item)
        return resample_wcs(cut) or HighLevelWCSWrapper(cut)

    def _arithmetic(self, operation, operand, *args, handle_meta="first_found", **kwargs):
        def calculate():
            return super(SuperResolvedImage, self)._arithmetic(
                operation, operand, *args, handle_meta=handle_meta, **kwargs)

        if operand is None:  # a sum or mean over an axis
            return calculate()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Not setting psf", AstropyUserWarning)
            result, kept = calculate()
        kept["psf"] = self._psf_with(operand)
        if np.ndim(operand.data) == 0 and operand.uncertainty is None:
            scales = operation in (np.multiply, np.true_divide)
            factor = abs(operation(1.0, operand.data)) if scales else 1.0
            for name in ("measurement_std", "prior_std"):
                if (value := getattr(self, name)) is not None:
                    kept[name] = factor * value
            if self.correlation is not None:
                kept["correlation"] = self.correlation.scaled(factor)
            kept["lens"] = self._lens_scaled(operation(1.0, operand.data) if scales else 1.0)
        return result, kept

    def _lens_scaled(self, factor):
        """The lens of the image times a number."""
        scaled = [None if one is None else one.scaled(factor) for one in self.solutions]
        return scaled if isinstance(self.lens, list) else scaled[0]

    def _psf_with(self, operand):
        """The PSF of a sum or product: that of the one operand that has one, or of both."""
        if self.psf is None or operand.psf is None or np.array_equal(self.psf, operand.psf):
            return operand.psf if self.psf is None else self.psf
        warnings.warn("the operands have different PSFs: the result has none", LensSRWarning,
                      stacklevel=2)
        return None

    def convert_unit_to(self, unit, equivalencies=()):
        """
        The image in another unit.

        Parameters
        ----------
        unit : `~astropy.units.Unit` or str
            The unit.
        equivalencies : list of tuple, optional
            As for `astropy.units.UnitBase.to`.

        Returns
        -------
        image : `SuperResolvedImage`

        Raises
        ------
        ValueError
            If the unit is logarithmic, or the image's does not convert to it.

        Notes
        -----
        `CCDData.convert_unit_to` loses the PSF, and takes variances for standard deviations.
        """
        unit = parse_unit(unit)
        try:
            factor = self.unit.to(unit, equivalencies=list(equivalencies))
        except u.UnitConversionError as err:
            raise ValueError(f"`unit` must be one that {self.unit} converts to, "
                             f"got {unit}") from err
        converted = self.multiply(factor)
        uncertainty = None
        if converted.uncertainty is not None:
            kind = type(converted.uncertainty)
            uncertainty = kind(converted.uncertainty.array,
                               unit=power_of(unit, POWERS[base_class(kind)]))
        return type(self)(converted.data, unit=unit, mask=converted.mask, wcs=converted.wcs,
                          meta=converted.meta, psf=converted.psf, uncertainty=uncertainty,
                          measurement_std=converted.measurement_std,
                          prior_std=converted.prior_std,
                          samples=None if self.samples is None else factor * self.samples,
                          consistency=self.consistency, correlation=converted.correlation,
                          lens=converted.lens)

    def aperture_sum(self, aperture):
        r"""
        Flux in an aperture, and its error.

        The errors of neighbouring pixels are correlated, by the method and since there are
        more pixels than data: added in quadrature they are far too small.

        Parameters
        ----------
        aperture : `~photutils.aperture.Aperture` or sequence of them
            Of photutils, in pixels of this image or on the sky. Masked pixels do not count.

        Returns
        -------
        flux, error : `~astropy.units.Quantity`
            Sum of the pixels, weighted by their share in the aperture, and its standard
            deviation, in the unit of the image (of a surface brightness: times pixels). Arrays
            where there are several apertures, or positions of one; a cube has a first axis of
            bands. NaN off the image.

        Raises
        ------
        ValueError
            If the correlation of the errors is not known, or an aperture is on the sky and
            the image has no WCS.
        TypeError
            If ``aperture`` is none.

        Notes
        -----
        With weights :math:`w`, the standard deviations :math:`\sigma` of the parts of the
        errors (of the measurement and of the rest, each in the sky and of sources, as
        `~lenssr.image.ErrorCorrelation` divides them), and the correlation :math:`\rho` of each
        by lag,

        .. math::
            \mathrm{Var} = f^2 \sum_\mathrm{parts} \sum_{ij} w_i \sigma_i\, \rho(i - j)\,
            w_j \sigma_j ,

        with :math:`f` the factor that a calibration found for apertures of like size and place,
        one without calibration; but no less than the variance of the measurement.
        """
        return sum_apertures(self, aperture)

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

        Warns
        -----
        LensSRWarning
            If there is metadata that FITS cannot hold, which is dropped.
        """
        return to_hdulist(self)

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
        ValueError
            If the WCS is of a kind that no file can hold.

        Notes
        -----
        Written beside and renamed: a file of that name is always whole.
        """
        path = os.path.expanduser(path)
        if os.path.exists(path) and not overwrite:
            raise OSError(f"`path` {path!r} exists already; say overwrite=True to replace it")
        write_whole(self.to_hdulist(), path)

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
        FileNotFoundError
            If there is no such file.
        ValueError
            If it is not one that `write` wrote, or is damaged.
        """
        with open_fits(path, "path") as hdus:
            return cls(**from_hdulist(hdus))


def _without_alternates(meta):
    """Metadata without the cards of alternate WCSs, which are of the whole image."""
    if not isinstance(meta, fits.Header):
        return meta
    meta = meta.copy()
    for key in rescale_alternates(meta, 1):
        meta.remove(key, ignore_missing=True, remove_all=True)
    return meta
