"""Scenes of the fidelity tests, and adaptive moments."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import optimize

from lenssr._forward_model import ForwardModel
from lenssr.evaluate._pairs import prepare_pair
from lenssr.image import FWHM_PER_SIGMA, expand_mask, pixel_scale, sigma_from
from lenssr.simulate import (
    Instrument,
    Population,
    SceneModel,
    SceneSeries,
    draw_model,
    find_preset,
    kernel_neighbour_correlation,
)
from lenssr.uncertainty import sky_level

MAX_MOMENT_STEPS, MOMENT_TOLERANCE = 200, 1e-5  # iterations, and pixels of change at convergence
MAX_ELLIPTICITY = 0.95  # of a galaxy
WEIGHT_BROADENING = 1.5  # square pixels added to the weight: a FWHM below 2 pixels is undersampled


@dataclass(frozen=True)
class Moments:
    """Centre, second moments and flux of an object."""

    centre: np.ndarray
    covariance: np.ndarray

    @property
    def e(self):
        """Components of the `ellipticity`."""
        return ellipticity(self.covariance)

    @property
    def fwhm(self):
        """FWHM in pixels of the circle of equal area."""
        return FWHM_PER_SIGMA * np.linalg.det(self.covariance) ** 0.25


def ellipticity(covariance):
    """
    Compute the ellipticity of second moments, of modulus ``(1 - q) / (1 + q)`` for axis ratio
    ``q``.
    """
    (xx, xy), (_, yy) = covariance
    return np.array([xx - yy, 2 * xy]) / (xx + yy + 2 * np.sqrt(np.linalg.det(covariance)))


def adaptive_moments(image, start, fwhm=4.0, mask=None):
    """
    Moments under an elliptical Gaussian that follows them.

    Unweighted moments of an image with noise have no meaning, since its far pixels have a lever
    without end. With a weight that follows centre and shape of the object until both agree
    (Bernstein & Jarvis, 2002AJ....123..583B; Hirata & Seljak, 2003MNRAS.343..459H, section 2.1)
    they have, and those of an elliptical Gaussian are exact. Here the weight is a little broader
    than the object, which spares well sampled images the sums over too few pixels.
    """
    light = np.array(image, dtype=float)
    if mask is not None:
        light[mask] = 0.0
    y, x = np.indices(light.shape, dtype=float)
    centre, covariance = np.array(start, dtype=float), (fwhm / FWHM_PER_SIGMA) ** 2 * np.eye(2)
    for _ in range(MAX_MOMENT_STEPS):
        dx, dy = x - centre[0], y - centre[1]
        weight = covariance + WEIGHT_BROADENING * np.eye(2)
        (a, b), (_, c) = np.linalg.inv(weight)
        part = light * np.exp(-(a * dx**2 + 2 * b * dx * dy + c * dy**2) / 2)
        total = part.sum()
        if not total > 0:
            return None
        offset = np.array([(part * dx).sum(), (part * dy).sum()]) / total
        xx, xy, yy = ((part * u).sum() / total for u in (dx**2, dx * dy, dy**2))
        moments = np.array([[xx, xy], [xy, yy]]) - np.outer(offset, offset)
        # Flux under the weight and shift of a Gaussian of this covariance.
        both = np.linalg.inv(covariance + weight)
        step = (covariance + weight) @ np.linalg.solve(weight, offset)
        change = 2 * (moments - covariance @ both @ weight)
        centre, covariance = centre + step, covariance + (change + change.T) / 2
        if not _is_valid(centre, covariance, light.shape):
            return None
        if max(np.abs(step).max(), np.abs(change).max()) < MOMENT_TOLERANCE:
            return Moments(centre, covariance)
    return None


def _is_valid(centre, covariance, shape):
    if not (0 <= centre[0] <= shape[1] - 1 and 0 <= centre[1] <= shape[0] - 1):
        return False
    smallest, most = np.linalg.eigvalsh(covariance)
    return (smallest > 0.1 and most < min(shape) ** 2 / 16
            and np.hypot(*ellipticity(covariance)) < MAX_ELLIPTICITY)


class FidelityPair:
    """Pair of a fidelity test with derived quantities."""

    def __init__(self, pair, index=0, number=0, psf=None):
        # A data range of one keeps values in the unit of the target.
        self.pair, self.index, self.number, self.psf = pair, index, number, psf
        self.ready = prepare_pair(pair, psf=psf, assumed_snr=None, data_range=1.0, min_snr=-np.inf)
        if self.ready is None:
            raise ValueError("`pairs` must have a pixel that is not masked in each pair, number "
                             f"{number} has none")
        self.kind = str(pair.truth.get("scene_type", ""))
        self.scale, self.mask, self.truth = self.ready.scale, self.ready.mask, self.ready.best
        self.truth_noise = (self.ready.noise or 0.0) if self.ready.truth is None else 0.0
        plane = self.ready.plane
        self.noise = expand_mask(plane.sigma, self.scale) / self.ready.span
        self.level = sky_level(plane.data, plane.mask, plane.noise) / self.ready.span

    def signal_to_noise(self, where=True):
        r"""Compute the signal-to-noise ratio of the input, :math:`\sqrt{\sum (s / \sigma)^2}`."""
        plane, light = self.ready.plane, np.where(where, self.truth * self.ready.span, 0.0)
        light[self.mask] = 0.0
        if plane.psf is not None:
            observed = ForwardModel(plane.psf, self.scale, plane.shape).forward(light)
        else:
            (ny, nx), s = plane.shape, self.scale
            observed = light.reshape(ny, s, nx, s).mean(axis=(1, 3))
        return float(np.sqrt(np.sum((observed / plane.sigma)[~plane.mask] ** 2)))

    @cached_property
    def snr(self):
        """Signal-to-noise ratio of all light."""
        return self.signal_to_noise()

    @cached_property
    def brightest(self):
        """Position ``x, y`` of the brightest pixel of the truth."""
        light = np.where(self.mask, -np.inf, self.truth)
        return np.array(np.unravel_index(np.argmax(light), light.shape)[::-1], dtype=float)

    @cached_property
    def moments(self):
        """`Moments` of the brightest object of the truth, or `None`."""
        return adaptive_moments(self.truth, self.brightest, mask=self.mask)

    def rng(self):
        """Random generator of this pair, equal for all methods."""
        return np.random.default_rng([self.index, 7])


class RestoredPair:
    """Result of a method for a `FidelityPair`."""

    def __init__(self, sample, result):
        self.sample, self.result = sample, result
        self.image = np.where(sample.mask, sample.truth, np.asarray(result.data, dtype=float))
        nowhere = np.zeros(self.image.shape, dtype=bool)
        self.sigma = sigma_from(result.uncertainty, nowhere, result.unit)[0]

    @property
    def difference(self):
        """Result minus truth."""
        return self.image - self.sample.truth


GALAXY_SNR = (5.0, 500.0)  # peak signal over sky noise
LENS_SNR = (20.0, 200.0)
STAR_SNR = 200.0
SKY_RMS = (1000.0, 1000.0)  # electrons
STARS_PER_SIDE, STAR_SPACING = 4, 14  # stars, and input pixels between them
MAX_RADIUS_FRACTION = 0.3  # Einstein radius over the image side
BLANK_SIDE = 50  # input pixels along a side of a blank image
NOISE_KERNEL_WIDTHS = {"white": 0.0, "drizzled": 0.25, "resampled": 0.7}  # input pixels
"""Correlation of the noise of neighbouring pixels: none, of coadds from space, and the ground."""


@dataclass(frozen=True)
class SceneConfig:
    """Instrument and population of the simulated scenes."""

    instrument: Instrument
    population: Population
    size: int
    scale: int

    def observe(self, scenes, seed, size=None, instrument=None):
        """Return the series of observations of scenes."""
        return SceneSeries(scenes, instrument or self.instrument, size or self.size,
                           scale=self.scale, seed=seed)


def find_scene_config(experiment, psf=None):
    """Return the `SceneConfig` of an `Experiment`."""
    if experiment.preset is not None:
        preset = find_preset(experiment.preset)
        return SceneConfig(_plain(preset.instrument), preset.population, preset.size,
                           experiment.scale)
    pair = next(iter(experiment.test()))
    instrument = pair.truth.get("instrument")
    if instrument is None:
        kernel = FidelityPair(pair, psf=psf).ready.plane.psf
        step = None if pair.lr.wcs is None else pixel_scale(pair.lr.wcs, pair.lr.shape)
        if kernel is None or step is None:
            raise ValueError("the pairs have no PSF or no pixel scale to simulate scenes with")
        instrument = Instrument(pixel_scale=step.to_value("arcsec"), kernels=(kernel,))
    return SceneConfig(_plain(instrument), Population(), min(pair.lr.shape), experiment.scale)


def _plain(instrument):
    """Return the instrument without variations between images."""
    return replace(instrument, zero_point=None, snr=LENS_SNR, depth=SKY_RMS, p_correlated_noise=0.0,
                   skies=None, pedestal=(0.0, 0.0), defects=None, noiseless=False)


def _group_pairs(pairs, name, **fields):
    """Return groups of one pair each, labelled with the test."""
    for pair in pairs:
        pair.truth |= {"fidelity": name, **fields}
        yield [pair]


def galaxies(site, n, seed):
    """Yield single galaxies of all ellipticities and signal-to-noise ratios."""
    population = replace(site.population, scene_fractions=(0, 0, 0, 1, 0, 0), neighbours=0.0,
                         lens_light=1.0, ellipticity=0.15, mean_ellipticity=(0.0, 0.0))
    yield from _group_pairs(site.observe(
        [draw_model(population, seed, k) for k in range(n)], seed,
        instrument=replace(site.instrument, snr=GALAXY_SNR)), "galaxies")


def stars(site, n, seed):
    """Yield fields of sixteen bright stars, one field for ten of ``n``."""
    size, pixel = STARS_PER_SIDE * STAR_SPACING + 4, site.instrument.pixel_scale
    axis = (np.arange(STARS_PER_SIDE) - (STARS_PER_SIDE - 1) / 2) * STAR_SPACING
    positions = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    rng = np.random.default_rng(seed)
    fields = [positions + rng.uniform(-0.5, 0.5, positions.shape) for _ in range(-(-n // 10))]
    scenes = [SceneModel("field", points=[(x, y, 1.0) for x, y in pixel * field])
              for field in fields]
    series = site.observe(scenes, seed, size, replace(site.instrument, snr=2 * (STAR_SNR,)))
    middle = (size * site.scale - 1) / 2
    for field, pair in zip(fields, series):
        pair.truth |= {"fidelity": "stars", "places": middle + site.scale * field}
        yield [pair]


def blanks(site, n, seed):
    """Yield blank images, ``n`` of white noise and ``n / 4`` of each correlated noise."""
    for name, lag in NOISE_KERNEL_WIDTHS.items():
        instrument = replace(site.instrument, p_correlated_noise=float(lag > 0),
                             kernel_width=2 * (_width(lag),))
        count = -(-n // 4) if lag else n
        yield from _group_pairs(site.observe([SceneModel("empty")] * count, seed, BLANK_SIDE,
                                             instrument),
                                name, lag=lag)


def _width(lag):
    """Return the width of the Gaussian kernel that gives a neighbour correlation."""
    import torch

    if not lag:
        return 0.0

    def excess(width):
        width = torch.tensor([width], dtype=torch.float64)
        return kernel_neighbour_correlation(width, 256).item() - lag

    return optimize.brentq(excess, 0.05, 5.0)


def lens_population(site):
    """Return a population of smooth lenses without lens light that fit into the image."""
    most = MAX_RADIUS_FRACTION * site.size * site.instrument.pixel_scale
    low, high = site.population.theta_e
    return replace(site.population, scene_fractions=(1, 0, 0, 0, 0, 0), mass_model="SIE",
                   lens_light=0.0,
                   neighbours=0.0, clumpy=0.0, real_sources=0.0,
                   theta_e=(min(low, most / 2), min(high, most)))


def lenses(site, n, seed):
    """Yield isothermal lenses with a Sersic source, one for five of ``n``."""
    population = lens_population(site)
    scenes = [draw_model(population, seed, k) for k in range(-(-n // 5))]
    yield from _group_pairs(site.observe(scenes, seed), "lenses")
