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
    Make a pair of two images of one field, by two telescopes.

    The sharp image is brought to the resolution that restored images declare, a Gaussian
    of FWHM two output pixels, put on the output grid of the other, moved by what the two
    WCSs disagree, and given the other's gain and pedestal.

    Parameters
    ----------
    lr, hr : object
        The image to be restored and the sharp one of the same field: what
        `lenssr.superresolve` takes, 2-D, each with a WCS. Uncertainties, masks and PSFs
        are used; noise that is not given is estimated from the sky.
    scale : int
        Output pixels per pixel of ``lr``.
    lr_psf, hr_psf : object, optional
        Effective PSFs (optics and pixel response, for a drizzled image that of its
        pixels), each on the grid of its image and in any form that `lenssr.superresolve`
        takes; by default those that the images carry.
    flux : {"auto", "per-pixel", "surface-brightness"}
        What the values of ``lr`` are, if its unit does not tell.
    align : bool
        Fit a shift between the two. Without, the WCSs are taken at their word.

    Returns
    -------
    pair : `LensPair`
        ``pair.lr`` is ``lr``, with the noise, mask and PSF that were used; masked pixels
        hold a fill. ``pair.hr`` is on ``scale`` times finer pixels, whose WCS is that of
        ``lr``, and in the unit, with the gain and the sky level of ``lr``; its mask has
        what ``hr`` does not cover or masks. The header of ``hr``, which tells of other
        pixels, is not carried. ``pair.truth`` holds:

        ``shift``, ``shift_error``
            By how much ``hr`` was moved along ``x`` and ``y``, output pixels.
        ``gain``, ``gain_error``, ``pedestal``, ``pedestal_error``
            ``lr = gain * hr + pedestal``. The gain is the ratio of fluxes, or of surface
            brightnesses, in the units of the two; where one is a flux per pixel and the
            other is not, the area of a pixel of ``hr`` goes with it.
        ``chi2``, ``chi2_lr``, ``pixels``
            Mean square difference of ``lr`` and of ``pair.hr`` as the telescope of ``lr``
            would see it, over the variance of that difference, and over the variance of
            ``lr`` alone; number of pixels that were compared.
        ``residual``
            That difference over its noise, shape of ``lr``; NaN where it was not compared.
        ``noise_gain``
            What independent noise of one in each pixel of ``hr`` leaves in ``pair.hr``,
            as surface brightness.
        ``correlation``
            Correlation of the noise of ``pair.hr`` by lag ``(y, x)``, shape ``(17, 17)``.

    Raises
    ------
    ValueError
        If an argument is out of its range; an image has no WCS on the sky or no PSF;
        ``hr`` is less sharp than ``lr`` (they may be swapped) or than the output; the
        two do not overlap, or show nothing in common.
    TypeError
        If an image is none.

    Warns
    -----
    LensSRWarning
        If a noise was estimated, a PSF recentred, or a unit does not tell what the
        values are; what the parsing of each image warns of.

    Notes
    -----
    With :math:`P` the PSF of ``hr`` on its own grid and :math:`G` the Gaussian there, an
    ellipse if the grids are sheared, ``hr`` is convolved with
    :math:`\hat G \hat P^* (1 + \epsilon^2) / (|\hat P|^2 + \epsilon^2)` (Aniano et al.
    2011, doi:10.1086/662219, on why this needs :math:`G` to be broader). What results is
    the scene at the target resolution, well sampled. So it is *interpolated* on the
    output grid, by `reproject.reproject_interp`: averaging over output pixels would add
    their response to the PSF. The area of pixels, and the ellipse, are those in the
    middle of the overlap.

    Shift, gain and pedestal fit ``pair.hr``, brought from :math:`G` to the PSF of ``lr``
    and sampled there, to ``lr`` by least squares, over pixels of which 95 % of the light
    comes from what ``hr`` shows.

    The noise of ``hr`` is carried through both steps. The correlation of its pixels that
    drizzling leaves is measured on its sky, up to four pixels. **The noise of pair.hr is
    correlated**, whatever that of ``hr`` was: errors of sums over pixels need
    ``correlation``. Errors of gain and pedestal are not in it.

    One gain for all sources is exact if the filters are one. Where they are not, the
    colours of sources are left in ``residual``, and ``chi2`` is above one.
    """
    scale = check_positive_int("scale", scale)
    low, high = _parse_observation("lr", lr, lr_psf), _parse_observation("hr", hr, hr_psf)
    per_pixel = flux_convention(low.unit, flux) == "per-pixel"
    plane = low.planes[0]
    _check_sharper(low, high)
    grid = rescale_wcs(low.wcs, scale)
    shape = tuple(scale * n for n in plane.shape)
    projection = ProjectedImage(high.planes[0], high.wcs, grid, shape, margin=MAX_WCS_OFFSET * scale,
                            noise_given=high.noise_given)
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
         "noise_gain": projection.gain, "correlation": projection.correlation})


def _parse_observation(name, image, psf):
    """Parse an image; warnings and errors name its argument."""
    names = {"`data`": f"`{name}`", "`psf`": f"`{name}_psf`"}
    names |= {f"`{part}`": f"the {word} of `{name}`" for part, word in (
        ("mask", "mask"), ("uncertainty", "uncertainty"), ("wcs", "WCS"), ("unit", "unit"))}

    def named(message):
        for word, new_name in names.items():
            message = message.replace(word, new_name)
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
    """Raise `ValueError` unless the second image is sharper on the sky."""
    blurred, fine = ((psf_fwhm(plane.planes[0].psf) * pixel_scale(plane.wcs, plane.shape))
                     .to_value(u.arcsec) for plane in (low, high))
    if not fine < blurred:
        raise ValueError(f"`hr` must be sharper than `lr`, got a PSF of FWHM {fine:.3g} arcsec for "
                         f"`hr` and {blurred:.3g} arcsec for `lr` (are they swapped?)")
