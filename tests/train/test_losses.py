"""Losses by hand, by scikit-image, and by what they are for."""

import numpy as np
import pytest
import torch

from lenssr.image import relative_kernel
from lenssr.methods import ForwardModel
from lenssr.networks import asinh_scale, sinh_scale
from lenssr.train import (
    LOSSES,
    Batch,
    ConsistencyTrainer,
    Distributed,
    Recipe,
    Training,
    consistency_loss,
    flux_error,
    log_relative_error,
    restoration_loss,
    structural_similarity,
    training_loss,
)


def images(seed=0, side=24):
    rng = np.random.default_rng(seed)
    truth = 10 * rng.random((3, 1, side, side))
    return truth + rng.normal(0, 1, truth.shape), truth


def test_losses_by_hand():
    image, truth = map(torch.from_numpy, images())
    output = asinh_scale(image)
    peak = asinh_scale(truth).amax(dim=(1, 2, 3))
    linear, seen = (image - truth).numpy(), (output - asinh_scale(truth)).numpy()
    by_hand = {
        "mse": (seen**2).mean(), "l1": abs(seen).mean(), "charbonnier": np.hypot(seen, 1e-3).mean(),
        "mse_linear": (linear**2).mean(), "l1_linear": abs(linear).mean(),
        "charbonnier_linear": np.hypot(linear, 1e-3).mean(),
        "composite": float(restoration_loss(output, truth, 2, 0.015, 0.002)),
        "ssim": float(1 - structural_similarity(output, asinh_scale(truth), peak).mean())}
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
    output = asinh_scale(image).requires_grad_()
    worse = training_loss(output, truth, 2, training)
    worse.backward()
    assert torch.isfinite(output.grad).all() and output.grad.abs().max() > 0
    best = training_loss(asinh_scale(truth), truth, 2, training)
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
    np.testing.assert_allclose(asinh_scale(truth).numpy(), 0)
    np.testing.assert_allclose(sinh_scale(asinh_scale(truth + 5)).numpy(), 5, rtol=1e-6)


def test_fresh_weights_may_say_anything():
    """An output that no float could hold the exponential of is pulled back."""
    _, truth = (torch.from_numpy(image).float() for image in images())
    output = torch.full_like(truth, 500.0).requires_grad_()
    loss = training_loss(output, truth, 2, Training(steps=10))
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(output.grad.norm())
    assert (output.grad > 0).all()


def observed(scale=2, side=30, masked=True):
    """A batch of images seen through kernels of their own, which lose light to no edge."""
    rng = np.random.default_rng(4)
    y, x = np.mgrid[:side * scale, :side * scale] - side * scale / 2
    truth = np.stack([peak * np.exp(-(x**2 + y**2) / 50) for peak in (5, 4000)])
    psf = 1.0 * (np.hypot(*np.mgrid[-2:3, -2:3]) < 1.8)
    psf /= psf.sum()
    operator = ForwardModel(psf, scale, (side, side))
    sigma = rng.uniform(1, 2, (2, side, side))
    mask = rng.random(sigma.shape) < 0.1 * masked
    noise = sigma * rng.normal(size=sigma.shape)
    lr = np.stack([operator.forward(image) for image in truth]) + noise
    planes = [torch.from_numpy(np.where(mask, filled, plane))[:, None]
              for plane, filled in ((lr, 0.0), (sigma, np.inf))]
    kernel = torch.from_numpy(relative_kernel(psf, scale)).expand(2, -1, -1)
    truth = torch.from_numpy(truth)[:, None]
    telescope = (planes[1], kernel, torch.zeros(2))
    return Batch(planes[0], truth, torch.zeros(2, 5), truth, [0, 1], telescope), operator


def test_inconsistency_by_hand():
    batch, operator = observed()
    image = 1.02 * batch.truth
    edge = (..., slice(6, -6), slice(6, -6))
    chi2 = [[((((lr - operator.forward(z)) / sigma)[edge])**2).sum() for lr, z, sigma in zip(
        batch.lr[:, 0].numpy(), images[:, 0].numpy(), batch.telescope[0][:, 0].numpy())]
        for images in (image, batch.truth)]
    ratio = np.log((np.array(chi2[0]) + 1) / (np.array(chi2[1]) + 1))
    assert abs(ratio[0]) < 0.01 and ratio[1] > 1  # two per cent are nothing to a faint image
    found = consistency_loss(asinh_scale(image), batch).item()
    assert found == pytest.approx(np.maximum(ratio, 0).mean(), rel=1e-6)
    assert consistency_loss(asinh_scale(batch.truth), batch).item() == pytest.approx(0, abs=1e-9)


def test_consistency_is_added_by_its_weight(tmp_path):
    """And shows a network of no training the way to images that are nearer to their data."""
    sizes = dict(architecture="unrolled", channels=1, scale=2, iterations=1, blocks=1, features=8,
                 memory=2)
    batch, _ = observed()
    losses = []
    for loss in ({"mse": 1.0}, {"mse": 1.0, "consistency": 0.5}):
        recipe = Recipe("tiny", sizes, training=Training(steps=1, loss=loss, precision="float32"))
        trainer = ConsistencyTrainer(recipe, tmp_path, Distributed("cpu"))
        trainer.network.double()
        output = trainer.network(*batch.inputs("cpu"))
        losses.append(trainer.content(output, batch))
        more = consistency_loss(output, batch)
    assert losses[1].item() == pytest.approx(losses[0].item() + 0.5 * more.item(), rel=1e-9)
    more.backward()
    with torch.no_grad():
        for p in trainer.network.parameters():
            if p.grad is not None:
                p -= 1e-5 * p.grad
        assert consistency_loss(trainer.network(*batch.inputs("cpu")), batch) < more
