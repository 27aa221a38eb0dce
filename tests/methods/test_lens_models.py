"""Errors of the lens parameters, averaged over several models of one image."""

from types import SimpleNamespace

import numpy as np
import torch

from lenssr.methods import EVIDENCE_TEMPERATURE, SceneLayout, averaged_covariance


def posterior(shift, width, cost):
    """Posterior of a lens with all parameters shifted by one value."""
    lens = SceneLayout().slices("lens")[0]
    values = torch.zeros(SceneLayout().size, dtype=torch.float64)
    values[lens] = shift
    count = len(values[lens])
    return SimpleNamespace(model=SimpleNamespace(layout=SceneLayout()), cost=cost,
                           state=SimpleNamespace(values=values),
                           lens_covariance=width**2 * torch.eye(count, dtype=torch.float64))


def test_model_of_low_evidence_does_not_count():
    best = posterior(0.0, 0.1, 0.0)
    covariance = averaged_covariance(best, [
        posterior(0.0, 0.1, 100.0), posterior(3.0, 0.5, 100.0 + 100 * EVIDENCE_TEMPERATURE)])
    torch.testing.assert_close(covariance, best.lens_covariance)


def test_covariance_of_the_mixture():
    best = posterior(0.0, 0.1, np.nan)
    covariance = averaged_covariance(
        best, [posterior(0.01, 0.2, 50.0), posterior(-0.4, 0.3, 60.0)]).numpy()
    weights = np.array([1, 1, np.exp(-10 / (2 * EVIDENCE_TEMPERATURE))])
    weights /= weights.sum()
    rng, n = np.random.default_rng(0), 400_000
    index = rng.choice(3, n, p=weights)
    samples = (np.array([0, 0.01, -0.4])[index, None]
               + np.array([0.1, 0.2, 0.3])[index, None]
               * rng.standard_normal((n, len(covariance))))
    np.testing.assert_allclose(covariance, samples.T @ samples / n, atol=2e-3)
