"""How scenes are observed: seeing, depth, and noise, for whole batches in torch."""

import math
from dataclasses import dataclass

import torch

from ._instruments import INSTRUMENT_TABLE, INSTRUMENTS
from ._optics import moffat

__all__ = ["Instrument", "Observation"]


@dataclass
class Observation:
    """
    A batch of observed scenes, in flux per input pixel.

    Attributes
    ----------
    lr, sigma : `~torch.Tensor`
        Noisy images and the standard deviation of their noise,
        shape ``(batch, m, m)``.
    clean : `~torch.Tensor`
        The same images without noise.
    hr : `~torch.Tensor`
        Noise-free truth at the target resolution, ``(batch, scale m, scale m)``.
    sky : `~torch.Tensor`
        Noise of the sky, shape ``(batch,)``.
    electrons : `~torch.Tensor`
        The same in electrons, shape ``(batch,)``.
    snr : `~torch.Tensor`
        Peak of ``clean`` over ``sky``, shape ``(batch,)``.
    transfer : `~torch.Tensor`
        Transfer functions of the optics.
    fwhm : `~torch.Tensor`
        FWHM of the optics in input pixels, shape ``(batch,)``.
    """

    lr: torch.Tensor
    sigma: torch.Tensor
    clean: torch.Tensor
    hr: torch.Tensor
    sky: torch.Tensor
    electrons: torch.Tensor
    snr: torch.Tensor
    transfer: torch.Tensor
    fwhm: torch.Tensor


