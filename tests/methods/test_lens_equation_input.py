"""Input validation of the lens equation method."""

import numpy as np
import pytest
from astropy import units as u

from lenssr import superresolve
from lenssr.image import gaussian_psf


def test_bad_input():
    psf = gaussian_psf(3.0, 9)
    image = np.random.default_rng(0).normal(size=(32, 32)) * u.nJy
    with pytest.raises(ValueError, match="`psf` must be given for method 'lens_equation'"):
        superresolve(image, "lens_equation", uncertainty=1.0)
    for side in (12, 101):
        with pytest.raises(ValueError, match="`data` must be an image of 16 to 100 pixels"):
            superresolve(np.random.default_rng(0).normal(size=(side, side)) * u.nJy,
                         "lens_equation", uncertainty=1.0, psf=psf)
    with pytest.raises(ValueError, match="`theta_e` must be a positive number, got -1"):
        superresolve(image, "lens_equation", theta_e=-1)
    with pytest.raises(ValueError, match="`max_components` must be"):
        superresolve(image, "lens_equation", max_components=1.5)
