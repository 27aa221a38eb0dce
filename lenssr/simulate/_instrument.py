"""Telescopes: pixels, seeing, noise and defects, and the constants of those that are known."""

import dataclasses
import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Defects:
    """
    Detector's edge cases in observed images.

    The pixels that they spoil are in the image's mask. Cosmic rays that a pipeline has
    missed are not: their share is ``missed``.

    Parameters
    ----------
    gaps : float
        Share of images with a gap between detectors: one to three columns or rows that are
        NaN.
    cosmic_rays : float
        Mean number of cosmic rays in an image, straight tracks of one to eight pixels.
    missed : float
        Share of cosmic rays that is not in the mask.
    saturation : float, optional
        Level above which pixels are cut off, and bleed one pixel up and down, in units of
        the sky's noise.

    Raises
    ------
    ValueError
        If a number is out of its range.
    """

    gaps: float = 0.1
    cosmic_rays: float = 0.3
    missed: float = 0.0
    saturation: float | None = None

    def __post_init__(self):
        for name in ("gaps", "missed"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"`{name}` must be from 0 to 1, got {getattr(self, name)!r}")
        if not 0 <= self.cosmic_rays < np.inf:
            raise ValueError(f"`cosmic_rays` must not be negative, got {self.cosmic_rays!r}")
        if self.saturation is not None and not self.saturation > 0:
            raise ValueError(f"`saturation` must be positive, got {self.saturation!r}")

    def apply(self, image, sky, rng):
        """
        Spoil an image, in place.

        Parameters
        ----------
        image : `~numpy.ndarray`
            The image, shape ``(ny, nx)``.
        sky : float
            Noise of its sky, in the same units.
        rng : `~numpy.random.Generator`
            Source of randomness.

        Returns
        -------
        mask : `~numpy.ndarray`
            True where it is known to be spoilt.
        """
        mask = np.zeros(image.shape, bool)
        if self.saturation is not None:
            full = image > self.saturation * sky
            image[full] = self.saturation * sky
            bled = full.copy()
            bled[1:] |= full[:-1]
            bled[:-1] |= full[1:]
            image[bled & ~full] = self.saturation * sky
            mask |= bled
        for _ in range(rng.poisson(self.cosmic_rays)):
            hit = self._track(image.shape, rng)
            image[hit] += sky * np.exp(rng.uniform(np.log(10), np.log(1000)))
            if rng.random() >= self.missed:
                mask[hit] = True
        if rng.random() < self.gaps:
            axis, width = rng.integers(2), rng.integers(1, 4)
            first = rng.integers(image.shape[axis])
            gap = [slice(None), slice(None)]
            gap[axis] = slice(first, first + width)
            image[tuple(gap)] = np.nan
            mask[tuple(gap)] = True
        return mask

    @staticmethod
    def _track(shape, rng):
        y, x = (rng.uniform(0, n) for n in shape)
        angle, steps = rng.uniform(0, np.pi), np.arange(0, rng.uniform(0.5, 8), 0.5)
        rows, columns = (np.floor(c + steps * f(angle)).astype(int)
                         for c, f in ((y, np.sin), (x, np.cos)))
        inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
        hit = np.zeros(shape, bool)
        hit[rows[inside], columns[inside]] = True
        return hit


def _ground(fwhm):
    return dict(seeing=(0.8 * fwhm, 1.2 * fwhm), beta=(2.5, 4.765), ellipticity=0.03)


def _space(fwhm):
    return dict(seeing=(fwhm, fwhm), beta=(math.inf, math.inf), ellipticity=0.01)