@dataclass(frozen=True)
class Instrument:
    """
    Ranges of the observing conditions of a survey.

    The noise is given either by ranges of ``snr`` and ``depth``, or, with a
    ``zero_point``, by the sky, the exposure and the detector.

    Parameters
    ----------
    pixel_scale : float
        Side of an input pixel, arcsec.
    seeing : tuple of float
        Range of the FWHM of the optics (Moffat), arcsec.
    beta : tuple of float
        Range of the Moffat exponent, uniform in its reciprocal; large values are
        nearly Gaussian, infinity is.
    ellipticity : float
        Standard deviation of each component of the ellipticity of the PSF.
    snr : tuple of float
        Range of peak signal over sky noise in the observed image, log-uniform.
    depth : tuple of float
        Range of sky noise in electrons per pixel, log-uniform: it sets how much
        the Poisson noise of the sources adds to that of the sky.
    correlated : float
        Share of images whose noise is correlated between pixels, as resampling
        leaves it.
    correlation : tuple of float
        Range of the width (Gaussian sigma, pixels) of the kernel that correlates it.
    name, band : str
        What it is, and through which filter.
    zero_point : float, optional
        AB magnitude that gives one electron a second. None: the noise is that of
        ``snr`` and ``depth``.
    sky_brightness : float
        AB magnitudes per square arcsecond.
    read_noise : float
        Electrons per pixel and exposure.
    exposure_time : float
        Of one exposure, seconds.
    exposures : int
        How many are added.
    gain : float
        Electrons per count of the detector; images are in electrons.
    magnitude : tuple of float
        Range of the AB magnitude that a flux of one has, which is that of the lens
        galaxy in the scenes of `Population`.

    Raises
    ------
    ValueError
        If a number of the noise is impossible.
    """

    pixel_scale: float = 0.168
    seeing: tuple = (0.47, 0.84)
    beta: tuple = (2.5, 40.0)
    ellipticity: float = 0.03
    snr: tuple = (5.0, 500.0)
    depth: tuple = (20.0, 2000.0)
    correlated: float = 0.0
    correlation: tuple = (0.3, 0.8)
    name: str = ""
    band: str = ""
    zero_point: float | None = None
    sky_brightness: float = math.inf
    read_noise: float = 0.0
    exposure_time: float = 1.0
    exposures: int = 1
    gain: float = 1.0
    magnitude: tuple = (18.0, 22.0)

    def __post_init__(self):
        for name in ("pixel_scale", "exposure_time", "exposures", "gain"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"`{name}` must be a positive number, got {getattr(self, name)!r}")
        if not 0 <= self.read_noise < math.inf:
            raise ValueError(f"`read_noise` must be finite and not negative, got {self.read_noise}")
        if self.zero_point is not None and not self.sky_electrons > 0:
            raise ValueError("`sky_brightness` or `read_noise` must give noise, got "
                             f"{self.sky_brightness!r} and {self.read_noise!r}")

    @classmethod
    def named(cls, name):
        """
        An instrument of the table that comes with lenssr.

        Parameters
        ----------
        name : str
            One of ``lenssr.simulate.INSTRUMENTS``.

        Returns
        -------
        instrument : `Instrument`

        Raises
        ------
        ValueError
            If there is none of that name; the known ones are listed.
        """
        if name not in INSTRUMENTS:
            raise ValueError(f"`instrument` must be one of {', '.join(INSTRUMENTS)}, got {name!r}")
        return cls(name=name, **INSTRUMENT_TABLE[name])

    @property
    def sky_electrons(self):
        """Noise of a pixel of empty sky in electrons; needs a ``zero_point``."""
        time = self.exposures * self.exposure_time
        sky = 10 ** (0.4 * (self.zero_point - self.sky_brightness)) * self.pixel_scale**2 * time
        return math.sqrt(sky + self.exposures * self.read_noise**2)

    def observe(self, optics, scenes, points, generator):
        """
        Observe a batch under conditions drawn from the ranges.

        Parameters
        ----------
        optics : `Optics`
            Grids and transforms.
        scenes, points : `~torch.Tensor`
            As `Optics.transform` takes them.
        generator : `~torch.Generator`
            Source of randomness.

        Returns
        -------
        observation : `Observation`
            Images, noise and truth.
        """
        batch, device = scenes.shape[0], optics.device

        def uniform(low, high):
            return low + (high - low) * torch.rand(batch, generator=generator, device=device)

        def log_uniform(low, high):
            return torch.exp(uniform(*torch.tensor([low, high]).log().tolist()))

        def normal(*shape):
            return torch.randn(*shape, generator=generator, device=device)

        fine_pixel = self.pixel_scale / optics.bin
        fwhm = uniform(*self.seeing) / fine_pixel
        e1, e2 = (self.ellipticity * normal(batch).clamp(-3, 3) for _ in range(2))
        transfer = optics.psf_transfer(
            moffat(optics.n, fwhm, 1 / uniform(*(1 / b for b in self.beta)), e1, e2, device))
        spectrum = optics.transform(scenes, points)
        clean, hr = optics.blurred(spectrum, transfer), optics.sharp(spectrum)

        peak = clean.abs().amax(dim=(1, 2))
        if self.zero_point is None:
            snr = log_uniform(*self.snr)
            sky = torch.where(peak > 0, peak / snr, torch.ones_like(peak))
            depth = log_uniform(*self.depth)
        else:
            time = self.exposures * self.exposure_time
            electrons = time * 10 ** (0.4 * (self.zero_point - uniform(*self.magnitude)))
            depth = torch.full_like(electrons, self.sky_electrons)
            sky = depth / electrons
            snr = peak / sky
        # With n electrons of noise from the sky, a signal of r times that noise adds a
        # variance of r n electrons to n**2.
        ratio = clean.clamp(min=0) / sky.reshape(-1, 1, 1)
        sigma = sky.reshape(-1, 1, 1) * torch.sqrt(1 + ratio / depth.reshape(-1, 1, 1))
        width = torch.where(uniform(0, 1) < self.correlated, uniform(*self.correlation), 0.0)
        noise = correlate(normal(*clean.shape), width)
        snr = torch.where(peak > 0, snr, torch.zeros_like(snr))
        return Observation(clean + sigma * noise, sigma, clean, hr, sky, depth, snr,
                           transfer, fwhm / optics.bin)


def correlate(white, width):
    """White noise ``(batch, m, m)`` made correlated by a Gaussian, variance kept."""
    fy = torch.fft.fftfreq(white.shape[-2], device=white.device).reshape(1, -1, 1)
    fx = torch.fft.rfftfreq(white.shape[-1], device=white.device).reshape(1, 1, -1)
    transfer = torch.exp(-2 * (torch.pi * width.reshape(-1, 1, 1)) ** 2 * (fx**2 + fy**2))
    kernel = torch.fft.irfft2(transfer, s=white.shape[-2:])
    power = (kernel**2).sum(dim=(-2, -1), keepdim=True)
    return torch.fft.irfft2(torch.fft.rfft2(white) * transfer, s=white.shape[-2:]) / power.sqrt()
