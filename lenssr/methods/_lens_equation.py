"""Super-resolution through the lens equation: the image of a lens that explains the data."""

import functools
import warnings

import numpy as np

from lenssr._validation import check_nonnegative_int
from lenssr.exceptions import LensSRWarning
from lenssr.image import expand_mask, relative_kernel, target_psf
from lenssr.methods._base import Restoration, require_psf
from lenssr.methods._network import load_for, truncate_psf
from lenssr.uncertainty import measure_error_correlation, sky_level
from lenssr.weights import load_network

MAX_SIDE, MIN_SIDE = 100, 16  # sides of an image in input pixels
# Model error: of the sky noise (wings), and of the light.
SKY_MODEL_ERROR, PROFILE_MODEL_ERROR = 0.03, 0.01
N_POSTERIOR_DRAWS = 32  # posterior draws from which the error correlation is measured
COARSE_SUBPIXELS = 2  # points per input pixel and axis of the first fits
FINE_SUBPIXELS = {2: 2, 3: 2, 4: 1}  # points per output pixel and axis of the last fits, by scale


class LensEquation:
    """A lens, its source and other light, fitted to the image through the lens equation."""

    def __init__(self, architecture, weights=None, theta_e=None, parts=6):
        if theta_e is not None and not (isinstance(theta_e, int | float) and 0 < theta_e < np.inf):
            raise ValueError(f"`theta_e` must be a positive number of pixels, got {theta_e!r}")
        self.architecture, self.weights, self.theta_e = architecture, weights, theta_e
        self.parts = check_nonnegative_int("parts", parts)
        self._load = functools.cache(load_network)

    def restore(self, image, run):
        """Restore one plane."""
        import torch

        require_psf(image, f"method {self.architecture!r}")
        if not (min(image.shape) >= MIN_SIDE and max(image.shape) <= MAX_SIDE):
            raise ValueError(f"`data` must be an image of {MIN_SIDE} to {MAX_SIDE} pixels a side "
                             f"about one lens for method {self.architecture!r}, got shape "
                             f"{image.shape}")
        network, card = load_for(self, run.scale)
        with torch.no_grad():
            fit = self._fit(image, run, network)
        return self._restoration(image, run, fit, card)

    def _fit(self, image, run, network):
        import torch

        from lenssr.lensing import SceneGrid
        from lenssr.methods._lens_model._fit import LensData
        from lenssr.methods._lens_model._optimize import search

        psf = truncate_psf(image.psf)
        kernels = {s: torch.from_numpy(relative_kernel(psf, s))[None].float()
                   for s in {COARSE_SUBPIXELS, run.scale}}
        coarse = SceneGrid(image.shape, COARSE_SUBPIXELS, 1, kernels[COARSE_SUBPIXELS])
        fine = SceneGrid(image.shape, run.scale, FINE_SUBPIXELS[run.scale], kernels[run.scale])
        level = sky_level(image.data, image.mask, image.noise)
        values = torch.from_numpy((image.data - level) / image.noise).float()
        weight = torch.from_numpy(np.where(image.mask, 0.0, (image.noise / image.sigma) ** 2))
        data = LensData(values, weight.float())
        guesses, _ = network.predict(values, data.weight, kernels[COARSE_SUBPIXELS], COARSE_SUBPIXELS)
        return *search(guesses[0], self.theta_e, coarse, fine, data, self.parts), level

    def _restoration(self, image, run, fit, card):
        import torch

        from lenssr.methods._lens_model._posterior import solution

        posterior, odds, level = fit
        noise, count = image.noise, np.count_nonzero(~image.mask)
        mean = noise * posterior.image.double().numpy() + level
        # Where the model misses more than noise, its errors are larger by as much.
        excess = max(posterior.chi2 / max(count - posterior.freedom, 1.0), 1.0) ** 0.5
        std, total_std = (noise * part.numpy() for part in posterior.stds())
        total_std = np.hypot(excess * total_std, np.hypot(SKY_MODEL_ERROR * noise, PROFILE_MODEL_ERROR * (mean - level)))
        std = np.minimum(std, total_std)
        generator = torch.Generator().manual_seed(run.seed)
        draws = excess * noise * posterior.draws(max(N_POSTERIOR_DRAWS, run.n_samples), generator).numpy()
        correlation = measure_error_correlation(list(draws[:N_POSTERIOR_DRAWS]), total_std)
        lens = None
        metadata = {"weights": card.sha256[:16], "calibration": "posterior",
                    "has_lens": posterior.model.layout.lens, "log_odds": round(odds, 1)}
        if posterior.model.layout.lens:
            lens = solution(posterior, run.scale, noise)
            radius, error = lens["theta_E"]
            metadata |= {"theta_e": radius, "theta_e_error": error}
            if odds < 0:
                warnings.warn("light in front of any source explains the image as well as a lens "
                              f"does (ln odds {odds:.0f}): the lens may be none", LensSRWarning,
                              stacklevel=4)
        else:
            warnings.warn("no lensed source was found in the image: it is explained by light in "
                          "front alone", LensSRWarning, stacklevel=4)
        return Restoration(
            mean=mean, measurement_std=std, mask=expand_mask(image.mask, run.scale),
            psf=target_psf(), metadata=metadata, predictive_std=total_std,
            correlation=correlation.with_component(correlation), lens=lens,
            model_data=noise * posterior.expected.double().numpy() + level,
            samples=mean + draws[:run.n_samples] if run.n_samples else None,
            estimator=functools.partial(_linear_estimate, posterior, mean, image))


def _linear_estimate(posterior, mean, image, probe):
    """The estimate of other data, the model linear about its best values."""
    import torch

    weight = posterior.model.data.weight.ravel().double()
    change = torch.from_numpy((probe.data - image.data) / image.noise).ravel()
    step = torch.cholesky_solve((posterior.jacobian * weight) @ change[:, None], posterior.root)
    moved = (step[:, 0] @ posterior.slopes.double()).reshape(posterior.image.shape)
    return mean + image.noise * moved.numpy()
