"""Pairs of two real images of one field."""

import warnings

import numpy as np
from astropy import units as u
from astropy.nddata import CCDData, StdDevUncertainty
from astropy.wcs import WCS

from lenssr._pair import LensPair
from lenssr._validation import check_positive_int
from lenssr.exceptions import LensSRWarning
from lenssr.image import (
    SuperResolvedImage,
    as_uncertainty,
    fill_masked,
    flux_convention,
    parse_image,
    pixel_scale,
    psf_fwhm,
    rescale_wcs,
    safe_downcast,
    strip_wcs,
    target_psf,
)
from lenssr.simulate._registration import ProjectedImage, register

MAX_WCS_OFFSET = 10  # input pixels before light of `hr` is cut off


def pair_observations(lr, hr, scale=2, *, lr_psf=None, hr_psf=None, flux="auto", align=True):
    r"""
    Make a pair from two images of one field by two telescopes.

    The high-resolution image is convolved to the target resolution, a Gaussian with a FWHM of two
    output pixels, interpolated to the output grid, registered, and scaled to the gain and the sky
    level of the low-resolution image.

    Parameters
    ----------
    lr, hr : object
        Low- and high-resolution image of a field, 2-D, in any form of `lenssr.superresolve`, each
        with a WCS. Uncertainties, masks and PSFs are used; unknown noise is estimated from the
        sky.
    scale : int
        Output pixels per pixel of ``lr``.
    lr_psf, hr_psf : object, optional
        Effective PSFs (optics and pixel response; for a drizzled image of the drizzled pixels) on
        the grids of the images; the PSFs of the images by default.
    flux : {"auto", "per-pixel", "surface-brightness"}
        Flux convention of ``lr`` if its unit does not determine it.
    align : bool
        Fit a shift between the images. Otherwise the WCSs are taken as exact.

    Returns
    -------
    pair : `LensPair`
        ``pair.lr`` is ``lr`` with noise, mask and PSF; masked pixels are filled. ``pair.hr`` has
        pixels ``scale`` times finer, the WCS, unit, gain and sky level of ``lr``, and a mask of
        pixels that ``hr`` does not cover. The header of ``hr`` is dropped. ``pair.truth`` holds:

        ``shift``, ``shift_error``
            Shift of ``hr`` along ``x`` and ``y``, output pixels.
        ``gain``, ``gain_error``, ``pedestal``, ``pedestal_error``
            ``lr = gain * hr + pedestal``, a ratio of fluxes or surface brightnesses in the units of
            the images. If one unit is a flux per pixel and the other is not, the pixel area of
            ``hr`` is included.
        ``chi2``, ``chi2_lr``, ``pixels``
            Mean squared difference of ``lr`` and the degraded ``pair.hr``, over the variance of the
            difference and over the variance of ``lr``; number of compared pixels.
        ``residual``
            Normalised difference, shape of ``lr``; NaN for pixels that were not compared.
        ``noise_gain``
            Standard deviation in ``pair.hr`` of unit white noise in ``hr``, as surface brightness.
        ``correlation``
            Noise correlation of ``pair.hr`` by lag ``(y, x)``, shape ``(17, 17)``.

    Raises
    ------
    ValueError
        If an argument is out of range; an image has no celestial WCS or no PSF; the PSF of ``hr``
        is wider than the PSF of ``lr`` or of the output; or the images have no overlap or no common
        source.
    TypeError
        If an argument is not an image.

    Warns
    -----
    LensSRWarning
        If noise was estimated, a PSF was recentred, or a flux convention is unknown.

    Notes
    -----
    With the PSF :math:`P` of ``hr`` and the target Gaussian :math:`G` on its grid, ``hr`` is
    convolved with :math:`\hat G \hat P^* (1 + \epsilon^2) / (|\hat P|^2 + \epsilon^2)`
    (Aniano et al. 2011, doi:10.1086/662219). The well-sampled result is interpolated by
    `reproject.reproject_interp`; averaging over output pixels would broaden the PSF. Shift, gain
    and pedestal come from a least-squares fit of the degraded ``pair.hr`` to ``lr``, over pixels
    with 95 % of their light inside ``hr``.

    Noise is propagated through both steps, including the correlation of drizzled pixels up to four
    pixels. The noise of ``pair.hr`` is correlated: errors of sums need ``correlation``. Errors of
    gain and pedestal are not included. Different filters leave colour gradients in ``residual``
    and a ``chi2`` above one.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import StdDevUncertainty
    >>> from lenssr.simulate import pair_observations, simulate_observation, simulate_pair
    >>> image = simulate_pair(size=96, seed=2).hr
    >>> image.uncertainty = StdDevUncertainty(np.ones(image.shape))
    >>> ground = simulate_observation(image, pixel_scale=0.084, seeing=0.7, snr=50.0).lr
    >>> pair = pair_observations(ground, image, scale=2)
    >>> pair.lr.shape, pair.hr.shape
    ((48, 48), (96, 96))
    """
    scale = check_positive_int("scale", scale)
    low, high = _parse_observation("lr", lr, lr_psf), _parse_observation("hr", hr, hr_psf)
    per_pixel = flux_convention(low.unit, flux) == "per-pixel"
    plane = low.planes[0]
    _check_sharper(low, high)
    grid = rescale_wcs(low.wcs, scale)
    shape = tuple(scale * n for n in plane.shape)
    projection = ProjectedImage(high.planes[0], high.wcs, grid, shape,
                                margin=MAX_WCS_OFFSET * scale, noise_given=high.noise_given)
    # Convert to flux per pixel of `lr`, or surface brightness, with one gain for both images.
    area = projection.area * scale**2 if per_pixel else 1.0
    fit = register(projection, plane, scale, area, align)

    image, variance, missing = projection.at(fit.shift)
    flux_factor = 1 / scale**2 if per_pixel else 1.0
    value = flux_factor * (fit.gain * area * fill_masked(image, missing) + fit.pedestal)
    sigma = flux_factor * fit.gain * area * np.sqrt(
        np.where(missing, np.median(variance[~missing]), variance))
    unit = u.dimensionless_unscaled if low.unit is None else low.unit

    def ccd(data, sigma, kind, **fields):
        # CCDData holds FITS WCSs only.
        form = CCDData if isinstance(fields["wcs"], WCS) else SuperResolvedImage
        return form(safe_downcast(data, low.dtype), unit=unit,
                    uncertainty=as_uncertainty(sigma, kind, unit, low.dtype), **fields)

    residual = fit.difference / fit.noise
    return LensPair(
        ccd(plane.data, plane.sigma, low.kind, mask=plane.mask, psf=plane.psf,
            wcs=rescale_wcs(low.wcs, 1), meta=strip_wcs(low.header)),
        ccd(value, sigma, StdDevUncertainty, mask=missing, psf=target_psf(), wcs=grid),
        {"shift": fit.shift * u.pix, "shift_error": fit.shift_error * u.pix,
         "gain": fit.gain, "gain_error": fit.gain_error,
         "pedestal": fit.pedestal * unit, "pedestal_error": fit.pedestal_error * unit,
         "chi2": float(np.nanmean(residual**2)),
         "chi2_lr": float(np.nanmean((fit.difference / plane.sigma) ** 2)),
         "pixels": int(np.isfinite(residual).sum()), "residual": residual,
         "noise_gain": projection.noise_gain, "correlation": projection.correlation})


