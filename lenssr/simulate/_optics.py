"""
The telescope: scenes on a fine grid, seen through a PSF and binned into pixels.

A scene is a lattice of point fluxes, so both images of a pair are exact sums over
it: the sharp one with the target Gaussian sampled at its pixel centres, the blurred
one with optics and pixel response. All of it happens in Fourier space for whole
batches, on any torch device. Fluxes come out *per fine-grid area of one input
pixel*: a constant scene gives the same constant in both images.
"""

import math

import numpy as np
import torch

from lenssr.image import FWHM_PER_SIGMA, TARGET_FWHM, WIENER_FLOOR, psf_centroid

__all__ = ["PSF_REACH", "Optics", "moffat"]

PSF_REACH = 15  # input pixels from its centre at which a simulated PSF ends
TAPER = 0.8     # share of that at which its wings begin to fade


def moffat(n, fwhm, beta, e1, e2, device=None, reach=math.inf):
    """Moffat profiles on an ``(n, n)`` grid, wrapped so that the centre is pixel (0, 0)."""
    axis = torch.fft.fftfreq(n, 1.0 / n, device=device)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    fwhm, beta, e1, e2 = (v.reshape(-1, 1, 1) for v in (fwhm, beta, e1, e2))
    norm = torch.sqrt(1 - e1**2 - e2**2)
    r2 = ((1 - e1) * x**2 - 2 * e2 * x * y + (1 + e1) * y**2) / norm
    gaussian = torch.isinf(beta)
    profile = torch.exp(-4 * math.log(2) * r2 / fwhm**2) if gaussian.any() else r2
    if not gaussian.all():
        alpha2 = (fwhm / 2) ** 2 / (2 ** (1 / beta) - 1)
        profile = torch.where(gaussian, profile, (1 + r2 / alpha2) ** (-beta))
    if math.isfinite(reach):
        far = (torch.hypot(x, y) / reach - TAPER) / (1 - TAPER)
        profile = profile * (1 + torch.cos(math.pi * far.clamp(0, 1))) / 2
    return profile / profile.sum(dim=(-2, -1), keepdim=True)


