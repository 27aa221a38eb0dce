"""Super-resolved image: result class, aperture sums, and assembly from restorations."""

import copy
import os
import re
import warnings
from typing import NamedTuple

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs import WCS
from astropy.wcs.wcsapi import BaseHighLevelWCS, HighLevelWCSWrapper, SlicedLowLevelWCS

from lenssr.exceptions import LensSRWarning
from lenssr.image._fits import open_fits
from lenssr.image._noise import UNCERTAINTY_POWERS, as_uncertainty, safe_downcast, uncertainty_class
from lenssr.image._result_file import from_hdulist, to_hdulist, write_hdus
from lenssr.image._units import parse_unit, power_of
from lenssr.image._wcs import resample_wcs
from lenssr.image._wcs_fits import rescale_alternates, strip_wcs
from lenssr.uncertainty import ErrorCorrelation


class ApertureSum(NamedTuple):
    """Aperture sums of an image."""

    flux: u.Quantity
    error: u.Quantity


def sum_apertures(image, aperture):
    """Sum an image over apertures with correlated errors."""
    if image.correlation is None or image.measurement_std is None:
        raise ValueError("`aperture_sum` needs the correlation of the errors, which this image "
                         "lacks: it comes with the results of `superresolve` and is kept by "
                         "slicing and by arithmetic with numbers")
    masks = _masks(aperture, image.wcs)
    bands = [...] if image.ndim == 2 else range(len(image.data))
    sums = np.array([_map_nested(masks, _PlaneErrors(image, band).sum) for band in bands])
    sums = np.moveaxis(sums, -1, 0)  # flux and error first, then bands
    return ApertureSum(*(u.Quantity(part[0] if image.ndim == 2 else part, image.unit)
                         for part in sums))


def _masks(aperture, wcs):
    """Return the aperture masks, nested lists for sequences."""
    from photutils.aperture import Aperture, SkyAperture

    if isinstance(aperture, list | tuple) and aperture:
        return [_masks(item, wcs) for item in aperture]
    if not isinstance(aperture, Aperture):
        raise TypeError("`aperture` must be an aperture of photutils, or a sequence of them, got "
                        f"{type(aperture).__name__}")
    if isinstance(aperture, SkyAperture):
        if wcs is None:
            raise ValueError("`aperture` must be in pixels for an image without a WCS, got "
                             f"{type(aperture).__name__}")
        aperture = aperture.to_pixel(getattr(wcs, "celestial", wcs))
    return aperture.to_mask(method="exact")


def _map_nested(masks, function):
    """Apply a function to nested lists."""
    return [_map_nested(item, function)
            for item in masks] if isinstance(masks, list) else function(masks)


class _PlaneErrors:
    """Plane of an image with independent error components."""

    def __init__(self, image, k):
        self.data = image.data[k]
        self.valid = np.ones(self.data.shape, bool) if image.mask is None else ~image.mask[k]
        parts = [image.measurement_std, image.prior_std]
        self.stds = [std[k] for std in parts if std is not None]
        self.correlation = image.correlation[k]

    def sum(self, mask):
        """Return the sum over an aperture and its standard deviation; NaN outside the image."""
        inside, part = mask.get_overlap_slices(self.data.shape)
        if inside is None:
            return np.nan, np.nan
        weights = np.where(self.valid[inside], mask.data[part], 0.0)
        stds = [np.asarray(std[inside], float) for std in self.stds]
        variance = self.correlation.sum_variance(weights, stds)
        return float((weights * np.where(weights > 0, self.data[inside], 0.0)).sum()), variance**0.5


