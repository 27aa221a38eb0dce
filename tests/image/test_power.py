"""Transfer and correlation of Gaussian random fields through filters that are known."""

import numpy as np
import pytest

from lenssr.evaluate import FREQUENCIES, radial_power, transfer_function


def fields(rng, n=40, side=64, slope=-1.5):
    """Gaussian random fields of a power law, cut from larger ones: their edges do not meet."""
    f = np.hypot(np.fft.fftfreq(2 * side)[:, None], np.fft.rfftfreq(2 * side)[None, :])
    f[0, 0] = np.inf
    for _ in range(n):
        white = np.fft.rfft2(rng.normal(size=(2 * side, 2 * side)))
        yield f, white * f**slope, side


def cut(spectrum, side):
    return np.fft.irfft2(spectrum, s=(2 * side, 2 * side))[:side, :side]


def test_a_linear_filter():
    rng, power = np.random.default_rng(0), 0
    for f, spectrum, side in fields(rng):
        kernel = np.exp(-((f / 0.35) ** 2))
        kernel[0, 0] = 1
        power = power + radial_power(cut(spectrum * kernel, side), cut(spectrum, side))
    t, r = transfer_function(power)
    # Of the mean power over a ring, of a spectrum that falls as 1 / k^3 with k dk modes.
    k = FREQUENCIES[2:12, None] + np.linspace(-1, 1, 101) / 64
    expected = np.sqrt((k**-2 * np.exp(-2 * (k / 0.35) ** 2)).sum(1) / (k**-2).sum(1))
    assert t[2:12] == pytest.approx(expected, rel=0.05)
    assert r[2:12] == pytest.approx(1, abs=0.02)


def test_noise_adds_power_but_no_phase():
    rng, power = np.random.default_rng(1), 0
    noise = 0.7
    for _, spectrum, side in fields(rng, slope=0.0):
        image = cut(spectrum, side)
        power = power + radial_power(image + rng.normal(0, noise, image.shape), image)
    t, r = transfer_function(power)
    assert t == pytest.approx(np.sqrt(1 + noise**2), rel=0.05)
    assert r == pytest.approx(1 / np.sqrt(1 + noise**2), rel=0.05)


def test_total_is_parsevals():
    from scipy.signal.windows import hann

    rng = np.random.default_rng(2)
    image, truth = rng.normal(size=(2, 33, 40))
    window = np.outer(hann(33, sym=False), hann(40, sym=False))
    sums = []
    for first, second in ((image, image), (truth, truth), (image, truth)):
        spectrum = np.fft.fft2(window * first) * np.fft.fft2(window * second).conj()
        f = np.hypot(np.fft.fftfreq(33)[:, None], np.fft.fftfreq(40)[None, :])
        sums.append(spectrum.real[(f > 0) & (f < 0.5)].sum())
    assert radial_power(image, truth).sum(axis=1) == pytest.approx(sums)


def test_what_crosses_the_frame_does_not_leak():
    y, x = np.indices((64, 64))
    ramp = x + 0.3 * y
    power = radial_power(ramp, ramp)[1]
    assert power[4:].sum() < 1e-5 * power.sum()


def test_opposite_images_have_opposite_phase():
    rng = np.random.default_rng(3)
    image = rng.normal(size=(32, 32))
    t, r = transfer_function(radial_power(-2 * image, image))
    assert t[1:] == pytest.approx(2) and r[1:] == pytest.approx(-1)
    # In a small image, there is but the mean in the first ring.
    assert np.isnan(t[0])
