"""
Make the measured PSFs: ``python tools/make_psfs.py FOLDER [OUTPUT]``.

FOLDER holds the folders ``psfs`` and ``hsc_hst_cosmos``; ``lenssr/data/README.rst`` states their
origin. OUTPUT is the folder of the new file, by default the folder of the package's data.
"""

import sys
from pathlib import Path

import numpy as np
from astropy.io import fits
from photutils.centroids import centroid_2dg
from scipy import ndimage

import lenssr.data

MAX_RADIUS = 20  # pixels from the centre to the edge of a kernel
CORE_RADIUS = 7  # pixels from the centre of the core with the centroid
HSC_PIXEL = 0.168  # arcsec
UVIS_PIXEL = 0.0396  # arcsec
UVIS_OVERSAMPLING = 4  # samples per pixel of the WFC3/UVIS library
UVIS_COLUMNS = 7  # columns of detector positions of the WFC3/UVIS library
JWST_STARS = 0, 2, 3  # the other stars are half a pixel off the centre


def main(folder, output=Path(lenssr.data.__file__).parent):
    """Write ``psfs.fits``."""
    hdus = fits.HDUList([fits.PrimaryHDU()])
    for telescope, name, band, origin, scale, kernel in (
            *hsc(Path(folder) / "hsc_hst_cosmos"), *uvis(Path(folder) / "psfs"),
            *jwst(Path(folder) / "psfs")):
        kernel = crop(kernel / kernel.sum(), MAX_RADIUS)
        hdu = fits.ImageHDU((kernel / kernel.sum()).astype(np.float32))
        x, y = core_offset(kernel / kernel.sum())
        for key, value, comment in (
                ("OBJECT", name, None), ("TELESCOP", telescope, None), ("FILTER", band, None),
                ("ORIGIN", origin, None), ("PIXSCALE", scale, "[arcsec]"),
                ("XOFFSET", round(x, 3) + 0.0, "[pixel] offset of the centroid from the centre"),
                ("YOFFSET", round(y, 3) + 0.0, "[pixel]")):
            hdu.header[key] = value, comment
        hdus.append(hdu)
    hdus.writeto(Path(output) / "psfs.fits", overwrite=True)


def hsc(folder):
    """Yield PSFs of five bands in three fields, well sampled and shifted to the centre."""
    def kernels():
        yield "PSF_HSC.fits", "grizy", fits.getdata(folder / "PSF_HSC.fits")
        for name in ("hsc_cosmos.npz", "hsc_cosmos_35.npz"):
            with np.load(folder / name) as parts:
                yield name, parts["filters"].tolist(), parts["psfs"]

    for field, (origin, bands, psfs) in enumerate(kernels(), 1):
        for band, psf in zip(bands, psfs):
            psf = np.asarray(psf, dtype=float)
            shift = np.negative(core_offset(psf))[::-1]
            psf = np.fft.ifft2(ndimage.fourier_shift(np.fft.fft2(psf), shift)).real
            yield "HSC", f"HSC {band} ({field})", band, origin, HSC_PIXEL, psf


def uvis(folder):
    """Yield PSFs at the centre and near the corners of the detector, in detector pixels."""
    library = fits.getdata(folder / "emp_psf_f814w.fits").astype(float)
    for row, column in ((0, 0), (0, 6), (3, 3), (7, 0), (7, 6)):
        # An effective PSF includes the pixel response: it is sampled, not binned.
        samples = slice(library.shape[-1] // 2 % UVIS_OVERSAMPLING, None, UVIS_OVERSAMPLING)
        psf = library[UVIS_COLUMNS * row + column][samples, samples]
        yield ("HST", f"WFC3/UVIS F814W ({column}, {row})", "F814W", "emp_psf_f814w.fits",
               UVIS_PIXEL, psf)


def jwst(folder):
    """Yield images of single stars without background."""
    for star in JWST_STARS:
        name = f"jwst_f090w_star{star}.fits"
        psf, header = fits.getdata(folder / name, header=True)
        border = np.ones(psf.shape, bool)
        border[5:-5, 5:-5] = False
        scale = round(abs(header["CD1_1"]) * 3600, 5)
        yield ("JWST", f"NIRCam F090W (star {star})", "F090W", name, scale,
               psf.astype(float) - np.median(psf[border]))


def core_offset(kernel):
    """Return the offset ``(x, y)`` in pixels of a Gaussian fit to the core from the centre."""
    return centroid_2dg(crop(np.asarray(kernel, dtype=float), CORE_RADIUS)) - CORE_RADIUS


def crop(kernel, radius):
    """Return the central pixels of a kernel, at most ``radius`` from the centre."""
    y, x = (max(0, n // 2 - radius) for n in kernel.shape)
    return kernel[y:kernel.shape[0] - y, x:kernel.shape[1] - x]


if __name__ == "__main__":
    main(*sys.argv[1:])
