"""
Named telescopes and cameras: constants, each with its source.

They are kept here because those of other packages change between releases. The FWHM of a
survey on the ground is its median, spread by a fifth to either side, and its profile is a
Moffat with exponents from 2.5 to that of turbulence (Trujillo et al., 2001MNRAS.328..977T); that
of a space telescope is taken as a Gaussian, which its diffraction pattern is not.
"""

import math

__all__ = ["INSTRUMENT_TABLE", "INSTRUMENTS"]


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
