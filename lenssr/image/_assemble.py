"""From what a method found to an image with everything that the input carried."""

import numpy as np
from astropy import units as u
from astropy.nddata import StdDevUncertainty

from ._noise import as_uncertainty
from ._result import SuperResolvedImage
from ._wcs import rescale_wcs
from ._wcs_cards import strip_wcs

__all__ = ["assemble"]

# Cards that the input's own pixels made true.
STALE = ("DATAMIN", "DATAMAX", "DATAMEAN", "BUNIT", "BLANK")


def assemble(parsed, restorations, *, scale, flux, cards, history):
    """
    Put a `SuperResolvedImage` together.

    Parameters
    ----------
    parsed : `Parsed`
        The input.
    restorations : list
        For each plane what the method returned: ``mean``, ``measurement_std``,
        ``missing``, ``psf``, ``samples``.
    scale : int
        Output pixels per input pixel.
    flux : {"per-pixel", "surface-brightness"}
        Whether values are divided among the pixels.
    cards : dict
        Cards to add, ``{keyword: (value, comment)}``.
    history : list of str
        Lines of HISTORY to add.

    Returns
    -------
    image : `SuperResolvedImage`
    """
    share = 1 / scale**2 if flux == "per-pixel" else 1.0

    def stack(name, factor=share):
        planes = [getattr(r, name) for r in restorations]
        if any(p is None for p in planes):
            return None
        whole = planes[0] if len(parsed.shape) == 2 else np.stack(planes, axis=-3)
        return whole if factor is None else (factor * whole).astype(parsed.dtype)

    header = strip_wcs(parsed.header)
    for key in STALE:
        header.remove(key, ignore_missing=True, remove_all=True)
    for key, card in cards.items():
        header[key] = card
    for line in history:
        header.add_history(line)
    unit = u.dimensionless_unscaled if parsed.unit is None else parsed.unit
    std = stack("measurement_std")
    uncertainty = as_uncertainty(std, parsed.kind or StdDevUncertainty, unit)
    psfs = [r.psf for r in restorations]
    psf = psfs[0] if all(p is psfs[0] for p in psfs) else stack("psf", None)
    return SuperResolvedImage(
        stack("mean"), unit=unit, uncertainty=uncertainty, mask=stack("missing", None),
        wcs=None if parsed.wcs is None else rescale_wcs(parsed.wcs, scale), meta=header,
        psf=psf, measurement_std=std, samples=stack("samples"))