class SuperResolvedImage(CCDData):
    """
    Result of `lenssr.superresolve`: a `~astropy.nddata.CCDData` with further attributes.

    Parameters
    ----------
    *args, **kwargs
        Arguments of `~astropy.nddata.CCDData`.
    measurement_std : `~numpy.ndarray`, optional
        Standard deviation of each pixel due to the noise of the data alone, in the unit of the
        image.
    prior_std : `~numpy.ndarray`, optional
        Standard deviation of each pixel due to the part of the image that the data do not
        determine, in the unit of the image.
    samples : `~numpy.ndarray`, optional
        Posterior samples along the first axis.
    consistency : `~numpy.ndarray`, optional
        Map of the reduced chi-squared between the data and the result degraded to their
        resolution, around each pixel of the result. Pixels without valid data are NaN. `None` if
        the PSF is unknown or the result keeps the PSF of the data.
    correlation : `~lenssr.uncertainty.ErrorCorrelation`, optional
        Correlation of the errors of `measurement_std` and `prior_std`.
    lens : `~lenssr.image.LensSolution`, optional
        Fitted lens and source; a list for a cube.
    wcs : WCS, optional
        FITS WCS, or any other WCS of APE 14.

    Notes
    -----
    ``psf`` is the effective PSF of the result on its own grid, or a PSF for each plane of a cube.
    Slicing cuts all maps, and drops alternate WCSs and the lens. Arithmetic keeps PSF and header;
    it keeps `measurement_std`, `prior_std`, `correlation` and `lens` if the other operand is a
    number.

    Examples
    --------
    >>> from lenssr import superresolve
    >>> from lenssr.data import demo_lens
    >>> result = superresolve(demo_lens().lr, "fast")
    >>> result.shape, result.meta["SRMETHOD"]
    ((128, 128), 'fast')
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
        """Lens solutions of the planes, a list."""
        return self.lens if isinstance(self.lens, list) else [self.lens]

    @property
    def wcs(self):
        # CCDData checks `_wcs`, which must be a FITS WCS.
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
            kept["correlation"] = kept["correlation"].decimate(item, self.ndim)
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
        # `WCS.__getitem__` drops look-up tables and mishandles steps.
        cut = SlicedLowLevelWCS(self.wcs.low_level_wcs, item)
        return resample_wcs(cut) or HighLevelWCSWrapper(cut)

    def _arithmetic(self, operation, operand, *args, handle_meta="first_found", **kwargs):
        def calculate():
            return super(SuperResolvedImage, self)._arithmetic(
                operation, operand, *args, handle_meta=handle_meta, **kwargs)

        if operand is None:  # sum or mean over an axis
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
        """Multiply the lens solutions by a factor."""
        scaled = [None if solution is None else solution.scaled(factor)
                  for solution in self.solutions]
        return scaled if isinstance(self.lens, list) else scaled[0]

    def _psf_with(self, operand):
        """Return the PSF of a sum or product of images; `None` with a warning if PSFs differ."""
        if self.psf is None or operand.psf is None or np.array_equal(self.psf, operand.psf):
            return operand.psf if self.psf is None else self.psf
        warnings.warn("the operands have different PSFs: the result has none", LensSRWarning,
                      stacklevel=2)
        return None

    def convert_unit_to(self, unit, equivalencies=()):
        """
        Convert the image to another unit.

        `~astropy.nddata.CCDData.convert_unit_to` drops the PSF and mishandles variances.

        Parameters
        ----------
        unit : `~astropy.units.Unit` or str
            New unit.
        equivalencies : list of tuple, optional
            As in `astropy.units.UnitBase.to`.

        Returns
        -------
        image : `SuperResolvedImage`
            Image in the new unit.

        Raises
        ------
        ValueError
            If the unit is logarithmic or not convertible.
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
                               unit=power_of(unit, UNCERTAINTY_POWERS[uncertainty_class(kind)]))
        return type(self)(converted.data, unit=unit, mask=converted.mask, wcs=converted.wcs,
                          meta=converted.meta, psf=converted.psf, uncertainty=uncertainty,
                          measurement_std=converted.measurement_std,
                          prior_std=converted.prior_std,
                          samples=None if self.samples is None else factor * self.samples,
                          consistency=self.consistency, correlation=converted.correlation,
                          lens=converted.lens)

    def aperture_sum(self, aperture):
        r"""
        Measure the flux in apertures with its correlated error.

        Errors of neighbouring pixels are correlated: their sum in quadrature is far too small.

        Parameters
        ----------
        aperture : `~photutils.aperture.Aperture` or sequence of `~photutils.aperture.Aperture`
            Apertures in pixels of this image or on the sky. Masked pixels do not count.

        Returns
        -------
        flux, error : `~astropy.units.Quantity`
            Sum of the pixels, weighted by their overlap with the aperture, and its standard
            deviation, in the unit of the image (for surface brightness: times pixels). Arrays for
            several apertures or positions, with a first axis of bands for a cube. NaN outside the
            image.

        Raises
        ------
        ValueError
            If the error correlation is unknown, or a sky aperture meets an image without WCS.
        TypeError
            If ``aperture`` is not an aperture.

        Notes
        -----
        With the weights :math:`w`, the standard deviations :math:`\sigma` of the error components
        (measurement and prior, each for sky and sources), and their correlations :math:`\rho` by
        lag,

        .. math::
            \mathrm{Var} = f^2 \sum_\mathrm{components} \sum_{ij} w_i \sigma_i\, \rho(i - j)\,
            w_j \sigma_j ,

        where :math:`f` is the calibration factor of apertures of similar size and content, one
        without calibration. The variance is at least the variance of the measurement.
        """
        return sum_apertures(self, aperture)

    def to_hdulist(self):
        """
        Convert the image to FITS, in the layout of `~astropy.nddata.CCDData`.

        Returns
        -------
        hdus : `~astropy.io.fits.HDUList`
            Data and header in the primary HDU; ``MASK``, ``UNCERT`` and ``PSFIMAGE`` as
            `CCDData.read <astropy.nddata.CCDData.read>` expects; further maps and tables of the
            WCS.

        Raises
        ------
        ValueError
            If FITS cannot hold the WCS.

        Warns
        -----
        LensSRWarning
            If metadata are dropped because FITS cannot hold them.
        """
        return to_hdulist(self)

    def write(self, path, *, overwrite=False):
        """
        Write the image to a FITS file, atomically.

        Parameters
        ----------
        path : path-like
            Output file; ``.fits.gz`` compresses it.
        overwrite : bool
            Whether to replace an existing file.

        Raises
        ------
        OSError
            If the file exists and ``overwrite`` is false, or cannot be written.
        ValueError
            If FITS cannot hold the WCS.
        """
        path = os.path.expanduser(path)
        if os.path.exists(path) and not overwrite:
            raise OSError(f"`path` {path!r} exists already; say overwrite=True to replace it")
        write_hdus(self.to_hdulist(), path)

    @classmethod
    def read(cls, path):
        """
        Read a file of `write`.

        Parameters
        ----------
        path : path-like or file object
            Input file.

        Returns
        -------
        image : `SuperResolvedImage`
            The image.

        Raises
        ------
        FileNotFoundError
            If the file does not exist.
        ValueError
            If the file is damaged or not from `write`.
        """
        with open_fits(path, "path") as hdus:
            return cls(**from_hdulist(hdus))


