"""Parametric lens, source and foreground light: images at the target resolution, derivatives."""

import math
from dataclasses import dataclass

import torch

from lenssr.lensing import (
    LENS_PARAMETERS,
    LIGHT_PARAMETERS,
    deflection,
    deflection_derivatives,
    series_terms,
    sersic_derivatives,
    sersic_profile,
)

CUSP_RADIUS, CUSP_SUBPIXELS = 3, 7  # grid points about a centre that are integrated, and subpixels

N_PARAMETERS = {"lens": len(LENS_PARAMETERS), "source": len(LIGHT_PARAMETERS),
                "light": len(LIGHT_PARAMETERS), "point": 2}

# Priors (mean, width); lengths in pixels of the data.
LENS_PRIOR = [(p.mean, p.width) for p in LENS_PARAMETERS]
GALAXY_PRIOR = [(p.mean, p.width) for p in LIGHT_PARAMETERS]
SOURCE_PRIOR = ((0.0, 6.0), (0.0, 6.0), (0.4, 0.9), (0.2, 0.5), (0.0, 0.2), (0.0, 0.2))
NEIGHBOUR_PRIOR = ((0.0, 12.0), (0.0, 12.0), (0.3, 0.8), (0.4, 0.5), (0.0, 0.2), (0.0, 0.2))
MASS_LIGHT_OFFSET = 0.1            # prior width of the offset of light and mass, pixels
MASS_LIGHT_ELLIPTICITY_TIE = 0.05  # prior width of their difference in ellipticity
CLUMP_OFFSET = 1.5                 # prior width of the offset of a clump from its source, pixels

LOWER_LIMITS = {"lens": (0.0, 1.5, -0.55, -0.55, -math.inf, -math.inf, -0.3, -0.3),
                "light": (-math.inf, -math.inf, -1.5, -1.2, -0.6, -0.6),
                "source": (-math.inf, -math.inf, -1.5, -1.2, -0.6, -0.6),
                "point": (-math.inf,) * 2}
UPPER_LIMITS = {"lens": (4.0, 2.6, 0.55, 0.55, math.inf, math.inf, 0.3, 0.3),
                "light": (math.inf, math.inf, 3.5, 2.1, 0.6, 0.6),
                "source": (math.inf, math.inf, 3.0, 1.8, 0.6, 0.6),
                "point": (math.inf,) * 2}


@dataclass(frozen=True)
class SceneLayout:
    """
    Components of a model, whose parameters are joined in this order.

    A lens, ``sources`` profiles in the source plane, ``lights`` profiles in the lens plane, the
    first of which is the lens ``galaxy``, and ``points`` point sources.
    """

    lens: bool = True
    sources: int = 1
    lights: int = 1
    points: int = 0
    galaxy: bool = True

    def components(self):
        """Type and parameter slice of each component."""
        types = (["lens"] * self.lens + ["source"] * self.sources + ["light"] * self.lights
                 + ["point"] * self.points)
        start, components = 0, []
        for component_type in types:
            stop = start + N_PARAMETERS[component_type]
            components.append((component_type, slice(start, stop)))
            start = stop
        return components

    def slices(self, component_type):
        """Parameter slices of the components of a type."""
        return [params for name, params in self.components() if name == component_type]

    @property
    def size(self):
        """Number of parameters."""
        components = self.components()
        return components[-1][1].stop if components else 0

    @property
    def n_planes(self):
        """Number of amplitudes: sources, lights, points and sky."""
        return self.sources + self.lights + self.points + 1

    def bounds(self):
        """Lower and upper limits of the parameters."""
        return tuple(torch.tensor([v for name, _ in self.components() for v in limits[name]],
                                  dtype=torch.float64) for limits in (LOWER_LIMITS, UPPER_LIMITS))


