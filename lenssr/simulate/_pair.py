"""Pairs of images of one scene: as observed, and as it is at the target resolution."""

from dataclasses import dataclass, field

import numpy as np
from astropy import units as u
from astropy.nddata import CCDData, StdDevUncertainty
from astropy.wcs import WCS

from lenssr._checks import positive_integer
from lenssr.image._kernels import target_psf

from ._scene import Grid

__all__ = ["LensPair", "make_ccd", "simulate_pair"]

FINE = 2    # fine pixels per output pixel
MARGIN = 8  # input pixels around the image, from which light reaches into it


@dataclass
class LensPair:
    """
    Two images of one scene.

    Attributes
    ----------
    lr : `~astropy.nddata.CCDData`
        As observed: noisy, with uncertainty, effective PSF and WCS.
    hr : `~astropy.nddata.CCDData`
        At the target resolution, on pixels ``scale`` times finer, noise-free if it
        is simulated.
    truth : dict
        What is known of the scene and of the observation.
    """

    lr: CCDData
    hr: CCDData
    truth: dict = field(default_factory=dict)

    @property
    def scale(self):
        """Output pixels per input pixel."""
        return self.hr.shape[-1] // self.lr.shape[-1]


def make_ccd(data, pixel_scale, *, sigma=None, psf=None, unit=u.electron, mask=None):
    """
    A `~astropy.nddata.CCDData` with a TAN WCS whose reference is the image's centre.

    Parameters
    ----------
    data : `~numpy.ndarray`
        Pixels, shape ``(ny, nx)``.
    pixel_scale : float
        Side of a pixel, arcsec.
    sigma, psf, mask : `~numpy.ndarray`, optional
        Noise, effective PSF and mask.
    unit : `~astropy.units.Unit`
        Unit of the data.
    """
    ny, nx = data.shape
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = 150.0, 2.0
    wcs.wcs.crpix = (nx + 1) / 2, (ny + 1) / 2
    wcs.wcs.cdelt = -pixel_scale / 3600, pixel_scale / 3600
    wcs.wcs.set()
    wcs.array_shape = data.shape
    uncertainty = None if sigma is None else StdDevUncertainty(sigma, unit=unit)
    return CCDData(data, unit=unit, uncertainty=uncertainty, psf=psf, mask=mask, wcs=wcs)


def simulate_pair(preset="hsc-hst", *, substructure="cdm", instrument=None, population=None,
                  scale=2, size=48, seed=0):
    """
    Simulate a scene and both its images.

    Parameters
    ----------
    preset : str
        Named population and instrument; known is ``"hsc-hst"``.
    substructure : str, `Subhalos` or `Vortex`
        Dark substructure of the lens: a name of `SUBSTRUCTURES` or a prior of one's
        own. Whatever it is, the same seed gives the same scene but for it, and the
        mass within the Einstein radius is the same.
    instrument : `Instrument` or str, optional
        One of ``lenssr.simulate.INSTRUMENTS`` by name, or one's own; in place of the preset's.
    population : `Population`, optional
        In place of the preset's.
    scale : int
        Output pixels per input pixel.
    size : int
        Side of the observed image in pixels.
    seed : int
        The pair depends on it alone.

    Returns
    -------
    pair : `LensPair`
        In electrons per pixel. ``truth`` holds the parameters in lenstronomy's
        conventions (``scene``, arcsec); the ``substructure`` by name, its ``halos`` (a
        table) and ``vortex`` (or None); ``z_lens``, ``z_source`` and the Einstein
        radius ``theta_e`` of all the mass, NaN where there is no lens; the
        ``instrument``, the ``seeing`` and the peak signal to noise ``snr``.

    Raises
    ------
    ValueError
        If preset, instrument or substructure are unknown, or ``scale`` or ``size`` is
        not a positive integer.
    """
    import torch

    from ._bank import draw_scene
    from ._instrument import Instrument
    from ._optics import Optics
    from ._presets import preset_parts
    from ._substructure import parse_substructure

    substructure = parse_substructure(substructure)
    scale, size = positive_integer("scale", scale), positive_integer("size", size)
    own_population, own_instrument = preset_parts(preset)
    if not isinstance(instrument, Instrument | None):
        instrument = Instrument.named(instrument)
    population, instrument = population or own_population, instrument or own_instrument
    side = (size + 2 * MARGIN) * scale * FINE
    grid = Grid(side, instrument.pixel_scale / (scale * FINE))
    image, points, model = draw_scene(population, grid, seed, 0, substructure)
    optics = Optics(side, scale, FINE)
    # Both images are rendered in double precision: closed forms are tested against them.
    generator = torch.Generator().manual_seed(seed)
    seen = instrument.observe(optics, torch.from_numpy(image)[None],
                              torch.from_numpy(points)[None], generator)
    # Electrons: the sky's noise is that of the depth that was drawn.
    unit = seen.electrons[0].item() / seen.sky[0].item()

    def cut(array, factor, value):
        edge = MARGIN * factor
        return value * array[0, edge:-edge, edge:-edge].double().numpy()

    psf = optics.effective_psf(seen.transfer)[0].double().numpy()
    lr = make_ccd(cut(seen.lr, 1, unit), instrument.pixel_scale, sigma=cut(seen.sigma, 1, unit),
                  psf=psf)
    hr = make_ccd(cut(seen.hr, scale, unit / scale**2), instrument.pixel_scale / scale,
                  psf=target_psf())
    truth = {"scene": model, "seed": seed, "preset": preset, "instrument": instrument,
             "snr": seen.snr[0].item(),
             "seeing": seen.fwhm[0].item() * instrument.pixel_scale * u.arcsec}
    return LensPair(lr, hr, {**truth, **_lens_truth(model)})


def _lens_truth(model):
    """What is known of the dark matter in a scene."""
    from ._substructure import Substructure

    if not model.lens_models:
        nothing = Substructure("no_sub", None)
        return {"substructure": nothing.name, "halos": nothing.halos, "vortex": None,
                "z_lens": np.nan, "z_source": np.nan, "theta_e": np.nan * u.arcsec}
    found = model.substructure
    return {"substructure": found.name, "halos": found.halos, "vortex": found.vortex,
            "z_lens": found.plane.z_lens, "z_source": found.plane.z_source,
            "theta_e": found.plane.theta_e * u.arcsec}
