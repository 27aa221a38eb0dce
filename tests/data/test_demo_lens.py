"""The demonstration lens: contents, consistency of both images, and reproducibility."""

from importlib import resources

import numpy as np
import pytest
from astropy import units as u
from scipy import ndimage

from lenssr.data import demo_lens
from lenssr.image import parse_image
from lenssr.methods import PSFConvolution

FOLDER = resources.files("lenssr.data")


@pytest.fixture(scope="module")
def pair():
    return demo_lens()


def test_contents(pair):
    assert pair.scale == 2
    assert pair.lr.unit == pair.hr.unit == u.electron / u.s
    assert pair.lr.uncertainty.array.min() > 0
    assert pair.lr.psf.sum() == pytest.approx(1, abs=1e-6)
    assert pair.hr.wcs.wcs.cdelt[1] * 3600 == pytest.approx(0.1)
    corners = [image.wcs.pixel_to_world(-0.5, -0.5) for image in (pair.lr, pair.hr)]
    assert corners[0].separation(corners[1]).arcsec < 1e-6
    assert pair.truth["source"].startswith("HST ACS")
    assert len((FOLDER / "slacs0946_ground.fits").read_bytes()) < 300_000
    assert "MIT licence" in (FOLDER / "README.rst").read_text()


def test_both_images_show_one_scene(pair):
    # The truth at the PSF of the data and the data at the PSF of the truth, a Gaussian with a FWHM
    # of one input pixel, differ by the noise of the data only.
    def blurred(image):
        spectrum = ndimage.fourier_gaussian(np.fft.fft2(image), 1 / 2.354820045)
        return np.fft.ifft2(spectrum).real

    model = PSFConvolution(pair.lr.psf, 2, pair.lr.shape).forward(pair.hr.data)
    point = np.zeros(pair.lr.shape)
    point[32, 32] = 1
    noise = pair.lr.uncertainty.array * np.linalg.norm(blurred(point))
    # Light from outside the truth affects the edges.
    chi = ((blurred(pair.lr.data) - model) / noise)[16:-16, 16:-16]
    # Convolution correlates neighbours: 1,024 pixels have the weight of 720.
    assert np.mean(chi**2) == pytest.approx(1, abs=4 * np.sqrt(2 / 720))
    assert abs(chi.mean()) < 4 * 1.4 / np.sqrt(1024)


def test_file_is_an_input():
    with resources.as_file(FOLDER / "slacs0946_ground.fits") as path:
        parsed = parse_image(path)
    assert parsed.noise_given
    assert parsed.planes[0].shape == (64, 64)
    assert parsed.planes[0].psf is not None


def test_file_can_be_made_again(pair, shared_data, tmp_path, load_tool):
    load_tool("make_demo").main(shared_data / "hst_slacs0946", tmp_path)
    made = parse_image(tmp_path / "slacs0946_ground.fits").planes[0]
    # The file has single precision.
    assert np.allclose(made.data, pair.lr.data, rtol=1e-5, atol=1e-5 * pair.lr.data.max())
    assert np.allclose(made.psf, pair.lr.psf, atol=1e-6)


def test_data_files_are_small_and_documented():
    files = [path for path in FOLDER.iterdir() if path.name.endswith(".fits")]
    assert sum(len(path.read_bytes()) for path in files) < 3_000_000
    readme = (FOLDER / "README.rst").read_text()
    for path in files:
        assert f"``{path.name}``\n" in readme
