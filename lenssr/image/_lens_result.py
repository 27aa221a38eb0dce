"""Fitted lens model of an image, and its FITS extensions."""

from dataclasses import dataclass, replace

import numpy as np
from astropy.io import fits
from astropy.table import Table

PARAMETER_EXTENSION, SOURCE_EXTENSION, CURVE_EXTENSION = "LENSPAR", "LENSSRC", "LENSCRIT"


@dataclass(frozen=True)
class LensSolution:
    """
    Fitted lens and source.

    Lengths are in pixels of the super-resolved image, and positions are its zero-based pixel
    coordinates. The source plane has the coordinates of the image without the lens.

    Parameters
    ----------
    parameters : `~astropy.table.Table`
        ``name``, ``value``, ``error`` and ``unit`` of the lens parameters, in lenstronomy's
        conventions with x and y along the axes of the array: Einstein radius ``theta_E`` (product
        average of the axes), mass slope ``gamma``, ellipticity ``e1`` and ``e2`` of modulus
        :math:`(1 - q) / (1 + q)`, centre ``x``, ``y``, and shear ``gamma1``, ``gamma2``. Errors
        include all lenses that explain the image.
    covariance : `~numpy.ndarray`
        Covariance of the parameters in the order of the table.
    source : `~numpy.ndarray`
        Surface brightness of the source without the lens, in the unit of the image. Fluxes per
        pixel refer to pixels of the image.
    origin : tuple of float
        Position ``(x, y)`` of the first source pixel.
    step : float
        Side of the source pixels.
    critical_curves, caustics : list of `~numpy.ndarray`
        Critical curves and caustics, each ``(n, 2)`` in x and y.
    potential : float
        Root mean square of the convergence of the potential correction within the Einstein radius.

    Examples
    --------
    >>> from lenssr.data import demo_lens
    >>> from lenssr import superresolve
    >>> image = superresolve(demo_lens().lr, "lens_equation")  # doctest: +SKIP
    >>> theta_e, error = image.lens["theta_E"]  # doctest: +SKIP
    """

    parameters: Table
    covariance: np.ndarray
    source: np.ndarray
    origin: tuple
    step: float
    critical_curves: list
    caustics: list
    potential: float

    def __getitem__(self, name):
        """Return value and error of a parameter."""
        row = self.parameters[list(self.parameters["name"]).index(name)]
        return float(row["value"]), float(row["error"])

    def scaled(self, factor):
        """Multiply the surface brightness of the source by a factor."""
        return replace(self, source=self.source * factor)


def solution_hdus(solution, plane):
    """Make the FITS extensions of a `LensSolution`."""
    table = solution.parameters.copy()
    table["covariance"] = solution.covariance
    parameters = fits.table_to_hdu(table)
    parameters.header["LENSPOT"] = (solution.potential, "rms convergence of the potential")
    source = fits.ImageHDU(solution.source)
    for axis, coordinate in enumerate(solution.origin, 1):
        # Linear WCS of the source plane, not a sky WCS.
        source.header[f"CRPIX{axis}"] = (1.0, "first pixel")
        source.header[f"CRVAL{axis}"] = (coordinate + 1, "position in FITS pixels of the image")
        source.header[f"CDELT{axis}"] = (solution.step, "pixels of the image")
        source.header[f"CTYPE{axis}"] = f"PIXEL{axis}"
    rows = [(k, *at, *behind) for k, (curve, caustic) in enumerate(
        zip(solution.critical_curves, solution.caustics)) for at, behind in zip(curve, caustic)]
    curves = fits.table_to_hdu(Table(
        np.array(rows, dtype=float).reshape(-1, 5), names=("curve", "x", "y", "x_source",
                                                           "y_source")))
    hdus = [parameters, source, curves]
    for hdu, name in zip(hdus, (PARAMETER_EXTENSION, SOURCE_EXTENSION, CURVE_EXTENSION)):
        hdu.name, hdu.ver = name, plane
    return hdus


def solutions_from(hdus, planes):
    """Read the lens solution of each plane, `None` without one."""
    return [_read_solution(hdus, plane) if (PARAMETER_EXTENSION, plane) in hdus else None
            for plane in range(1, planes + 1)]


def _read_solution(hdus, plane):
    table = Table(hdus[PARAMETER_EXTENSION, plane].data)
    covariance = np.array(table["covariance"], dtype=float)
    table.remove_column("covariance")
    parameters = Table({name: np.array(table[name]).astype(str if name in ("name", "unit")
                                                           else float)
                        for name in table.colnames})
    source = hdus[SOURCE_EXTENSION, plane]
    rows = hdus[CURVE_EXTENSION, plane].data
    order = np.array(rows["curve"], dtype=int)
    curves, caustics = ([np.stack([rows[x], rows[y]], axis=1).astype(float)[order == k]
                         for k in np.unique(order)]
                        for x, y in (("x", "y"), ("x_source", "y_source")))
    return LensSolution(
        parameters, covariance, np.array(source.data, dtype=float),
        tuple(source.header[f"CRVAL{axis}"] - 1 for axis in (1, 2)), source.header["CDELT1"],
        curves, caustics, hdus[PARAMETER_EXTENSION, plane].header["LENSPOT"])
