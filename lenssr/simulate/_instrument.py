"""Telescopes: pixel scale, PSF, noise and detector defects, and named instruments."""

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from lenssr._validation import check_fraction, check_name, check_positive_number, check_range

MARGIN_PIXELS = 8         # input pixels around an image from which a Moffat profile adds light
GAUSSIAN_MARGIN = 2.4     # FWHM beyond which a Gaussian has 1e-6 of its light
MIN_GAUSSIAN_MARGIN = 2   # input pixels, for the same fraction of the target PSF


@dataclass(frozen=True)
class Defects:
    """
    Detector defects of observed images.

    The mask of an image marks the affected pixels, except for missed cosmic rays.

    Parameters
    ----------
    gaps : float
        Fraction of images with a gap between detectors: one to three columns or rows of NaN;
        default 0.1.
    cosmic_rays : float
        Mean number of cosmic rays in an image, straight tracks of one to eight pixels; default
        0.3.
    missed : float
        Fraction of the cosmic rays that are absent from the mask; default 0.
    saturation : float, optional
        Value in units of the sky noise at which pixels saturate and bleed one pixel up and down.
        By default pixels do not saturate.

    Raises
    ------
    ValueError
        If a number is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from lenssr.simulate import Defects
    >>> image = np.zeros((8, 8))
    >>> mask = Defects(gaps=1.0, cosmic_rays=0.0).apply(image, 1.0, np.random.default_rng(2))
    >>> bool(np.isnan(image[mask]).all())
    True
    """

    gaps: float = 0.1
    cosmic_rays: float = 0.3
    missed: float = 0.0
    saturation: float | None = None

    def __post_init__(self):
        for name in ("gaps", "missed"):
            check_fraction(name, getattr(self, name))
        if not 0 <= self.cosmic_rays < np.inf:
            raise ValueError(f"`cosmic_rays` must not be negative, got {self.cosmic_rays!r}")
        if self.saturation is not None and not self.saturation > 0:
            raise ValueError(f"`saturation` must be positive, got {self.saturation!r}")

    def apply(self, image, sky_rms, rng):
        """
        Add defects to an image, in place.

        Parameters
        ----------
        image : `~numpy.ndarray`
            Image, shape ``(ny, nx)``.
        sky_rms : float
            Sky noise, in the unit of the image.
        rng : `~numpy.random.Generator`
            Source of randomness.

        Returns
        -------
        mask : `~numpy.ndarray`
            True where a defect is known, shape ``(ny, nx)``.
        """
        mask = np.zeros(image.shape, bool)
        if self.saturation is not None:
            saturated = image > self.saturation * sky_rms
            image[saturated] = self.saturation * sky_rms
            bled = saturated.copy()
            bled[1:] |= saturated[:-1]
            bled[:-1] |= saturated[1:]
            image[bled & ~saturated] = self.saturation * sky_rms
            mask |= bled
        for _ in range(rng.poisson(self.cosmic_rays)):
            track = _draw_track(image.shape, rng)
            image[track] += sky_rms * np.exp(rng.uniform(np.log(10), np.log(1000)))
            if rng.random() >= self.missed:
                mask[track] = True
        if rng.random() < self.gaps:
            axis, width = rng.integers(2), rng.integers(1, 4)
            first = rng.integers(image.shape[axis])
            gap = [slice(None), slice(None)]
            gap[axis] = slice(first, first + width)
            image[tuple(gap)] = np.nan
            mask[tuple(gap)] = True
        return mask


def _draw_track(shape, rng):
    """Return a mask of the pixels of a straight track."""
    y, x = (rng.uniform(0, n) for n in shape)
    angle, steps = rng.uniform(0, np.pi), np.arange(0, rng.uniform(0.5, 8), 0.5)
    rows, columns = (np.floor(c + steps * f(angle)).astype(int)
                     for c, f in ((y, np.sin), (x, np.cos)))
    inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
    track = np.zeros(shape, bool)
    track[rows[inside], columns[inside]] = True
    return track