def _without_alternates(meta):
    """Return metadata without the cards of alternate WCSs."""
    if not isinstance(meta, fits.Header):
        return meta
    meta = meta.copy()
    for key in rescale_alternates(meta, 1):
        meta.remove(key, ignore_missing=True, remove_all=True)
    return meta


# FITS keyword and comment of the named values of a result.
RESULT_CARDS = {
    "method": ("SRMETHOD", "method of super-resolution"),
    "scale": ("SRSCALE", "output pixels per input pixel"),
    "version": ("SRVERS", "version of lenssr"),
    "weights": ("SRWEIGHT", "sha256 of the trained weights"),
    "weights_name": ("SRWNAME", "name of the trained weights"),
    "base_weights": ("SRBASE", "sha256 of the weights of the base network"),
    "calibration": ("SRCALIB", "uncertainty type"),
    "calibration_images": ("SRCALON", "simulated images of the calibration"),
    "inflation": ("SRINFLAT", "error factor outside the training domain"),
    "noise": ("SRNOISE", "noise of the input: given or estimated"),
    "noise_correlation": ("SRNCORR", "noise correlation of neighbouring pixels"),
    "flux": ("SRFLUX", "flux convention of the pixel values"),
    "seed": ("SRSEED", "seed of the random numbers"),
    "psf": ("SRPSF", "target: Gaussian of FWHM 2 px, or input"),
    "chi2": ("SRCHI2", "reduced chi-squared against the data"),
    "chi2_before": ("SRCHI2IN", "reduced chi2 before the correction"),
    "n_iterations": ("SRNITER", "iterations"),
    "n_probes": ("SRNPROBE", "noise probes of the measurement error"),
    "n_samples": ("SRNSAMP", "posterior samples"),
    "sampler": ("SRSAMPLR", "sampler of the diffusion"),
    "n_steps": ("SRSTEPS", "denoising steps of a sample"),
    "power_slope": ("SRSLOPE", "slope of the fitted power spectrum"),
    "has_lens": ("SRLENS", "whether the fit includes a lens"),
    "log_odds": ("SRLODDS", "ln evidence ratio, lens to light alone"),
    "theta_e": ("SRTHETAE", "[pix] Einstein radius"),
    "theta_e_error": ("SRTHETER", "[pix] standard deviation of SRTHETAE"),
}
# Cards about the input pixels, and cards of an earlier result.
STALE_PATTERN = re.compile(r"DATA(MIN|MAX|MEAN)|(GOOD|SNR)(MIN|MAX|MEAN)|NGOODPIX|BUNIT|"
                           r"SR(CHI2|CHI2IN|NITER|NPROBE|NCORR|SLOPE|ERROR|INFLAT|BASE|NSAMP|"
                           r"SAMPLR|STEPS|LENS|LODDS|THETAE|THETER|WNAME|CALON|WARN\d+)")
# Cards of the coordinate frame, which a FITS WCS writes itself.
FRAME_PATTERN = re.compile(
    r"EQUINOX|RADESYS|RADECSYS|SPECSYS|SSYSOBS|SSYSSRC|RESTFRQ|RESTFREQ|RESTWAV|"
    r"VELOSYS|VELANGL|ZSOURCE")


