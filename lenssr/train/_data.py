"""Sources of training pairs: cached scenes, online simulation, catalogues and generated arcs."""

import dataclasses
import hashlib
import os
import warnings
from pathlib import Path

import numpy as np
import torch

from lenssr._validation import check_nonnegative_int, check_positive_int
from lenssr.exceptions import LensSRWarning
from lenssr.image import combine_masks, fill_masked, flux_convention, relative_kernel
from lenssr.networks import (
    find_architecture,
    from_asinh,
    psf_feature_range,
    psf_features,
)
from lenssr.simulate import (
    SUBPIXELS,
    BatchRandom,
    Grid,
    Optics,
    PairStream,
    find_preset,
    kernel_neighbour_correlation,
    observe_batch,
    open_catalog,
    parse_substructure,
)
from lenssr.train._batch import (
    EVALUATION_BATCH,
    Pairs,
    exact_config,
    make_batch,
    sample_indices,
    sample_rng,
)
from lenssr.train._scene_cache import SceneCache
from lenssr.uncertainty import estimate_sky, neighbour_correlation, sky_level, sky_noise
from lenssr.weights import load_network


class GeneratedScenes:
    """Scenes from a generator that replace a fraction of the simulated scenes."""

    def __init__(self, weights, fraction, optics):
        self.network, card = load_network(weights, "arcs")
        self.fraction, self.optics = fraction, optics
        needed = optics.n // optics.fine
        if self.network.scale != optics.scale:
            raise ValueError(
                f"recipe key `gan_weights` must be weights of scale {optics.scale}, got "
                f"{weights!r} of scale {self.network.scale}")
        if needed > self.network.side:
            raise ValueError(f"recipe key `gan_weights` must generate images of "
                             f"{needed} pixels, margins included, got {weights!r} of "
                             f"{self.network.side}")

    def mix(self, scenes, points, draws):
        """Replace random scenes and point sources by generated scenes."""
        made = draws.uniform(0, 1) < self.fraction
        seeds = draws.integers(2**31).tolist()
        if made.any():
            z = [latent(self.network, seed) for seed, is_made in zip(seeds, made) if is_made]
            scenes, points = scenes.clone(), points.clone()
            scenes[made], points[made] = self.scenes(torch.stack(z)), 0.0
        return scenes, points

    @torch.no_grad()
    def scenes(self, z):
        """Return flux on the fine grid, constant within each output pixel."""
        images, fine = from_asinh(self.network(z))[:, 0], self.optics.fine
        side = self.optics.n // fine
        edge = (self.network.side - side) // 2
        images = images[:, edge: edge + side, edge: edge + side] / fine**2
        return images.repeat_interleave(fine, 1).repeat_interleave(fine, 2)


