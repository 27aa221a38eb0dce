"""
Make the demonstration lens: ``python tools/make_demo.py FOLDER [OUTPUT]``.

FOLDER holds ``data.fits`` and ``psf.fits`` of SLACS J0946+1006; ``lenssr/data/README.rst`` states
their origin. OUTPUT is the folder of the new file, by default the folder of the package's data.
"""

import sys
from pathlib import Path

import numpy as np
from astropy.io import fits

import lenssr.data
from lenssr.simulate import simulate_observation

PIXEL_SCALE = 0.05  # arcsec, pixels of the HST image
POSITION = 146.7361, 10.1147  # deg (Bolton et al. 2008, 2008ApJ...682..964B)
SETTINGS = dict(scale=2, bin=2, seeing=0.75, snr=100.0, depth=200.0, margin=3, seed=946)


def main(folder, output=Path(lenssr.data.__file__).parent):
    """Write ``slacs0946_ground.fits``."""
    image, psf = (fits.getdata(Path(folder) / name) for name in ("data.fits", "psf.fits"))
    pair = simulate_observation(image, psf, pixel_scale=PIXEL_SCALE, unit="electron / s",
                                **SETTINGS)
    primary = fits.PrimaryHDU()
    for key, value, comment in (
            ("OBJECT", "SLACS J0946+1006", "the double Einstein ring"),
            ("ORIGIN", "HST ACS F814W, github.com/PyAutoLabs/autolens_assistant", None),
            ("SEEING", SETTINGS["seeing"], "[arcsec] FWHM of the Moffat profile"),
            ("PEAKSNR", SETTINGS["snr"], "peak over the sky noise"),
            ("DEPTH", SETTINGS["depth"], "[electron] sky noise"),
            ("SEED", SETTINGS["seed"], "seed of the noise")):
        primary.header[key] = value, comment
    hdus = fits.HDUList([primary])
    for name, image in (("SCI", pair.lr), ("TRUTH", pair.hr)):
        image.wcs.wcs.crval = POSITION
        hdus.append(_hdu(name, image.data, image))
        if name == "SCI":
            hdus.append(_hdu("ERR", image.uncertainty.array, image))
        hdus.append(fits.ImageHDU(image.psf.astype(np.float32),
                                  name="PSF" if name == "SCI" else "TRUTHPSF"))
    hdus.writeto(Path(output) / "slacs0946_ground.fits", overwrite=True)


def _hdu(name, values, image):
    header = image.wcs.to_header()
    header["BUNIT"] = image.unit.to_string()
    return fits.ImageHDU(values.astype(np.float32), header, name=name)


if __name__ == "__main__":
    main(*sys.argv[1:])
