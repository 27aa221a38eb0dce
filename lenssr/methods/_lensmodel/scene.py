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

__all__ = ["Layout", "Priors", "SceneModel"]

HALF, PARTS = 3, 7  # pixels about the centre of a profile that are integrated, and parts of each

#: Priors of a profile in the source plane: (mean, width) as in ``LIGHT``.
SOURCE = ((0.0, 6.0), (0.0, 6.0), (0.4, 0.9), (0.2, 0.5), (0.0, 0.2), (0.0, 0.2))

#: The same of other galaxies and of points: anywhere.
PLACE = ((0.0, 12.0), (0.0, 12.0))
NEIGHBOUR = ((0.3, 0.8), (0.4, 0.5), (0.0, 0.2), (0.0, 0.2))
LENGTHS = {"lens": len(LENS_PARAMETERS), "light": len(LIGHT_PARAMETERS), "source": len(LIGHT_PARAMETERS), "point": 2}

#: How far the light of a lens is off its mass: place in pixels, ellipticity.
OFFSET, TWIST = 0.1, 0.05

#: How far clumps of a source are from it, pixels.
CLUMPS = 1.5

#: Bounds of steps: parameters of MACRO and LIGHT.
LOWEST = {"lens": (0.0, 1.5, -0.55, -0.55, -math.inf, -math.inf, -0.3, -0.3),
          "light": (-math.inf, -math.inf, -1.5, -1.2, -0.6, -0.6),
          "source": (-math.inf, -math.inf, -1.5, -1.2, -0.6, -0.6),
          "point": (-math.inf,) * 2}
HIGHEST = {"lens": (4.0, 2.6, 0.55, 0.55, math.inf, math.inf, 0.3, 0.3),
           "light": (math.inf, math.inf, 3.5, 2.1, 0.6, 0.6),
           "source": (math.inf, math.inf, 3.0, 1.8, 0.6, 0.6),
           "point": (math.inf,) * 2}


@dataclass(frozen=True)
class Layout:
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
        start, found = 0, []
        for kind in kinds:
            found.append((kind, slice(start, start + LENGTHS[kind])))
            start += LENGTHS[kind]
        return found

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
                                  dtype=torch.float64) for table in (LOWEST, HIGHEST))


class Priors:
    """Gaussian priors of the parameters of a layout, as a quadratic form about their mean."""

    def __init__(self, layout):
        mean, width = [], []
        galaxies = layout.slices("light")[:int(layout.lens and layout.galaxy)]
        for kind, part in layout.parts():
            if kind == "source":
                table = SOURCE
            elif kind == "lens" or part in galaxies:
                table = [(p.mean, p.width) for p in (LENS_PARAMETERS if kind == "lens" else LIGHT_PARAMETERS)]
            else:
                table = (*PLACE, *NEIGHBOUR)[:LENGTHS[kind]]
            mean += [m for m, _ in table]
            width += [w for _, w in table]
        self.mean = torch.tensor(mean, dtype=torch.float64)
        self.precision = torch.diag(torch.tensor(width, dtype=torch.float64) ** -2)
        if galaxies:
            galaxy = layout.slices("light")[0].start
            for mass, light, scale in ((4, 0, OFFSET), (5, 1, OFFSET), (2, 4, TWIST),
                                       (3, 5, TWIST)):
                self._tie(mass, galaxy + light, scale)
        first, *clumps = layout.slices("source") or [None]
        for clump in clumps:
            for k in (0, 1):
                self._tie(first.start + k, clump.start + k, CLUMPS)

    def _tie(self, one, other, scale):
        pair = torch.tensor([one, other])
        self.precision[pair[:, None], pair] += torch.tensor(
            [[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64) / scale**2

    def __call__(self, values):
        """The quadratic form, and its slope, of values ``(batch, n)``."""
        off = values - self.mean
        slope = off @ self.precision
        return (off * slope).sum(-1), slope


class SceneModel:
    """The images of the parts of a layout on a lattice, and their slopes."""

    def __init__(self, layout, lattice):
        self.layout, self.lattice = layout, lattice
        self.dtype = lattice.x.dtype

    def shoot(self, macro):
        """Where rays from the lattice meet the source plane, ``(batch, ny, nx)`` each."""
        ax, ay = deflection(self.lattice.x, self.lattice.y, macro, series_terms(macro))
        return self.lattice.x - ax, self.lattice.y - ay

    def planes(self, values, with_slopes=False):
        """Images of sources, lights, points and the sky at the declared resolution."""
        values, lattice, layout = values.to(self.dtype), self.lattice, self.layout
        found, changes = [], []
        if layout.lens:
            lens = layout.slices("lens")[0]
            macro = values[:, lens]
            if with_slopes:
                alpha, bent = deflection_derivatives(lattice.x, lattice.y, macro, series_terms(macro))
                beta = lattice.x - alpha.real, lattice.y - alpha.imag
            else:
                beta = self.shoot(macro)
        for part in layout.slices("source"):
            if with_slopes:
                light, own = sersic_derivatives(*beta, values[:, part])
                # A ray that is moved meets what a source moved the other way would show it.
                through = own[0] * bent.real + own[1] * bent.imag
                changes += [(len(found), part, lattice.sharp(own)),
                            (len(found), lens, lattice.sharp(through))]
            else:
                light = sersic_profile(*beta, values[:, part])
            found.append(lattice.sharp(light))
        for kind, image in (("light", self._galaxy), ("point", self._point)):
            for part in layout.slices(kind):
                plane, change = image(values[:, part], with_slopes)
                if with_slopes:
                    changes.append((len(found), part, change))
                found.append(plane)
        sky = torch.ones(len(values), *lattice.sharp_shape, dtype=self.dtype,
                         device=values.device)
        return torch.stack([*found, sky], dim=1), changes

    def _galaxy(self, values, with_slopes):
        """Image of profiles, whose cusps are integrated over the cells of the lattice."""
        lattice, step = self.lattice, self.lattice.step
        near = torch.arange(-HALF, HALF + 1, device=values.device)
        parts = ((torch.arange(PARTS, device=values.device, dtype=self.dtype) + 0.5) / PARTS
                 - 0.5) * step
        blurs, fine = [], []
        for axis, centre, blur in ((lattice.x.ravel(), values[:, 0], lattice.blur[1]),
                                   (lattice.y.ravel(), values[:, 1], lattice.blur[0])):
            index = ((centre - axis[0]) / step).round().long().clamp(HALF, len(axis) - 1 - HALF)
            index = index[:, None] + near
            blurs.append(blur[:, index].movedim(1, 0))
            fine.append((axis[index][..., None] + parts).flatten(1))
        x, y = fine[0][:, None, :], fine[1][:, :, None]

        def image(light, blocks):
            middle = PARTS // 2
            blocks = blocks.unflatten(-1, (-1, PARTS)).unflatten(-3, (-1, PARTS))
            more = blocks.mean(dim=(-3, -1)) - blocks[..., middle, :, middle]
            return lattice.sharp(light) + blurs[1] @ more @ blurs[0].transpose(1, 2)

        if not with_slopes:
            return image(sersic_profile(lattice.x, lattice.y, values), sersic_profile(x, y, values)), None
        whole, near = (sersic_derivatives(*places, values) for places in (
            (lattice.x, lattice.y), (x, y)))
        return image(whole[0], near[0]), image(whole[1], near[1])

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