class Optics:
    """Both views of a batch of scenes."""

    def __init__(self, n, scale, fine, device=None):
        if n % (scale * fine):
            raise ValueError(f"`n` must be a multiple of {scale * fine}, got {n}")
        self.n, self.scale, self.fine, self.device = n, scale, fine, device
        self.bin = scale * fine
        self.psf_side = 2 * min(PSF_REACH, (n // self.bin - 1) // 2) + 1
        self.fy = torch.fft.fftfreq(n, device=device).reshape(-1, 1)
        self.fx = torch.fft.rfftfreq(n, device=device).reshape(1, -1)

    def transform(self, scenes, points=None):
        """Fourier transform of scenes and their point sources."""
        spectrum = torch.fft.rfft2(scenes)
        if points is not None and points.shape[1]:
            x, y, flux = (points[..., i].reshape(*points.shape[:2], 1) for i in range(3))
            ramp_x = torch.exp(-2j * math.pi * x * self.fx.reshape(1, 1, -1))
            ramp_y = torch.exp(-2j * math.pi * y * self.fy.reshape(1, 1, -1)) * flux
            spectrum = spectrum + torch.einsum("bky,bkx->byx", ramp_y, ramp_x)
        return spectrum

    def psf_transfer(self, psf):
        """Transfer function of optics ``psf``, wrapped as `moffat` gives it."""
        box = torch.sinc(self.fx) * torch.sinc(self.fy)
        return torch.fft.rfft2(psf) * box

    def measured_transfer(self, kernel, step):
        """Transfer function of optics of which an effective PSF was measured."""
        # Where the parser of images, too, takes its centre to be.
        centre = psf_centroid(np.asarray(kernel, float))
        kernel = torch.as_tensor(np.asarray(kernel, float), device=self.device)
        kernel = kernel / kernel.sum()
        waves = []
        for dim, f in ((0, self.fy.ravel()), (1, self.fx.ravel())):
            place = torch.arange(kernel.shape[dim], dtype=kernel.dtype, device=self.device)
            place = place - centre[dim]
            f = f.to(kernel.dtype)
            # The kernel knows nothing beyond the Nyquist frequency of its pixels; they are
            # undone, and the fine pixel comes in their place.
            known = (f.abs() * step <= 0.5) * torch.sinc(f) / torch.sinc(step * f)
            waves.append(torch.exp(-2j * math.pi * step * f[:, None] * place) * known[:, None])
        return waves[0] @ kernel.to(waves[0].dtype) @ waves[1].T

    def blurred(self, spectrum, transfer):
        """Image through the optics in input pixels, shape ``(batch, n/bin, n/bin)``."""
        fine = torch.fft.irfft2(spectrum * transfer, s=(self.n, self.n))
        side = self.n // self.bin
        return fine.reshape(-1, side, self.bin, side, self.bin).sum(dim=(2, 4))

    def sharp(self, spectrum):
        """Noise-free image at the target resolution, shape ``(batch, n/fine, n/fine)``."""
        sigma = TARGET_FWHM / FWHM_PER_SIGMA * self.fine
        gauss = torch.exp(-2 * (math.pi * sigma) ** 2 * (self.fx**2 + self.fy**2))
        # Pixel centres of the output lie (fine - 1) / 2 fine pixels from the first centre.
        shift = torch.exp(1j * math.pi * (self.fine - 1) * (self.fx + self.fy))
        image = torch.fft.irfft2(spectrum * gauss * shift, s=(self.n, self.n))
        return image[..., :: self.fine, :: self.fine] * self.bin**2

    def _pixel(self):
        """What the input pixel adds to a transfer function, which holds the fine pixel's box."""
        comb = 1.0
        for f in (self.fy, self.fx):
            k = torch.arange(self.bin, device=self.device) - (self.bin - 1) / 2
            comb = comb * torch.cos(2 * math.pi * f[..., None] * k).mean(-1)
        return comb

    def relative_kernel(self, transfer):
        """What `lenssr.image._kernels.relative_kernel` finds of a PSF, of its transfer function."""
        n, s = self.n // self.fine, self.scale
        # Centres of output pixels lie half a pixel off those of the input's at even scales.
        shift = 0.5 * self.fine * (1 - s % 2)
        shift = torch.exp(2j * math.pi * shift * (self.fy + self.fx))
        fine = torch.fft.irfft2(transfer * self._pixel() * shift, s=(self.n, self.n))
        fy = torch.fft.fftfreq(n, device=self.device).reshape(-1, 1)
        fx = torch.fft.rfftfreq(n, device=self.device).reshape(1, -1)
        target = torch.exp(-2 * (math.pi * TARGET_FWHM / FWHM_PER_SIGMA) ** 2 * (fy**2 + fx**2))
        spectrum = torch.fft.rfft2(fine[..., ::self.fine, ::self.fine])
        kernel = torch.fft.irfft2(
            spectrum * target * (1 + WIENER_FLOOR) / (target**2 + WIENER_FLOOR), s=(n, n))
        size = self.psf_side
        first = -(s * size // 2)
        kernel = kernel.roll((-first, -first), dims=(-2, -1))[..., :s * size, :s * size]
        phases = kernel.unflatten(-1, (size, s)).unflatten(-3, (size, s))
        return (phases / phases.sum(dim=(-4, -2), keepdim=True)).flatten(-4, -3).flatten(-2, -1)

    def effective_psf(self, transfer):
        """PSF with the pixel response on the grid of input pixels, odd, of sum one."""
        fine = torch.fft.irfft2(transfer * self._pixel(), s=(self.n, self.n))
        psf = torch.fft.fftshift(fine[..., :: self.bin, :: self.bin], dim=(-2, -1))
        centre, half = psf.shape[-1] // 2, self.psf_side // 2
        part = slice(centre - half, centre + half + 1)
        psf = psf[..., part, part]
        return psf / psf.sum(dim=(-2, -1), keepdim=True)
