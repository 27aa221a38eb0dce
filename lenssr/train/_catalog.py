"""Pairs of a catalogue: simulated, or in the layout of DeepLense."""

import warnings

import numpy as np
import torch

from lenssr.exceptions import LensSRWarning
from lenssr.image import combine_masks, fill_masked, flux_convention, relative_kernel
from lenssr.networks import psf_feature_range, psf_features
from lenssr.simulate import CHUNK_SIZE, Catalog, open_catalog
from lenssr.train._batch import EVALUATION_BATCH, Pairs, exact_config, make_batch, sample_rng
from lenssr.uncertainty import estimate_sky, neighbour_correlation, sky_level, sky_noise

__all__ = ["CatalogPairs", "split"]

FAINTEST = 0.01  # of the peak: the least noise of an image that has no noise map
PROBED = 16      # pairs whose sums tell what the values of a catalogue without units are


class CatalogPairs(Pairs):
    """The pairs of a catalogue, a share of which is held out."""

    def __init__(self, data, scale, validation=False, seed=0, telescope=False):
        catalog = open_catalog(data.catalog)
        if catalog.scale != scale:
            raise ValueError(f"`catalog` must hold pairs of scale {scale}, which the network has; "
                             f"{data.catalog} holds those of {catalog.scale}")
        if telescope and "psf" not in catalog.arrays:
            raise ValueError("`catalog` must hold the PSFs of its images for a network that looks "
                             f"through them, {data.catalog} has none")
        self.sides, self.telescope, self.kernels = catalog.lr.shape[1:], telescope, {}
        if data.size > min(self.sides):
            raise ValueError(f"recipe key `size` must be at most {min(self.sides)}, the side of "
                             f"the images of {data.catalog}, got {data.size}")
        self.catalog, self.scale, self.seed = catalog, scale, seed
        self.validation = validation
        held = max(1, round(data.validation_share * len(catalog)))
        if held >= len(catalog):
            raise ValueError(f"`catalog` must hold pairs enough to validate with some, got "
                             f"{len(catalog)} in {data.catalog}")
        if (data.fold + 1) * held > len(catalog):
            raise ValueError(f"recipe key `fold` must be below {len(catalog) // held}, the number "
                             f"of shares of {held} pairs, got {data.fold}")
        shares = split(len(catalog), held, data.fold, data.validation_seed)
        self.chosen = shares[1 if validation else 0]
        self.n, self.validation_seed = len(self.chosen), data.validation_seed
        # Files can be read in any order; chunks of arrays are read as a whole.
        self.window = CHUNK_SIZE if isinstance(catalog, Catalog) else None
        self.brightness = scale**2 if self._per_pixel(data) else 1
        self.data = exact_config(data) if validation else data
        self.units, self.levels = np.full(len(catalog), np.nan), np.zeros(len(catalog))

    def _per_pixel(self, data):
        """Whether values are fluxes per pixel, of which a finer pixel has less."""
        if data.flux != "auto":
            return data.flux == "per-pixel"
        if self.catalog.unit is not None:
            return flux_convention(self.catalog.unit) == "per-pixel"
        probed = self.chosen[:PROBED]
        ratio = np.median([np.nansum(self.catalog.hr[i]) / np.nansum(self.catalog.lr[i])
                           for i in probed])
        found = not ratio > self.scale
        what = "flux per pixel" if found else "surface brightness"
        if not self.validation:  # said once
            warnings.warn(f"the catalogue {data.catalog} has no unit: its values are taken as "
                          f"{what}, since targets sum up to {ratio:.2g} times the images (the "
                          "recipe key `flux` tells)", LensSRWarning, stacklevel=2)
        return found

    def take(self, places, draws):
        """The `~lenssr.train._batch.Batch` of these of the chosen pairs, cropped at random."""
        indices = self.chosen[places]
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
        """What networks that look through the telescope are told of these pairs."""
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
        """Observed images without holes, on a sky of zero; notes the noise of their skies."""
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
                # As the method does before the network sees an image.
                self.levels[i] = sky_level(values, mask, self.units[i])
            images[k] = fill_masked(values, mask) - self.levels[i]
        return images

    def batches(self):
        for start in range(0, self.n, EVALUATION_BATCH):
            places = np.arange(start, min(start + EVALUATION_BATCH, self.n))
            yield self.take(places, sample_rng(self.validation_seed, places))

    def psfs(self):
        # Of those that are held out there may be few: of all of the catalogue.
        if "psf" not in self.catalog.arrays:
            return {}
        psf, n = self.catalog.arrays["psf"], len(self.catalog)
        return psf_feature_range(torch.cat([
            psf_features(torch.as_tensor(np.asarray(psf[k:min(k + EVALUATION_BATCH, n)])))
            for k in range(0, n, EVALUATION_BATCH)]))


def split(n, held, fold, seed):
    """Which of ``n`` pairs are trained on, and which ``held`` of them are held out, in order."""
    mixed = np.roll(np.random.default_rng(seed).permutation(n), -fold * held)
    return np.sort(mixed[held:]), np.sort(mixed[:held])


def _noise_unit(values, sigma, mask):
    """Noise of the sky of an image, the unit in which the network sees it."""
    if sigma is not None:
        return sky_noise(values, sigma, mask)[1]
    peak = np.abs(values[~mask]).max()
    return max(estimate_sky(values, mask), FAINTEST * peak) or 1.0