@dataclass(frozen=True)
class Instrument:
    """
    Ranges of the observing conditions of a survey.

    The noise follows either from ``snr`` and ``depth`` or, with a ``zero_point``, from the sky
    brightness, the exposure and the detector.

    Parameters
    ----------
    pixel_scale : float
        Side of an input pixel, arcsec; default 0.168.
    seeing : tuple of float
        Range of the FWHM of the optics (Moffat), arcsec, uniform; default (0.47, 0.84). The wings
        fade between 12 and 15 input pixels from the centre, where the PSF of the images ends.
    beta : tuple of float
        Range of the Moffat exponent, uniform in its reciprocal; infinity is a Gaussian. Default
        (2.5, 40).
    ellipticity : float
        Standard deviation of each component of the ellipticity of the PSF; default 0.03.
    snr : tuple of float
        Range of the peak signal to sky noise of the observed image, log-uniform; default (5, 500).
    depth : tuple of float
        Range of the sky noise in electrons per pixel, log-uniform, which sets the Poisson noise of
        the sources relative to the sky noise; default (20, 2000).
    p_correlated_noise : float
        Fraction of images whose noise is correlated between pixels, as after resampling; default
        0.
    kernel_width : tuple of float
        Range of the width (Gaussian sigma, input pixels) of the kernel that correlates the noise;
        default (0.3, 0.8).
    name, band : str
        Names of the telescope and the filter.
    zero_point : float, optional
        AB magnitude of one electron per second. By default the noise follows from ``snr`` and
        ``depth``.
    sky_brightness : float
        Sky brightness, AB magnitudes per square arcsecond; by default infinite, no sky.
    read_noise : float
        Read noise, electrons per pixel and exposure; default 0.
    exposure_time : float
        Time of one exposure, seconds; default 1.
    exposures : int
        Number of exposures; default 1.
    gain : float
        Electrons per count of the detector; default 1. Images are in electrons.
    magnitude : tuple of float
        Range of the AB magnitude of a flux of one, the flux of the lens galaxy in the scenes of
        `Population`; default (18, 22).
    kernels : sequence of `~numpy.ndarray`, optional
        Measured effective PSFs (optics and pixel response), of odd sides, on pixels of
        ``kernel_scale``. One is drawn for each image, in place of the Moffat profile; it is
        centred and resampled to the pixel of this instrument.
    kernel_scale : float, optional
        Side of the pixels of ``kernels``, arcsec; by default ``pixel_scale``.
    skies : `~numpy.ndarray`, optional
        Real skies of mean zero and noise one, shape ``(k, ny, nx)``, cut and rotated at random, in
        place of the simulated noise of the sky.
    pedestal : tuple of float
        Range of a constant that is added to the observed image, in units of the sky noise; default
        (0, 0).
    defects : `Defects`, optional
        Gaps, cosmic rays and saturation of the detector; by default none.
    noiseless : bool
        Leave the noise out; the images then have no uncertainty. Default false.

    Raises
    ------
    ValueError
        If a number is impossible or an array has the wrong shape.

    Examples
    --------
    >>> from lenssr.simulate import Instrument
    >>> euclid = Instrument.named("Euclid VIS")
    >>> euclid.pixel_scale, round(euclid.sky_electrons, 1)
    (0.101, 24.7)
    """

    pixel_scale: float = 0.168
    seeing: tuple = (0.47, 0.84)
    beta: tuple = (2.5, 40.0)
    ellipticity: float = 0.03
    snr: tuple = (5.0, 500.0)
    depth: tuple = (20.0, 2000.0)
    p_correlated_noise: float = 0.0
    kernel_width: tuple = (0.3, 0.8)
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
            check_positive_number(name, getattr(self, name))
        if not 0 <= self.read_noise < math.inf:
            raise ValueError(f"`read_noise` must be finite and not negative, got {self.read_noise}")
        if self.zero_point is not None and not self.sky_electrons > 0:
            raise ValueError("`sky_brightness` or `read_noise` must give noise, got "
                             f"{self.sky_brightness!r} and {self.read_noise!r}")
        for name in ("seeing", "snr", "depth", "kernel_width", "magnitude", "pedestal"):
            check_range(name, getattr(self, name), positive=name in ("seeing", "snr", "depth"))
        check_fraction("p_correlated_noise", self.p_correlated_noise)
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
        Return an instrument of the table of lenssr.

        Parameters
        ----------
        name : str
            One of ``lenssr.simulate.INSTRUMENTS``.

        Returns
        -------
        instrument : `Instrument`
            Instrument with the constants of the table.

        Raises
        ------
        ValueError
            If the name is unknown; the message lists the known names.
        """
        return cls(name=name, **INSTRUMENT_TABLE[check_name("instrument", name, INSTRUMENTS)])

    @property
    def sky_electrons(self):
        """Sky noise of a pixel in electrons, for instruments with a ``zero_point``."""
        time = self.exposures * self.exposure_time
        sky = 10 ** (0.4 * (self.zero_point - self.sky_brightness)) * self.pixel_scale**2 * time
        return math.sqrt(sky + self.exposures * self.read_noise**2)

    @property
    def margin(self):
        """Margin around an image from which light reaches the image, input pixels."""
        if self.kernels is not None or not math.isinf(self.beta[0]):
            return MARGIN_PIXELS
        return max(MIN_GAUSSIAN_MARGIN,
                   math.ceil(GAUSSIAN_MARGIN * self.seeing[1] / self.pixel_scale))

    def as_dict(self):
        """Return the ranges as plain numbers, without measured PSFs and skies."""
        tree = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)
                if f.name not in ("kernels", "skies")}
        if self.defects is not None:
            tree["defects"] = dataclasses.asdict(self.defects)
        # JSON has no infinity.
        return {k: str(v) if v in (math.inf, (math.inf, math.inf)) else v
                for k, v in tree.items()}


def _ground(fwhm):
    """Return the PSF of a ground-based survey of median FWHM ``fwhm``, spread by 20 per cent."""
    # Moffat exponents from 2.5 to the value of turbulence (Trujillo et al., 2001MNRAS.328..977T).
    return dict(seeing=(0.8 * fwhm, 1.2 * fwhm), beta=(2.5, 4.765), ellipticity=0.03)


def _space(fwhm):
    """Return the PSF of a space telescope, approximated by a Gaussian."""
    return dict(seeing=(fwhm, fwhm), beta=(math.inf, math.inf), ellipticity=0.01)


# The constants are kept here because the values in other packages change between releases.
# Zero points: AB magnitude of one electron per second. Sky: AB magnitudes per square arcsecond.
INSTRUMENT_TABLE = {
    # Wide survey: seeing and exposure of Aihara et al. (2022PASJ...74..247A), table 1; gain and
    # read noise: Subaru's "HSC instrument parameters"; zero point: survey codex of LSST DESC
    # (galcheat 1.1.3), from the filter curves at an airmass of 1.2; sky: Suprime-Cam i' three days
    # from new moon (Subaru's "Suprime-Cam exposure time"), as in galcheat.
    "HSC": dict(band="i", pixel_scale=0.168, **_ground(0.61), zero_point=28.61,
                sky_brightness=19.7, read_noise=4.5, exposure_time=200.0, exposures=6, gain=3.0),
    # Six years of the survey: Abbott et al. (2021, doi:10.3847/1538-4365/ac00b3) (seeing, and a
    # depth that agrees with these exposures); gain and read noise: NOIRLab's "DECam, typical
    # values"; zero point, sky and exposures as in lenstronomy 1.14.
    "DES": dict(band="i", pixel_scale=0.263, **_ground(0.88), zero_point=26.75,
                sky_brightness=19.89, read_noise=7.0, exposure_time=90.0, exposures=10, gain=4.0),
    # Kuijken et al. (2019A&A...625A...2K), table 1 (seeing, exposure); sky of Paranal: Patat
    # (2003A&A...400.1183P), R = 20.9 of Vega; read noise and gain: Astro-WISE's pages on OmegaCAM.
    # The zero point follows from the mean depth of the survey (25.02 at 5 sigma in 2 arcsec).
    "KiDS": dict(band="r", pixel_scale=0.214, **_ground(0.70), zero_point=25.54,
                 sky_brightness=21.1, read_noise=5.0, exposure_time=360.0, exposures=5, gain=2.5),
    # Ten years, two exposures per visit: Ivezic et al. (2019ApJ...873..111I), table 2 (seeing at
    # the zenith, sky); zero point, read noise (an upper limit), gain and the number of exposures
    # (230 visits; their table 1 has 184, 0.12 magnitudes less) as in lenstronomy 1.14.
    "LSST": dict(band="i", pixel_scale=0.2, **_ground(0.71), zero_point=27.79,
                 sky_brightness=20.48, read_noise=10.0, exposure_time=15.0, exposures=460,
                 gain=2.3),
    # Wide survey: Mellier et al. (arXiv:2405.13491); FWHM: Cuillandre et al. (2024,
    # doi:10.1051/0004-6361/202450803); read noise and gain from before the launch (in flight 4.4
    # and 3.4); zero point and sky as in lenstronomy 1.14, from these two papers.
    "Euclid VIS": dict(band="VIS", pixel_scale=0.101, **_space(0.16), zero_point=25.72,
                       sky_brightness=22.3, read_noise=4.2, exposure_time=566.0, exposures=4,
                       gain=3.1),
    # COSMOS: Koekemoer et al. (2007ApJS..172..196K) (exposure, gain, FWHM), on the native pixels
    # of 0.05 arcsec; zero point and read noise: Sirianni et al. (2005PASP..117.1049S); sky:
    # galcheat 1.1.3.
    "HST ACS": dict(band="F814W", pixel_scale=0.05, **_space(0.095), zero_point=25.94,
                    sky_brightness=22.0, read_noise=5.0, exposure_time=507.0, exposures=4,
                    gain=1.0),
    # Two orbits, drizzled to 0.08 arcsec; zero point: Kalirai et al. (WFC3 ISR 2009-30); FWHM:
    # Windhorst et al. (2011ApJS..193...27W); other constants as in lenstronomy 1.14.
    "HST WFC3": dict(band="F160W", pixel_scale=0.08, **_space(0.15), zero_point=25.946,
                     sky_brightness=22.3, read_noise=4.0, exposure_time=5400.0, exposures=1,
                     gain=2.5),
    # COSMOS-Web: Casey et al. (2023ApJ...954...31C). From JWST's user documentation: gain, pixel
    # and FWHM ("NIRCam Detector Performance", "NIRCam Point Spread Functions"); read noise of one
    # read (the table has 15.77 for the difference of two reads); zero point ("NIRCam Absolute Flux
    # Calibration and Zeropoints"), PHOTMJSR 2.299 and 2.26e-14 sr per pixel averaged over the
    # detectors, with this gain; the often quoted 28.0 refers to MJy/sr. Sky: 0.2 MJy/sr of
    # zodiacal light (Rigby et al., 2023PASP..135d8002R).
    "JWST NIRCam": dict(band="F150W", pixel_scale=0.031, **_space(0.050), zero_point=27.89,
                        sky_brightness=22.2, read_noise=11.15, exposure_time=257.0, exposures=8,
                        gain=2.05),
    # Medium tier of the high-latitude wide-area survey, as in lenstronomy 1.14: STScI-000825,
    # table 3 (zero point), the instrument's technical pages at GSFC (FWHM, read noise, pixel, sky),
    # the mission's documentation of the survey (exposures), doi:10.3847/1538-4357/aac08b (gain).
    "Roman": dict(band="F129", pixel_scale=0.11, **_space(0.106), zero_point=26.3531,
                  sky_brightness=22.99, read_noise=8.5, exposure_time=107.0, exposures=6,
                  gain=1.0),
}

INSTRUMENTS = tuple(INSTRUMENT_TABLE)
"""Names of the known instruments."""
