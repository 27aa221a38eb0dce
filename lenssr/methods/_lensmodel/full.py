"""The whole model: profiles, the source on its grid, and a potential on a coarse one."""

from dataclasses import dataclass

import torch

from lenssr.lensing import Potential, deflection_derivatives, series_terms, sersic_derivatives
from lenssr.methods._lensmodel.scene import Priors, SceneModel
from lenssr.methods._lensmodel.source import SourceGrid

__all__ = ["FullModel", "State"]

NODES = 7       # of the potential along a side
COVERED = 1.5   # Einstein radii from the lens that they cover
AMPLITUDE = 1e-5  # ridge of the amplitudes, relative to their data


@dataclass
class State:
    """Values of the whole model."""

    values: torch.Tensor
    amplitudes: torch.Tensor
    bent: torch.Tensor
    pixels: torch.Tensor

    def joined(self):
        """All in one vector."""
        return torch.cat([self.values, self.amplitudes, self.bent, self.pixels])

    def moved(self, step):
        """The state a step further."""
        sizes = [len(part) for part in vars(self).values()]
        return State(*(part + move for part, move in zip(vars(self).values(), step.split(sizes))))


class FullModel:
    """Image and slopes of the whole model."""

    def __init__(self, found, lattice, data, side):
        self.layout, self.lattice, self.data = found.layout, lattice, data
        self.scene, self.priors = SceneModel(found.layout, lattice), Priors(found.layout)
        self.grid = self.potential = None
        counts = [0, 0]
        if found.layout.lens:
            lens, *_ = found.layout.slices("lens")
            macro = found.values[0, lens]
            radius = float(macro[0].exp())
            step = 2 * COVERED * radius / (NODES - 3)
            self.potential = Potential((float(macro[4]), float(macro[5])), step, NODES)
            self.bent_unit = step**2
            profiles = torch.stack([found.values[0, part]
                                    for part in found.layout.slices("source")])
            self.grid = SourceGrid(profiles, found.amplitudes[0, :found.layout.sources], side)
            self.root = self.grid.root()
            counts = [self.potential.count, self.grid.side**2]
        self.start = State(found.values[0].clone(), found.amplitudes[0].clone(),
                           *(torch.zeros(n, dtype=torch.float64) for n in counts))

    def rays(self, state, with_slopes=False):
        """Where rays meet the source plane, and the slopes of the deflection of the lens."""
        lattice, lens = self.lattice, self.layout.slices("lens")[0]
        macro = state.values[None, lens].to(self.scene.dtype)
        alpha, slopes = deflection_derivatives(lattice.x, lattice.y, macro, series_terms(macro))
        more = self.potential.deflect(lattice.x.ravel(), lattice.y.ravel(),
                                      state.bent * self.bent_unit)
        beta = (lattice.x - alpha.real[0] - more[0], lattice.y - alpha.imag[0] - more[1])
        return (beta, slopes[:, 0]) if with_slopes else beta

    def source(self, state):
        """Pixels of the source beyond its profiles, ``(side, side)``."""
        return (self.root @ state.pixels).reshape(self.grid.side, self.grid.side)

    def image(self, state):
        """The image at the declared resolution, margins included."""
        planes = self._unlensed(state)[0]
        n = self.layout.sources
        sharp = torch.einsum("k,kyx->yx", state.amplitudes[n:].to(planes.dtype), planes)
        if not self.layout.lens:
            return sharp
        beta = self.rays(state)
        light = self.grid.light(beta, self.source(state))[0]
        for part, amplitude in zip(self.layout.slices("source"), state.amplitudes):
            light = light + amplitude.to(light.dtype) * sersic_derivatives(
                *beta, state.values[None, part].to(light.dtype))[0][0]
        return sharp + self.lattice.sharp(light)

    def _unlensed(self, state, with_slopes=False):
        values = state.values[None].to(self.scene.dtype)
        planes, changes = [], []
        for kind, image in (("light", self.scene._galaxy), ("point", self.scene._point)):
            for part in self.layout.slices(kind):
                plane, change = image(values[:, part], with_slopes)
                planes.append(plane[0])
                changes.append((part, change))
        planes.append(torch.ones(self.lattice.sharp_shape, dtype=self.scene.dtype))
        return torch.stack(planes), changes

    def slopes(self, state):
        """The image, and its derivatives ``(n + k + ...)`` in the joined state."""
        lattice, layout, dtype = self.lattice, self.layout, self.scene.dtype
        planes, changes = self._unlensed(state, True)
        amplitudes = state.amplitudes.to(dtype)
        parts = planes.new_zeros(layout.size, *planes.shape[1:])
        for (part, change), amplitude in zip(changes, amplitudes[layout.sources:]):
            parts[part] = amplitude * change[:, 0]
        if not layout.lens:
            sharp = torch.cat([parts, planes])
            return torch.einsum("k,kyx->yx", amplitudes, planes), sharp
        beta, bent = self.rays(state, True)
        value, by_x, by_y = self.grid.light(beta, self.source(state))
        lensed = []
        for part, amplitude in zip(layout.slices("source"), amplitudes):
            light, own = sersic_derivatives(*beta, state.values[None, part].to(dtype))
            parts[part] = lattice.sharp(amplitude * own[:, 0])
            lensed.append(lattice.sharp(light[0]))
            by_x, by_y = by_x - amplitude * own[0, 0], by_y - amplitude * own[1, 0]
        parts[layout.slices("lens")[0]] = lattice.sharp(-(by_x * bent.real + by_y * bent.imag))
        nodes = self.potential.slopes(lattice.x.ravel(), lattice.y.ravel())
        nodes = lattice.sharp(-self.bent_unit * (by_x * nodes[0] + by_y * nodes[1]))
        pixels = lattice.sharp(self.grid.planes(beta))
        pixels = torch.einsum("kyx,kj->jyx", pixels, self.root.to(dtype))
        planes = torch.cat([torch.stack(lensed), planes])
        image = torch.einsum("k,kyx->yx", amplitudes, planes) + lattice.sharp(value)
        return image, torch.cat([parts, planes, nodes, pixels])
