"""A pair that is measured on, and what a method made of it."""

from functools import cached_property

import numpy as np

from lenssr._forward_model import ForwardModel
from lenssr.evaluate._fidelity.moments import adaptive_moments
from lenssr.evaluate._prepare import prepare
from lenssr.image import expand_mask, sigma_from
from lenssr.uncertainty import sky_level

__all__ = ["Restored", "Sample"]


class Sample:
    """A pair with what is known of it."""

    def __init__(self, pair, index=0, number=0, psf=None):
        # A range of one: everything stays in the unit of the target.
        self.pair, self.index, self.number, self.psf = pair, index, number, psf
        self.ready = prepare(pair, psf=psf, assumed_snr=None, data_range=1.0, least=-np.inf)
        if self.ready is None:
            raise ValueError("`pairs` must have a pixel that is not masked in each pair, number "
                             f"{number} has none")
        self.kind = str(pair.truth.get("kind", ""))
        self.scale, self.mask, self.truth = self.ready.scale, self.ready.mask, self.ready.best
        self.truth_noise = (self.ready.noise or 0.0) if self.ready.truth is None else 0.0
        plane = self.ready.plane
        self.noise = expand_mask(plane.sigma, self.scale) / self.ready.span
        self.level = sky_level(plane.data, plane.mask, plane.noise) / self.ready.span

    def signal_to_noise(self, where=True):
        r"""Signal to noise of the input, :math:`\sqrt{\sum (s / \sigma)^2}` over its pixels."""
        plane, light = self.ready.plane, np.where(where, self.truth * self.ready.span, 0.0)
        light[self.mask] = 0.0
        if plane.psf is not None:
            seen = ForwardModel(plane.psf, self.scale, plane.shape).forward(light)
        else:
            (ny, nx), s = plane.shape, self.scale
            seen = light.reshape(ny, s, nx, s).mean(axis=(1, 3))
        return float(np.sqrt(np.sum((seen / plane.sigma)[~plane.mask] ** 2)))

    @cached_property
    def snr(self):
        """Signal to noise of all the light."""
        return self.signal_to_noise()

    @cached_property
    def brightest(self):
        """Place ``x, y`` of the brightest pixel of the truth."""
        light = np.where(self.mask, -np.inf, self.truth)
        return np.array(np.unravel_index(np.argmax(light), light.shape)[::-1], dtype=float)

    @cached_property
    def moments(self):
        """`Moments` of what is brightest in the truth, or None."""
        return adaptive_moments(self.truth, self.brightest, mask=self.mask)

    def rng(self):
        """Random numbers of this pair, the same for every method."""
        return np.random.default_rng([self.index, 7])


class Restored:
    """What a method made of a `Sample`."""

    def __init__(self, sample, result):
        self.sample, self.result = sample, result
        self.image = np.where(sample.mask, sample.truth, np.asarray(result.data, dtype=float))
        nowhere = np.zeros(self.image.shape, dtype=bool)
        self.sigma = sigma_from(result.uncertainty, nowhere, result.unit)[0]

    @property
    def difference(self):
        """Result minus truth."""
        return self.image - self.sample.truth
