"""Named skies: who observes what, at which size, with which substructure."""

import difflib
from dataclasses import dataclass, field, replace

from lenssr.simulate._instrument import Instrument
from lenssr.simulate._population import Population
from lenssr.simulate._substructure import CLASS_PRIORS
from lenssr.simulate._substructure_priors import Subhalos, Vortex


@dataclass(frozen=True)
class Preset:
    """What a series of pairs is drawn from."""

    population: Population
    instrument: Instrument
    size: int = 48
    substructure: dict = field(default_factory=lambda: CLASS_PRIORS)
    target_noise: float = 0.0


# Lenses of ML4SCI's DeepLenseSim: an isothermal ellipsoid of a fixed velocity dispersion in the
# middle of the field, a round exponential source in a box around it, and no light of the lens.
# Its luminosity distances are not repeated here.
_DEEPLENSE = Population(
    kinds=(1, 0, 0, 0, 0, 0), mass_model="SIE", sigma_v=(260, 260), center=0.0, ellipticity=0.0,
    mean_ellipticity=(0.1, 0.0), shear=0.0, mean_shear=(0.05, 0.0), source_radius=(0.25, 0.25),
    source_index=(1, 1), source_box=0.35, clumpy=0.0, lens_light=0.0, neighbours=0.0)

# What its sets really hold (their documentation says -1.9 and a mean): always 25 point masses of
# dN/dm ~ m^-0.9, uniform in radius.
_PUBLIC = {**CLASS_PRIORS, "cdm": Subhalos(slope=-0.9, counts="fixed", positions="radius"),
           "wdm": Subhalos(slope=-0.9, positions="radius", half_mode_mass=5e8), "axion": Vortex()}


def _gaussian(pixel_scale, fwhm, **more):
    return Instrument(pixel_scale=pixel_scale, seeing=(fwhm, fwhm), beta=(float("inf"),) * 2,
                      ellipticity=0.0, **more)


# Model I: 150 pixels of 0.05 arcsec, a Gaussian PSF of 0.087 arcsec, peak signal to noise of 22.
_MODEL_1 = _gaussian(0.1, 0.087, snr=(22, 22), depth=(100, 100))

# Truncated halos that hold half a per cent of the mass in the ring, about what lenses show (Vegetti
# et al., 2014MNRAS.442.2017V: 0.0076 +0.0208 -0.0052); none below 1e7 solar masses, which no image
# shows and which are ten times as many.
_HALOS = dict(mass_fraction=0.005, mass_range=(1e7, 1e10), profile="tnfw")
_PHYSICAL = {**CLASS_PRIORS, "cdm": Subhalos(**_HALOS), "wdm": Subhalos(**_HALOS, half_mode_mass=5e8)}

# Varied lenses with arcs, in whose images a class of dark matter has to be found.
_VARIED = replace(_DEEPLENSE, sigma_v=(230, 290), ellipticity=0.1, mean_ellipticity=(0, 0),
                  shear=0.03, mean_shear=(0, 0), source_radius=(0.15, 0.35), center=0.1)

# Model II: Euclid's pixels of 0.101 arcsec in the target, 64 of them, Euclid's PSF before both.
_MODEL_2 = _gaussian(0.202, 0.16, snr=(20, 200), depth=(50, 500))


def _observed():
    """Real galaxies behind lenses, seen from the ground through real PSFs, on real skies."""
    from lenssr.data import measured_psfs, sky_stamps

    psfs = measured_psfs("HSC")
    return Preset(
        Population(kinds=(1, 0, 0, 0, 0, 0), real=1.0, half_width=8.0, theta_e=(0.7, 3.0),
                   source_radius=(0.15, 0.6), arc_to_lens=(0.1, 2.0), lens_light=0.7,
                   neighbours=0.2),
        Instrument(name="DES-like", pixel_scale=0.263, snr=(10, 200), depth=(50, 500),
                   kernels=tuple(psf.kernel for psf in psfs), kernel_scale=psfs[0].pixel_scale,
                   skies=sky_stamps("i")[0], pedestal=(-3.0, 30.0)),
        size=64, target_noise=0.02)


_PRESETS = {
    # Subaru HSC Wide: 0.168 arcsec pixels, seeing of 0.5-0.85 arcsec (2018PASJ...70S...4A).
    "hsc-hst": Preset(Population(), Instrument()),
    # A telescope is its PSF and its noise in pixels; so this is all of them: optics of 1.2 to 6
    # pixels, resampled or not, and lenses that are as large in pixels as Euclid's and as DES's.
    "any-telescope": Preset(
        Population(theta_e=(0.4, 3.0), source_radius=(0.05, 0.8), lens_radius=(0.2, 2.0),
                   real=0.25, residuals=0.7),
        Instrument(seeing=(0.2, 1.0), beta=(2.2, 60.0), ellipticity=0.06, snr=(3, 1000),
                   p_correlated_noise=0.4, correlation=(0.3, 1.0))),
    "deeplense-1": Preset(_DEEPLENSE, _MODEL_1, 75, _PUBLIC),
    "deeplense-2": Preset(_DEEPLENSE, _MODEL_2, 32, _PUBLIC),
    "deeplense-clean": Preset(_DEEPLENSE, replace(_MODEL_1, noiseless=True), 75, _PUBLIC),
    "deeplense-noisy": Preset(_DEEPLENSE, _MODEL_1, 75, _PUBLIC, target_noise=0.03),
    "classification": Preset(_VARIED, _MODEL_2, 32, _PUBLIC),
    # The same, with the mass of the substructure on top of the lens, as the public sets have it.
    "classification-unmatched": Preset(replace(_VARIED, conserve_mass=False), _MODEL_2, 32, _PUBLIC),
    "classification-physical": Preset(_VARIED, _MODEL_2, 32, _PHYSICAL),
    "observed-like": _observed,
    # Nothing but lensed galaxies, for generators of arcs.
    "arcs": Preset(Population(kinds=(1, 0, 0, 0, 0, 0), lens_light=0.0, neighbours=0.0),
                   Instrument()),
}

PRESETS = tuple(_PRESETS)
"""Names of the presets that are known."""


def find_preset(name):
    """The `Preset` of a name."""
    if not isinstance(name, str) or name not in _PRESETS:
        near = difflib.get_close_matches(str(name), PRESETS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"`preset` must be one of {', '.join(PRESETS)}, got {name!r}{hint}")
    preset_found = _PRESETS[name]
    return preset_found() if callable(preset_found) else preset_found
