"""The whole model fitted, its regularisation chosen by the evidence, and its errors."""

from dataclasses import dataclass

import torch

from lenssr.methods._lensmodel.fit import parts_cost
from lenssr.methods._lensmodel.full import FullModel, State
from lenssr.methods._lensmodel.source import SIDE

__all__ = ["Posterior", "infer"]

#: Widths that the priors of the pixels of the source may have, in those of `SourceGrid.root`.
PIXELS = (1e-3, 0.03, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)

#: The same of the potential: convergence.
BENT = (1e-4, 0.003, 0.01)

ROUNDS = 3
DAMPING = (0.0, 0.03, 0.3, 3.0, 30.0)  # of steps, until one is to the better
SMALL = 1e-6    # of the widest amplitude: its ridge


@dataclass
class Posterior:
    """Best values of the whole model, and how well they are known."""

    model: FullModel
    state: State
    image: torch.Tensor
    slopes: torch.Tensor
    jacobian: torch.Tensor
    expected: torch.Tensor
    root: torch.Tensor
    fisher: torch.Tensor
    chi2: float
    widths: tuple
    cost: float
    lens: torch.Tensor = None

    def __post_init__(self):
        if self.lens is None and self.model.layout.lens:
            lens = self.model.layout.slices("lens")[0]
            self.lens = self.covariance[lens, lens]

    @property
    def covariance(self):
        """Of the joined state."""
        return torch.cholesky_inverse(self.root)

    @property
    def freedom(self):
        """Parameters that the data determine."""
        return float((self.covariance * self.fisher).sum())

    def stds(self):
        """Standard deviations of the image, of noise carried through and in whole."""
        moved = torch.linalg.solve_triangular(self.root, self.slopes.double(), upper=False)
        half = torch.linalg.solve_triangular(self.root, self.fisher, upper=False)
        inner = torch.linalg.solve_triangular(self.root, half.T, upper=False)
        shape = self.image.shape
        noise = ((inner @ moved) * moved).sum(0).clamp(min=0).sqrt().reshape(shape)
        return noise, (moved**2).sum(0).sqrt().reshape(shape)

    def draws(self, count, generator):
        """Images drawn from the posterior, less the best one, ``(count, ny, nx)``."""
        size = len(self.root)
        white = torch.randn(size, count, generator=generator, dtype=torch.float64)
        moved = torch.linalg.solve_triangular(self.root.T, white, upper=True)
        return (moved.T @ self.slopes.double()).reshape(count, *self.image.shape)


def infer(found, lattice, data, side=SIDE, rounds=ROUNDS):
    """
    Fit the whole model, beginning with profiles.

    Gauss-Newton steps in all parameters together. The widths of the priors of the pixels of the
    source and of the potential are those of the greatest evidence (MacKay 1992,
    doi:10.1162/neco.1992.4.3.415; for lenses Suyu et al. 2006, 2006MNRAS.371..983S), the
    model being linear there.
    """
    model = FullModel(found, lattice, data, side)
    state, widths, objective = model.start, None, None
    low, high = found.layout.bounds()
    weight = data.weight.ravel().double()
    for round_ in range(rounds + 1):
        image, sharp = model.slopes(state)
        jacobian = lattice.data(sharp[None])[0].flatten(1).double()
        residual = (data.values - lattice.data(image[None, None])[0, 0]).ravel().double()
        fisher = (jacobian * weight) @ jacobian.T
        right = (jacobian * weight) @ residual
        if widths is None:
            widths = _widths(model, state, fisher, right)
        precision, slope = _prior(model, state, widths, fisher)
        if round_ == rounds:
            break
        if objective is None:
            objective = _objective(model, state, data, lattice, precision)
        for damping in DAMPING:
            whole = fisher + precision
            whole.diagonal().mul_(1 + damping)
            trial = state.moved(torch.linalg.solve(whole, right - slope))
            trial.values = trial.values.clamp(low, high)
            value = _objective(model, trial, data, lattice, precision)
            if value < objective:
                state, objective = trial, value
                break
        else:
            break
    chi2 = float((residual**2 * weight).sum())
    inner, whole = lattice.inner(sharp).flatten(1), fisher + precision
    n, k, _, _ = _sizes(model)
    amplitudes = slice(n, n + k)
    cost = (_objective(model, state, data, lattice, precision) + parts_cost(found.layout, data)
            + float(torch.logdet(whole) - torch.logdet(whole[amplitudes, amplitudes])
                    - torch.logdet(precision[:n, :n])
                    - precision.diagonal()[n + k:].log().sum()))
    return Posterior(model, state, lattice.inner(image), inner, jacobian,
                     data.values - residual.reshape(data.values.shape),
                     torch.linalg.cholesky(whole), fisher, chi2, widths, cost)


def _sizes(model):
    layout = model.layout
    k = layout.sources + layout.lights + layout.points + 1
    return layout.size, k, len(model.start.bent), len(model.start.pixels)


def _prior(model, state, widths, fisher):
    """Precision of the joined state, and the slope of the priors' share."""
    n, k, p, _ = _sizes(model)
    precision = torch.zeros_like(fisher)
    precision[:n, :n] = model.priors.precision
    diagonal = precision.diagonal()
    diagonal[n:n + k] = SMALL * fisher.diagonal()[n:n + k] + 1e-12
    diagonal[n + k:n + k + p] = widths[1] ** -2
    diagonal[n + k + p:] = widths[0] ** -2
    slope = precision @ state.joined()
    slope[:n] = model.priors(state.values[None])[1][0]
    slope[n:n + k] = 0
    return precision, slope


def _objective(model, state, data, lattice, precision):
    n, k, _, _ = _sizes(model)
    seen = lattice.data(model.image(state)[None, None])[0, 0]
    chi2 = float(((data.values - seen) ** 2 * data.weight).double().sum())
    rest = state.joined()[n + k:]
    return (chi2 + float(model.priors(state.values[None])[0])
            + float((rest**2 * precision.diagonal()[n + k:]).sum()))


def _widths(model, state, fisher, right):
    """Widths of the priors of the greatest evidence, one after the other."""
    if not model.layout.lens:
        return PIXELS[0], BENT[0]

    def evidence(widths):
        precision, slope = _prior(model, state, widths, fisher)
        root = torch.linalg.cholesky(fisher + precision)
        half = torch.linalg.solve_triangular(root, (right - slope)[:, None], upper=False)
        _, _, p, q = _sizes(model)
        return float(half.square().sum() - 2 * root.diagonal().log().sum()
                     - 2 * p * torch.tensor(widths[1]).log() - 2 * q * torch.tensor(
                         widths[0]).log())

    best = max(((w, BENT[0]) for w in PIXELS), key=evidence)
    best = max(((best[0], b) for b in BENT), key=evidence)
    return max(((w, best[1]) for w in PIXELS), key=evidence)
