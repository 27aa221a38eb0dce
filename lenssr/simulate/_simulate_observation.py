"""Simulated observation of a high-resolution image, and PSF matching in Fourier space."""

import numpy as np
from astropy import units as u
from astropy.nddata import NDData
from scipy import fft

from lenssr._pair import LensPair
from lenssr._validation import check_nonnegative_int, check_positive_int, check_positive_number
from lenssr.image import (
    FWHM_PER_SIGMA,
    TARGET_FWHM,
    combine_masks,
    fill_masked,
    flux_convention,
    parse_psf,
    parse_unit,
    psf_fwhm,
    target_psf,
)
from lenssr.simulate._pair import make_ccd
from lenssr.uncertainty import sky_level

MIN_TRANSFER = 1e-3  # transfer below which the PSF of the image is not inverted
MAX_GAIN = 3.0  # largest amplification of a frequency
MAX_LOST_FRACTION = 0.03  # fraction of the target PSF at frequencies below MIN_TRANSFER
SEEING_RADIUS = 4.0  # FWHM at which the seeing profile ends; 0.1 % of its light is outside


class PSFMatcher:
    r"""
    Convolution of an image of a known PSF to other PSFs, on coarser or finer pixels.

    The PSF is inverted by the Wiener filter :math:`\hat P^* (1 + \epsilon^2) / (|\hat P|^2 +
    \epsilon^2)`, which conserves flux. Matching is well-posed towards broader PSFs (Aniano et
    al. 2011, doi:10.1086/662219). The image is mirrored at its edges, up to ``reach`` pixels.
    """

    def __init__(self, data, psf, reach):
        self.pad = reach + max(psf.shape) // 2
        self.shape = data.shape
        self.sides = [fft.next_fast_len(n + 2 * self.pad, real=True) for n in data.shape]
        self.spectrum = self._padded(data)
        self.transfer = psf_spectrum(psf, self.sides)

    @property
    def frequencies(self):
        """Frequencies along ``y`` and ``x`` in cycles per pixel, for broadcasting."""
        return fft.fftfreq(self.sides[0])[:, None], fft.rfftfreq(self.sides[1])[None, :]

    def kernel(self, target, advice):
        """Return the transfer function to a PSF of spectrum ``target``; errors give the advice."""
        psf = self.transfer
        inverse = psf.conj() * (1 + MIN_TRANSFER**2) / (np.abs(psf) ** 2 + MIN_TRANSFER**2)
        kernel = target * inverse
        gain = np.abs(kernel).max()
        lost = np.linalg.norm(target - kernel * psf) / np.linalg.norm(target)
        if gain > MAX_GAIN or lost > MAX_LOST_FRACTION:
            raise ValueError(f"{advice}: the PSF of the image is too wide, its inversion amplifies "
                             f"noise by up to {gain:.1f} and loses {lost:.1%} of the target PSF")
        return kernel

    def apply(self, kernel, step=1):
        """Convolve the image with a transfer function and take every ``step``-th pixel."""
        return self._inside(fft.irfft2(self.spectrum * kernel, s=self.sides))[::step, ::step]

    def oversample(self, kernel, factor):
        """Convolve the image and resample it to ``factor`` times finer pixels."""
        fy, fx = self.frequencies
        offset = 0.5 / factor - 0.5
        coarse = self.spectrum * kernel * np.exp(2j * np.pi * offset * (fy + fx)) * factor**2
        sides = [factor * n for n in self.sides]
        padded = np.zeros((sides[0], sides[1] // 2 + 1), complex)
        upper = (self.sides[0] + 1) // 2  # number of rows of non-negative frequency
        padded[:upper, : coarse.shape[1]] = coarse[:upper]
        padded[upper - self.sides[0]:, : coarse.shape[1]] = coarse[upper:]
        return self._inside(fft.irfft2(padded, s=sides), factor)

    def variance(self, kernel, sigma):
        """Propagate the variance of independent noise ``sigma`` through `apply`."""
        squared = fft.rfft2(fft.irfft2(kernel, s=self.sides) ** 2)
        return self._inside(fft.irfft2(self._padded(sigma**2) * squared, s=self.sides))

    def autocovariance(self, kernel, correlation):
        """Return the autocovariance of unit noise of a correlation after `apply`, lag 0 centred."""
        power = np.abs(kernel) ** 2 * psf_spectrum(correlation, self.sides).real
        return fft.fftshift(fft.irfft2(np.maximum(power, 0.0), s=self.sides))

    def valid_light(self, target, valid, step=1):
        """Return the fraction of light from valid pixels inside the image, at the target PSF."""
        spectrum = self._padded(valid.astype(float), "constant")
        return self._inside(fft.irfft2(spectrum * target, s=self.sides))[::step, ::step]

    def white_noise_gain(self, kernel):
        """Return the standard deviation of unit white noise after `apply`."""
        return float(np.linalg.norm(fft.irfft2(kernel, s=self.sides)))

    def observe(self, target, step, name):
        """Return the image at another PSF on coarser pixels, and its gain of white noise."""
        kernel = self.kernel(target, f"`{name}` must be larger")
        return self.apply(kernel, step), self.white_noise_gain(kernel)

    def _padded(self, data, mode="symmetric"):
        """Return the spectrum of an array padded to the frame."""
        widths = [(self.pad, side - n - self.pad) for n, side in zip(data.shape, self.sides)]
        return fft.rfft2(np.pad(data, widths, mode=mode))

    def _inside(self, array, factor=1):
        """Return the image area of a frame."""
        start = self.pad * factor
        ny, nx = (n * factor for n in self.shape)
        return array[start: start + ny, start: start + nx]


def psf_spectrum(psf, sides):
    """Return the spectrum of a centred kernel of odd sides on a frame of ``sides`` pixels."""
    kernel = np.zeros(sides)
    kernel[: psf.shape[0], : psf.shape[1]] = psf
    return fft.rfft2(np.roll(kernel, [-(n // 2) for n in psf.shape], (0, 1)))


def gaussian_spectrum(sides, fwhm, offset):
    """Return the spectrum of a Gaussian at pixel centres shifted by ``-offset`` pixels."""
    sigma = fwhm / FWHM_PER_SIGMA
    y, x = (fft.fftfreq(n, 1 / n) + offset for n in sides)
    profile = np.exp(-(y[:, None] ** 2 + x[None, :] ** 2) / (2 * sigma**2))
    return fft.rfft2(profile / profile.sum())


def simulate_observation(image, psf=None, *, pixel_scale, seeing, snr, scale=2, bin=2, beta=3.5,
                         depth=None, margin=0, mask=None, unit=None, seed=0):
    r"""
    Simulate the observation of a high-resolution image with a wider PSF and larger pixels.

    From an image with pixels of side ``p``, the function makes an observed image with pixels of
    side ``scale * bin * p``, at the ``seeing`` and with new noise. The truth has pixels of side
    ``bin * p`` and the target resolution: a Gaussian with a FWHM of two pixels.

    Parameters
    ----------
    image : array, `~astropy.units.Quantity` or `~astropy.nddata.NDData`
        High-resolution image, shape ``(ny, nx)``; its edges are cut to a multiple of
        ``scale * bin`` pixels. Non-finite values count as masked.
    psf : array, optional
        Effective PSF (optics and pixel response) on the grid of the image, in any form of
        `lenssr.superresolve`; the PSF of ``image`` by default.
    pixel_scale : float or `~astropy.units.Quantity`
        Side of a pixel of ``image``, arcsec.
    seeing : float or `~astropy.units.Quantity`
        FWHM of the Moffat profile of the new optics, arcsec, without the pixel response.
    snr : float
        Peak of the noise-free observed image above the sky, over the sky noise.
    scale : int
        Pixels of the truth per pixel of the observed image.
    bin : int
        Pixels of ``image`` per pixel of the truth.
    beta : float
        Exponent of the Moffat profile.
    depth : float, optional
        Sky noise in electrons, which adds the photon noise of sources; uniform noise by default.
    margin : int
        Pixels of the observed image to cut from each side at the end. Light from outside ``image``
        is replaced by its mirror image.
    mask : array, optional
        `True` for missing pixels of ``image``, which are filled from their neighbours.
    unit : `~astropy.units.Unit` or str, optional
        Unit of ``image``; by default its unit, or electrons.
    seed : int
        Seed of the noise.

    Returns
    -------
    pair : `LensPair`
        ``lr`` has the uncertainty of the added noise, and the effective PSF. ``truth`` holds
        ``seeing`` and ``pixel_scale`` (arcsec), ``snr``, ``seed``, ``fwhm`` of the effective PSF
        (pixels of ``lr``), ``gain_lr`` and ``gain_hr`` (standard deviation in either image of unit
        white noise in ``image``) and ``filled`` (fraction of masked pixels).

    Raises
    ------
    ValueError
        If a number is out of range, the image is too small or has no PSF, or the image is not
        sharp enough for the truth or the seeing.

    Notes
    -----
    With the image :math:`I` and its PSF :math:`P`, both images observe the scene
    :math:`\hat S = \hat I \hat P^* (1 + \epsilon^2) / (|\hat P|^2 + \epsilon^2)`,
    which includes noise and artefacts of the image. The truth is the scene convolved with the
    target Gaussian, the observed image the scene convolved with the Moffat profile and the new
    pixel. PSF matching is well-posed towards broader PSFs (Aniano et al. 2011,
    doi:10.1086/662219).

    Examples
    --------
    >>> from lenssr.simulate import simulate_observation, simulate_pair
    >>> image = simulate_pair(seed=2).hr
    >>> pair = simulate_observation(image, pixel_scale=0.084, seeing=0.7, snr=50.0, seed=1)
    >>> pair.scale
    2
    """
    data, psf, unit, mask = _parse_arguments(image, psf, unit, mask)
    scale, bin = check_positive_int("scale", scale), check_positive_int("bin", bin)
    margin = check_nonnegative_int("margin", margin)
    pixel_scale = _positive("pixel_scale", pixel_scale, u.arcsec)
    fwhm = _positive("seeing", seeing, u.arcsec) / pixel_scale
    snr = _positive("snr", snr)
    if _positive("beta", beta) <= 1:
        raise ValueError(f"`beta` must be above 1, got {beta!r}")
    step = scale * bin
    shape = tuple(n // step - 2 * margin for n in data.shape)
    if min(shape) < 1:
        raise ValueError(f"`image` must have more than {2 * margin * step + step - 1} pixels along "
                         f"each side for these `scale`, `bin` and `margin`, got {data.shape}")
    psf = parse_psf(psf, data.shape, pixel_scale * u.arcsec)
    if psf is None:
        raise ValueError("`psf` must be given for an image that carries none, got None")

    data, mask = _cut(data, step), _cut(mask, step)
    matcher = PSFMatcher(fill_masked(data, mask), psf, int(np.ceil(SEEING_RADIUS * fwhm)) + step)
    sides = matcher.sides
    target = gaussian_spectrum(sides, TARGET_FWHM * bin, (bin - 1) / 2)
    hr, gain_hr = matcher.observe(target, bin, "bin")
    seeing_spectrum = _moffat_spectrum(sides, fwhm, beta, step, (step - 1) / 2)
    lr, gain_lr = matcher.observe(seeing_spectrum, step, "seeing")
    lr_psf = _psf_on_grid(_moffat_spectrum(sides, fwhm, beta, step, 0.0), sides, step,
                          int(np.ceil(SEEING_RADIUS * fwhm / step + 0.5)))
    if flux_convention(unit) == "per-pixel":
        hr, lr = hr * bin**2, lr * step**2
    hr, lr = _trim(hr, margin * scale), _trim(lr, margin)

    sigma = _noise_map(lr, snr, depth)
    lr = lr + sigma * np.random.default_rng(seed).standard_normal(lr.shape)
    return LensPair(
        make_ccd(lr, pixel_scale * step, sigma=sigma, psf=lr_psf, unit=unit),
        make_ccd(hr, pixel_scale * bin, psf=target_psf(), unit=unit),
        {"seeing": fwhm * pixel_scale * u.arcsec, "pixel_scale": pixel_scale * u.arcsec,
         "snr": snr, "seed": seed, "fwhm": psf_fwhm(lr_psf), "gain_lr": gain_lr,
         "gain_hr": gain_hr, "filled": float(mask.mean())})


def _parse_arguments(image, psf, unit, mask):
    """Return values, PSF, unit and mask of an image; arguments override its attributes."""
    image_unit = None
    if isinstance(image, NDData):
        psf = getattr(image, "psf", None) if psf is None else psf
        mask = image.mask if mask is None else mask
        image_unit, image = image.unit, image.data
    elif isinstance(image, u.Quantity):
        image_unit, image = image.unit, image.value
    try:
        data = np.array(image, dtype=float)
    except (TypeError, ValueError) as err:
        raise TypeError("`image` must be an array, a Quantity or NDData, "
                        f"got {type(image).__name__}") from err
    if data.ndim != 2:
        raise ValueError(f"`image` must have 2 dimensions, got {data.ndim}")
    mask = combine_masks(mask, data)
    if mask.all():
        raise ValueError("`mask` must leave at least one valid pixel, got none")
    return data, psf, parse_unit(unit) or image_unit or u.electron, mask


def _positive(name, value, unit=None):
    """Return a number, or a Quantity in ``unit``, as a positive `float`."""
    if isinstance(value, u.Quantity) and unit is not None:
        value = value.to_value(unit)
    return check_positive_number(name, value)


def _cut(array, step):
    """Crop an array about its centre to sides that are multiples of ``step``."""
    corner = [n % step // 2 for n in array.shape]
    return array[tuple(slice(c, c + n // step * step) for c, n in zip(corner, array.shape))]


def _trim(array, edge):
    """Remove ``edge`` pixels from each side."""
    return array[edge: array.shape[0] - edge, edge: array.shape[1] - edge]


def _noise_map(clean, snr, depth):
    """Return the noise map of a peak signal-to-noise ratio, with photon noise for a ``depth``."""
    background = 0.0
    for _ in range(3):  # the estimate of the sky level depends on the noise
        noise = (clean.max() - background) / snr
        if not noise > 0:
            raise ValueError("`image` must have a source above its sky, got a peak of "
                             f"{clean.max():g} over a sky level of {background:g}")
        background = sky_level(clean, np.zeros(clean.shape, bool), noise)
    if depth is None:
        return np.full(clean.shape, noise)
    # With n electrons of sky noise, a signal of r n electrons adds r n to a variance of n^2.
    ratio = np.maximum(clean - background, 0) / noise
    return noise * np.sqrt(1 + ratio / _positive("depth", depth))


def _moffat_spectrum(sides, fwhm, beta, step, offset):
    """Return the spectrum of a truncated Moffat profile, convolved with pixels of ``step``."""
    # The profile is band-limited: pixel response and offset are exact factors of its spectrum.
    y, x = (fft.fftfreq(n, 1 / n) for n in sides)
    r2 = y[:, None] ** 2 + x[None, :] ** 2
    profile = (1 + 4 * (2 ** (1 / beta) - 1) * r2 / fwhm**2) ** -beta
    profile[r2 > (SEEING_RADIUS * fwhm) ** 2] = 0
    fy, fx = fft.fftfreq(sides[0])[:, None], fft.rfftfreq(sides[1])[None, :]
    pixel = np.sinc(step * fy) * np.sinc(step * fx) * np.exp(2j * np.pi * offset * (fy + fx))
    return fft.rfft2(profile / profile.sum()) * pixel


def _psf_on_grid(spectrum, sides, step, radius):
    """Sample a PSF on pixels of ``step`` from its spectrum; odd sides and unit sum."""
    fine = fft.irfft2(spectrum, s=sides)
    index = np.arange(-radius, radius + 1) * step
    psf = fine[np.ix_(index, index)]
    return psf / psf.sum()
