"""The front door: parse, restore, assemble."""

import warnings

from lenssr._validation import check_nonnegative_int, check_positive_int
from lenssr._warnings import warnings_to_header
from lenssr.exceptions import LensSRWarning
from lenssr.image import assemble, check_tile, flux_convention, parse_image, rescale_wcs
from lenssr.methods import RunOptions, check_consistency, default_method, find_method, make_method


@warnings_to_header
def superresolve(data, method=None, *, scale=2, psf=None, uncertainty=None, mask=None,
                 wcs=None, unit=None, flux="auto", device=None, n_samples=None, seed=None,
                 tile=None, progress=False, hdu=None, data_consistent=False, **method_options):
    """
    Super-resolve an image of a strong gravitational lens, or of any patch of sky.

    What comes back is an estimate of the sky at a declared, finite resolution: a
    Gaussian PSF of FWHM two output pixels (interpolation, which does not
    deconvolve, keeps the input's PSF). Unit, uncertainty, mask, WCS and header
    come along.

    Parameters
    ----------
    data : path, file, HDUList, HDU, NDData, Cutout2D, Quantity or array-like
        A 2-D image, or a 3-D cube of bands whose planes are restored one by one.
        From a FITS file the first 2-D image is taken, with the error, mask and PSF
        extensions beside it. NaN and infinity count as masked.
    method : str, optional
        A name from `list_methods`. By default ``unrolled`` where the PSF is known, of all planes,
        and ``rcan`` where it is not.
    scale : int
        Output pixels per input pixel along each axis.
    psf : array, Quantity, Model, NDData, HDU or path, optional
        Effective PSF (optics and pixel response) on the grid of the image; or the
        FWHM of a Gaussian, in pixels or as an angle; or a photutils or astropy PSF
        model. A list has one for each plane of a cube.
    uncertainty : NDUncertainty, Quantity, array or float, optional
        Noise of the image; standard deviations unless it is an astropy uncertainty
        of another kind. Estimated from the sky, with a warning, if there is none.
    mask : array, optional
        `True`, or any flag, where the image is missing. In a file, the mask beside the
        image; of JWST, Roman, Euclid and LSST those of its flags that say so.
    wcs : WCS, optional
        FITS WCS, or any APE-14 WCS.
    unit : Unit or str, optional
        Unit of the image.
    flux : {"auto", "per-pixel", "surface-brightness"}
        Whether pixel values are fluxes per pixel, which are divided among the finer
        pixels, or surface brightnesses, which keep their value. ``"auto"`` reads it
        off the unit, and warns where that does not tell.
    device : str, optional
        Torch device; CUDA by default where there is one.
    n_samples : int, optional
        Number of posterior samples, for methods that draw them; the result is then their mean.
        By default as many as the method likes.
    seed : int, optional
        Seed of whatever is random; 0 by default, so that results can be repeated.
    tile : int, optional
        Side of the tiles, in input pixels, in which large images are worked on. The
        result does not depend on it.
    progress : bool
        Show a progress bar on work of more than two seconds.
    hdu : int, str or tuple, optional
        Which HDU of a file.
    data_consistent : bool
        Move a result whose reduced chi-squared against the data is above one to the nearest
        image where it is one. Of results of the declared resolution, with a PSF.
    **method_options
        Options of the method.

    Returns
    -------
    image : `SuperResolvedImage`
        A `~astropy.nddata.CCDData` with the shape of the input times ``scale`` in
        both sky axes. Its uncertainty is of the class of the input's.

    Raises
    ------
    ValueError, TypeError
        If an argument is not what it must be; the message names it.
    FileNotFoundError
        If there is no such file.

    Warns
    -----
    LensSRWarning
        For what was estimated, assumed, or dropped, and where the result does not explain the
        data. The header keeps them, as ``SRWARN1`` and so on.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy import units as u
    >>> from lenssr import superresolve
    >>> image = np.random.default_rng(0).normal(0, 1, (16, 16)) * u.nJy
    >>> sharp = superresolve(image, "bicubic", uncertainty=1.0)
    >>> sharp.shape
    (32, 32)
    """
    scale, tile = check_positive_int("scale", scale), check_tile(tile)
    seed = 0 if seed is None else check_nonnegative_int("seed", seed)
    if method is not None:
        find_method(method)
    parsed = parse_image(data, hdu=hdu, psf=psf, uncertainty=uncertainty, mask=mask, wcs=wcs,
                         unit=unit)
    method = default_method(parsed.planes, scale) if method is None else method
    spec = find_method(method)
    if n_samples is not None:
        check = check_positive_int if spec.samples else check_nonnegative_int
        n_samples = check("n_samples", n_samples)
    if n_samples and not spec.samples:
        raise ValueError(f"`n_samples` must be 0 for method {method!r}, which draws no samples, "
                         f"got {n_samples}")
    restorer = make_method(method, scale, method_options)
    if data_consistent and any(plane.psf is None for plane in parsed.planes):
        raise ValueError("`psf` must be given for `data_consistent`, got None")
    kind = flux_convention(parsed.unit, flux)
    # Before the work, which would be lost if the WCS could not be carried.
    new_wcs = None if parsed.wcs is None else rescale_wcs(parsed.wcs, scale)
    run = RunOptions(scale=scale, device=device, tile=tile, n_samples=n_samples or 0, seed=seed,
              progress=progress)
    restorations = [restorer.restore(plane, run) for plane in parsed.planes]
    restorations, consistency = check_consistency(parsed.planes, restorations, run, method,
                                                data_consistent)
    lost = sum(int(plane.mask.sum()) for plane in parsed.planes)
    if lost:
        warnings.warn(f"{lost} masked pixels were filled from their neighbours; the result is "
                      "masked there", LensSRWarning, stacklevel=2)
    return assemble(parsed, restorations, wcs=new_wcs, scale=scale, kind=kind,
                    metadata=_metadata(parsed, restorations, method, scale, kind, seed) | consistency,
                    history=[f"lenssr: super-resolved by {method}, {scale} times finer pixels"])


def _metadata(parsed, restorations, method, scale, kind, seed):
    """Return the named values of the result."""
    from lenssr import __version__

    first = restorations[0]
    metadata = {"method": method, "scale": scale, "version": __version__, "weights": "none",
                "calibration": "measurement",
                "noise": "given" if parsed.noise_given else "estimated", "flux": kind,
                "seed": seed, "psf": "unknown" if first.psf is None else first.psf_kind,
                **first.metadata}
    if "inflation" in first.metadata:
        metadata["inflation"] = max(item.metadata["inflation"] for item in restorations)
    return metadata
