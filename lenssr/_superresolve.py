"""Parse an image, restore it, and assemble the result."""

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

    The result estimates the sky as seen with the target resolution: a Gaussian PSF with a FWHM of
    two output pixels. Interpolation methods do not deconvolve, so their results keep the PSF of
    the input. Unit, uncertainty, mask, WCS and header are carried over.

    Parameters
    ----------
    data : path, file, HDUList, HDU, NDData, Cutout2D, Quantity or array-like
        A 2-D image, or a 3-D cube of bands whose planes are restored separately. From a FITS
        file the first 2-D image is read, with its error, mask and PSF extensions. NaN and
        infinity are masked.
    method : str, optional
        A name from `list_methods`. By default ``unrolled`` if the PSF of all planes is known,
        else ``rcan``.
    scale : int
        Output pixels per input pixel along each axis.
    psf : array, Quantity, Model, NDData, HDU or path, optional
        Effective PSF (optics and pixel response) on the grid of the image; or the FWHM of a
        Gaussian, in pixels or as an angle; or a photutils or astropy PSF model. A list has one
        PSF for each plane of a cube.
    uncertainty : NDUncertainty, Quantity, array or float, optional
        Noise of the image, a standard deviation unless it is another astropy uncertainty. By
        default it is estimated from the sky, with a warning.
    mask : array, optional
        `True` or nonzero at bad pixels. By default the mask in the file is used; for JWST, Roman,
        Euclid and LSST files, only the flags that mark bad pixels count.
    wcs : WCS, optional
        FITS WCS, or any APE-14 WCS.
    unit : Unit or str, optional
        Unit of the image.
    flux : {"auto", "per-pixel", "surface-brightness"}
        Flux convention. A flux per pixel is divided among the finer pixels, a surface brightness
        is not. ``"auto"`` derives the convention from the unit, and warns if it is ambiguous.
    device : str, optional
        Torch device; CUDA by default if there is a GPU.
    n_samples : int, optional
        Number of posterior samples, for methods that draw samples. The result is their mean. By
        default the method chooses the number.
    seed : int, optional
        Seed of the random numbers, 0 by default.
    tile : int, optional
        Side in input pixels of the tiles of large images. It does not change the result.
    progress : bool
        Whether to show a progress bar after two seconds.
    hdu : int, str or tuple, optional
        HDU of a file.
    data_consistent : bool
        Whether to move a result with a reduced chi-squared above one to the nearest image with a
        reduced chi-squared of one. It needs a PSF and a result at the target resolution.
    **method_options
        Options of the method.

    Returns
    -------
    image : `SuperResolvedImage`
        A `~astropy.nddata.CCDData` whose sky axes are ``scale`` times longer. The class of its
        uncertainty is the class of the input uncertainty.

    Raises
    ------
    ValueError, TypeError
        If an argument is invalid.
    FileNotFoundError
        If a file does not exist.

    Warns
    -----
    LensSRWarning
        For values that were estimated, assumed or dropped, and for a result that disagrees with
        the data. The header lists the warnings as ``SRWARN1``, ``SRWARN2``, ...

    Examples
    --------
    >>> import numpy as np
    >>> from astropy import units as u
    >>> from lenssr import superresolve
    >>> image = np.random.default_rng(0).normal(0, 1, (16, 16)) * u.nJy
    >>> result = superresolve(image, "bicubic", uncertainty=1.0)
    >>> result.shape
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
    convention = flux_convention(parsed.unit, flux)
    # Before the restoration, to fail early for a WCS that cannot be rescaled.
    new_wcs = None if parsed.wcs is None else rescale_wcs(parsed.wcs, scale)
    run = RunOptions(scale=scale, device=device, tile=tile, n_samples=n_samples or 0, seed=seed,
                     progress=progress)
    restorations = [restorer.restore(plane, run) for plane in parsed.planes]
    restorations, consistency = check_consistency(parsed.planes, restorations, run, method,
                                                  data_consistent)
    n_masked = sum(int(plane.mask.sum()) for plane in parsed.planes)
    if n_masked:
        warnings.warn(f"{n_masked} masked pixels were filled from their neighbours; the result is "
                      "masked there", LensSRWarning, stacklevel=2)
    metadata = _metadata(parsed, restorations, method, scale, convention, seed)
    return assemble(parsed, restorations, wcs=new_wcs, scale=scale, kind=convention,
                    metadata=metadata | consistency,
                    history=[f"lenssr: super-resolved by {method}, {scale} times finer pixels"])


def _metadata(parsed, restorations, method, scale, convention, seed):
    """Return the named values of the result."""
    from lenssr import __version__

    first = restorations[0]
    metadata = {"method": method, "scale": scale, "version": __version__, "weights": "none",
                "calibration": "measurement",
                "noise": "given" if parsed.noise_given else "estimated", "flux": convention,
                "seed": seed, "psf": "unknown" if first.psf is None else first.psf_kind,
                **first.metadata}
    if "inflation" in first.metadata:
        metadata["inflation"] = max(item.metadata["inflation"] for item in restorations)
    return metadata
