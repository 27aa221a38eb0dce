"""A result in two parts: what its data determine, and the rest."""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from lenssr.image import FWHM_PER_SIGMA, TARGET_FWHM
from lenssr.methods import DataResidual, RegularisedInverse
from lenssr.uncertainty import sky_level

__all__ = ["Parts", "parts_of", "split"]

ACCURACY = 1e-4  # of the inverse: the share is good to 0.002 then
CHANCE = 3.0     # standard deviations of the power of noise beyond which there is a source


class Parts(NamedTuple):
    """A result in two parts, as surface brightness in the values of the data."""

    measured: np.ndarray
    imagined: np.ndarray

    @property
    def share(self):
        """Share of their rms over the target PSF that is imagined; one where there is nothing."""
        rms = [np.sqrt(np.maximum(ndimage.gaussian_filter(
            part**2, TARGET_FWHM / FWHM_PER_SIGMA), 0)) for part in self]
        total = rms[0] + rms[1]
        return np.divide(rms[1], total, out=np.ones(total.shape), where=total > 0)


def parts_of(subject):
    """What was measured and what was imagined of the first result of a `Subject`."""
    image, result = subject.image, subject.result
    if image.psf is None:
        raise ValueError("`psf` must be given for a prior map, got None")
    if not subject.degrades(result):
        raise ValueError("`subject` must be a result of the declared resolution (SRPSF 'target'), "
                         f"got SRPSF {result.header.get('SRPSF')!r}")
    level = sky_level(image.data, image.mask, image.noise)
    return split(image, np.nan_to_num(result.data) / subject.share - level, subject.scale, level)


def split(image, values, scale, level=0.0):
    """The parts of an image of the declared resolution."""
    # What is beyond the image is no matter of the method.
    misfit = DataResidual(image, scale, edges=True)
    inverse = RegularisedInverse(misfit, _scene_variance(misfit, level), ACCURACY)
    measured = inverse(misfit.operator.forward(values) * misfit.weight)
    return Parts(measured, values - measured)


def _scene_variance(misfit, level):
    """Variance of the white scene that gives the data about each output pixel their power."""
    image = misfit.image
    chance = 1 + CHANCE * np.sqrt(2 * np.sum(image.psf**2))
    power = (image.data - level) ** 2 - chance * image.sigma**2
    return np.maximum(np.nan_to_num(misfit.local_mean(power)), 0) / misfit.gain
