"""What is known of a simulated pair, flat and with units: a row of a catalogue's table."""

import numpy as np
from astropy import units as u

__all__ = ["TRUTHS", "lens_truth", "truth_row"]

TRUTHS = {
    "kind": (None, "kind of scene"),
    "substructure": (None, "class of dark substructure"),
    "z_lens": (None, "redshift of the lens"),
    "z_source": (None, "redshift of the source"),
    "theta_e": (u.arcsec, "Einstein radius of all the mass"),
    "theta_e_macro": (u.arcsec, "the same without substructure"),
    "gamma": (None, "logarithmic slope of the mass"),
    "e1": (None, "ellipticity of the mass, along the axes"),
    "e2": (None, "ellipticity of the mass, along the diagonals"),
    "x_lens": (u.arcsec, "place of the lens along x, from the middle"),
    "y_lens": (u.arcsec, "place of the lens along y, from the middle"),
    "gamma1": (None, "external shear, along the axes"),
    "gamma2": (None, "external shear, along the diagonals"),
    "x_source": (u.arcsec, "place of the source along x"),
    "y_source": (u.arcsec, "place of the source along y"),
    "source_radius": (u.arcsec, "half-light radius of the source's main profile"),
    "source_index": (None, "its Sersic index"),
    "source_clumps": (None, "further profiles of the source"),
    "galaxy": (None, "real galaxy that the source is an image of"),
    "quasar_flux": (u.electron, "flux of the lensed point source, before lensing"),
    "lens_flux": (u.electron, "flux of what is not lensed, profiles"),
    "star_flux": (u.electron, "flux of what is not lensed, points"),
    "halos": (None, "number of subhalos"),
    "halo_mass": (u.Msun, "mass of all subhalos"),
    "halo_mass_max": (u.Msun, "mass of the largest"),
    "vortex_mass": (u.Msun, "mass of the vortex"),
    "axion_mass": (u.eV, "mass of the axion, times the speed of light squared"),
    "vortex_length": (u.arcsec, "length of the vortex"),
    "vortex_angle": (u.rad, "its position angle, from x to y"),
    "seeing": (u.arcsec, "FWHM of the optics"),
    "sky": (u.electron, "noise of the sky in a pixel"),
    "correlation": (u.pix, "width of the kernel that correlates the noise"),
    "pedestal": (u.electron, "constant added to the observed image"),
    "snr": (None, "peak of the observed image over the noise of the sky"),
    "flux": (u.electron, "flux in the target, without noise"),
    "target_sigma": (u.electron, "noise of the target"),
}
"""Columns of a table of truths: unit and description."""


def lens_truth(model):
    """What is known of the dark matter in a scene: class, halos, vortex, redshifts, radius."""
    from lenssr.simulate._substructure import Substructure

    found = model.substructure
    if found is None:
        nothing = Substructure("no_sub", None)
        return {"substructure": nothing.name, "halos": nothing.halos, "vortex": None,
                "z_lens": np.nan, "z_source": np.nan, "theta_e": np.nan * u.arcsec}
    return {"substructure": found.name, "halos": found.halos, "vortex": found.vortex,
            "z_lens": found.plane.z_lens, "z_source": found.plane.z_source,
            "theta_e": found.plane.theta_e * u.arcsec}


def truth_row(model, unit, **observed):
    """A row of the table of truths."""
    row = {name: np.nan for name in TRUTHS}
    row |= {"kind": model.kind, "substructure": "no_sub", "galaxy": model.galaxy,
            "source_clumps": 0, "halos": 0, "halo_mass": 0.0,
            "lens_flux": unit * sum(map(sersic_flux, model.light_kwargs)),
            "star_flux": unit * sum(flux for *_, flux in model.points), **observed}
    if model.lens_models:
        row |= _lens(model, unit)
    return row


def _lens(model, unit):
    macro, shear = model.lens_kwargs[:2]
    source = model.source_kwargs[0]
    row = {"theta_e_macro": macro["theta_E"], "gamma": macro.get("gamma", 2.0),
           "e1": macro["e1"], "e2": macro["e2"], "x_lens": macro["center_x"],
           "y_lens": macro["center_y"], "gamma1": shear["gamma1"], "gamma2": shear["gamma2"],
           "x_source": source["center_x"], "y_source": source["center_y"],
           "source_radius": source.get("R_sersic", np.nan),
           "source_index": source.get("n_sersic", np.nan),
           "source_clumps": len(model.source_kwargs) - 1}
    if model.quasar is not None:
        row["quasar_flux"] = unit * model.quasar["flux"]
    found = model.substructure
    if found is not None:
        row |= {"substructure": found.name, "theta_e": found.plane.theta_e,
                "z_lens": found.plane.z_lens, "z_source": found.plane.z_source,
                "halos": len(found.mass), "halo_mass": found.mass.sum(),
                "halo_mass_max": found.mass.max() if len(found.mass) else np.nan}
        if found.vortex is not None:
            step = (found.vortex.end - found.vortex.start).to_value(u.arcsec)
            row |= {"vortex_mass": found.vortex.mass.to_value(u.Msun),
                    "axion_mass": found.vortex.axion_mass.to_value(u.eV),
                    "vortex_length": np.hypot(*step),
                    "vortex_angle": np.arctan2(step[1], step[0]) % np.pi}
    return row


def sersic_flux(kwargs):
    """Total flux of a profile that `lenssr.simulate._model.sersic` made."""
    from lenssr.simulate._model import sersic

    unit = sersic(0.0, 0.0, 1.0, kwargs["R_sersic"], kwargs["n_sersic"])["amp"]
    return kwargs["amp"] / unit
