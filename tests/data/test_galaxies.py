"""Real galaxies: centred, without noise, with the fluxes and sizes of published catalogues."""

from importlib import resources

import numpy as np
import pytest
import torch
from astropy.io import fits
from astropy.table import Table
from photutils.centroids import centroid_com
from photutils.profiles import CurveOfGrowth
from scipy import ndimage

from lenssr.data import galaxy_stamps
from lenssr.lensing import interpol

GALAXIES = galaxy_stamps()
NAMES = [galaxy.name for galaxy in GALAXIES]


@pytest.fixture(scope="module")
def headers():
    path = resources.files("lenssr.data") / "galaxies.fits"
    with resources.as_file(path) as local, fits.open(local) as hdus:
        return [hdu.header.copy() for hdu in hdus[1:]]


def test_list():
    assert len(GALAXIES) >= 18
    assert len(set(NAMES)) == len(GALAXIES)
    assert galaxy_stamps() is not GALAXIES
    assert galaxy_stamps()[0].image is GALAXIES[0].image


@pytest.mark.parametrize("galaxy", GALAXIES, ids=NAMES)
def test_image(galaxy):
    image = galaxy.image
    assert image.dtype == np.dtype(float) and image.dtype.isnative
    assert image.sum() == pytest.approx(1, abs=1e-12)
    assert image.min() == 0
    side = image.shape[0]
    assert image.shape == (side, side) and side % 2 == 1
    assert not np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]]).any()
    centre = centroid_com(image)
    assert np.abs(centre - side // 2).max() < 1
    radii = np.arange(1, side // 2)
    growth = CurveOfGrowth(image, centre, radii)
    growth.normalize()
    half = growth.calc_radius_at_ee(0.5)
    assert galaxy.half_light_radius == pytest.approx(half * galaxy.pixel_scale, rel=0.03)


def test_galaxy_is_a_source_of_the_torch_engine():
    galaxy = GALAXIES[0]
    scale, half = galaxy.pixel_scale, galaxy.image.shape[0] // 2
    axis = scale * torch.arange(-half, half + 1, dtype=torch.float64)
    rendered = interpol(axis[None, :], axis[:, None], {"image": galaxy.image, "scale": scale})
    assert np.allclose(rendered.numpy(), galaxy.image, atol=1e-12)


def test_noise_was_removed(headers):
    # Pixels fainter than the original noise differ from their neighbours by far less.
    for galaxy, header in zip(GALAXIES, headers):
        noise = header["SKYNOISE"]
        detail = galaxy.image - ndimage.uniform_filter(galaxy.image, 3)
        faint = (galaxy.image > 0) & (galaxy.image < noise)
        assert detail[faint].std() < 0.1 * noise
        assert galaxy.image.max() > 9 * noise


def test_fluxes_and_sizes_agree_with_the_catalogue(headers, shared_data):
    # Sersic fits of Mandelbaum et al. exclude the PSF; the stamps include it and end at zero.
    folder = shared_data / "galaxies"
    fit = Table.read(folder / "real_galaxy_catalog_23.5_fits.fits")
    sky = Table.read(folder / "real_galaxy_catalog_23.5.fits")
    n_compared = 0
    for ident, flux, radius, variance in zip(
            fit["IDENT"], fit["flux"][:, 0], fit["hlr"][:, 0], sky["NOISE_VARIANCE"]):
        if f"COSMOS {ident} F814W" in NAMES:
            k = NAMES.index(f"COSMOS {ident} F814W")
            assert np.sqrt(variance) / headers[k]["SKYNOISE"] == pytest.approx(flux, rel=0.1)
            expected = np.hypot(radius, 0.06)
            assert GALAXIES[k].half_light_radius == pytest.approx(expected, rel=0.25)
            n_compared += 1
    assert n_compared == 8


def test_file_can_be_made_again(shared_data, tmp_path, load_tool):
    load_tool("make_galaxies").main(shared_data, tmp_path)
    with fits.open(tmp_path / "galaxies.fits") as made:
        assert len(made) == len(GALAXIES) + 1
        for hdu, galaxy in zip(made[1:], GALAXIES):
            assert np.allclose(hdu.data, galaxy.image, rtol=1e-5, atol=1e-7 * galaxy.image.max())
