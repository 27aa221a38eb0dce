"""Simulated pairs of images, and the columns of the truth table."""

import numpy as np
from astropy import units as u
from astropy.nddata import CCDData, StdDevUncertainty
from astropy.wcs import WCS

from lenssr._pair import LensPair
from lenssr._validation import check_nonnegative_int
from lenssr.image import target_psf
from lenssr.simulate._series import PairSeries

TRUTH_COLUMNS = {
    "scene_type": (None, "type of scene"),
    "substructure": (None, "class of dark substructure"),
    "z_lens": (None, "redshift of the lens"),
    "z_source": (None, "redshift of the source"),
    "theta_e": (u.arcsec, "Einstein radius of all the mass"),
    "theta_e_macro": (u.arcsec, "the same without substructure"),
    "gamma": (None, "logarithmic slope of the mass"),
    "e1": (None, "ellipticity of the mass, along the axes"),
    "e2": (None, "ellipticity of the mass, along the diagonals"),
    "x_lens": (u.arcsec, "position of the lens along x, from the centre"),
    "y_lens": (u.arcsec, "position of the lens along y, from the centre"),
    "gamma1": (None, "external shear, along the axes"),
    "gamma2": (None, "external shear, along the diagonals"),
    "x_source": (u.arcsec, "position of the source along x"),
    "y_source": (u.arcsec, "position of the source along y"),
    "source_radius": (u.arcsec, "half-light radius of the source's main profile"),
    "source_index": (None, "its Sersic index"),
    "source_clumps": (None, "further profiles of the source"),
    "galaxy": (None, "real galaxy that the source is an image of"),
    "quasar_flux": (u.electron, "flux of the lensed point source, before lensing"),
    "lens_flux": (u.electron, "flux of unlensed profiles"),
    "star_flux": (u.electron, "flux of unlensed points"),
    "halos": (None, "number of subhalos"),
    "halo_mass": (u.Msun, "mass of all subhalos"),
    "halo_mass_max": (u.Msun, "mass of the largest"),
    "vortex_mass": (u.Msun, "mass of the vortex"),
    "axion_mass": (u.eV, "mass of the axion, times the speed of light squared"),
    "vortex_length": (u.arcsec, "length of the vortex"),
    "vortex_angle": (u.rad, "its position angle, from x to y"),
    "seeing": (u.arcsec, "FWHM of the optics"),
    "sky": (u.electron, "noise of the sky in a pixel"),
    "kernel_width": (u.pix, "width of the kernel that correlates the noise"),
    "pedestal": (u.electron, "constant added to the observed image"),
    "snr": (None, "peak of the observed image over the noise of the sky"),
    "flux": (u.electron, "flux in the target, without noise"),
    "target_sigma": (u.electron, "noise of the target"),
}
"""Columns of a table of truths: unit and description."""


def lens_truth(model):
    """Return the truths of the lens: substructure class, halos, vortex, redshifts and radius."""
    from lenssr.simulate._substructure import Substructure

    substructure = model.substructure
    if substructure is None:
        nothing = Substructure("no_sub", None)
        return {"substructure": nothing.name, "halos": nothing.halos, "vortex": None,
                "z_lens": np.nan, "z_source": np.nan, "theta_e": np.nan * u.arcsec}
    return {"substructure": substructure.name, "halos": substructure.halos,
            "vortex": substructure.vortex,
            "z_lens": substructure.plane.z_lens, "z_source": substructure.plane.z_source,
            "theta_e": substructure.plane.theta_e * u.arcsec}


def truth_row(model, unit, **observed):
    """Make a row of the truth table."""
    row = {name: np.nan for name in TRUTH_COLUMNS}
    row |= {"scene_type": model.scene_type, "substructure": "no_sub", "galaxy": model.galaxy,
            "source_clumps": 0, "halos": 0, "halo_mass": 0.0,
            "lens_flux": unit * sum(map(sersic_flux, model.light_kwargs)),
            "star_flux": unit * sum(flux for *_, flux in model.points), **observed}
    if model.lens_models:
        row |= _lens_columns(model, unit)
    return row


def _lens_columns(model, unit):
    lens_params, shear = model.lens_kwargs[:2]
    source = model.source_kwargs[0]
    row = {"theta_e_macro": lens_params["theta_E"], "gamma": lens_params.get("gamma", 2.0),
           "e1": lens_params["e1"], "e2": lens_params["e2"], "x_lens": lens_params["center_x"],
           "y_lens": lens_params["center_y"], "gamma1": shear["gamma1"], "gamma2": shear["gamma2"],
           "x_source": source["center_x"], "y_source": source["center_y"],
           "source_radius": source.get("R_sersic", np.nan),
           "source_index": source.get("n_sersic", np.nan),
           "source_clumps": len(model.source_kwargs) - 1}
    if model.quasar is not None:
        row["quasar_flux"] = unit * model.quasar["flux"]
    substructure = model.substructure
    if substructure is not None:
        row |= {"substructure": substructure.name, "theta_e": substructure.plane.theta_e,
                "z_lens": substructure.plane.z_lens, "z_source": substructure.plane.z_source,
                "halos": len(substructure.mass), "halo_mass": substructure.mass.sum(),
                "halo_mass_max": substructure.mass.max() if len(substructure.mass) else np.nan}
        if substructure.vortex is not None:
            step = (substructure.vortex.end - substructure.vortex.start).to_value(u.arcsec)
            row |= {"vortex_mass": substructure.vortex.mass.to_value(u.Msun),
                    "axion_mass": substructure.vortex.axion_mass.to_value(u.eV),
                    "vortex_length": np.hypot(*step),
                    "vortex_angle": np.arctan2(step[1], step[0]) % np.pi}
    return row


