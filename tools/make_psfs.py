"""
Make the measured PSFs: ``python -m lenssr.data._make_psfs FOLDER``.

FOLDER holds the folders ``psfs`` and ``hsc_hst_cosmos``; README.rst says from where.
"""

import sys
from pathlib import Path

import numpy as np
from astropy.io import fits
from photutils.centroids import centroid_2dg
from scipy import ndimage

from lenssr.data._files import PSF_FILE

HALF = 20                   # pixels, the most on either side of the centre
CORE = 7                    # pixels on either side in which the centroid is taken
HSC_SCALE = 0.168           # arcsec
UVIS_SCALE = 0.0396         # arcsec
OVERSAMPLING = 4            # of the library of WFC3/UVIS
COLUMNS = 7                 # of its grid of places on the detector
JWST_STARS = 0, 2, 3        # the others are half a pixel off the centre


def main(folder):
    """Write the file into the package."""
    hdus = fits.HDUList([fits.PrimaryHDU()])
    for telescope, name, band, origin, scale, kernel in (
            *hsc(Path(folder) / "hsc_hst_cosmos"), *uvis(Path(folder) / "psfs"),
            *jwst(Path(folder) / "psfs")):
        kernel = trim(kernel / kernel.sum(), HALF)
        hdu = fits.ImageHDU((kernel / kernel.sum()).astype(np.float32))
        x, y = offset(kernel / kernel.sum())
        for key, value, comment in (
                ("OBJECT", name, None), ("TELESCOP", telescope, None), ("FILTER", band, None),
                ("ORIGIN", origin, None), ("PIXSCALE", scale, "[arcsec]"),
                ("XOFFSET", round(x, 3) + 0.0, "[pixel] of the centroid from the centre"),
                ("YOFFSET", round(y, 3) + 0.0, "[pixel]")):
            hdu.header[key] = value, comment
        hdus.append(hdu)
    hdus.writeto(Path(__file__).with_name(PSF_FILE), overwrite=True)


def hsc(folder):
    """Five bands in three fields; they are well sampled, and shifted to the centre."""
    def kernels():
        yield "PSF_HSC.fits", "grizy", fits.getdata(folder / "PSF_HSC.fits")
        for name in ("hsc_cosmos.npz", "hsc_cosmos_35.npz"):
            with np.load(folder / name) as parts:
                yield name, parts["filters"].tolist(), parts["psfs"]

    for field, (origin, bands, psfs) in enumerate(kernels(), 1):
        for band, psf in zip(bands, psfs):
            psf = np.asarray(psf, dtype=float)
            shift = np.negative(offset(psf))[::-1]
            psf = np.fft.ifft2(ndimage.fourier_shift(np.fft.fft2(psf), shift)).real
            yield "HSC", f"HSC {band} ({field})", band, origin, HSC_SCALE, psf


def uvis(folder):
    """The middle and near the corners of the detector, in its own pixels."""
    library = fits.getdata(folder / "emp_psf_f814w.fits").astype(float)
    for row, column in ((0, 0), (0, 6), (3, 3), (7, 0), (7, 6)):
        # An effective PSF holds the response of a pixel: it is sampled, not binned.
        middle = library.shape[-1] // 2 % OVERSAMPLING
        psf = library[COLUMNS * row + column][middle::OVERSAMPLING, middle::OVERSAMPLING]
        yield ("HST", f"WFC3/UVIS F814W ({column}, {row})", "F814W", "emp_psf_f814w.fits",
               UVIS_SCALE, psf)


def jwst(folder):
    """Single stars, without the background around them."""
    for star in JWST_STARS:
        name = f"jwst_f090w_star{star}.fits"
        psf, header = fits.getdata(folder / name, header=True)
        border = np.ones(psf.shape, bool)
        border[5:-5, 5:-5] = False
        scale = round(abs(header["CD1_1"]) * 3600, 5)
        yield ("JWST", f"NIRCam F090W (star {star})", "F090W", name, scale,
               psf.astype(float) - np.median(psf[border]))


def offset(kernel):
    """Centroid (x, y) of a Gaussian fit to the core, from the centre, in pixels."""
    return centroid_2dg(trim(np.asarray(kernel, dtype=float), CORE)) - CORE


def trim(kernel, half):
    """The middle of a kernel, at most ``half`` pixels to either side."""
    y, x = (max(0, n // 2 - half) for n in kernel.shape)
    return kernel[y:kernel.shape[0] - y, x:kernel.shape[1] - x]


if __name__ == "__main__":
    main(*sys.argv[1:])
