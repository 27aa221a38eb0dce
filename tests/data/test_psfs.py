"""Measured PSFs: normalized, centred, and of the width of their telescopes."""

from importlib import resources

import numpy as np
import pytest
from astropy.io import fits
from photutils.centroids import centroid_com
from photutils.psf import fit_fwhm

from lenssr.data import measured_psfs

COUNTS = {"HSC": 15, "HST": 5, "JWST": 3}
SCALES = {"HSC": 0.168, "HST": 0.0396, "JWST": 0.03123}
PSFS = [(telescope, psf) for telescope in COUNTS for psf in measured_psfs(telescope)]
# Range of FWHMs in arcsec. HSC: wide survey (2022PASJ...74..247A, table 1), wider in g and y. HST:
# 1.6 to 2.3 pixels (MultiDrizzle Handbook, 6.6). JWST: one pixel without the pixel response
# (2022MNRAS.517..484N).
FWHM = {"HSC": (0.45, 0.9), "HST": (0.063, 0.091), "JWST": (0.031, 0.062)}


def test_counts():
    for telescope, count in COUNTS.items():
        assert len(measured_psfs(telescope)) == count
    assert len({psf.name for _, psf in PSFS}) == len(PSFS)
    assert measured_psfs("HSC") is not measured_psfs("HSC")


@pytest.mark.parametrize(("telescope", "psf"), PSFS, ids=[psf.name for _, psf in PSFS])
def test_kernel(telescope, psf):
    kernel = psf.kernel
    assert kernel.dtype == np.dtype(float) and kernel.dtype.isnative
    assert kernel.sum() == pytest.approx(1, abs=1e-12)
    assert kernel.shape[0] == kernel.shape[1] <= 41 and kernel.shape[0] % 2 == 1
    assert psf.pixel_scale == SCALES[telescope]
    centre = kernel.shape[0] // 2
    assert np.unravel_index(kernel.argmax(), kernel.shape) == (centre, centre)
    core = kernel[centre - 5:centre + 6, centre - 5:centre + 6]
    offset = np.hypot(*(centroid_com(core) - 5))
    assert offset < {"HSC": 0.1, "HST": 0.25, "JWST": 0.5}[telescope]
    # The kernels have no background and no negative pixels beyond noise.
    border = np.concatenate([kernel[0], kernel[-1], kernel[:, 0], kernel[:, -1]])
    assert abs(np.median(border)) < 2e-3 * kernel.max()
    assert kernel.min() > -1e-3 * kernel.max()


@pytest.mark.parametrize(("telescope", "psf"), PSFS, ids=[psf.name for _, psf in PSFS])
def test_width(telescope, psf):
    fwhm = fit_fwhm(psf.kernel, fwhm=3, fit_shape=9) * psf.pixel_scale
    low, high = FWHM[telescope]
    assert low < fwhm[0] < high


def test_unknown_telescope():
    with pytest.raises(ValueError, match="`telescope` must be one of HSC, HST, JWST, got 'DES'"):
        measured_psfs("DES")


def test_file_can_be_made_again(shared_data, tmp_path, load_tool):
    load_tool("make_psfs").main(shared_data, tmp_path)
    path = resources.files("lenssr.data") / "psfs.fits"
    with (resources.as_file(path) as local, fits.open(local) as packaged,
          fits.open(tmp_path / "psfs.fits") as made):
        assert len(made) == len(packaged) == len(PSFS) + 1
        for new, hdu in zip(made[1:], packaged[1:]):
            assert np.allclose(new.data, hdu.data, rtol=1e-5, atol=1e-7)
            assert new.header["OBJECT"] == hdu.header["OBJECT"]
            assert np.hypot(hdu.header["XOFFSET"], hdu.header["YOFFSET"]) < 0.45