def latent(network, seed):
    """Return the random latent vector of an image."""
    return torch.randn(network.latent, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def draw_arcs(n, *, seed=0, weights="arcs-x2"):
    """
    Draw lensed arcs with a generative adversarial network.

    Parameters
    ----------
    n : int
        Number of arcs.
    seed : int
        Seed of the series; arc ``i`` depends on the seed and on ``i`` alone.
    weights : str or path-like
        Weights of the generator.

    Returns
    -------
    arcs : `~numpy.ndarray`
        Light on output pixels without a telescope, in units of about the peak, shape
        ``(n, side, side)``.

    Raises
    ------
    ValueError
        If a number is out of range, or the weights are not a generator.

    Examples
    --------
    >>> from lenssr.train import draw_arcs
    >>> draw_arcs(1).ndim
    3
    """
    check_positive_int("n", n)
    check_nonnegative_int("seed", seed)
    network, _ = load_network(weights, "arcs")
    seeds = [int(np.random.default_rng([seed, i]).integers(2**31)) for i in range(n)]
    made = [from_asinh(network(torch.stack([latent(network, s)
                                            for s in seeds[k:k + EVALUATION_BATCH]])))
            for k in range(0, n, EVALUATION_BATCH)]
    return torch.cat(made)[:, 0].numpy()


MIN_RELATIVE_NOISE = 0.01  # of the peak, for images without a noise map
N_PROBED_PAIRS = 16  # pairs whose flux ratio tells the flux convention of a catalogue without units


class CatalogPairs(Pairs):
    """Pairs of a catalogue, split into training and held-out pairs."""

    def __init__(self, data, scale, validation=False, seed=0, telescope=False):
        catalog = open_catalog(data.catalog)
        if catalog.scale != scale:
            raise ValueError(f"`catalog` must hold pairs of scale {scale}, the scale of the "
                             "network; "
                             f"{data.catalog} holds those of {catalog.scale}")
        if telescope and "psf" not in catalog.arrays:
            raise ValueError("`catalog` must hold the PSFs of its images for a physics network, "
                             f"{data.catalog} has none")
        self.sides, self.telescope, self.kernels = catalog.lr.shape[1:], telescope, {}
        if data.size > min(self.sides):
            raise ValueError(f"recipe key `size` must be at most {min(self.sides)}, the side of "
                             f"the images of {data.catalog}, got {data.size}")
        self.catalog, self.scale, self.seed = catalog, scale, seed
        self.validation = validation
        held = max(1, round(data.validation_fraction * len(catalog)))
        if held >= len(catalog):
            raise ValueError(f"`catalog` must hold pairs enough to validate with some, got "
                             f"{len(catalog)} in {data.catalog}")
        if (data.fold + 1) * held > len(catalog):
            raise ValueError(f"recipe key `fold` must be below {len(catalog) // held}, the number "
                             f"of folds of {held} pairs, got {data.fold}")
        masks = split(len(catalog), held, data.fold, data.validation_seed)
        self.chosen = masks[1 if validation else 0]
        self.n, self.validation_seed = len(self.chosen), data.validation_seed
        # Single files are read in any order, arrays chunk by chunk.
        self.window = catalog.chunk_size
        self.brightness = scale**2 if self._per_pixel(data) else 1
        self.data = exact_config(data) if validation else data
        self.units, self.levels = np.full(len(catalog), np.nan), np.zeros(len(catalog))

    def _per_pixel(self, data):
        """Return whether values are fluxes per pixel."""
        if data.flux != "auto":
            return data.flux == "per-pixel"
        if self.catalog.unit is not None:
            return flux_convention(self.catalog.unit) == "per-pixel"
        probed = self.chosen[:N_PROBED_PAIRS]
        ratio = np.median([np.nansum(self.catalog.hr[i]) / np.nansum(self.catalog.lr[i])
                           for i in probed])
        is_per_pixel = not ratio > self.scale
        what = "flux per pixel" if is_per_pixel else "surface brightness"
        if not self.validation:  # warn once
            warnings.warn(f"the catalogue {data.catalog} has no unit: its values are taken as "
                          f"{what}, since targets sum up to {ratio:.2g} times the images (set the "
                          "recipe key `flux`)", LensSRWarning, stacklevel=2)
        return is_per_pixel

    def take(self, positions, draws):
        """Return the `Batch` of selected pairs, with random crops."""
        indices = self.chosen[positions]
        arrays = {name: array[indices] for name, array in self.catalog.arrays.items()}
        lr = self._clean(indices, arrays)
        hr = torch.as_tensor(arrays["hr"]) * self.brightness
        truth = torch.as_tensor(arrays["truth"]) * self.brightness if "truth" in arrays else hr
        psf = torch.as_tensor(arrays["psf"]) if "psf" in arrays else None
        corner = torch.stack([draws.integers(n - self.data.size + 1) for n in self.sides], dim=1)
        return make_batch(indices, (torch.as_tensor(lr), hr, truth),
                          torch.as_tensor(self.units[indices], dtype=torch.float32), psf, corner,
                          self.data, self.scale, draws,
                          self.telescope and self._through(indices, arrays, lr))

    def _through(self, indices, arrays, lr):
        """Return the inputs of a physics network for the pairs."""
        sigma = np.ones_like(lr) * self.units[indices, None, None].astype(np.float32)
        if "sigma" in arrays:
            sigma = np.where(np.isfinite(arrays["sigma"]), arrays["sigma"], np.inf)
        for k, i in enumerate(indices):
            mask = combine_masks(arrays["mask"][k] if "mask" in arrays else None, arrays["lr"][k])
            sigma[k][mask] = np.inf
            if i not in self.kernels:
                self.kernels[i] = (relative_kernel(arrays["psf"][k], self.scale),
                                   max(0.0, neighbour_correlation(lr[k], mask)))
        kernels, correlations = zip(*(self.kernels[i] for i in indices))
        return (torch.as_tensor(sigma), torch.as_tensor(np.stack(kernels)),
                torch.as_tensor(correlations, dtype=torch.float32))

    def _clean(self, indices, arrays):
        """Return observed images without bad pixels and sky level; estimate their noise."""
        images = np.empty(arrays["lr"].shape, np.float32)
        for k, i in enumerate(indices):
            values = arrays["lr"][k].astype(float)
            mask = combine_masks(arrays["mask"][k] if "mask" in arrays else None, values)
            if mask.all() or not np.isfinite(arrays["hr"][k]).all():
                raise ValueError(f"`catalog` must hold images of finite values, pair {i} of "
                                 f"{self.catalog.path} has none or a target with others")
            if np.isnan(self.units[i]):
                sigma = arrays["sigma"][k].astype(float) if "sigma" in arrays else None
                self.units[i] = _noise_unit(values, sigma, mask)
                # As the method does before it applies the network.
                self.levels[i] = sky_level(values, mask, self.units[i])
            images[k] = fill_masked(values, mask) - self.levels[i]
        return images

    def batches(self):
        for start in range(0, self.n, EVALUATION_BATCH):
            positions = np.arange(start, min(start + EVALUATION_BATCH, self.n))
            yield self.take(positions, sample_rng(self.validation_seed, positions))

    def psfs(self):
        # Use all pairs, since there may be few held-out pairs.
        if "psf" not in self.catalog.arrays:
            return {}
        psf, n = self.catalog.arrays["psf"], len(self.catalog)
        return psf_feature_range(torch.cat([
            psf_features(torch.as_tensor(np.asarray(psf[k:min(k + EVALUATION_BATCH, n)])))
            for k in range(0, n, EVALUATION_BATCH)]))


def split(n, held, fold, seed):
    """Return the training or the held-out indices of ``n`` pairs."""
    mixed = np.roll(np.random.default_rng(seed).permutation(n), -fold * held)
    return np.sort(mixed[held:]), np.sort(mixed[:held])


def _noise_unit(values, sigma, mask):
    """Return the sky noise of an image, the noise unit of a network."""
    if sigma is not None:
        return sky_noise(values, sigma, mask)[1]
    peak = np.abs(values[~mask]).max()
    return max(estimate_sky(values, mask), MIN_RELATIVE_NOISE * peak) or 1.0


def cache_folder():
    """Return the cache folder: ``LENSSR_CACHE``, or the cache folder of the user."""
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lenssr"
    return Path(os.environ.get("LENSSR_CACHE", default))


def open_pairs(recipe, validation=False, progress=False):
    """Return the source of pairs of a recipe."""
    data, scale, seed = recipe.data, recipe.network["scale"], recipe.training.seed
    architecture = find_architecture(recipe.network["architecture"])
    telescope = architecture.inputs == "physics"
    if architecture.scale_free and isinstance(scale, list):
        scale = scale[0]
    if isinstance(scale, list) and (data.catalog is not None or data.scenes == 0):
        raise ValueError("recipe key `scale` must be one number for pairs of a catalogue or pairs "
                         f"without end, got {scale!r}")
    if data.catalog is not None:
        return CatalogPairs(data, scale, validation, seed, telescope)
    if data.scenes == 0 and not validation:
        return OnlinePairs(data, scale, seed, telescope)
    sources = [CachedPairs(data, scale_item, validation, progress, seed, telescope)
               for scale_item in (scale if isinstance(scale, list) else [scale])]
    return sources[0] if len(sources) == 1 else MultiScalePairs(sources)


class CachedPairs(Pairs):
    """Cached scenes of a preset, observed again at each use."""

    def __init__(self, data, scale, validation=False, progress=False, seed=0, telescope=False):
        preset = find_preset(data.preset)
        population, instrument = preset.population, preset.instrument
        self.scale, self.margin, self.telescope = scale, instrument.margin, telescope
        # The grid is as fine as the pixels at four times the resolution.
        fine = SUBPIXELS if scale < 4 else 1
        side = (data.size + 2 * self.margin) * scale * fine
        grid = Grid(side, instrument.pixel_scale / (scale * fine))
        self.seed, self.scene_seed = seed, data.validation_seed if validation else data.seed
        self.n = data.validation_scenes if validation else data.scenes
        classes = data.substructure or []
        priors = [parse_substructure(c, preset.substructure) for c in classes]
        name = "-".join([data.preset, str(scale * fine), str(side), f"seed{self.scene_seed}",
                         *classes, _fingerprint(population, priors)])
        self.bank = SceneCache(cache_folder() / name, self.n, grid, population, self.scene_seed,
                               priors)
        self.bank.build(workers=os.cpu_count() or 1, progress=progress)
        self.opened = self.bank.open()
        self.optics = Optics(side, scale, fine)
        self.generated_scenes = None
        if data.gan_fraction and not validation:
            self.generated_scenes = GeneratedScenes(data.gan_weights, data.gan_fraction,
                                                    self.optics)
        self.target_noise = preset.target_noise
        self.data = exact_config(data) if validation else data
        self.instrument = dataclasses.replace(
            instrument, p_correlated_noise=0.0 if validation else data.p_correlated_noise)

    def observe(self, indices, draws, blank=None):
        """Observe scenes."""
        scenes, points = map(torch.from_numpy, self.bank.take(self.opened, indices))
        if self.generated_scenes is not None:
            scenes, points = self.generated_scenes.mix(scenes, points, draws)
        if blank is not None:
            scenes[blank], points[blank] = 0, 0
        return observe_batch(self.instrument, self.optics, scenes, points, draws)

    def take(self, indices, draws):
        """Return the `Batch` of scenes, with random crops."""
        observed = self.observe(indices, draws)
        low, high = self.margin // 2, 2 * self.margin - self.margin // 2
        corner = low + draws.integers(high + 1 - low, 2)
        # Image networks are conditioned on PSF features, physics networks take the
        # kernel.
        psf = None if self.telescope else self.optics.effective_psf(observed.transfer)
        batch = make_batch(indices, (observed.lr, observed.hr, observed.hr), observed.sky_rms, psf,
                           corner, self.data,
                           self.scale, draws, self.telescope and _telescope(
                               self.optics, observed, observed.sigma, observed.sky_rms))
        if not self.target_noise:
            return batch
        sigma = self.target_noise * batch.truth.abs().amax(dim=(1, 2, 3), keepdim=True)
        return batch._replace(hr=batch.truth + sigma * draws.normal(*batch.truth.shape[1:]))

    def batches(self):
        # One generator for all batches, as for the shipped weights.
        generator = torch.Generator().manual_seed(self.scene_seed)
        for start in range(0, self.n, EVALUATION_BATCH):
            indices = range(start, min(start + EVALUATION_BATCH, self.n))
            yield self.take(indices, BatchRandom(generator, len(indices)))


def _fingerprint(*priors):
    """Return a short hash of priors."""
    return hashlib.sha256(repr(priors).encode()).hexdigest()[:8]


class MultiScalePairs(Pairs):
    """Pairs of several scales, which alternate; the first scale has every second step."""

    def __init__(self, sources):
        self.sources, self.n = sources, sources[0].n

    def batch(self, step, batch, rank=0, world=1):
        turn, odd = divmod(step, 2)
        other_sources = self.sources[1:]
        pairs = other_sources[turn % len(other_sources)] if odd else self.sources[0]
        return pairs.batch(step, batch, rank, world)

    def batches(self):
        for pairs in self.sources:
            yield from pairs.batches()


class OnlinePairs(Pairs):
    """Pairs simulated online, each used once."""

    def __init__(self, data, scale, seed=0, telescope=False):
        instrument = find_preset(data.preset).instrument
        self.scale, self.seed, self.data, self.telescope = scale, seed, data, telescope
        self.series = PairStream(
            data.preset, data.seed, scale=scale, size=data.size,
            substructure=tuple(data.substructure or ("no_sub",)),
            instrument=dataclasses.replace(instrument,
                                           p_correlated_noise=data.p_correlated_noise)).series

    def batch(self, step, batch, rank=0, world=1):
        numbers = sample_indices(step, batch, rank, world)
        made = self.series.batch(numbers)
        truth = made.truth * self.scale**2
        hr = truth if made.hr is made.truth else made.hr * self.scale**2
        corner = torch.zeros(len(made.lr), 2, dtype=torch.int64)
        return make_batch(numbers, (made.lr, hr, truth), made.observation.sky_electrons, made.psf,
                          corner,
                          self.data, self.scale, sample_rng(self.seed, numbers),
                          self.telescope and _telescope(
                              self.series.optics, made.observation, made.sigma,
                              made.observation.sky_electrons))


def _telescope(optics, observed, sigma, sky):
    """Return the inputs of a physics network for observed scenes."""
    # Without added noise, the noise unit is the noise that was omitted.
    return (torch.maximum(sigma, sky.reshape(-1, 1, 1)), optics.relative_kernel(observed.transfer),
            kernel_neighbour_correlation(observed.kernel_width))
