"""What changes along a training."""

import numpy as np
import pytest
import torch

from lenssr.train import LearningRateSweep, Training, flux_weight, learning_rate, scheduled


def test_learning_rate_warms_up_and_falls_to_zero():
    training = Training(steps=100, warmup=10, learning_rate=1.0)
    rates = [learning_rate(step, training) for step in range(101)]
    assert rates[:10] == pytest.approx(np.arange(1, 11) / 10)
    assert (np.diff(rates[10:]) < 0).all()
    assert rates[100] == pytest.approx(0)
    assert rates[55] == pytest.approx(0.5)


def test_one_cycle_is_that_of_torch():
    training = Training(steps=80, warmup=24, learning_rate=0.02, schedule="one-cycle")
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=80, pct_start=0.3)
    for step in range(80):
        assert learning_rate(step, training) == pytest.approx(cycle.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        if step < 79:
            cycle.step()


def test_cycles_are_alike():
    once = Training(steps=40, warmup=8, learning_rate=0.3)
    thrice = Training(steps=120, warmup=8, learning_rate=0.3, cycles=3)
    for what in (learning_rate, flux_weight):
        assert [what(k, thrice) for k in range(120)] == 3 * [what(k, once) for k in range(40)]


def test_the_last_cycle_is_gentler():
    once, thrice = (Training(steps=40 * n, warmup=8, learning_rate=0.3, cycles=n, last_cycle=0.2)
                    for n in (1, 3))
    first = np.array([learning_rate(k, once) for k in range(40)])
    np.testing.assert_allclose([learning_rate(k, thrice) for k in range(120)],
                               np.concatenate([first, first, 0.2 * first]))


def test_flux_counts_for_more_in_the_end():
    training = Training(steps=100, flux_weight=0.1, flux_weight_end=0.4)
    assert [flux_weight(step, training) for step in (0, 50, 75, 100)] == pytest.approx(
        [0.1, 0.1, 0.2, 0.4])


def test_epochs_are_steps():
    training = Training(epochs=120, batch=16)
    assert scheduled(training, 1603).steps == 120 * 100
    assert scheduled(training, 1603, world=2).steps == 120 * 50
    assert scheduled(Training(steps=7), None).steps == 7


def test_learning_rates_of_a_known_curve():
    """A fall whose steepest place and whose end are put there by hand."""
    rates = np.geomspace(1e-6, 1, 241)
    log = np.log10(rates)
    losses = 1 / (1 + 10 ** (2 * (log + 3))) + 0.05 * np.maximum(log + 1.5, 0) ** 2
    found = LearningRateSweep.of(rates, losses)
    # The running mean lags by about nine steps, a quarter of a decade.
    assert -3.1 < np.log10(found.steepest) < -2.5
    assert -2.5 < np.log10(found.tenth) < -2.0
    assert found.suggestion == found.tenth
