"""Super-resolution by a lens model fitted to the image: profiles, source pixels, potential."""

import functools
import warnings

import numpy as np

from lenssr._validation import check_nonnegative_int, check_positive_number
from lenssr.exceptions import LensSRWarning
from lenssr.image import expand_mask, relative_kernel, target_psf
from lenssr.methods._base import Restoration, require_psf
from lenssr.methods._network import load_for, truncate_psf
from lenssr.uncertainty import measure_error_correlation, sky_level
from lenssr.weights import load_network

MAX_SIDE, MIN_SIDE = 100, 16  # sides of an image, input pixels
# Model errors: fraction of the sky noise (wings of profiles), and fraction of the light.
SKY_MODEL_ERROR, PROFILE_MODEL_ERROR = 0.03, 0.01
N_CORRELATION_SAMPLES = 32  # posterior samples from which the error correlation is measured
COARSE_SCALE = 2  # grid points per input pixel and axis of the first fits
FINE_OVERSAMPLING = {2: 2, 3: 2, 4: 1}  # grid points per output pixel and axis, by scale


class LensEquation:
    """
    Lens, source and foreground light, fitted to the image through the lens equation.

    A network guesses the lens; the fit, to the data alone, starts there. The result is the image
    of the model at the target resolution. ``theta_e`` is an Einstein radius (input pixels) to
    start from, too; ``max_components`` limits the profiles and points added for residuals.
    """

    searches = None  # `SearchGrid` tuples; `SEARCHES` by default

    def __init__(self, architecture, weights=None, theta_e=None, max_components=6):
        if theta_e is not None:
            theta_e = check_positive_number("theta_e", theta_e)
        self.architecture, self.weights, self.theta_e = architecture, weights, theta_e
        self.max_components = check_nonnegative_int("max_components", max_components)
        self._load = functools.cache(load_network)

    def restore(self, image, run):
        """Restore one plane; the lens solution is in ``lens`` of the result."""
        import torch

        require_psf(image, f"method {self.architecture!r}")
        if not (min(image.shape) >= MIN_SIDE and max(image.shape) <= MAX_SIDE):
            raise ValueError(f"`data` must be an image of {MIN_SIDE} to {MAX_SIDE} pixels a side "
                             f"around one lens for method {self.architecture!r}, got shape "
                             f"{image.shape}")
        network, card = load_for(self, run.scale)
        with torch.no_grad():
            return self._restoration(image, run, *self._fit(image, run, network), card)

    def _fit(self, image, run, network):
        """Posterior, ln odds of a lens, and sky level."""
        import torch

        from lenssr.lensing import SceneGrid
        from lenssr.methods._lens_model._fit import LensData
        from lenssr.methods._lens_model._optimize import SEARCHES, search

        psf = truncate_psf(image.psf)
        kernels = {s: torch.from_numpy(relative_kernel(psf, s))[None].float()
                   for s in {COARSE_SCALE, run.scale}}
        coarse = SceneGrid(image.shape, COARSE_SCALE, 1, kernels[COARSE_SCALE])
        fine = SceneGrid(image.shape, run.scale, FINE_OVERSAMPLING[run.scale],
                         kernels[run.scale])
        sky = sky_level(image.data, image.mask, image.noise)
        values = torch.from_numpy((image.data - sky) / image.noise).float()
        weight = torch.from_numpy(np.where(image.mask, 0.0, (image.noise / image.sigma) ** 2))
        data = LensData(values, weight.float())
        guesses, _ = network.predict(values, data.weight, kernels[COARSE_SCALE], COARSE_SCALE)
        return *search(guesses[0], self.theta_e, coarse, fine, data, self.max_components,
                       self.searches or SEARCHES), sky

    def _restoration(self, image, run, posterior, log_odds, sky, card):
        import torch

        from lenssr.methods._lens_model._posterior import make_solution

        noise, count = image.noise, np.count_nonzero(~image.mask)
        mean = noise * posterior.image.double().numpy() + sky
        # A reduced chi2 above one scales the errors.
        excess = max(posterior.chi2 / max(count - posterior.effective_parameters, 1.0), 1.0) ** 0.5
        std, total_std = (noise * values.numpy() for values in posterior.stds())
        model_std = np.hypot(SKY_MODEL_ERROR * noise, PROFILE_MODEL_ERROR * (mean - sky))
        total_std = np.hypot(excess * total_std, model_std)
        std = np.minimum(std, total_std)
        errors = excess * noise * posterior.draw_errors(
            max(N_CORRELATION_SAMPLES, run.n_samples),
            torch.Generator().manual_seed(run.seed)).numpy()
        correlation = measure_error_correlation(list(errors[:N_CORRELATION_SAMPLES]), total_std)
        metadata = {"weights": card.sha256[:16], "calibration": "posterior",
                    "has_lens": posterior.model.layout.lens, "log_odds": round(log_odds, 1)}
        lens = None
        if posterior.model.layout.lens:
            lens = make_solution(posterior, run.scale, noise)
            metadata |= dict(zip(("theta_e", "theta_e_error"), lens["theta_E"]))
            if log_odds < 0:
                warnings.warn("a model without a lens explains the image as well as a lens model "
                              f"(ln odds {log_odds:.0f})", LensSRWarning, stacklevel=4)
        else:
            warnings.warn("no lensed source was detected: the best model has foreground light "
                          "only", LensSRWarning, stacklevel=4)
        return Restoration(
            mean=mean, measurement_std=std, mask=expand_mask(image.mask, run.scale),
            psf=target_psf(), metadata=metadata, predictive_std=total_std,
            correlation=correlation.with_component(correlation), lens=lens,
            model_data=noise * posterior.model_data.double().numpy() + sky,
            samples=mean + errors[:run.n_samples] if run.n_samples else None,
            estimator=functools.partial(_linear_estimate, posterior, mean, image))


def _linear_estimate(posterior, mean, image, probe):
    """Estimate for other data ``probe``, with the model linearised about its best state."""
    import torch

    weight = posterior.model.data.weight.ravel().double()
    change = torch.from_numpy((probe.data - image.data) / image.noise).ravel()
    step = torch.cholesky_solve((posterior.jacobian * weight) @ change[:, None], posterior.root)
    shift = (step[:, 0] @ posterior.image_derivs.double()).reshape(posterior.image.shape)
    return mean + image.noise * shift.numpy()