def _parse_observation(name, image, psf):
    """Parse an image; name the argument in warnings and errors of the parser."""
    names = {"`data`": f"`{name}`", "`psf`": f"`{name}_psf`"}
    names |= {f"`{part}`": f"the {label} of `{name}`" for part, label in (
        ("mask", "mask"), ("uncertainty", "uncertainty"), ("wcs", "WCS"), ("unit", "unit"))}

    def named(message):
        for parsed_name, argument in names.items():
            message = message.replace(parsed_name, argument)
        return message

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", LensSRWarning)
        try:
            parsed = parse_image(image, psf=psf)
        except (ValueError, TypeError) as err:
            raise type(err)(named(str(err))) from err
    for warning in caught:
        text = named(str(warning.message))
        text = text if f"`{name}" in text else f"`{name}`: {text}"
        warnings.warn(text, warning.category, stacklevel=3)
    if len(parsed.shape) != 2:
        raise ValueError(f"`{name}` must be one 2-D image, got the shape {parsed.shape}")
    if parsed.wcs is None or pixel_scale(parsed.wcs, parsed.shape) is None:
        raise ValueError(f"`{name}` must have a WCS on the sky, got none")
    if parsed.planes[0].psf is None:
        raise ValueError(f"`{name}_psf` must be given for an image that carries no PSF, got None")
    return parsed


def _check_sharper(low, high):
    """Raise `ValueError` unless the PSF of the second image is narrower on the sky."""
    fwhm_low, fwhm_high = ((psf_fwhm(plane.planes[0].psf) * pixel_scale(plane.wcs, plane.shape))
                           .to_value(u.arcsec) for plane in (low, high))
    if not fwhm_high < fwhm_low:
        raise ValueError(f"`hr` must be sharper than `lr`, got a PSF of FWHM {fwhm_high:.3g} "
                         f"arcsec for `hr` and {fwhm_low:.3g} arcsec for `lr` (are they swapped?)")
