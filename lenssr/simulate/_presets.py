"""Presets: a population, an instrument, an image size and priors of substructure by name."""

from dataclasses import dataclass, field, replace

from lenssr._validation import check_name
from lenssr.simulate._instrument import Instrument
from lenssr.simulate._population import Population
from lenssr.simulate._substructure import CLASS_PRIORS
from lenssr.simulate._substructure_priors import Subhalos, Vortex


@dataclass(frozen=True)
class Preset:
    """
    Configuration of a series of pairs.

    ``size`` is the side of the observed image in pixels, ``substructure`` has the priors by class,
    and ``target_noise`` is the noise of the target as a fraction of its peak.
    """

    population: Population
    instrument: Instrument
    size: int = 48
    substructure: dict = field(default_factory=lambda: CLASS_PRIORS)
    target_noise: float = 0.0


def _gaussian(pixel_scale, fwhm, **noise):
    return Instrument(pixel_scale=pixel_scale, seeing=(fwhm, fwhm), beta=(float("inf"),) * 2,
                      ellipticity=0.0, **noise)


_LENSES_ONLY = (1, 0, 0, 0, 0, 0)  # scene fractions

# Lenses of ML4SCI's DeepLenseSim: an isothermal ellipsoid of a fixed velocity dispersion at the
# centre of the field, a round exponential source in a box around it, and no lens light. The
# luminosity distances of DeepLenseSim are not reproduced.
_DEEPLENSE = Population(
    scene_fractions=_LENSES_ONLY, mass_model="SIE", sigma_v=(260, 260), center=0.0,
    ellipticity=0.0, mean_ellipticity=(0.1, 0.0), shear=0.0, mean_shear=(0.05, 0.0),
    source_radius=(0.25, 0.25), source_index=(1, 1), source_box=0.35, clumpy=0.0, lens_light=0.0,
    neighbours=0.0)

# Content of the public DeepLense sets (their documentation states a slope of -1.9 and a mean
# number): always 25 point masses of dN/dm ~ m^-0.9, uniform in radius.
_DEEPLENSE_PRIORS = {**CLASS_PRIORS,
                     "cdm": Subhalos(slope=-0.9, counts="fixed", positions="radius"),
                     "wdm": Subhalos(slope=-0.9, positions="radius", half_mode_mass=5e8),
                     "axion": Vortex()}

# DeepLense model I: 150 pixels of 0.05 arcsec, a Gaussian PSF of 0.087 arcsec, peak S/N of 22.
_MODEL_1 = _gaussian(0.1, 0.087, snr=(22, 22), depth=(100, 100))

# DeepLense model II: 64 target pixels of Euclid VIS, 0.101 arcsec, and the PSF of Euclid VIS.
_MODEL_2 = _gaussian(0.202, 0.16, snr=(20, 200), depth=(50, 500))

# Truncated halos with half a per cent of the mass in the ring, as observed (Vegetti et al.,
# 2014MNRAS.442.2017V: 0.0076 +0.0208 -0.0052). Halos below 1e7 solar masses are left out: no
# image shows them, and they are ten times as many.
_HALOS = dict(mass_fraction=0.005, mass_range=(1e7, 1e10), profile="tnfw")
_PHYSICAL_PRIORS = {**CLASS_PRIORS, "cdm": Subhalos(**_HALOS),
                    "wdm": Subhalos(**_HALOS, half_mode_mass=5e8)}

# Varied lenses with arcs, for the classification of dark matter.
_VARIED = replace(_DEEPLENSE, sigma_v=(230, 290), ellipticity=0.1, mean_ellipticity=(0, 0),
                  shear=0.03, mean_shear=(0, 0), source_radius=(0.15, 0.35), center=0.1)


def _observed():
    """Return a preset of real galaxies behind lenses, with measured PSFs and real skies."""
    from lenssr.data import measured_psfs, sky_stamps

    psfs = measured_psfs("HSC")
    return Preset(
        Population(scene_fractions=_LENSES_ONLY, real_sources=1.0, half_width=8.0,
                   theta_e=(0.7, 3.0), source_radius=(0.15, 0.6), arc_to_lens=(0.1, 2.0),
                   lens_light=0.7, neighbours=0.2),
        Instrument(name="DES-like", pixel_scale=0.263, snr=(10, 200), depth=(50, 500),
                   kernels=tuple(psf.kernel for psf in psfs), kernel_scale=psfs[0].pixel_scale,
                   skies=sky_stamps("i")[0], pedestal=(-3.0, 30.0)),
        size=64, target_noise=0.02)


_PRESETS = {
    # Subaru HSC Wide: 0.168 arcsec pixels, seeing of 0.5-0.85 arcsec (2018PASJ...70S...4A).
    "hsc-hst": Preset(Population(), Instrument()),
    # A network needs the PSF and the noise of a telescope in pixels only. These ranges cover all
    # telescopes: PSFs of 1.2 to 6 pixels, resampled or not, and lenses as large in pixels as in
    # images of Euclid and of DES.
    "any-telescope": Preset(
        Population(theta_e=(0.4, 3.0), source_radius=(0.05, 0.8), lens_radius=(0.2, 2.0),
                   real_sources=0.25, subtraction_residuals=0.7),
        Instrument(seeing=(0.2, 1.0), beta=(2.2, 60.0), ellipticity=0.06, snr=(3, 1000),
                   p_correlated_noise=0.4, kernel_width=(0.3, 1.0))),
    "deeplense-1": Preset(_DEEPLENSE, _MODEL_1, 75, _DEEPLENSE_PRIORS),
    "deeplense-2": Preset(_DEEPLENSE, _MODEL_2, 32, _DEEPLENSE_PRIORS),
    "deeplense-clean": Preset(_DEEPLENSE, replace(_MODEL_1, noiseless=True), 75, _DEEPLENSE_PRIORS),
    "deeplense-noisy": Preset(_DEEPLENSE, _MODEL_1, 75, _DEEPLENSE_PRIORS, target_noise=0.03),
    "classification": Preset(_VARIED, _MODEL_2, 32, _DEEPLENSE_PRIORS),
    # The mass of the substructure is added to the lens, as in the public sets.
    "classification-unmatched": Preset(replace(_VARIED, conserve_mass=False), _MODEL_2, 32,
                                       _DEEPLENSE_PRIORS),
    "classification-physical": Preset(_VARIED, _MODEL_2, 32, _PHYSICAL_PRIORS),
    "observed-like": _observed,
    # Lensed galaxies only, for generators of arcs.
    "arcs": Preset(Population(scene_fractions=_LENSES_ONLY, lens_light=0.0, neighbours=0.0),
                   Instrument()),
}

PRESETS = tuple(_PRESETS)
"""Names of the presets."""


def find_preset(name):
    """Return the `Preset` of a name; `ValueError` that lists the names if it is unknown."""
    preset = _PRESETS[check_name("preset", name, PRESETS)]
    return preset() if callable(preset) else preset
