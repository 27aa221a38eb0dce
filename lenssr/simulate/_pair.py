"""Simulated pairs of images, and rows of the truth table."""

import numpy as np
from astropy import units as u
from astropy.nddata import CCDData, StdDevUncertainty
from astropy.wcs import WCS

from lenssr._pair import LensPair
from lenssr._validation import check_nonnegative_int
from lenssr.image import target_psf
from lenssr.simulate._population import sersic_parameters
from lenssr.simulate._series import PairSeries
from lenssr.simulate._substructure import Substructure

# Columns of the truth table: unit and description.
TRUTH_COLUMNS = {
    "scene_type": (None, "type of scene"),
    "substructure": (None, "class of dark-matter substructure"),
    "z_lens": (None, "redshift of the lens"),
    "z_source": (None, "redshift of the source"),
    "theta_e": (u.arcsec, "Einstein radius of the total mass"),
    "theta_e_macro": (u.arcsec, "Einstein radius of the smooth lens, without substructure"),
    "gamma": (None, "logarithmic slope of the lens mass"),
    "e1": (None, "ellipticity of the lens mass, along the axes"),
    "e2": (None, "ellipticity of the lens mass, along the diagonals"),
    "x_lens": (u.arcsec, "position of the lens along x, from the image centre"),
    "y_lens": (u.arcsec, "position of the lens along y, from the image centre"),
    "gamma1": (None, "external shear, along the axes"),
    "gamma2": (None, "external shear, along the diagonals"),
    "x_source": (u.arcsec, "position of the source along x, from the image centre"),
    "y_source": (u.arcsec, "position of the source along y, from the image centre"),
    "source_radius": (u.arcsec, "half-light radius of the main profile of the source"),
    "source_index": (None, "Sersic index of the main profile of the source"),
    "source_clumps": (None, "number of further profiles of the source"),
    "galaxy": (None, "real galaxy whose image is the source"),
    "quasar_flux": (u.electron, "flux of the lensed point source, before lensing"),
    "lens_flux": (u.electron, "flux of profiles that are not lensed"),
    "star_flux": (u.electron, "flux of point sources that are not lensed"),
    "halos": (None, "number of subhalos"),
    "halo_mass": (u.Msun, "total mass of the subhalos"),
    "halo_mass_max": (u.Msun, "mass of the most massive subhalo"),
    "vortex_mass": (u.Msun, "mass of the vortex"),
    "axion_mass": (u.eV, "rest energy of the axion"),
    "vortex_length": (u.arcsec, "length of the vortex"),
    "vortex_angle": (u.rad, "position angle of the vortex, from x to y"),
    "seeing": (u.arcsec, "FWHM of the optics"),
    "sky": (u.electron, "sky noise of a pixel"),
    "kernel_width": (u.pix, "width of the kernel that correlates the noise"),
    "pedestal": (u.electron, "constant added to the observed image"),
    "snr": (None, "peak of the noise-free observed image over the sky noise"),
    "flux": (u.electron, "flux in the noise-free target"),
    "target_sigma": (u.electron, "noise of the target"),
}


def lens_truth(model):
    """Return class, halos and vortex of the substructure, redshifts, and Einstein radius."""
    z_lens = z_source = theta_e = np.nan
    substructure = Substructure("no_sub", None)
    if model.substructure is not None:
        substructure, plane = model.substructure, model.substructure.plane
        z_lens, z_source, theta_e = plane.z_lens, plane.z_source, plane.theta_e
    return {"substructure": substructure.name, "halos": substructure.halos,
            "vortex": substructure.vortex, "z_lens": z_lens, "z_source": z_source,
            "theta_e": theta_e * u.arcsec}


def truth_row(model, electrons_per_flux, **observed):
    """Return a row of the truth table for a `SceneModel`."""
    row = {name: np.nan for name in TRUTH_COLUMNS}
    row |= {"scene_type": model.scene_type, "substructure": "no_sub", "galaxy": model.galaxy,
            "source_clumps": 0, "halos": 0, "halo_mass": 0.0,
            "lens_flux": electrons_per_flux * sum(map(sersic_flux, model.light_kwargs)),
            "star_flux": electrons_per_flux * sum(flux for *_, flux in model.points), **observed}
    if model.lens_models:
        row |= _lens_columns(model, electrons_per_flux)
    return row


def _lens_columns(model, electrons_per_flux):
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
        row["quasar_flux"] = electrons_per_flux * model.quasar["flux"]
    substructure = model.substructure
    if substructure is not None:
        row |= {"substructure": substructure.name, "theta_e": substructure.plane.theta_e,
                "z_lens": substructure.plane.z_lens, "z_source": substructure.plane.z_source,
                "halos": len(substructure.mass), "halo_mass": substructure.mass.sum(),
                "halo_mass_max": substructure.mass.max() if len(substructure.mass) else np.nan}
        vortex = substructure.vortex
        if vortex is not None:
            dx, dy = (vortex.end - vortex.start).to_value(u.arcsec)
            row |= {"vortex_mass": vortex.mass.to_value(u.Msun),
                    "axion_mass": vortex.axion_mass.to_value(u.eV),
                    "vortex_length": np.hypot(dx, dy), "vortex_angle": np.arctan2(dy, dx) % np.pi}
    return row


def sersic_flux(kwargs):
    """Return the total flux of a profile, the inverse of `sersic_parameters`."""
    amplitude = sersic_parameters(0.0, 0.0, 1.0, kwargs["R_sersic"], kwargs["n_sersic"])["amp"]
    return kwargs["amp"] / amplitude


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
        Instrument, or one of ``lenssr.simulate.INSTRUMENTS``; that of the preset by default.
    population : `Population`, optional
        Population; that of the preset by default.
    scale : int
        Output pixels per input pixel.
    size : int, optional
        Side of the observed image in pixels; that of the preset by default.
    target_noise : float, optional
        Ratio of the noise of the target to its peak. The default is the value of the preset,
        which is zero except for ``"deeplense-noisy"`` and ``"observed-like"``.
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
    series = PairSeries(
        preset, substructure=(substructure,), instrument=instrument, population=population,
        scale=scale, size=size, target_noise=target_noise, seed=seed, engine=engine)
    return make_pair(series, check_nonnegative_int("index", index))


def make_pair(series, index):
    """Simulate the `LensPair` of an index of a series."""
    batch = series.batch([index])
    images = {name: getattr(batch, name)[0].double().cpu().numpy()
              for name in ("lr", "sigma", "hr", "truth", "psf")}
    return assemble_pair(
        images, batch.models[0], truth_rows(series, batch)[0], series,
        mask=batch.mask[0].cpu().numpy())


def truth_rows(series, batch):
    """Return the truth rows of a `PairBatch`."""
    observation = batch.observation
    columns = {"seeing": observation.fwhm * series.instrument.pixel_scale,
               "sky": observation.sky_electrons, "kernel_width": observation.kernel_width,
               "pedestal": observation.pedestal * batch.electrons_per_flux, "snr": observation.snr,
               "flux": batch.truth.sum(dim=(1, 2)),
               "target_sigma": batch.hr_sigma}
    columns = {name: column.tolist() for name, column in columns.items()}
    factors = batch.electrons_per_flux.tolist()
    return [truth_row(model, factor, **{name: column[k] for name, column in columns.items()})
            for k, (model, factor) in enumerate(zip(batch.models, factors))]


def assemble_pair(images, model, row, series, mask=None):
    """Make a `LensPair` from arrays, a `SceneModel` and a row of the truth table."""
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
    """Series of pairs of scenes that the caller provides."""

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
