"""Several lenses that explain one image: how well the lens is known then."""

from types import SimpleNamespace

import numpy as np
import torch

from lenssr.methods import EVIDENCE_TEMPERATURE, SceneLayout, _model_averaged_errors


def model(shift, width, cost):
    """A posterior as far as it is looked at, of a lens off by so much in each parameter."""
    lens = SceneLayout().slices("lens")[0]
    values = torch.zeros(SceneLayout().size, dtype=torch.float64)
    values[lens] = shift
    count = len(values[lens])
    return SimpleNamespace(model=SimpleNamespace(layout=SceneLayout()), cost=cost,
                           state=SimpleNamespace(values=values),
                           lens=width**2 * torch.eye(count, dtype=torch.float64))


def test_one_that_is_much_worse_does_not_count():
    best = model(0.0, 0.1, 0.0)
    found = _model_averaged_errors(best, [model(0.0, 0.1, 100.0), model(3.0, 0.5, 100.0 + 100 * EVIDENCE_TEMPERATURE)])
    torch.testing.assert_close(found, best.lens)


def test_the_covariance_is_that_of_the_mixture():
    best, others = model(0.0, 0.1, np.nan), [model(0.01, 0.2, 50.0), model(-0.4, 0.3, 60.0)]
    found = _model_averaged_errors(best, others).numpy()
    share = np.array([1, 1, np.exp(-10 / (2 * EVIDENCE_TEMPERATURE))])
    share /= share.sum()
    rng, n = np.random.default_rng(0), 400_000
    which = rng.choice(3, n, p=share)
    drawn = (np.array([0, 0.01, -0.4])[which, None]
             + np.array([0.1, 0.2, 0.3])[which, None] * rng.standard_normal((n, len(found))))
    np.testing.assert_allclose(found, drawn.T @ drawn / n, atol=2e-3)
