"""Sky positions of the WCSs of real files, rescaled and written."""

import os
import warnings

import numpy as np
import pytest
from astropy.utils.data import get_pkg_data_filename
from astropy.wcs import WCS, FITSFixedWarning
from wcs_cases import assert_same_sky, gnomonic, offset_in_pixels, open_case, random_pixels, written

from lenssr.image import (
    read_wcs,
    rescale_wcs,
    wcs_from_hdus,
)

# Every image of the shared folder with a celestial WCS: file, extension, distortion.
FILES = [
    ("1904-66_TAN.fits", 0, ""),
    ("DECam_00154912_12_header.fits", 0, "hidden"),  # TAN with PV, no pixels
    ("astropy_dist_lookup.fits.gz", 1, "sip tables"),
    ("astropy_irac_sip.hdr", 0, "sip"),
    ("astropy_j94f05bgq_flt.fits", 1, "sip"),  # 1 x 1
    ("astropy_j94f05bgq_flt.fits", 2, ""),  # no pixels
    ("astropy_j94f05bgq_flt.fits", 4, "sip"),
    ("astropy_m13_rice.fits", 1, ""),  # CROTA
    ("astropy_sip-broken.hdr", 0, "sip"),
    ("astropy_sip-wcs.fits", 0, "sip"),
    ("astropy_sip.fits", 0, "sip"),
    ("astropy_siponly.hdr", 0, "sip"),
    ("astropy_too_many_pv.hdr", 0, "sip"),
    ("astropy_tpvonly.hdr", 0, "hidden"),
    ("sipsample.fits", 0, "sip"),
    ("tanpv.fits", 0, "hidden"),
    ("tpv.fits", 0, "hidden"),
]

# Of astropy's own test data: a plate solution, other projections, a cube with CD.
ASTROPY_FILES = [
    ("dss.14.29.56-62.41.05.fits.gz", "hidden"),
    ("maps/1904-66_ZPN.hdr", ""),
    ("maps/1904-66_CAR.hdr", ""),
    ("maps/1904-66_COE.hdr", ""),
    ("maps/1904-66_HPX.hdr", ""),
    ("maps/1904-66_NCP.hdr", ""),
    ("ie6d07ujq_wcs.fits", "detector"),
]


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize(("name", "extension", "kind"), FILES)
def test_files_keep_their_sky(shared_data, name, extension, kind, scale):
    header, hdus = open_case(shared_data / "wcs" / name, extension)
    check_file(header, hdus, kind, scale)


@pytest.mark.parametrize("scale", [1, 3])
@pytest.mark.parametrize(("name", "kind"), ASTROPY_FILES)
def test_astropys_files_keep_their_sky(name, kind, scale):
    try:
        path = get_pkg_data_filename(os.path.join("data", name), package="astropy.wcs.tests")
    except (OSError, ImportError):
        pytest.skip("this astropy comes without its test data")
    header, hdus = open_case(path)
    check_file(header, hdus, kind, scale)


def check_file(header, hdus, kind, scale):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        truth = WCS(header, hdus)  # what astropy makes of it, warnings and all
    old = read_wcs(header, hdus)
    pixels = random_pixels(old)
    assert old.pixel_shape == truth.pixel_shape or truth.pixel_shape is None
    np.testing.assert_array_equal(
        old.all_pix2world(*pixels, 1), truth.all_pix2world(*pixels, 1)
    )
    # the case is what it says: a distortion that is not there proves nothing
    assert ("sip" in kind) == (old.sip is not None)
    assert ("tables" in kind) == (old.cpdis1 is not None)
    assert ("detector" in kind) <= (old.det2im1 is not None)
    if kind:
        core = old.wcs.crval, old.wcs.crpix, old.pixel_scale_matrix
        xi, eta = core[2] @ (pixels - core[1][:, None])
        plain = gnomonic(xi, eta, *core[0])
        exact = old.all_pix2world(*pixels, 1)
        neighbour = old.all_pix2world(pixels[0] + 1, pixels[1], 1)
        assert offset_in_pixels(exact, plain, neighbour) > 1e-3
    new = rescale_wcs(old, scale)
    if old.pixel_shape is not None:
        assert new.pixel_shape == tuple(n * scale for n in old.pixel_shape)
        assert new.array_shape == new.pixel_shape[::-1]
    assert_same_sky(old, new, scale, pixels)
    new_header, new_hdus = written(new, header)
    with new_hdus:
        back = wcs_from_hdus(new_header, new_hdus)
        assert_same_sky(old, back, scale, pixels)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FITSFixedWarning)
            plain = WCS(new_header, new_hdus)  # any other reader
        assert_same_sky(old, plain, scale, pixels)
