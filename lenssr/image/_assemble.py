"""From what a method found to an image with everything that the input carried."""

import copy
import re

import numpy as np
from astropy import units as u
from astropy.wcs import WCS

from lenssr.image._noise import as_uncertainty, safe_downcast
from lenssr.image._result import SuperResolvedImage
from lenssr.image._wcs_cards import rescale_alternates, strip_wcs
from lenssr.uncertainty import ErrorCorrelation

__all__ = ["assemble"]

# Cards that the input's own pixels made true, or an earlier run of lenssr.
STALE = re.compile(r"DATA(MIN|MAX|MEAN)|(GOOD|SNR)(MIN|MAX|MEAN)|NGOODPIX|BUNIT|"
                   r"SR(CHI2|CHI2IN|NITER|NPROBE|NCORR|SLOPE|ERROR|INFLAT|BASE|NSAMP|SAMPLR|STEPS|"
                   r"LENS|LODDS|THETAE|THETER|WARN\d+)")
# Cards of the frame of the coordinates, which a FITS WCS brings itself; others do not.
FRAME = re.compile(r"EQUINOX|RADESYS|RADECSYS|SPECSYS|SSYSOBS|SSYSSRC|RESTFRQ|RESTFREQ|RESTWAV|"
                   r"VELOSYS|VELANGL|ZSOURCE")


def assemble(parsed, restorations, *, wcs, scale, kind, cards, history):
    """
    Put a `SuperResolvedImage` together.

    Parameters
    ----------
    parsed : `Parsed`
        The input.
    restorations : list
        For each plane what the method returned: ``mean``, ``measurement_std``,
        ``missing``, ``psf``, ``samples``, ``predictive_std``, ``correlation``, ``consistency``.
    wcs : object or None
        WCS of the result.
    scale : int
        Output pixels per input pixel.
    kind : {"per-pixel", "surface-brightness"}
        Whether values are divided among the pixels.
    cards : dict
        Cards to add, ``{keyword: (value, comment)}``.
    history : list of str
        Lines of HISTORY to add.

    Returns
    -------
    image : `SuperResolvedImage`
    """
    share = 1 / scale**2 if kind == "per-pixel" else 1.0

    def stack(name):
        planes = [getattr(r, name) for r in restorations]
        if any(plane is None for plane in planes):
            return None
        return planes[0] if len(parsed.shape) == 2 else np.stack(planes, axis=-3)

    def flux(array):
        return safe_downcast(share * array, parsed.dtype)

    header = _header(parsed.header, wcs, scale)
    for key, card in cards.items():
        header[key] = card
    for line in history:
        header.add_history(line)
    unit = u.dimensionless_unscaled if parsed.unit is None else parsed.unit
    std, whole, samples = stack("measurement_std"), stack("predictive_std"), stack("samples")
    prior = None if whole is None else np.sqrt(np.maximum(whole**2 - std**2, 0))
    error = share * (std if whole is None else whole)
    consistency = stack("consistency")
    return SuperResolvedImage(
        flux(stack("mean")), unit=unit, mask=stack("missing"), wcs=wcs, meta=header,
        uncertainty=as_uncertainty(error, parsed.kind, unit, parsed.dtype),
        psf=_joint_psf([r.psf for r in restorations]), measurement_std=flux(std),
        prior_std=None if prior is None else flux(prior),
        samples=None if samples is None else flux(samples),
        consistency=None if consistency is None else safe_downcast(consistency, parsed.dtype),
        correlation=_correlation(restorations, len(parsed.shape) > 2, share),
        lens=_lens(restorations, len(parsed.shape) > 2, share))


def _header(old, wcs, scale):
    """The cards of the input that are true of the result."""
    header = strip_wcs(old, scale)
    if not isinstance(wcs, WCS):
        header.extend(copy.copy(card) for card in old.cards if FRAME.fullmatch(card.keyword))
    header.extend(rescale_alternates(old, scale))
    for key in {key for key in header if STALE.fullmatch(key)}:
        header.remove(key, remove_all=True)
    return header


def _correlation(restorations, cube, share):
    """That of the errors in the values of the result; `None` if one plane's is not known."""
    found = [r.correlation for r in restorations]
    if any(one is None for one in found):
        return None
    return (ErrorCorrelation.stack(found) if cube else found[0]).scaled(share)


def _lens(restorations, cube, share):
    """The lens of each plane, in the unit of the result; `None` where no method found one."""
    found = [None if r.lens is None else r.lens.scaled(share) for r in restorations]
    if all(one is None for one in found):
        return None
    return found if cube else found[0]


def _joint_psf(psfs):
    """One PSF where all planes have the same, else a stack of them, padded to one size."""
    if any(psf is None for psf in psfs):
        return None
    if all(np.array_equal(psf, psfs[0]) for psf in psfs):
        return psfs[0]
    largest = np.max([psf.shape for psf in psfs], axis=0)
    # Odd, all of them: centres stay centres.
    return np.stack([np.pad(psf, [(n // 2, n // 2) for n in largest - psf.shape])
                     for psf in psfs])
