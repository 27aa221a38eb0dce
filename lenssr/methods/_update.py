"""Posterior samples, once more set against the data: an ensemble Kalman filter."""

from dataclasses import replace

import numpy as np

from lenssr.methods._consistency import DataResidual
from lenssr.methods._projection import RegularisedInverse

__all__ = ["KalmanUpdate"]

ACCURACY = 1e-2  # of the conjugate gradients, relative to the residual


class KalmanUpdate:
    r"""
    Samples moved as far as their spread allows to where they explain the data.

    A network that draws samples does not make the most of data of high signal to noise: what it
    draws is wider than it has to be where the data know better. With the variance :math:`V` of its
    samples for that of a prior, each sample :math:`x` becomes

    .. math:: x' = x + V A^\mathsf{T} (A V A^\mathsf{T} + N)^{-1} (y + \epsilon - A x),

    where :math:`\epsilon` is a draw of the noise :math:`N`, which keeps the spread of the samples
    that of their errors (Burgers, van Leeuwen & Evensen 1998,
    doi:10.1175/1520-0493(1998)126<1719:ASITEK>2.0.CO;2).
    """

    def __init__(self, image, run, std, correlation):
        image = replace(image, sigma=image.sigma * (1 + 2 * correlation))
        self.misfit, self.seed = DataResidual(image, run.scale, run.tile), run.seed
        self.inverse = RegularisedInverse(self.misfit, std**2, ACCURACY)

    def __call__(self, sample, number):
        """A sample, moved."""
        rng = np.random.default_rng([self.seed, number, 17])
        noise = rng.standard_normal(self.misfit.weight.shape) * (self.misfit.weight > 0)
        return sample + self.inverse(self.misfit.residual(sample) + noise)