def sersic_flux(kwargs):
    """Compute the total flux of a profile from `sersic_parameters`."""
    from lenssr.simulate._population import sersic_parameters

    unit = sersic_parameters(0.0, 0.0, 1.0, kwargs["R_sersic"], kwargs["n_sersic"])["amp"]
    return kwargs["amp"] / unit


def make_ccd(data, pixel_scale, *, sigma=None, psf=None, unit=u.electron, mask=None):
    """Make a `~astropy.nddata.CCDData` with a TAN WCS centred on the image."""
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
    Simulate a scene and observe it at low and at high resolution.

    Parameters
    ----------
    preset : str
        Preset of population, instrument, size and substructure, one of ``lenssr.simulate.PRESETS``.
    substructure : str, `Subhalos`, `Vortex` or `RandomField`
        Class of dark-matter substructure, one of ``lenssr.simulate.SUBSTRUCTURES``, or its prior.
        The same seed gives the same scene with any substructure, and the same mass within the
        Einstein radius.
    instrument : `Instrument` or str, optional
        Instrument, or one of ``lenssr.simulate.INSTRUMENTS``; the preset by default.
    population : `Population`, optional
        Population; the preset by default.
    scale : int
        Output pixels per input pixel.
    size : int, optional
        Side of the observed image in pixels; the preset by default.
    target_noise : float, optional
        Noise of the target over its peak; the preset by default, which is zero except for
        ``"deeplense-noisy"`` and ``"observed-like"``.
    seed, index : int
        The pair depends on seed and index alone. It is pair ``index`` of a catalogue of this class
        and seed.
    engine : {"lenstronomy", "torch"}
        Renderer of the scene.

    Returns
    -------
    pair : `LensPair`
        Images in electrons per pixel. ``truth`` holds the ``scene`` in lenstronomy's conventions
        (arcsec), ``substructure``, ``halos`` (table), ``vortex`` (or `None`), ``z_lens``,
        ``z_source``, the Einstein radius ``theta_e`` of all mass (NaN without a lens),
        ``instrument``, ``seeing``, the peak signal-to-noise ratio ``snr``, further parameters, and
        the noise-free ``hr`` of a noisy target.

    Raises
    ------
    ValueError
        If preset, instrument or substructure is unknown, or a number is out of range.

    Examples
    --------
    >>> from lenssr.simulate import simulate_pair
    >>> pair = simulate_pair("hsc-hst", substructure="no_sub", seed=1)
    >>> pair.lr.unit
    Unit("electron")
    """
    from lenssr.simulate._series import PairSeries

    series = PairSeries(
        preset, substructure=(substructure,), instrument=instrument, population=population,
        scale=scale, size=size, target_noise=target_noise, seed=seed, engine=engine)
    return make_pair(series, check_nonnegative_int("index", index))


def make_pair(series, index):
    """Return the `LensPair` of an index of a series."""
    batch = series.batch([index])
    images = {name: getattr(batch, name)[0].double().cpu().numpy()
              for name in ("lr", "sigma", "hr", "truth", "psf")}
    return assemble_pair(
        images, batch.models[0], truth_rows(series, batch)[0], series,
        mask=batch.mask[0].cpu().numpy())


def truth_rows(series, batch):
    """Return the truth rows of a `PairBatch`."""
    observed = batch.observation
    columns = {"seeing": observed.fwhm * series.instrument.pixel_scale,
               "sky": observed.sky_electrons,
               "kernel_width": observed.kernel_width,
               "pedestal": observed.pedestal * batch.electrons_per_flux,
               "snr": observed.snr, "flux": batch.truth.sum(dim=(1, 2)),
               "target_sigma": batch.hr_sigma}
    columns = {name: column.tolist() for name, column in columns.items()}
    return [truth_row(model, unit, **{name: column[k] for name, column in columns.items()})
            for k, (model, unit) in enumerate(zip(batch.models, batch.electrons_per_flux.tolist()))]


def assemble_pair(images, model, row, series, mask=None):
    """Make a `LensPair` from arrays."""
    instrument, noise = series.instrument, row["target_sigma"]
    pixel = instrument.pixel_scale
    lr = make_ccd(images["lr"], pixel, psf=images["psf"],
                  sigma=None if instrument.noiseless else images["sigma"],
                  mask=mask if mask is not None and mask.any() else None)
    target = dict(pixel_scale=pixel / series.scale, psf=target_psf())
    hr = make_ccd(images["hr"], **target,
                  sigma=np.full(images["hr"].shape, noise) if noise > 0 else None)
    truth = {name: value if TRUTH_COLUMNS[name][0] is None else value * TRUTH_COLUMNS[name][0]
             for name, value in row.items()}
    truth |= {"scene": model, "seed": series.seed, "preset": series.preset,
              "instrument": instrument, **lens_truth(model)}
    if noise > 0:
        truth["hr"] = make_ccd(images["truth"], **target)
    return LensPair(lr, hr, truth)


class SceneSeries(PairSeries):
    """Series of pairs of given scenes."""

    def __init__(self, scenes, instrument, size, *, scale=2, seed=0):
        super().__init__(substructure="no_sub", instrument=instrument, scale=scale, size=size,
                         seed=seed)
        self.scenes, self.preset = list(scenes), None

    def __len__(self):
        return len(self.scenes)

    def __iter__(self):
        return (make_pair(self, index) for index in range(len(self)))

    def models(self, indices):
        """Return the `SceneModel` of each index."""
        return [self.scenes[i] for i in indices]
