"""Pairs that are made for one purpose: galaxies, stars, blank skies, twins, and lenses."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize

from lenssr.evaluate._fidelity.samples import Sample
from lenssr.image import pixel_scale
from lenssr.simulate import (
    GivenSeries,
    Instrument,
    Population,
    SceneModel,
    draw_model,
    find_preset,
    kernel_neighbour_correlation,
)

__all__ = ["LAGS", "Site", "blanks", "find_site", "galaxies", "lens_population", "lenses",
           "stars"]

GALAXY_SNR = (5.0, 500.0)  # peak signal over the noise of the sky
LENS_SNR = (20.0, 200.0)
STAR_SNR = 200.0
DEPTH = (1000.0, 1000.0)   # electrons of the noise of the sky
STARS, SPACING = 4, 14     # along a side of a field, and input pixels between them
WIDEST = 0.3               # of the side of an image that an Einstein radius may be
BLANK = 50                 # input pixels along a side of an empty frame
LAGS = {"white": 0.0, "drizzled": 0.25, "resampled": 0.7}
"""Correlation of the noise of neighbouring pixels: none, of coadds from space, and the ground."""


@dataclass(frozen=True)
class Site:
    """Who observes what in the scenes that are made."""

    instrument: Instrument
    population: Population
    size: int
    scale: int

    def observe(self, scenes, seed, size=None, instrument=None):
        """The `GivenSeries` of some scenes."""
        return GivenSeries(scenes, instrument or self.instrument, size or self.size,
                           scale=self.scale, seed=seed)


def find_site(experiment, psf=None):
    """The `Site` of an `Experiment`."""
    if experiment.preset is not None:
        preset = find_preset(experiment.preset)
        return Site(_plain(preset.instrument), preset.population, preset.size, experiment.scale)
    pair = next(iter(experiment.test()))
    instrument = pair.truth.get("instrument")
    if instrument is None:
        kernel = Sample(pair, psf=psf).ready.plane.psf
        step = None if pair.lr.wcs is None else pixel_scale(pair.lr.wcs, pair.lr.shape)
        if kernel is None or step is None:
            raise ValueError("the pairs have no PSF or no pixel scale to simulate scenes with")
        instrument = Instrument(pixel_scale=step.to_value("arcsec"), kernels=(kernel,))
    return Site(_plain(instrument), Population(), min(pair.lr.shape), experiment.scale)


def _plain(instrument):
    """The instrument without what is of a single image, noise in units of the signal."""
    return replace(instrument, zero_point=None, snr=LENS_SNR, depth=DEPTH, correlated=0.0,
                   skies=None, pedestal=(0.0, 0.0), defects=None, noiseless=False)


def _named(pairs, name, **facts):
    """Groups of one pair each, which say what they are."""
    for pair in pairs:
        pair.truth |= {"fidelity": name, **facts}
        yield [pair]


def galaxies(site, n, seed):
    """Single galaxies of all ellipticities and signal to noise ratios."""
    population = replace(site.population, kinds=(0, 0, 0, 1, 0, 0), neighbours=0.0,
                         lens_light=1.0, ellipticity=0.15, mean_ellipticity=(0.0, 0.0))
    yield from _named(site.observe(
        [draw_model(population, seed, k) for k in range(n)], seed,
        instrument=replace(site.instrument, snr=GALAXY_SNR)), "galaxies")


def stars(site, n, seed):
    """Fields of sixteen bright stars, one for each ten of ``n``."""
    size, pixel = STARS * SPACING + 4, site.instrument.pixel_scale
    axis = (np.arange(STARS) - (STARS - 1) / 2) * SPACING
    places = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    rng = np.random.default_rng(seed)
    fields = [places + rng.uniform(-0.5, 0.5, places.shape) for _ in range(-(-n // 10))]
    scenes = [SceneModel("field", points=[(x, y, 1.0) for x, y in pixel * field])
              for field in fields]
    series = site.observe(scenes, seed, size, replace(site.instrument, snr=2 * (STAR_SNR,)))
    middle = (size * site.scale - 1) / 2
    for field, pair in zip(fields, series):
        pair.truth |= {"fidelity": "stars", "places": middle + site.scale * field}
        yield [pair]


def blanks(site, n, seed):
    """Empty frames, ``n`` of white noise, and a quarter as many of each other of the `LAGS`."""
    for name, lag in LAGS.items():
        instrument = replace(site.instrument, correlated=float(lag > 0),
                             correlation=2 * (_width(lag),))
        count = -(-n // 4) if lag else n
        yield from _named(site.observe([SceneModel("empty")] * count, seed, BLANK, instrument),
                          name, lag=lag)


def _width(lag):
    """Width of the Gaussian through which noise has this correlation between neighbours."""
    import torch

    if not lag:
        return 0.0

    def excess(width):
        width = torch.tensor([width], dtype=torch.float64)
        return kernel_neighbour_correlation(width, 256).item() - lag

    return optimize.brentq(excess, 0.05, 5.0)


def lens_population(site):
    """Smooth lenses without their light, arcs alone, that fit into the image."""
    most = WIDEST * site.size * site.instrument.pixel_scale
    low, high = site.population.theta_e
    return replace(site.population, kinds=(1, 0, 0, 0, 0, 0), mass_model="SIE", lens_light=0.0,
                   neighbours=0.0, clumpy=0.0, real=0.0,
                   theta_e=(min(low, most / 2), min(high, most)))


def lenses(site, n, seed):
    """Isothermal lenses before a Sersic source, one for each five of ``n``."""
    population = lens_population(site)
    scenes = [draw_model(population, seed, k) for k in range(-(-n // 5))]
    yield from _named(site.observe(scenes, seed), "lenses")