def assemble(parsed, restorations, *, wcs, scale, kind, metadata, history):
    """
    Assemble a `SuperResolvedImage` from restorations.

    Parameters
    ----------
    parsed : `Parsed`
        Parsed input.
    restorations : list of `~lenssr.methods.Restoration`
        Restoration of each plane.
    wcs : object or None
        WCS of the result.
    scale : int
        Output pixels per input pixel.
    kind : {"per-pixel", "surface-brightness"}
        Flux convention of the values.
    metadata : dict
        Named values of the result. `RESULT_CARDS` lists their FITS cards; other names become
        keywords in upper case.
    history : list of str
        Lines of HISTORY to add.

    Returns
    -------
    image : `SuperResolvedImage`
        The result.

    Examples
    --------
    >>> from lenssr.image import assemble, parse_image
    >>> from lenssr.methods import RunOptions, make_method
    >>> parsed = parse_image([[1.0, 2.0], [0.0, 1.0]], uncertainty=1.0)
    >>> run = RunOptions(scale=2)
    >>> restored = make_method("bilinear", 2, {}).restore(parsed.planes[0], run)
    >>> assemble(parsed, [restored], wcs=None, scale=2, kind="per-pixel", metadata={},
    ...          history=[]).shape
    (4, 4)
    """
    flux_factor = 1 / scale**2 if kind == "per-pixel" else 1.0

    def stack(name):
        planes = [getattr(r, name) for r in restorations]
        if any(plane is None for plane in planes):
            return None
        return planes[0] if len(parsed.shape) == 2 else np.stack(planes, axis=-3)

    def flux(array):
        return safe_downcast(flux_factor * array, parsed.dtype)

    header = _result_header(parsed.header, wcs, scale)
    for name, value in metadata.items():
        keyword, comment = RESULT_CARDS.get(name, (name.upper(), ""))
        header[keyword if len(keyword) <= 8 else f"HIERARCH {keyword}"] = value, comment
    for line in history:
        header.add_history(line)
    unit = u.dimensionless_unscaled if parsed.unit is None else parsed.unit
    std, total_std, samples = stack("measurement_std"), stack("predictive_std"), stack("samples")
    prior = None if total_std is None else np.sqrt(np.maximum(total_std**2 - std**2, 0))
    error = flux_factor * (std if total_std is None else total_std)
    consistency = stack("consistency")
    return SuperResolvedImage(
        flux(stack("mean")), unit=unit, mask=stack("mask"), wcs=wcs, meta=header,
        uncertainty=as_uncertainty(error, parsed.kind, unit, parsed.dtype),
        psf=_joint_psf([r.psf for r in restorations]), measurement_std=flux(std),
        prior_std=None if prior is None else flux(prior),
        samples=None if samples is None else flux(samples),
        consistency=None if consistency is None else safe_downcast(consistency, parsed.dtype),
        correlation=_result_correlation(restorations, len(parsed.shape) > 2, flux_factor),
        lens=_lens_solutions(restorations, len(parsed.shape) > 2, flux_factor))


def _result_header(old, wcs, scale):
    """Return the cards of the input that remain valid for the result."""
    header = strip_wcs(old, scale)
    if not isinstance(wcs, WCS):
        header.extend(copy.copy(card)
                      for card in old.cards if FRAME_PATTERN.fullmatch(card.keyword))
    header.extend(rescale_alternates(old, scale))
    for key in {key for key in header if STALE_PATTERN.fullmatch(key)}:
        header.remove(key, remove_all=True)
    return header


def _result_correlation(restorations, cube, flux_factor):
    """Combine the error correlations of the planes; `None` if one is unknown."""
    correlations = [r.correlation for r in restorations]
    if any(correlation is None for correlation in correlations):
        return None
    return (ErrorCorrelation.stack(correlations) if cube else correlations[0]).scaled(flux_factor)


def _lens_solutions(restorations, cube, flux_factor):
    """Return the lens solution of each plane in the unit of the result."""
    solutions = [None if r.lens is None else r.lens.scaled(flux_factor) for r in restorations]
    if all(solution is None for solution in solutions):
        return None
    return solutions if cube else solutions[0]


def _joint_psf(psfs):
    """Return one PSF for equal PSFs, or a stack padded to one size."""
    if any(psf is None for psf in psfs):
        return None
    if all(np.array_equal(psf, psfs[0]) for psf in psfs):
        return psfs[0]
    largest = np.max([psf.shape for psf in psfs], axis=0)
    # Keep odd sizes, so that centres stay centres.
    return np.stack([np.pad(psf, [(n // 2, n // 2) for n in largest - psf.shape])
                     for psf in psfs])
