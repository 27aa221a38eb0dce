"""Blank skies: unit noise, correlation of the original fields, and no sources."""

from importlib import resources

import numpy as np
import pytest
from astropy.io import fits
from astropy.stats import mad_std
from photutils.segmentation import detect_sources
from photutils.utils.exceptions import NoDetectionsWarning
from scipy import ndimage

from lenssr.data import sky_stamps

COUNTS = {"i": 17, "r": 21}


def neighbours(stamps):
    """Return the correlation coefficients of neighbouring pixels along both axes."""
    return [np.corrcoef(pixels.ravel(), shifted.ravel())[0, 1] for pixels, shifted in (
        (stamps[..., 1:], stamps[..., :-1]), (stamps[..., 1:, :], stamps[..., :-1, :]))]


@pytest.mark.parametrize("band", COUNTS)
def test_noise(band):
    stamps, correlation = sky_stamps(band)
    assert stamps.dtype == np.float32 and stamps.dtype.isnative
    assert stamps.shape == (COUNTS[band], 91, 91)
    assert np.abs(np.median(stamps, axis=(1, 2))).max() < 1 / 32
    assert mad_std(stamps, axis=(1, 2)) == pytest.approx(1, abs=1 / 32)
    # The distribution is close to normal.
    assert stamps.std() == pytest.approx(1, abs=0.02)
    assert np.abs(stamps).max() < 6
    # Edges of replaced blocks reduce the correlation.
    assert 0.9 * correlation < np.mean(neighbours(stamps)) < correlation < 0.2


@pytest.mark.parametrize("band", COUNTS)
def test_sources_were_removed(band):
    stamps, _ = sky_stamps(band)
    for stamp in stamps:
        with pytest.warns(NoDetectionsWarning):
            detect_sources(stamp, 2.5, n_pixels=5)
        smooth = ndimage.gaussian_filter(stamp, 1.5, mode="constant")
        assert smooth.max() < 4.5 * mad_std(smooth)


def test_default_and_unknown_band():
    assert sky_stamps()[0] is sky_stamps("i")[0]
    with pytest.raises(ValueError, match="`band` must be one of i, r, got 'g'"):
        sky_stamps("g")


def test_file_can_be_made_again(shared_data, tmp_path, load_tool):
    make = load_tool("make_sky")
    make.main(shared_data, tmp_path)
    with fits.open(tmp_path / "sky.fits") as made:
        for band in COUNTS:
            stamps, correlation = sky_stamps(band)
            hdu = made[f"SKY_{band}"]
            assert hdu.header["LAG1"] == pytest.approx(correlation, abs=1e-4)
            assert np.abs(hdu.data * make.STEP - stamps).max() <= make.STEP
            assert (hdu.data * make.STEP == stamps).mean() > 0.999


def test_quantization_keeps_the_statistics(shared_data, load_tool):
    make = load_tool("make_sky")
    stamps, _ = sky_stamps("r")
    fields = fits.getdata(shared_data / "sky" / "DES_bg_r.fits").astype(float)
    path = resources.files("lenssr.data") / "sky.fits"
    with resources.as_file(path) as local, fits.open(local) as hdus:
        header = hdus["SKY_R"].header
        for k in (0, 10, 20):
            sky, noise, _, fraction = make.blank_sky(fields[header[f"FIELD{k}"]])
            assert header[f"NOISE{k}"] == pytest.approx(noise, rel=1e-3)
            assert header[f"PATCH{k}"] == pytest.approx(fraction, abs=1e-3) and fraction <= 0.35
            assert (stamps[k] - sky).std() < 1 / 64
            assert stamps[k].std() == pytest.approx(sky.std(), rel=0.005)
            assert neighbours(stamps[k]) == pytest.approx(neighbours(sky), abs=0.0005)
