"""Ensemble Kalman update of posterior samples against dense algebra."""

import numpy as np
import pytest

from lenssr.image import LensImage, gaussian_psf
from lenssr.methods import DataResidual, KalmanUpdate, RunOptions

SHAPE, FINE = (9, 10), (18, 20)


@pytest.fixture(scope="module")
def case():
    """Data of few pixels, one masked; the standard deviation of a prior; telescope and noise."""
    rng = np.random.default_rng(8)
    mask = np.zeros(SHAPE, bool)
    mask[4, 5] = True
    sigma, std = rng.uniform(0.5, 1.5, SHAPE), rng.uniform(1, 9, FINE)
    image = LensImage(rng.normal(0, 4, SHAPE), sigma, mask, gaussian_psf(2.0, 7), 1.0)
    operator, matrix = DataResidual(image, 2).operator, []
    for k in range(np.prod(FINE)):
        impulse = np.zeros(FINE)
        impulse.flat[k] = 1
        matrix.append(operator.forward(impulse).ravel())
    return image, std, np.array(matrix).T


def posterior(image, std, matrix, used, noise):
    """Mean and covariance for the prior N(0, std**2)."""
    variance, matrix = np.diag(std.ravel() ** 2), matrix[used.ravel()]
    gain = variance @ matrix.T @ np.linalg.inv(
        matrix @ variance @ matrix.T + np.diag(noise[used] ** 2))
    return gain @ image.data[used], variance - gain @ matrix @ variance


@pytest.mark.slow
@pytest.mark.parametrize("correlation", [0.0, 0.3])
def test_prior_samples_become_posterior_samples(case, correlation):
    image, std, matrix = case
    update = KalmanUpdate(image, RunOptions(2, seed=4), std, correlation)
    rng = np.random.default_rng(5)
    weight = update.data.weight
    used = weight > 0
    assert used.sum() > 20 and not (used & image.mask).any()
    # All that the Gaussian PSF sends to the middle is of the image.
    centre = (slice(4, 5), slice(3, 5))
    np.testing.assert_allclose(1 / weight[centre], image.sigma[centre] * (1 + 2 * correlation),
                               rtol=1e-3)
    mean, covariance = posterior(image, std, matrix, used, 1 / np.where(used, weight, 1))
    drawn = np.array([update(std * rng.standard_normal(FINE), k).ravel() for k in range(3000)])
    error = np.sqrt(np.diag(covariance) / len(drawn))
    assert np.sqrt(np.mean(((drawn.mean(0) - mean) / error) ** 2)) == pytest.approx(1, abs=0.25)
    np.testing.assert_allclose(drawn.var(0), np.diag(covariance), rtol=0.12)
    # in a direction that the data know best, too
    best = np.linalg.svd(matrix)[2][0]
    assert np.var(drawn @ best) == pytest.approx(best @ covariance @ best, rel=0.12)


def test_update_depends_on_the_number_of_the_sample(case):
    image, std, _ = case
    update = KalmanUpdate(image, RunOptions(2, seed=4), std, 0.0)
    first, same, second = (update(np.zeros(FINE), k) for k in (3, 3, 4))
    np.testing.assert_array_equal(first, same)
    assert np.abs(first - second).max() > 0.1