class ScenePriors:
    """Gaussian priors of the parameters of a layout, with correlations between components."""

    def __init__(self, layout):
        galaxies = layout.slices("light")[:int(layout.lens and layout.galaxy)]
        table = []
        for component_type, params in layout.components():
            if component_type == "source":
                table += SOURCE_PRIOR
            elif component_type == "lens":
                table += LENS_PRIOR
            elif params in galaxies:
                table += GALAXY_PRIOR
            else:
                table += NEIGHBOUR_PRIOR[:N_PARAMETERS[component_type]]
        mean, width = zip(*table) if table else ((), ())
        self.mean = torch.tensor(mean, dtype=torch.float64)
        self.precision = torch.diag(torch.tensor(width, dtype=torch.float64) ** -2)
        if galaxies:
            galaxy = galaxies[0].start
            for lens, light, std in ((4, 0, MASS_LIGHT_OFFSET), (5, 1, MASS_LIGHT_OFFSET),
                                     (2, 4, MASS_LIGHT_ELLIPTICITY_TIE),
                                     (3, 5, MASS_LIGHT_ELLIPTICITY_TIE)):
                self._tie(lens, galaxy + light, std)
        first, *clumps = layout.slices("source") or [None]
        for clump in clumps:
            for k in (0, 1):
                self._tie(first.start + k, clump.start + k, CLUMP_OFFSET)

    def _tie(self, first, second, std):
        """Add a prior of width ``std`` on the difference of two parameters."""
        pair = torch.tensor([first, second])
        self.precision[pair[:, None], pair] += torch.tensor(
            [[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64) / std**2

    def __call__(self, values):
        """Chi2 of the priors, and half of its gradient, for parameters ``(batch, n)``."""
        offset = values - self.mean
        gradient = offset @ self.precision
        return (offset * gradient).sum(-1), gradient


class ParametricScene:
    """Images of the components of a layout on a `SceneGrid`, and their derivatives."""

    def __init__(self, layout, grid):
        self.layout, self.grid = layout, grid
        self.dtype = grid.x.dtype

    def trace_rays(self, lens_params):
        """Source-plane positions of the rays of the grid, two arrays ``(batch, ny, nx)``."""
        ax, ay = deflection(self.grid.x, self.grid.y, lens_params, series_terms(lens_params))
        return self.grid.x - ax, self.grid.y - ay

    def planes(self, values, derivatives=False):
        """
        Images of unit amplitude ``(batch, k, ...)`` at the target resolution, the sky last.

        With ``derivatives``, also a list of plane index, parameter slice and derivatives
        ``(n, batch, ...)``.
        """
        values, grid, layout = values.to(self.dtype), self.grid, self.layout
        planes, changes = [], []
        if layout.lens:
            lens = layout.slices("lens")[0]
            lens_params = values[:, lens]
            if derivatives:
                alpha, alpha_derivs = deflection_derivatives(
                    grid.x, grid.y, lens_params, series_terms(lens_params))
                beta = grid.x - alpha.real, grid.y - alpha.imag
            else:
                beta = self.trace_rays(lens_params)
        for params in layout.slices("source"):
            if derivatives:
                light, light_derivs = sersic_derivatives(*beta, values[:, params])
                # A shift of the ray acts as the opposite shift of the source.
                lens_derivs = (light_derivs[0] * alpha_derivs.real
                               + light_derivs[1] * alpha_derivs.imag)
                changes += [(len(planes), params, grid.to_target(light_derivs)),
                            (len(planes), lens, grid.to_target(lens_derivs))]
            else:
                light = sersic_profile(*beta, values[:, params])
            planes.append(grid.to_target(light))
        for params, plane, change in self.foreground(values, derivatives):
            if derivatives:
                changes.append((len(planes), params, change))
            planes.append(plane)
        sky = torch.ones(len(values), *grid.target_shape, dtype=self.dtype, device=values.device)
        return torch.stack([*planes, sky], dim=1), changes

    def foreground(self, values, derivatives=False):
        """Yield slice, image and derivatives (or `None`) of profiles and points before the lens."""
        for component_type, image in (("light", self._galaxy), ("point", self._point)):
            for params in self.layout.slices(component_type):
                yield params, *image(values[:, params], derivatives)

    def _galaxy(self, values, derivatives):
        """Image of profiles, with the cusp integrated over grid cells near the centre."""
        grid, step = self.grid, self.grid.step
        neighbours = torch.arange(-CUSP_RADIUS, CUSP_RADIUS + 1, device=values.device)
        offsets = ((torch.arange(CUSP_SUBPIXELS, device=values.device, dtype=self.dtype) + 0.5)
                   / CUSP_SUBPIXELS - 0.5) * step
        blurs, subpixels = [], []
        for axis, centre, blur in ((grid.x.ravel(), values[:, 0], grid.blur[1]),
                                   (grid.y.ravel(), values[:, 1], grid.blur[0])):
            index = ((centre - axis[0]) / step).round().long()
            index = index.clamp(CUSP_RADIUS, len(axis) - 1 - CUSP_RADIUS)[:, None] + neighbours
            blurs.append(blur[:, index].movedim(1, 0))
            subpixels.append((axis[index][..., None] + offsets).flatten(1))
        x, y = subpixels[0][:, None, :], subpixels[1][:, :, None]

        def image(light, blocks):
            half = CUSP_SUBPIXELS // 2
            blocks = blocks.unflatten(-1, (-1, CUSP_SUBPIXELS)).unflatten(
                -3, (-1, CUSP_SUBPIXELS))
            correction = blocks.mean(dim=(-3, -1)) - blocks[..., half, :, half]
            return grid.to_target(light) + blurs[1] @ correction @ blurs[0].transpose(1, 2)

        if not derivatives:
            return image(sersic_profile(grid.x, grid.y, values), sersic_profile(x, y, values)), None
        coarse, fine = (sersic_derivatives(*positions, values) for positions in (
            (grid.x, grid.y), (x, y)))
        return image(coarse[0], fine[0]), image(coarse[1], fine[1])

    def _point(self, values, derivatives):
        """Image of point sources of unit flux."""
        x, y = (self.grid.point_profile(axis, values[:, k]) for k, axis in enumerate("xy"))
        change = None
        if derivatives:
            by_x, by_y = (self.grid.point_derivative(axis, values[:, k])
                          for k, axis in enumerate("xy"))
            change = torch.stack([y[:, :, None] * by_x[:, None, :],
                                  by_y[:, :, None] * x[:, None, :]])
        return y[:, :, None] * x[:, None, :], change
