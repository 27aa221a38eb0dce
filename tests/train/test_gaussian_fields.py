"""Gaussian random fields, of which the least possible error is known in closed form."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from lenssr.evaluate import OptimalLinearFilter
from lenssr.image import FWHM_PER_SIGMA, TARGET_FWHM, gaussian_psf, relative_kernel
from lenssr.methods import ForwardModel
from lenssr.networks import psf_features, sinh_scale
from lenssr.train import Batch, Distributed, Pairs, Recipe, Trainer, Training

SCALE, SIDE, SEEING = 2, 32, 3.0  # sides in input pixels; FWHM of the effective PSF
LEVEL = 10.0  # rms of a field in units of the noise
SLOPE, TURN = 3.0, 0.06  # of the spectrum of the scene; cycles per output pixel
MARGIN = 6  # input pixels of the period that are shown once more around it


class Fields(Pairs):
    r"""
    Periodic Gaussian random fields through a telescope, with white noise of one.

    The scene's power is :math:`(1 + (k / k_0)^2)^{-\gamma/2}`, and the field :math:`t` that is to
    be found is the scene at the declared resolution. The data are its convolution with the relative
    kernel, at every second pixel.

    Parameters
    ----------
    side : int
        Period in input pixels.
    margin : int
        Input pixels of the period that a batch shows again around it.
    level : float
        Standard deviation of a pixel of the field, that of the noise being one.
    seed : int
        Of the fields to train on.
    """

    n, scale = None, SCALE

    def __init__(self, side=SIDE, margin=MARGIN, level=LEVEL, seed=1):
        self.side, self.margin, self.seed = side, margin, seed
        self.psf = gaussian_psf(SEEING, 15)
        self.kernel = relative_kernel(self.psf, SCALE)
        fine = SCALE * side
        f = np.fft.fftfreq(fine)
        k = np.hypot(f[:, None], f[None, :])
        scene = (1 + (k / TURN) ** 2) ** (-SLOPE / 2)
        scene[0, 0] = 0
        target = np.exp(-2 * (np.pi * TARGET_FWHM / FWHM_PER_SIGMA * k) ** 2)
        power = scene * target**2
        # Of the coefficients of numpy's FFT: the variance of a pixel is their sum over fine**4.
        self.power = power * level**2 * fine**4 / power.sum()
        # Output pixel j and input pixel i meet at element scale i + scale (n + 1) / 2 - 1 - j.
        wrapped = np.zeros((fine, fine))
        rows, columns = (np.arange(n) - SCALE * (n // SCALE + 1) // 2 + 1
                         for n in self.kernel.shape)
        np.add.at(wrapped, np.ix_(rows % fine, columns % fine), self.kernel / SCALE**2)
        self.transfer = np.fft.fft2(wrapped)

    def aliases(self, spectrum):
        """Spectrum of the fine grid by frequency of the data, the aliases on the last axis."""
        n = self.side
        return spectrum.reshape(SCALE, n, SCALE, n).transpose(1, 3, 0, 2).reshape(n, n, SCALE**2)

    def mmse(self):
        r"""
        The least mean square error, of a pixel.

        The data at frequency :math:`q` are the sum of the :math:`s^2` frequencies that alias to
        it, :math:`y_q = s^{-2} \sum_m H_m t_m + n_q`, and no others are correlated with them. So
        of their variance :math:`\sum_m P_m` remains
        :math:`\sum_m P_m - \sum_m |H_m P_m|^2 s^{-4} / (s^{-4} \sum_m |H_m|^2 P_m + N)`.
        """
        gain, prior = self._gain(), self.aliases(self.power)
        left = prior - (gain * self.aliases(self.transfer) / SCALE**2 * prior).real
        return left.sum() / (SCALE * self.side) ** 4

    def _gain(self):
        """Weights of the datum of each frequency for its aliases."""
        transfer, prior = self.aliases(self.transfer) / SCALE**2, self.aliases(self.power)
        data = (np.abs(transfer) ** 2 * prior).sum(axis=-1) + self.side**2
        return prior * transfer.conj() / data[..., None]

    def wiener(self, data):
        """The posterior mean of data ``(side, side)``."""
        found = self._gain() * np.fft.fft2(data)[..., None]
        n = self.side
        found = found.reshape(n, n, SCALE, SCALE).transpose(2, 0, 3, 1)
        return np.fft.ifft2(found.reshape(SCALE * n, SCALE * n)).real

    def draw(self, count, rng):
        """Data and fields, arrays of ``count``."""
        white = rng.standard_normal((count, *self.power.shape))
        spectra = np.fft.fft2(white) * np.sqrt(self.power) / (SCALE * self.side)
        fields = np.fft.ifft2(spectra).real
        clean = np.fft.ifft2(spectra * self.transfer).real[:, ::SCALE, ::SCALE]
        return clean + rng.standard_normal(clean.shape), fields

    def batch(self, step, batch, rank=0, world=1):
        return self.as_batch(*self.draw(batch, np.random.default_rng([self.seed, step])))

    def as_batch(self, data, fields):
        """Tensors as a network is shown them, with a part of the next period around."""
        def wrap(array, width):
            array = torch.as_tensor(array, dtype=torch.float32)[:, None]
            return functional.pad(array, (width,) * 4, mode="circular") if width else array

        lr, hr = wrap(data, self.margin), wrap(fields, SCALE * self.margin)
        count = len(lr)
        psf = torch.as_tensor(self.psf, dtype=torch.float32).expand(count, -1, -1)
        kernel = torch.as_tensor(self.kernel, dtype=torch.float32).expand(count, -1, -1)
        return Batch(lr, hr, psf_features(psf), hr, list(range(count)),
                     (torch.ones_like(lr), kernel, torch.zeros(count)))


def decibel(mse, least):
    return 10 * np.log10(mse / least)


@pytest.fixture(scope="module")
def fields():
    return Fields()


def test_transfer_is_the_telescope(fields):
    rng = np.random.default_rng(0)
    spectrum = np.fft.fft2(fields.draw(1, rng)[1][0])
    seen = np.fft.ifft2(spectrum * fields.transfer).real[::SCALE, ::SCALE]
    image = np.fft.ifft2(spectrum).real
    expected = ForwardModel(fields.psf, SCALE, (SIDE, SIDE)).forward(image)
    np.testing.assert_allclose(seen[8:-8, 8:-8], expected[8:-8, 8:-8], atol=1e-9)


def test_least_error_is_that_of_the_normal_equations():
    # The same on a small grid by the covariances between all pixels, with no Fourier transform of
    # the observation: that of each output pixel is what the telescope makes of it alone.
    small = Fields(side=16)
    fine = SCALE * small.side
    covariance = np.fft.ifft2(small.power).real / fine**2
    rows = np.arange(fine)
    lag = (rows[:, None] - rows[None, :]) % fine
    prior = covariance[lag[:, None, :, None], lag[None, :, None, :]].reshape(fine**2, fine**2)
    kernel, n = small.kernel / SCALE**2, small.kernel.shape[0] // SCALE
    observe = np.zeros((small.side**2, fine**2))
    for i in range(small.side):
        for k in range(kernel.shape[0]):
            j = (SCALE * i + SCALE * (n + 1) // 2 - 1 - k) % fine
            for i2 in range(small.side):
                j2 = (SCALE * i2 + SCALE * (n + 1) // 2 - 1 - np.arange(kernel.shape[1])) % fine
                np.add.at(observe, (i * small.side + i2, j * fine + j2), kernel[k])
    cross = prior @ observe.T
    data = observe @ cross + np.eye(small.side**2)
    left = np.trace(prior) - np.trace(cross @ np.linalg.solve(data, cross.T))
    assert small.mmse() == pytest.approx(left / fine**2, rel=1e-9)


def test_posterior_mean_reaches_it(fields):
    data, truth = fields.draw(200, np.random.default_rng(3))
    exact = np.mean([(fields.wiener(y) - t) ** 2 for y, t in zip(data, truth)])
    assert decibel(exact, fields.mmse()) == pytest.approx(0, abs=0.04)


def test_optimal_linear_filter_reaches_it(fields):
    rng = np.random.default_rng(4)
    wide = Fields(side=64)
    linear = OptimalLinearFilter(size=15, scale=SCALE)
    for data, truth in zip(*wide.draw(30, rng)):
        linear.add(data, truth)
    errors, inner = [], slice(SCALE * MARGIN, -SCALE * MARGIN)
    for data, truth in zip(*wide.draw(10, rng)):
        found = linear.apply(data)
        errors.append([np.mean((image - truth)[inner, inner] ** 2)
                       for image in (found, wide.wiener(data))])
    assert 0 < decibel(*np.mean(errors, axis=0)) < 0.05


def trained(fields, folder, steps, rate, sizes):
    """An unrolled network after so many steps on fields, by the loop of all trainings."""
    recipe = Recipe(
        "fields", dict(architecture="unrolled", scale=SCALE, **sizes),
        training=Training(steps=steps, batch=8, learning_rate=rate, warmup=50, ema=0.99,
                          weight_decay=0.0, precision="float32", loss={"mse_linear": 1.0}))
    with Distributed("cpu") as team:
        trainer = Trainer(recipe, folder, team)
        trainer.resume()
        trainer.set_schedule(fields)
        while not trainer.done:
            trainer.advance(fields)
        return trainer.average


def excess(network, fields, count=64):
    """Error of a network on unseen fields over that of their posterior mean, in dB."""
    rng = np.random.default_rng([fields.seed + 1, 0])
    crop, errors = slice(SCALE * fields.margin, -SCALE * fields.margin), []
    for _ in range(count // 8):
        data, truth = fields.draw(8, rng)
        with torch.no_grad():
            found = sinh_scale(network(*fields.as_batch(data, truth).inputs("cpu"))).numpy()
        exact = np.stack([fields.wiener(y) for y in data])
        errors.append([np.mean((image - truth) ** 2) for image in (found[:, 0, crop, crop], exact)])
    return decibel(*np.mean(errors, axis=0))


def test_small_network_comes_close(tmp_path):
    fields = Fields(level=3.0)
    network = trained(fields, tmp_path, 120, 1e-3,
                      dict(iterations=2, blocks=1, features=16, memory=4))
    assert 0 < excess(network, fields) < 0.1


@pytest.mark.slow
def test_network_is_optimal(fields, tmp_path):
    network = trained(fields, tmp_path, 800, 3e-3,
                      dict(iterations=3, blocks=2, features=24, memory=8))
    assert 0 < excess(network, fields) < 0.05
