"""
Observation of scenes: PSF, pixels and noise, for batches in torch.

A scene is a grid of point fluxes, so that both images of a pair are exact sums over it: the target
with its Gaussian PSF sampled at the pixel centres, the observed image with optics and pixel
response. Convolutions are computed in Fourier space. Fluxes are per fine-grid area of one input
pixel: a constant scene has one constant value in both images.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

from lenssr.image import FWHM_PER_SIGMA, TARGET_FWHM, WIENER_FLOOR, psf_centroid, psf_fwhm

PSF_RADIUS = 15     # input pixels from the centre at which a simulated PSF ends
TAPER_START = 0.8   # fraction of this radius at which the wings begin to fade
MAX_PSF_SHEAR = 3   # standard deviations to which the ellipticity of the PSF is limited


class BatchRandom:
    """Random numbers of ``batch`` pairs, drawn from one `torch.Generator`."""

    def __init__(self, generator, batch, device=None):
        self.generator, self.batch, self.device = generator, batch, device

    def uniform(self, low, high):
        """Return uniform numbers, shape ``(batch,)``."""
        unit = torch.rand(self.batch, generator=self.generator, device=self.device)
        return low + (high - low) * unit

    def normal(self, *shape):
        """Return standard normal numbers, shape ``(batch, *shape)``."""
        return torch.randn(self.batch, *shape, generator=self.generator, device=self.device)

    def integers(self, high, *shape):
        """Return integers below ``high``, shape ``(batch, *shape)``."""
        return torch.randint(high, (self.batch, *shape), generator=self.generator,
                             device=self.device)


class SeriesRandom:
    """Random numbers drawn from one numpy generator per pair, independent of the batch."""

    def __init__(self, rngs, dtype=torch.float64, device=None):
        self.rngs, self.dtype, self.device = list(rngs), dtype, device
        self.batch = len(self.rngs)

    def _stack(self, draw, dtype=None):
        array = np.stack([draw(rng) for rng in self.rngs])
        return torch.as_tensor(array, dtype=dtype or self.dtype, device=self.device)

    def uniform(self, low, high):
        """Return uniform numbers, shape ``(batch,)``."""
        return low + (high - low) * self._stack(lambda rng: rng.random())

    def normal(self, *shape):
        """Return standard normal numbers, shape ``(batch, *shape)``."""
        return self._stack(lambda rng: rng.standard_normal(shape))

    def integers(self, high, *shape):
        """Return integers below ``high``, shape ``(batch, *shape)``."""
        return self._stack(lambda rng: rng.integers(high, size=shape or None), torch.int64)


class Optics:
    """
    Fourier transforms of batches of scenes, and both images of each scene.

    ``n`` is the side of the fine grid, ``scale`` the number of output pixels and ``fine`` the
    number of fine pixels per output pixel. ``psf_side`` is the odd side in input pixels of kernels
    that hold all light of a simulated PSF.
    """

    def __init__(self, n, scale, fine, device=None):
        if n % (scale * fine):
            raise ValueError(f"`n` must be a multiple of {scale * fine}, got {n}")
        self.n, self.scale, self.fine, self.device = n, scale, fine, device
        self.bin = scale * fine
        self.psf_side = 2 * min(PSF_RADIUS, (n // self.bin - 1) // 2) + 1
        self.fy = torch.fft.fftfreq(n, device=device).reshape(-1, 1)
        self.fx = torch.fft.rfftfreq(n, device=device).reshape(1, -1)

    def transform(self, scenes, points=None):
        """
        Return the Fourier transform of scenes and point sources.

        ``scenes`` has the flux per fine pixel, shape ``(batch, n, n)``; ``points`` the fine-pixel
        ``x``, ``y`` and the flux (zero: no source), shape ``(batch, k, 3)``.
        """
        spectrum = torch.fft.rfft2(scenes)
        if points is not None and points.shape[1]:
            x, y, flux = (points[..., i].reshape(*points.shape[:2], 1) for i in range(3))
            ramp_x = torch.exp(-2j * math.pi * x * self.fx.reshape(1, 1, -1))
            ramp_y = torch.exp(-2j * math.pi * y * self.fy.reshape(1, 1, -1)) * flux
            spectrum = spectrum + torch.einsum("bky,bkx->byx", ramp_y, ramp_x)
        return spectrum

    def psf_transfer(self, psf):
        """Return the transfer function of optics, from a wrapped profile of `moffat`."""
        box = torch.sinc(self.fx) * torch.sinc(self.fy)
        return torch.fft.rfft2(psf) * box

    def kernel_transfer(self, kernel, step):
        """
        Return the transfer function of a measured effective PSF.

        ``kernel`` (optics and pixel response) has pixels of ``step`` fine pixels and odd sides; it
        is centred on its core and normalized to a sum of one.
        """
        # The parser of images uses the same centroid.
        centre = psf_centroid(np.asarray(kernel, float))
        kernel = torch.as_tensor(np.asarray(kernel, float), device=self.device)
        kernel = kernel / kernel.sum()
        waves = []
        for dim, f in ((0, self.fy.ravel()), (1, self.fx.ravel())):
            position = torch.arange(kernel.shape[dim], dtype=kernel.dtype, device=self.device)
            position = position - centre[dim]
            f = f.to(kernel.dtype)
            # The kernel has no power beyond the Nyquist frequency of its pixels. Its pixel
            # response is divided out and replaced by the response of the fine pixel.
            response = (f.abs() * step <= 0.5) * torch.sinc(f) / torch.sinc(step * f)
            wave = torch.exp(-2j * math.pi * step * f[:, None] * position)
            waves.append(wave * response[:, None])
        return waves[0] @ kernel.to(waves[0].dtype) @ waves[1].T

    def observed_image(self, spectrum, transfer):
        """Return the image through the optics in input pixels, ``(batch, n/bin, n/bin)``."""
        fine = torch.fft.irfft2(spectrum * transfer, s=(self.n, self.n))
        side = self.n // self.bin
        return fine.reshape(-1, side, self.bin, side, self.bin).sum(dim=(2, 4))

    def target_image(self, spectrum):
        """Return the noise-free image of the target resolution, ``(batch, n/fine, n/fine)``."""
        sigma = TARGET_FWHM / FWHM_PER_SIGMA * self.fine
        gauss = torch.exp(-2 * (math.pi * sigma) ** 2 * (self.fx**2 + self.fy**2))
        # Pixel centres of the output lie (fine - 1) / 2 fine pixels from the first centre.
        shift = torch.exp(1j * math.pi * (self.fine - 1) * (self.fx + self.fy))
        image = torch.fft.irfft2(spectrum * gauss * shift, s=(self.n, self.n))
        return image[..., :: self.fine, :: self.fine] * self.bin**2

    def relative_kernel(self, transfer):
        """Return the kernels of `lenssr.image.relative_kernel`, from transfer functions."""
        n, s = self.n // self.fine, self.scale
        # Centres of output pixels lie half a pixel off the centres of input pixels at even scales.
        shift = 0.5 * self.fine * (1 - s % 2)
        shift = torch.exp(2j * math.pi * shift * (self.fy + self.fx))
        fine = torch.fft.irfft2(transfer * self._pixel_response() * shift, s=(self.n, self.n))
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
        """Return the PSF with pixel response on input pixels, of odd side and of sum one."""
        fine = torch.fft.irfft2(transfer * self._pixel_response(), s=(self.n, self.n))
        psf = torch.fft.fftshift(fine[..., :: self.bin, :: self.bin], dim=(-2, -1))
        centre, half = psf.shape[-1] // 2, self.psf_side // 2
        part = slice(centre - half, centre + half + 1)
        psf = psf[..., part, part]
        return psf / psf.sum(dim=(-2, -1), keepdim=True)

    def _pixel_response(self):
        """Return the transfer function of an input pixel relative to a fine pixel."""
        comb = 1.0
        for f in (self.fy, self.fx):
            k = torch.arange(self.bin, device=self.device) - (self.bin - 1) / 2
            comb = comb * torch.cos(2 * math.pi * f[..., None] * k).mean(-1)
        return comb


@dataclass
class ObservedBatch:
    """
    Batch of observed scenes, in flux per input pixel.

    Images have shape ``(batch, m, m)``, the noise-free target ``hr`` ``(batch, scale m, scale m)``,
    other fields ``(batch,)``.
    """

    lr: torch.Tensor
    sigma: torch.Tensor
    clean: torch.Tensor          # without noise, pedestal and defects
    hr: torch.Tensor
    sky_rms: torch.Tensor        # also where the noise is left out
    sky_electrons: torch.Tensor  # sky_rms in electrons
    snr: torch.Tensor            # peak of clean over sky_rms; infinite without noise
    pedestal: torch.Tensor
    transfer: torch.Tensor       # transfer functions of the optics
    fwhm: torch.Tensor           # optics, or measured effective PSF, input pixels
    kernel_width: torch.Tensor   # kernel that correlates the noise, input pixels


def observe_batch(instrument, optics, scenes, points, draws):
    """
    Observe a batch under conditions drawn from the ranges of an instrument.

    ``scenes`` and ``points`` are the input of `Optics.transform`; ``draws`` is a `BatchRandom` or a
    `SeriesRandom`. Returns an `ObservedBatch`.
    """
    transfer, fwhm = _draw_psf(instrument, optics, draws)
    spectrum = optics.transform(scenes, points)
    clean, hr = optics.observed_image(spectrum, transfer), optics.target_image(spectrum)
    peak = clean.abs().amax(dim=(1, 2))
    if instrument.zero_point is None:
        snr = _log_uniform(draws, *instrument.snr)
        sky = torch.where(peak > 0, peak / snr, torch.ones_like(peak))
        depth = _log_uniform(draws, *instrument.depth)
    else:
        time = instrument.exposures * instrument.exposure_time
        magnitude = draws.uniform(*instrument.magnitude)
        electrons = time * 10 ** (0.4 * (instrument.zero_point - magnitude))
        depth = torch.full_like(electrons, instrument.sky_electrons)
        sky = depth / electrons
        snr = peak / sky
    if instrument.noiseless:
        noise, sigma = torch.zeros_like(clean), torch.zeros_like(clean)
        width, snr = torch.zeros_like(peak), torch.full_like(peak, math.inf)
    else:
        # With n electrons of sky noise, a signal of r times the sky noise adds a variance of r n
        # electrons to n**2.
        ratio = clean.clamp(min=0) / sky.reshape(-1, 1, 1)
        sigma = sky.reshape(-1, 1, 1) * torch.sqrt(1 + ratio / depth.reshape(-1, 1, 1))
        noise, width = _draw_noise(instrument, clean, sky.reshape(-1, 1, 1), sigma, draws)
    snr = torch.where(peak > 0, snr, torch.zeros_like(snr))
    pedestal = torch.zeros_like(sky)
    if instrument.pedestal != (0.0, 0.0):
        pedestal = sky * draws.uniform(*instrument.pedestal)
    lr = clean + noise + pedestal.reshape(-1, 1, 1)
    return ObservedBatch(lr, sigma, clean, hr, sky, depth, snr, pedestal, transfer,
                         fwhm / optics.bin, width)


def moffat(n, fwhm, beta, e1, e2, device=None, radius=math.inf):
    """
    Return Moffat profiles ``(batch, n, n)`` of sum one, wrapped so that the centre is (0, 0).

    ``fwhm`` (fine pixels), exponent ``beta`` and ellipticity have shape ``(batch,)``. Moffat
    (1969A&A.....3..455M), and a Gaussian for an infinite exponent; the shear conserves the area.
    The profile ends at ``radius`` fine pixels, and its wings fade to zero before, by a half cosine.
    """
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
    if math.isfinite(radius):
        taper = (torch.hypot(x, y) / radius - TAPER_START) / (1 - TAPER_START)
        profile = profile * (1 + torch.cos(math.pi * taper.clamp(0, 1))) / 2
    return profile / profile.sum(dim=(-2, -1), keepdim=True)


def correlate_noise(white, width):
    """Convolve white noise ``(batch, m, m)`` with Gaussians of ``width``; variance conserved."""
    if not width.any():
        return white
    fy = torch.fft.fftfreq(white.shape[-2], device=white.device).reshape(1, -1, 1)
    fx = torch.fft.rfftfreq(white.shape[-1], device=white.device).reshape(1, 1, -1)
    transfer = torch.exp(-2 * (torch.pi * width.reshape(-1, 1, 1)) ** 2 * (fx**2 + fy**2))
    kernel = torch.fft.irfft2(transfer, s=white.shape[-2:])
    power = (kernel**2).sum(dim=(-2, -1), keepdim=True)
    return torch.fft.irfft2(torch.fft.rfft2(white) * transfer, s=white.shape[-2:]) / power.sqrt()


def kernel_neighbour_correlation(width, side=64):
    """Return the correlation of neighbouring pixels after `correlate_noise`, ``(batch,)``."""
    f = torch.fft.fftfreq(side, device=width.device)
    power = torch.exp(-4 * (torch.pi * width[:, None] * f) ** 2)
    return (power * torch.cos(2 * torch.pi * f)).sum(-1) / power.sum(-1)


def _log_uniform(draws, low, high):
    return torch.exp(draws.uniform(*torch.tensor([low, high]).log().tolist()))


def _draw_psf(instrument, optics, draws):
    """Return transfer functions of the optics and their FWHM in fine pixels."""
    fine_pixel = instrument.pixel_scale / optics.bin
    if instrument.kernels:
        step = instrument.kernel_scale / fine_pixel
        kernels = [instrument.kernels[k] for k in draws.integers(len(instrument.kernels))]
        fwhm = torch.tensor([step * psf_fwhm(kernel) for kernel in kernels])
        transfer = torch.stack([optics.kernel_transfer(k, step) for k in kernels])
        return transfer, fwhm.to(optics.device)
    fwhm = draws.uniform(*instrument.seeing) / fine_pixel
    e1, e2 = (instrument.ellipticity * draws.normal().clamp(-MAX_PSF_SHEAR, MAX_PSF_SHEAR)
              for _ in range(2))
    beta = 1 / draws.uniform(*(1 / b for b in instrument.beta))
    profile = moffat(optics.n, fwhm, beta, e1, e2, optics.device,
                     radius=(optics.psf_side // 2) * optics.bin)
    return optics.psf_transfer(profile), fwhm


def _draw_noise(instrument, clean, sky, sigma, draws):
    """Return noise images and the width of the kernel that correlates them (input pixels)."""
    if instrument.skies is not None:
        # A real sky has its photon noise; the photon noise of the sources is added.
        stamps = torch.as_tensor(instrument.skies, dtype=clean.dtype, device=clean.device)
        photons = (sigma**2 - sky**2).clamp(min=0).sqrt() * draws.normal(*clean.shape[1:])
        return (sky * _draw_skies(stamps, clean.shape[-1], draws) + photons,
                torch.zeros_like(sky.ravel()))
    width = torch.where(draws.uniform(0, 1) < instrument.p_correlated_noise,
                        draws.uniform(*instrument.kernel_width), 0.0)
    return sigma * correlate_noise(draws.normal(*clean.shape[1:]), width), width


def _draw_skies(stamps, side, draws):
    """Return squares of real skies at random positions, rotated and mirrored."""
    room = stamps.shape[-1] - side
    if room < 0:
        raise ValueError(f"`size` must leave images, margins included, of at most "
                         f"{stamps.shape[-1]} pixels, the side of the skies, got {side}")
    number, turn = draws.integers(len(stamps)), draws.integers(8)
    y, x = draws.integers(room + 1), draws.integers(room + 1)
    cuts = []
    for k, t, i, j in zip(*(v.tolist() for v in (number, turn, y, x))):
        cut = torch.rot90(stamps[k, i: i + side, j: j + side], t % 4, (0, 1))
        cuts.append(cut.flip(1) if t >= 4 else cut)
    return torch.stack(cuts)
