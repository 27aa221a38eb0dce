"""A lens, its source and other light as a model of an image: what it means, and its slopes."""

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

CUSP_RADIUS, CUSP_SUBPIXELS = 3, 7  # pixels around a centre that are integrated, and points of each

# (mean, width) of the parameters of a profile in the source plane.
SOURCE_PRIOR = ((0.0, 6.0), (0.0, 6.0), (0.4, 0.9), (0.2, 0.5), (0.0, 0.2), (0.0, 0.2))

POSITION_PRIOR = ((0.0, 12.0), (0.0, 12.0))  # (mean, width) of the positions of galaxies and points
NEIGHBOUR_PRIOR = ((0.3, 0.8), (0.4, 0.5), (0.0, 0.2), (0.0, 0.2))
N_PARAMETERS = {"lens": len(LENS_PARAMETERS), "light": len(LIGHT_PARAMETERS), "source": len(LIGHT_PARAMETERS), "point": 2}

# Prior widths between light and mass: pixels, and ellipticity.
MASS_LIGHT_OFFSET, MASS_LIGHT_ELLIPTICITY_TIE = 0.1, 0.05

CLUMP_OFFSET = 1.5  # prior width of the distance of a clump from its source, pixels

#: Bounds of steps: parameters of MACRO and LIGHT.
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
    """Which parts a model has; its parameters lie one part behind the other, in this order."""

    lens: bool = True
    sources: int = 1
    lights: int = 1
    points: int = 0
    galaxy: bool = True

    def parts(self):
        """Kind and slice of each part."""
        kinds = (["lens"] * self.lens + ["source"] * self.sources + ["light"] * self.lights
                 + ["point"] * self.points)
        start, slices = 0, []
        for kind in kinds:
            slices.append((kind, slice(start, start + N_PARAMETERS[kind])))
            start += N_PARAMETERS[kind]
        return slices

    def slices(self, kind):
        """Slices of the parts of a kind."""
        return [part for name, part in self.parts() if name == kind]

    @property
    def size(self):
        """Number of parameters."""
        parts = self.parts()
        return parts[-1][1].stop if parts else 0

    def bounds(self):
        """Lowest and highest values."""
        return tuple(torch.tensor([v for kind, _ in self.parts() for v in table[kind]],
                                  dtype=torch.float64) for table in (LOWER_LIMITS, UPPER_LIMITS))


