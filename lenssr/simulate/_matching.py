"""An image brought from its own PSF to another, in Fourier space."""

import numpy as np
from scipy import fft

from lenssr.image import FWHM_PER_SIGMA

__all__ = ["PSFMatcher", "gauss", "spectrum_of"]

FLOOR = 1e-3      # transfer below which the image's own PSF is not undone
MOST_GAIN = 3.0   # amplification of any frequency beyond which an image isn't sharp enough,
MOST_LOST = 0.03  # and share of the wanted PSF below that floor


class PSFMatcher:
    r"""
    Brings an image to other PSFs, sampled on coarser or finer pixels.

    The transfer function of the PSF is undone by
    :math:`\hat P^* (1 + \epsilon^2) / (|\hat P|^2 + \epsilon^2)`, a filter of
    Wiener's kind, exact at frequency zero: flux is flux. As in the matching of PSFs
    (Aniano et al. 2011, doi:10.1086/662219), this is well-posed only towards a
    broader PSF.
    """

    def __init__(self, data, psf, reach):
        self.pad = reach + max(psf.shape) // 2
        self.shape = data.shape
        self.sides = [fft.next_fast_len(n + 2 * self.pad, real=True) for n in data.shape]
        self.spectrum = self._padded(data)
        self.own = spectrum_of(psf, self.sides)

    @property
    def frequencies(self):
        """Cycles per pixel along ``y`` and ``x``, to be broadcast."""
        return fft.fftfreq(self.sides[0])[:, None], fft.rfftfreq(self.sides[1])[None, :]

    def kernel(self, wanted, complaint):
        """What takes the image to another PSF."""
        undo = self.own.conj() * (1 + FLOOR**2) / (np.abs(self.own) ** 2 + FLOOR**2)
        kernel = wanted * undo
        gain = np.abs(kernel).max()
        lost = np.linalg.norm(wanted - kernel * self.own) / np.linalg.norm(wanted)
        if gain > MOST_GAIN or lost > MOST_LOST:
            raise ValueError(f"{complaint}: the image is not sharp enough, undoing "
                             f"its PSF amplifies noise by up to {gain:.1f} and misses "
                             f"{lost:.1%} of the PSF that is wanted")
        return kernel

    def apply(self, kernel, step=1):
        """The image convolved with a spectrum, every ``step``-th pixel of it."""
        return self._inside(fft.irfft2(self.spectrum * kernel, s=self.sides))[::step, ::step]

    def finer(self, kernel, factor):
        """The same on ``factor`` times finer pixels that share the edges of the image."""
        fy, fx = self.frequencies
        offset = 0.5 / factor - 0.5
        coarse = self.spectrum * kernel * np.exp(2j * np.pi * offset * (fy + fx)) * factor**2
        sides = [factor * n for n in self.sides]
        padded = np.zeros((sides[0], sides[1] // 2 + 1), complex)
        upper = (self.sides[0] + 1) // 2  # rows of positive frequency come first
        padded[:upper, : coarse.shape[1]] = coarse[:upper]
        padded[upper - self.sides[0]:, : coarse.shape[1]] = coarse[upper:]
        return self._inside(fft.irfft2(padded, s=sides), factor)

    def variance(self, kernel, sigma):
        """Variance of `apply` for independent noise of ``sigma``, an array, in each pixel."""
        squared = fft.rfft2(fft.irfft2(kernel, s=self.sides) ** 2)
        return self._inside(fft.irfft2(self._padded(sigma**2) * squared, s=self.sides))

    def autocovariance(self, kernel, correlation):
        """Autocovariance of `apply` for noise of unit variance, no lag being in the middle."""
        power = np.abs(kernel) ** 2 * spectrum_of(correlation, self.sides).real
        return fft.fftshift(fft.irfft2(np.maximum(power, 0.0), s=self.sides))

    def share(self, wanted, valid, step=1):
        """Share of the light that comes from valid pixels; beyond the image there are none."""
        outside = self._padded(valid.astype(float), "constant")
        return self._inside(fft.irfft2(outside * wanted, s=self.sides))[::step, ::step]

    def white_gain(self, kernel):
        """Noise of `apply` for independent noise of one in every pixel."""
        return float(np.linalg.norm(fft.irfft2(kernel, s=self.sides)))

    def observe(self, wanted, step, name):
        """The image at another PSF, on coarser pixels."""
        kernel = self.kernel(wanted, f"`{name}` must be larger")
        return self.apply(kernel, step), self.white_gain(kernel)

    def _padded(self, data, mode="symmetric"):
        widths = [(self.pad, side - n - self.pad) for n, side in zip(data.shape, self.sides)]
        return fft.rfft2(np.pad(data, widths, mode=mode))

    def _inside(self, array, factor=1):
        start = self.pad * factor
        ny, nx = (n * factor for n in self.shape)
        return array[start: start + ny, start: start + nx]


def spectrum_of(psf, sides):
    """Spectrum of an odd, centred kernel on a frame of ``sides``."""
    kernel = np.zeros(sides)
    kernel[: psf.shape[0], : psf.shape[1]] = psf
    return fft.rfft2(np.roll(kernel, [-(n // 2) for n in psf.shape], (0, 1)))


def gauss(sides, fwhm, offset):
    """Spectrum of a Gaussian sampled at pixel centres moved by ``-offset``."""
    sigma = fwhm / FWHM_PER_SIGMA
    y, x = (fft.fftfreq(n, 1 / n) + offset for n in sides)
    profile = np.exp(-(y[:, None] ** 2 + x[None, :] ** 2) / (2 * sigma**2))
    return fft.rfft2(profile / profile.sum())
