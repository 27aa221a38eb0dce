"""Pairs of images of one scene: as observed, and as it is at the target resolution."""


import numpy as np
from astropy import units as u
from astropy.nddata import CCDData, StdDevUncertainty
from astropy.wcs import WCS

from lenssr._pair import LensPair
from lenssr._validation import check_nonnegative_int
from lenssr.image import target_psf
from lenssr.simulate._truth import TRUTHS, lens_truth, truth_row

__all__ = ["assemble_pair", "make_ccd", "make_pair", "simulate_pair", "truth_rows"]


def make_ccd(data, pixel_scale, *, sigma=None, psf=None, unit=u.electron, mask=None):
    """A `~astropy.nddata.CCDData` with a TAN WCS whose reference is the image's centre."""
    wcs = None
    if pixel_scale is not None:
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
                  scale=2, size=None, target_noise=None, seed=0, index=0, engine="lenstronomy"):
    """
    Simulate a scene and both its images.

    Parameters
    ----------
    preset : str
        Named population, instrument, size and substructure: one of
        ``lenssr.simulate.PRESETS``.
    substructure : str, `Subhalos` or `Vortex`
        Dark substructure of the lens: a name of `SUBSTRUCTURES`, whose prior is that of
        the preset, or a prior of one's own. Whatever it is, the same seed gives the same
        scene but for it, and the mass within the Einstein radius is the same.
    instrument : `Instrument` or str, optional
        One of ``lenssr.simulate.INSTRUMENTS`` by name, or one's own; in place of the preset's.
    population : `Population`, optional
        In place of the preset's.
    scale : int
        Output pixels per input pixel.
    size : int, optional
        Side of the observed image in pixels; that of the preset by default.
    target_noise : float, optional
        Noise of the target over its peak; that of the preset by default, which is none
        but for ``"deeplense-noisy"`` and ``"observed-like"``.
    seed, index : int
        The pair depends on these two alone: it is number ``index`` of a catalogue of this
        seed and class.
    engine : {"lenstronomy", "torch"}
        What renders the scene.

    Returns
    -------
    pair : `LensPair`
        In electrons per pixel. ``truth`` holds the parameters in lenstronomy's
        conventions (``scene``, arcsec); the ``substructure`` by name, its ``halos`` (a
        table) and ``vortex`` (or None); ``z_lens``, ``z_source`` and the Einstein
        radius ``theta_e`` of all the mass, NaN where there is no lens; the
        ``instrument``, the ``seeing`` and the peak signal to noise ``snr``; further
        numbers of the lens and the source; and, where the target has noise, ``hr``
        without it.

    Raises
    ------
    ValueError
        If preset, instrument or substructure are unknown, or a number is out of its range.
    """
    from lenssr.simulate._series import PairSeries

    series = PairSeries(
        preset, substructure=(substructure,), instrument=instrument, population=population,
        scale=scale, size=size, target_noise=target_noise, seed=seed, engine=engine)
    return make_pair(series, check_nonnegative_int("index", index))


def make_pair(series, index):
    """The `LensPair` of a `PairSeries` with this index."""
    batch = series.batch([index])
    images = {name: getattr(batch, name)[0].double().cpu().numpy()
              for name in ("lr", "sigma", "hr", "truth", "psf")}
    return assemble_pair(
        images, batch.models[0], truth_rows(series, batch)[0], series,
        mask=batch.mask[0].cpu().numpy())


def truth_rows(series, batch):
    """The rows of the table of truths of a `PairBatch`."""
    seen = batch.seen
    columns = {"seeing": seen.fwhm * series.instrument.pixel_scale, "sky": seen.electrons,
               "correlation": seen.correlation, "pedestal": seen.pedestal * batch.unit,
               "snr": seen.snr, "flux": batch.truth.sum(dim=(1, 2)),
               "target_sigma": batch.hr_sigma}
    columns = {name: column.tolist() for name, column in columns.items()}
    return [truth_row(model, unit, **{name: column[k] for name, column in columns.items()})
            for k, (model, unit) in enumerate(zip(batch.models, batch.unit.tolist()))]


def assemble_pair(images, model, row, facts, mask=None):
    """A `LensPair` of arrays."""
    instrument, noise = facts.instrument, row["target_sigma"]
    pixel = instrument.pixel_scale
    lr = make_ccd(images["lr"], pixel, psf=images["psf"],
                  sigma=None if instrument.noiseless else images["sigma"],
                  mask=mask if mask is not None and mask.any() else None)
    target = dict(pixel_scale=pixel / facts.scale, psf=target_psf())
    hr = make_ccd(images["hr"], **target,
                  sigma=np.full(images["hr"].shape, noise) if noise > 0 else None)
    truth = {name: value if TRUTHS[name][0] is None else value * TRUTHS[name][0]
             for name, value in row.items()}
    truth |= {"scene": model, "seed": facts.seed, "preset": facts.preset,
              "instrument": instrument, **lens_truth(model)}
    if noise > 0:
        truth["hr"] = make_ccd(images["truth"], **target)
    return LensPair(lr, hr, truth)
