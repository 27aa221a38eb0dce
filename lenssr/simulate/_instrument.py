"""Telescopes: pixels, seeing, noise and defects, and the constants of those that are known."""

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from lenssr.simulate._defects import Defects
from lenssr.simulate._instruments import INSTRUMENT_TABLE, INSTRUMENTS

__all__ = ["Instrument"]

WINGS = 8  # input pixels around an image from which a Moffat profile brings light


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
        Range of the FWHM of the optics (Moffat), arcsec. Its wings fade between 12 and 15 input
        pixels from the centre, where the PSF that images come with ends.
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
    kernels : sequence of array, optional
        Measured PSFs in place of the Moffat profile, one drawn for each image: effective
        ones (optics and pixel response), odd, on pixels of ``kernel_scale``. They are
        centred, and carried to the pixel of this instrument.
    kernel_scale : float, optional
        Side of the pixels of ``kernels``, arcsec; that of the image by default.
    skies : array, optional
        Real skies ``(k, ny, nx)``, mean zero and noise one, cut and turned at random in
        place of the simulated noise of the sky.
    pedestal : tuple of float
        Range of a constant added to the observed image, in units of the sky's noise.
    defects : `Defects`, optional
        Gaps, cosmic rays and saturation of the detector; none by default.
    noiseless : bool
        Leave the noise out; the images have no uncertainty then.

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
    kernels: tuple | None = dataclasses.field(default=None, compare=False, repr=False)
    kernel_scale: float | None = None
    skies: object = dataclasses.field(default=None, compare=False, repr=False)
    pedestal: tuple = (0.0, 0.0)
    defects: Defects | None = None
    noiseless: bool = False

    def __post_init__(self):
        for name in ("pixel_scale", "exposure_time", "exposures", "gain"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"`{name}` must be a positive number, got {getattr(self, name)!r}")
        if not 0 <= self.read_noise < math.inf:
            raise ValueError(f"`read_noise` must be finite and not negative, got {self.read_noise}")
        if self.zero_point is not None and not self.sky_electrons > 0:
            raise ValueError("`sky_brightness` or `read_noise` must give noise, got "
                             f"{self.sky_brightness!r} and {self.read_noise!r}")
        for name in ("seeing", "snr", "depth", "correlation", "magnitude", "pedestal"):
            low, high = getattr(self, name)
            positive = name in ("seeing", "snr", "depth")
            if not (-math.inf < low <= high < math.inf and (low > 0 or not positive)):
                raise ValueError(f"`{name}` must be two {'positive ' * positive}numbers, the lower "
                                 f"one first, got {getattr(self, name)!r}")
        if not 0 <= self.correlated <= 1:
            raise ValueError(f"`correlated` must be from 0 to 1, got {self.correlated!r}")
        if self.kernels is not None:
            if not len(self.kernels) or any(
                    np.ndim(k) != 2 or not all(n % 2 for n in np.shape(k)) for k in self.kernels):
                raise ValueError("`kernels` must be arrays of two dimensions with odd sides, got "
                                 f"shapes {[np.shape(k) for k in self.kernels]}")
            if self.kernel_scale is None:
                object.__setattr__(self, "kernel_scale", self.pixel_scale)
        if self.skies is not None and np.ndim(self.skies) != 3:
            raise ValueError(f"`skies` must have three dimensions, got {np.ndim(self.skies)}")

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

    @property
    def margin(self):
        """Input pixels around an image from which light reaches into it."""
        if self.kernels is not None or not math.isinf(self.beta[0]):
            return WINGS
        # A Gaussian: 1e-6 of its light is further away, or of that of the target PSF.
        return max(2, math.ceil(2.4 * self.seeing[1] / self.pixel_scale))

    def as_dict(self):
        """The ranges as plain numbers, for the manifest of a catalogue."""
        tree = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)
                if f.name not in ("kernels", "skies")}
        if self.defects is not None:
            tree["defects"] = dataclasses.asdict(self.defects)
        return {k: str(v) if v in (math.inf, (math.inf, math.inf)) else v
                for k, v in tree.items()}