# Zero points: AB magnitude of one electron a second; sky: AB magnitudes per square arcsecond.
INSTRUMENT_TABLE = {
    # Wide survey: seeing and exposure of Aihara et al. (2022PASJ...74..247A), table 1; gain and
    # read noise: Subaru's "HSC instrument parameters"; zero point: survey codex of LSST DESC
    # (galcheat 1.1.3), from the filters' curves at an airmass of 1.2; sky: that of Suprime-Cam's i'
    # three days from new moon (Subaru's "Suprime-Cam exposure time"), as in galcheat.
    "HSC": dict(band="i", pixel_scale=0.168, **_ground(0.61), zero_point=28.61,
                sky_brightness=19.7, read_noise=4.5, exposure_time=200.0, exposures=6, gain=3.0),
    # Six years of the survey: Abbott et al. (2021, doi:10.3847/1538-4365/ac00b3) (seeing, and the
    # depth that these exposures give); gain and read noise: NOIRLab's "DECam, typical values"; zero
    # point, sky and exposures as in lenstronomy 1.14.
    "DES": dict(band="i", pixel_scale=0.263, **_ground(0.88), zero_point=26.75,
                sky_brightness=19.89, read_noise=7.0, exposure_time=90.0, exposures=10, gain=4.0),
    # Kuijken et al. (2019A&A...625A...2K), table 1 (seeing, exposure); sky of Paranal: Patat
    # (2003A&A...400.1183P), R = 20.9 of Vega; read noise and gain: Astro-WISE's pages on OmegaCAM.
    # The zero point is what then gives the survey's mean depth (25.02 at 5 sigma in 2 arcsec).
    "KiDS": dict(band="r", pixel_scale=0.214, **_ground(0.70), zero_point=25.54,
                 sky_brightness=21.1, read_noise=5.0, exposure_time=360.0, exposures=5, gain=2.5),
    # Ten years, two exposures a visit: Ivezic et al. (2019ApJ...873..111I), table 2 (seeing in
    # the zenith, sky); zero point, read noise (an upper limit), gain and the number of exposures
    # (230 visits; their table 1 has 184, 0.12 magnitudes less) as in lenstronomy 1.14.
    "LSST": dict(band="i", pixel_scale=0.2, **_ground(0.71), zero_point=27.79,
                 sky_brightness=20.48, read_noise=10.0, exposure_time=15.0, exposures=460,
                 gain=2.3),
    # Wide survey: Mellier et al. (arXiv:2405.13491); FWHM: Cuillandre et al. (2024,
    # doi:10.1051/0004-6361/202450803); read noise and gain from before the launch (in flight 4.4
    # and 3.4); zero point and sky as in lenstronomy 1.14, which takes them from the former two.
    "Euclid VIS": dict(band="VIS", pixel_scale=0.101, **_space(0.16), zero_point=25.72,
                       sky_brightness=22.3, read_noise=4.2, exposure_time=566.0, exposures=4,
                       gain=3.1),
    # COSMOS: Koekemoer et al. (2007ApJS..172..196K) (exposure, gain, FWHM), on the camera's own
    # pixels of 0.05 arcsec; zero point and read noise: Sirianni et al. (2005PASP..117.1049S); sky:
    # galcheat 1.1.3.
    "HST ACS": dict(band="F814W", pixel_scale=0.05, **_space(0.095), zero_point=25.94,
                    sky_brightness=22.0, read_noise=5.0, exposure_time=507.0, exposures=4,
                    gain=1.0),
    # Two orbits, drizzled to 0.08 arcsec; zero point: Kalirai et al. (WFC3 ISR 2009-30); FWHM:
    # Windhorst et al. (2011ApJS..193...27W); the others as in lenstronomy 1.14.
    "HST WFC3": dict(band="F160W", pixel_scale=0.08, **_space(0.15), zero_point=25.946,
                     sky_brightness=22.3, read_noise=4.0, exposure_time=5400.0, exposures=1,
                     gain=2.5),
    # COSMOS-Web: Casey et al. (2023ApJ...954...31C). From JWST's user documentation: gain, pixel
    # and FWHM ("NIRCam Detector Performance", "NIRCam Point Spread Functions"); read noise, for one
    # read where that table has 15.77 for the difference of two; zero point ("NIRCam Absolute Flux
    # Calibration and Zeropoints"), PHOTMJSR 2.299 and 2.26e-14 sr a pixel in the mean of the
    # detectors, with that gain: the 28.0 that is often quoted is that of MJy/sr. Sky: 0.2 MJy/sr
    # of zodiacal light (Rigby et al., 2023PASP..135d8002R).
    "JWST NIRCam": dict(band="F150W", pixel_scale=0.031, **_space(0.050), zero_point=27.89,
                        sky_brightness=22.2, read_noise=11.15, exposure_time=257.0, exposures=8,
                        gain=2.05),
    # Medium tier of the high-latitude wide-area survey, as in lenstronomy 1.14: STScI-000825,
    # table 3 (zero point), the instrument's technical pages at GSFC (FWHM, read noise, pixel, sky),
    # the mission's documentation of that survey (exposures), doi:10.3847/1538-4357/aac08b (gain).
    "Roman": dict(band="F129", pixel_scale=0.11, **_space(0.106), zero_point=26.3531,
                  sky_brightness=22.99, read_noise=8.5, exposure_time=107.0, exposures=6,
                  gain=1.0),
}

INSTRUMENTS = tuple(INSTRUMENT_TABLE)
"""Names of the instruments that are known."""


PSF_WING_MARGIN = 8  # input pixels around an image from which a Moffat profile scatters light


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
    p_correlated_noise : float
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
    p_correlated_noise: float = 0.0
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
        if not 0 <= self.p_correlated_noise <= 1:
            raise ValueError(f"`p_correlated_noise` must be from 0 to 1, got {self.p_correlated_noise!r}")
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
            return PSF_WING_MARGIN
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
