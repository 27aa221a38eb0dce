"""Losses by hand, by scikit-image, and by what they are for."""

import numpy as np
import pytest
import torch

from lenssr.networks import compress, expand
from lenssr.train import Training
from lenssr.train._losses import (
    LOSSES,
    flux_error,
    log_relative_error,
    restoration_loss,
    training_loss,
)
from lenssr.train._ssim import structural_similarity


def images(seed=0, side=24):
    rng = np.random.default_rng(seed)
    truth = 10 * rng.random((3, 1, side, side))
    return truth + rng.normal(0, 1, truth.shape), truth


def test_losses_by_hand():
    image, truth = map(torch.from_numpy, images())
    output = compress(image)
    peak = compress(truth).amax(dim=(1, 2, 3))
    linear, seen = (image - truth).numpy(), (output - compress(truth)).numpy()
    by_hand = {
        "mse": (seen**2).mean(), "l1": abs(seen).mean(), "charbonnier": np.hypot(seen, 1e-3).mean(),
        "mse_linear": (linear**2).mean(), "l1_linear": abs(linear).mean(),
        "charbonnier_linear": np.hypot(linear, 1e-3).mean(),
        "composite": float(restoration_loss(output, truth, 2, 0.015, 0.002)),
        "ssim": float(1 - structural_similarity(output, compress(truth), peak).mean())}
    assert set(by_hand) == set(LOSSES) - {"perceptual"}  # which has tests of its own
    for name, value in by_hand.items():
        found = training_loss(output, truth, 2, Training(loss=name))
        assert found.item() == pytest.approx(value, rel=1e-9), name
    both = training_loss(output, truth, 2, Training(loss={"mse": 2.0, "l1_linear": 0.5}))
    assert both.item() == pytest.approx(2 * by_hand["mse"] + 0.5 * by_hand["l1_linear"], rel=1e-9)


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "perceptual"])
def test_every_loss_is_lowest_at_the_truth(name):
    image, truth = map(torch.from_numpy, images())
    training = Training(loss=name)
    output = compress(image).requires_grad_()
    worse = training_loss(output, truth, 2, training)
    worse.backward()
    assert torch.isfinite(output.grad).all() and output.grad.abs().max() > 0
    best = training_loss(compress(truth), truth, 2, training)
    # A step against the gradient is a step towards it.
    better = training_loss((output - 1e-3 * output.grad / output.grad.norm()).detach(), truth, 2,
                           training)
    assert best < better < worse


def test_ssim_is_that_of_scikit_image():
    from skimage.metrics import structural_similarity as oracle

    for span in (1.0, 10.0, 40.0):
        image, truth = images(side=31)
        found = structural_similarity(torch.from_numpy(image).float(),
                                      torch.from_numpy(truth).float(), span)
        known = [oracle(a[0], b[0], data_range=span, gaussian_weights=True, sigma=1.5,
                        use_sample_covariance=False) for a, b in zip(image, truth)]
        np.testing.assert_allclose(found.numpy(), known, atol=1e-4)


def test_ssim_needs_a_window():
    with pytest.raises(ValueError, match="at least 11 pixels"):
        structural_similarity(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8), 1.0)


def test_flux_error_by_hand():
    truth = torch.full((1, 1, 64, 64), 2.0)
    found = flux_error(truth + 0.1, truth, 2).item()
    by_hand = sum(np.sqrt(0.1**2 / ((2 / side) ** 2 + 0.02**2) + 1) - 1 for side in (16, 64))
    assert found == pytest.approx(by_hand, rel=2e-3)
    assert flux_error(truth, truth, 2).item() == 0


def test_log_relative_error_is_the_psnr():
    from skimage.metrics import peak_signal_noise_ratio

    rng = np.random.default_rng(0)
    truth = rng.random((3, 1, 16, 16))
    truth[2] = 0
    image = truth + rng.normal(0, 0.1, truth.shape)
    found = log_relative_error(torch.from_numpy(image), torch.from_numpy(truth)).item()
    psnr = [peak_signal_noise_ratio(t, i, data_range=t.max())
            for t, i in zip(truth[:2], image[:2], strict=True)]
    assert -10 / np.log(10) * found == pytest.approx(np.mean(psnr), abs=1e-2)


def test_loss_of_an_empty_image_is_finite():
    truth = torch.zeros(2, 1, 16, 16)
    output = torch.full_like(truth, 0.1, requires_grad=True)
    loss = restoration_loss(output, truth, 2, 0.015, 0.002)
    loss.backward()
    assert torch.isfinite(output.grad).all()
    np.testing.assert_allclose(compress(truth).numpy(), 0)
    np.testing.assert_allclose(expand(compress(truth + 5)).numpy(), 5, rtol=1e-6)


def test_fresh_weights_may_say_anything():
    """An output that no float could hold the exponential of is pulled back."""
    _, truth = (torch.from_numpy(image).float() for image in images())
    output = torch.full_like(truth, 500.0).requires_grad_()
    loss = training_loss(output, truth, 2, Training(steps=10))
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(output.grad.norm())
    assert (output.grad > 0).all()
