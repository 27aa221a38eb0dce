"""Lenses that are known, found again in their images."""

import numpy as np
import pytest

from lenssr.evaluate import fit_lens, fit_parameters, fit_scene
from lenssr.image import gaussian_psf
from lenssr.methods import PSFConvolution
from lenssr.simulate import Grid, render

TRUTH = np.array([1.1, 0.1, -0.06, 0.02, -0.03, 0.03, -0.02, 0.2, 1.2, 0.15, 0.1, 0.12, -0.08])


def test_parameters_and_scenes_are_inverse():
    assert fit_parameters(fit_scene(TRUTH)) == pytest.approx(TRUTH)


@pytest.mark.parametrize("fwhm, pixel", [(2.0, 0.16), (3.5, 0.2)])
def test_the_lens_is_found(fwhm, pixel):
    from lenstronomy.Data.pixel_grid import PixelGrid
    from lenstronomy.Data.psf import PSF
    from lenstronomy.ImSim.image_model import ImageModel
    from lenstronomy.LensModel.lens_model import LensModel
    from lenstronomy.LightModel.light_model import LightModel

    # Made by lenstronomy from end to end, its own optics and pixels.
    n, model = 24, fit_scene(TRUTH)
    edge = -(n - 1) / 2 * pixel
    image = 40 * ImageModel(
        PixelGrid(n, n, ra_at_xy_0=edge, dec_at_xy_0=edge,
                  transform_pix2angle=pixel * np.eye(2)),
        PSF("GAUSSIAN", fwhm=np.sqrt(fwhm**2 - 4 * np.log(2) * 2 / 12) * pixel, truncation=6,
            pixel_size=pixel),
        LensModel(model.lens_models), LightModel(model.source_models),
        kwargs_numerics=dict(supersampling_factor=5, supersampling_convolution=True)).image(
            model.lens_kwargs, model.source_kwargs)
    psf = gaussian_psf(fwhm)
    start = TRUTH * np.where(np.arange(13) % 2, 1.03, 0.97)
    found = fit_lens(image, psf, pixel, 4, start)
    assert found[0] == pytest.approx(TRUTH[0], rel=2e-3)
    assert found == pytest.approx(TRUTH, abs=0.05)


def test_noise_moves_the_radius_by_as_much_as_it_should():
    rng, psf = np.random.default_rng(0), gaussian_psf(2.5)
    blur, grid = PSFConvolution(psf, 2, (20, 20)), Grid(40, 0.1)
    image = blur.forward(render(fit_scene(TRUTH), grid)[0])
    slope = (blur.forward(render(fit_scene(TRUTH + 1e-3 * np.eye(13)[0]), grid)[0]) - image) / 1e-3
    noise = image.max() / 100
    found = fit_lens(image + rng.normal(0, noise, image.shape), psf, 0.2, 2, TRUTH * 1.01)[0]
    # With all others known, the error would be the noise over the norm of the slope.
    least = noise / np.linalg.norm(slope)
    assert abs(found - TRUTH[0]) < 20 * least
    assert found != pytest.approx(TRUTH[0], abs=1e-6)