class ScenePriors:
    """Gaussian priors of the parameters of a layout, as a quadratic form about their mean."""

    def __init__(self, layout):
        mean, width = [], []
        galaxies = layout.slices("light")[:int(layout.lens and layout.galaxy)]
        for kind, part in layout.parts():
            if kind == "source":
                table = SOURCE_PRIOR
            elif kind == "lens" or part in galaxies:
                table = [(p.mean, p.width) for p in (LENS_PARAMETERS if kind == "lens" else LIGHT_PARAMETERS)]
            else:
                table = (*POSITION_PRIOR, *NEIGHBOUR_PRIOR)[:N_PARAMETERS[kind]]
            mean += [m for m, _ in table]
            width += [w for _, w in table]
        self.mean = torch.tensor(mean, dtype=torch.float64)
        self.precision = torch.diag(torch.tensor(width, dtype=torch.float64) ** -2)
        if galaxies:
            galaxy = layout.slices("light")[0].start
            for mass, light, scale in ((4, 0, MASS_LIGHT_OFFSET), (5, 1, MASS_LIGHT_OFFSET), (2, 4, MASS_LIGHT_ELLIPTICITY_TIE),
                                       (3, 5, MASS_LIGHT_ELLIPTICITY_TIE)):
                self._tie(mass, galaxy + light, scale)
        first, *clumps = layout.slices("source") or [None]
        for clump in clumps:
            for k in (0, 1):
                self._tie(first.start + k, clump.start + k, CLUMP_OFFSET)

    def _tie(self, first, second, scale):
        pair = torch.tensor([first, second])
        self.precision[pair[:, None], pair] += torch.tensor(
            [[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64) / scale**2

    def __call__(self, values):
        """The quadratic form, and its slope, of values ``(batch, n)``."""
        off = values - self.mean
        slope = off @ self.precision
        return (off * slope).sum(-1), slope


class ParametricScene:
    """The images of the parts of a layout on a lattice, and their slopes."""

    def __init__(self, layout, lattice):
        self.layout, self.lattice = layout, lattice
        self.dtype = lattice.x.dtype

    def shoot(self, lens_params):
        """Where rays from the lattice meet the source plane, ``(batch, ny, nx)`` each."""
        ax, ay = deflection(self.lattice.x, self.lattice.y, lens_params, series_terms(lens_params))
        return self.lattice.x - ax, self.lattice.y - ay

    def planes(self, values, with_slopes=False):
        """Images of sources, lights, points and the sky at the declared resolution."""
        values, lattice, layout = values.to(self.dtype), self.lattice, self.layout
        plane_list, changes = [], []
        if layout.lens:
            lens = layout.slices("lens")[0]
            lens_params = values[:, lens]
            if with_slopes:
                alpha, deflection_derivs = deflection_derivatives(lattice.x, lattice.y, lens_params, series_terms(lens_params))
                beta = lattice.x - alpha.real, lattice.y - alpha.imag
            else:
                beta = self.shoot(lens_params)
        for part in layout.slices("source"):
            if with_slopes:
                light, light_derivs = sersic_derivatives(*beta, values[:, part])
                # A ray that is moved meets what a source moved the other way would show it.
                through = light_derivs[0] * deflection_derivs.real + light_derivs[1] * deflection_derivs.imag
                changes += [(len(plane_list), part, lattice.target_image(light_derivs)),
                            (len(plane_list), lens, lattice.target_image(through))]
            else:
                light = sersic_profile(*beta, values[:, part])
            plane_list.append(lattice.target_image(light))
        for kind, image in (("light", self._galaxy), ("point", self._point)):
            for part in layout.slices(kind):
                plane, change = image(values[:, part], with_slopes)
                if with_slopes:
                    changes.append((len(plane_list), part, change))
                plane_list.append(plane)
        sky = torch.ones(len(values), *lattice.target_shape, dtype=self.dtype,
                         device=values.device)
        return torch.stack([*plane_list, sky], dim=1), changes

    def _galaxy(self, values, with_slopes):
        """Image of profiles, whose cusps are integrated over the cells of the lattice."""
        lattice, step = self.lattice, self.lattice.step
        near = torch.arange(-CUSP_RADIUS, CUSP_RADIUS + 1, device=values.device)
        parts = ((torch.arange(CUSP_SUBPIXELS, device=values.device, dtype=self.dtype) + 0.5) / CUSP_SUBPIXELS
                 - 0.5) * step
        blurs, fine = [], []
        for axis, centre, blur in ((lattice.x.ravel(), values[:, 0], lattice.blur[1]),
                                   (lattice.y.ravel(), values[:, 1], lattice.blur[0])):
            index = ((centre - axis[0]) / step).round().long().clamp(CUSP_RADIUS, len(axis) - 1 - CUSP_RADIUS)
            index = index[:, None] + near
            blurs.append(blur[:, index].movedim(1, 0))
            fine.append((axis[index][..., None] + parts).flatten(1))
        x, y = fine[0][:, None, :], fine[1][:, :, None]

        def image(light, blocks):
            middle = CUSP_SUBPIXELS // 2
            blocks = blocks.unflatten(-1, (-1, CUSP_SUBPIXELS)).unflatten(-3, (-1, CUSP_SUBPIXELS))
            more = blocks.mean(dim=(-3, -1)) - blocks[..., middle, :, middle]
            return lattice.target_image(light) + blurs[1] @ more @ blurs[0].transpose(1, 2)

        if not with_slopes:
            return image(sersic_profile(lattice.x, lattice.y, values), sersic_profile(x, y, values)), None
        coarse, near = (sersic_derivatives(*positions, values) for positions in (
            (lattice.x, lattice.y), (x, y)))
        return image(coarse[0], near[0]), image(coarse[1], near[1])

    def _point(self, values, with_slopes):
        """Image of point sources of unit flux."""
        lattice = self.lattice
        x, y = (lattice.profile(axis, values[:, k]) for k, axis in enumerate(("x", "y")))
        change = None
        if with_slopes:
            by_x, by_y = (lattice.profile_slope(axis, values[:, k])
                          for k, axis in enumerate(("x", "y")))
            change = torch.stack([y[:, :, None] * by_x[:, None, :],
                                  by_y[:, :, None] * x[:, None, :]])
        return y[:, :, None] * x[:, None, :], change


SOURCE_SIDE = 20  # pixels along a side
SOURCE_RADIUS = 3.0  # half-light radii on either side of the source
MIN_SOURCE_LEVEL = 0.02  # of the peak; prior level where the profiles are dark
CORRELATION_LENGTH = 1.0  # pixels


class SourceGrid:
    """Surface brightness of a source on a square grid, linear between its pixels."""

    def __init__(self, profiles, amplitudes, side=SOURCE_SIDE):
        self.profiles, self.amplitudes, self.side = profiles, amplitudes, side
        radii = profiles[:, 2].exp()
        flux = (amplitudes * radii**2).clamp(min=0) + 1e-12
        self.centre = (profiles[:, :2] * flux[:, None]).sum(0) / flux.sum()
        off = (profiles[:, :2] - self.centre).norm(dim=1)
        fraction = flux / flux.sum()
        size = float((fraction * (off + radii)).sum())
        self.half = SOURCE_RADIUS * max(size, 0.3)
        self.step = 2 * self.half / (side - 1)

    def axes(self):
        """Places of the pixels along x and y."""
        position = torch.linspace(-self.half, self.half, self.side, dtype=torch.float64)
        return tuple(c + position for c in self.centre)

    def smooth(self):
        """Surface brightness of the profiles at the pixels, ``(side, side)``."""
        x, y = self.axes()
        light = sersic_profile(x[None, :], y[:, None], self.profiles)
        return (self.amplitudes[:, None, None] * light).sum(0)

    def root(self):
        """Root ``(side**2, side**2)`` of the prior covariance of what is left at the pixels."""
        # The cusp of a profile is no measure of what is left beside it.
        level = self.smooth().clamp(min=0)
        level = torch.nn.functional.avg_pool2d(level[None, None], 3, 1, 1)[0, 0]
        level = (level + MIN_SOURCE_LEVEL * level.max() + 1e-9).ravel()
        index = torch.arange(self.side, dtype=torch.float64)
        apart = ((index[:, None] - index) / CORRELATION_LENGTH) ** 2
        line = torch.exp(-apart / 2)
        line = torch.linalg.cholesky(line + 1e-4 * torch.eye(self.side, dtype=torch.float64))
        return level[:, None] * torch.kron(line, line)

    def _weights(self, beta):
        """For each ray, its cell and its place therein; none for rays that miss the grid."""
        weights = []
        for b, c in zip(beta, self.centre):
            u = (b - (float(c) - self.half)) / self.step
            cell = u.floor().clamp(0, self.side - 2)
            weights.append((cell.long(), u - cell, (u > 0) & (u < self.side - 1)))
        (ix, fx, okx), (iy, fy, oky) = weights
        return ix, iy, fx, fy, okx & oky

    def planes(self, beta):
        """What each pixel shows of itself, ``(side**2, ny, nx)``."""
        ix, iy, fx, fy, ok = self._weights(beta)
        planes = beta[0].new_zeros(self.side**2, beta[0].numel())
        at = torch.arange(beta[0].numel())
        for dx, wx in ((0, 1 - fx), (1, fx)):
            for dy, wy in ((0, 1 - fy), (1, fy)):
                index = ((iy + dy) * self.side + ix + dx).ravel()
                planes[index, at] = (wx * wy * ok).ravel()
        return planes.reshape(-1, *beta[0].shape)

    def light(self, beta, pixels):
        """Surface brightness where rays meet the grid, and its derivatives along x and y."""
        ix, iy, fx, fy, ok = self._weights(beta)
        p = pixels.reshape(self.side, self.side).to(fx.dtype)
        a, b, c, d = p[iy, ix], p[iy, ix + 1], p[iy + 1, ix], p[iy + 1, ix + 1]
        value = (a * (1 - fx) + b * fx) * (1 - fy) + (c * (1 - fx) + d * fx) * fy
        by_x = ((b - a) * (1 - fy) + (d - c) * fy) / self.step
        by_y = ((c - a) * (1 - fx) + (d - b) * fx) / self.step
        return value * ok, by_x * ok, by_y * ok
