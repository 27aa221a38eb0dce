"""Series of simulated pairs, defined by a preset and a seed, and streams of them for training."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import distributed
from torch.utils.data import IterableDataset, get_worker_info

from lenssr._validation import check_name, check_nonnegative_int, check_positive_int
from lenssr.simulate._instrument import Instrument
from lenssr.simulate._observe import ObservedBatch, Optics, SeriesRandom, observe_batch
from lenssr.simulate._population import Population
from lenssr.simulate._presets import find_preset
from lenssr.simulate._scene import Grid, render
from lenssr.simulate._substructure import add_substructure, parse_substructure
from lenssr.simulate._torch_scene import render_batch

ENGINES = ("lenstronomy", "torch")
SUBPIXELS = 2    # fine pixels per output pixel and axis
PAIR_BATCH = 32  # pairs that are simulated together, to bound the memory


@dataclass
class PairBatch:
    """
    Pairs in electrons per pixel.

    Observed images have shape ``(batch, m, m)``, targets ``(batch, scale m, scale m)``.
    """

    models: list                      # scenes
    lr: torch.Tensor
    sigma: torch.Tensor
    mask: torch.Tensor                # bad pixels
    hr: torch.Tensor
    truth: torch.Tensor               # targets without noise
    hr_sigma: torch.Tensor            # noise of the targets, (batch,)
    psf: torch.Tensor                 # effective PSFs of lr
    electrons_per_flux: torch.Tensor  # unit of the scenes, (batch,)
    observation: ObservedBatch        # conditions, and images in flux with margins


def draw_model(population, seed, index, prior=None):
    """
    Draw scene ``index`` of the series of ``seed``, with substructure of ``prior``.

    The substructure has separate random numbers, so that the rest of the scene does not depend on
    the prior.
    """
    model = population.draw(np.random.default_rng([seed, index]))
    rng = np.random.default_rng([seed, index, 1])
    redshifts = population.draw_redshifts(rng)
    if model.z_lens is None:
        model.z_lens, model.z_source = redshifts
    add_substructure(model, prior, model.z_lens, model.z_source, rng, population.cosmology,
                     population.conserve_mass)
    return model


class PairSeries:
    """
    Series of pairs; each pair depends on the seed and its index only.

    The options equal the options of `simulate_pair`. Several classes of ``substructure`` take turns
    along the series.
    """

    def __init__(self, preset="hsc-hst", *, substructure="cdm", instrument=None, population=None,
                 scale=2, size=None, target_noise=None, seed=0, engine="lenstronomy", device=None):
        config = find_preset(preset)
        if not isinstance(instrument, Instrument | None):
            instrument = Instrument.named(instrument)
        if not isinstance(population, Population | None):
            raise TypeError("`population` must be a Population, "
                            f"got {type(population).__name__}")
        self.engine = check_name("engine", engine, ENGINES)
        self.preset, self.device = preset, device
        self.population = population or config.population
        self.instrument = instrument or config.instrument
        self.scale = check_positive_int("scale", scale)
        self.size = check_positive_int("size", config.size if size is None else size)
        self.seed = check_nonnegative_int("seed", seed)
        self.target_noise = config.target_noise if target_noise is None else target_noise
        if not 0 <= self.target_noise < np.inf:
            raise ValueError(f"`target_noise` must not be negative, got {target_noise!r}")
        is_single = isinstance(substructure, str) or not np.iterable(substructure)
        self.classes = (substructure,) if is_single else tuple(substructure)
        if not self.classes:
            raise ValueError("`substructure` must name at least one class, got none")
        self.priors = [parse_substructure(c, config.substructure) for c in self.classes]
        self.dtype = torch.float64 if engine == "lenstronomy" else torch.float32
        self.bin = self.scale * SUBPIXELS
        self.margin = _fast_margin(self.size, self.instrument.margin, self.bin)
        side = (self.size + 2 * self.margin) * self.bin
        self.grid = Grid(side, self.instrument.pixel_scale / self.bin)
        self.optics = Optics(side, self.scale, SUBPIXELS, device)

    def models(self, indices):
        """Return the scenes of ``indices``, a list of `SceneModel`."""
        return [draw_model(self.population, self.seed, i, self.priors[i % len(self.priors)])
                for i in indices]

    def batch(self, indices):
        """Simulate the pairs of ``indices``, a `PairBatch`."""
        indices = list(indices)
        return _join_batches([self._simulate(indices[k:k + PAIR_BATCH])
                              for k in range(0, len(indices), PAIR_BATCH)])

    def _simulate(self, indices):
        models = self.models(indices)
        rngs = [np.random.default_rng([self.seed, i, 2]) for i in indices]
        draws = SeriesRandom(rngs, self.dtype, self.device)
        observed = observe_batch(self.instrument, self.optics, *self._render(models), draws)
        unit = observed.sky_electrons / observed.sky_rms

        def cut(images, factor, units):
            edge = self.margin * factor
            return images[:, edge:-edge, edge:-edge] * units.reshape(-1, 1, 1)

        lr = cut(observed.lr, 1, unit)
        truth = cut(observed.hr, self.scale, unit / self.scale**2)
        hr, hr_sigma = truth, torch.zeros_like(unit)
        if self.target_noise:
            hr_sigma = self.target_noise * truth.abs().amax(dim=(1, 2))
            hr = truth + hr_sigma.reshape(-1, 1, 1) * draws.normal(*truth.shape[1:])
        mask = torch.zeros_like(lr, dtype=torch.bool)
        if self.instrument.defects is not None:
            lr, mask = self._add_defects(lr, observed.sky_electrons, rngs)
        psf = self.optics.effective_psf(observed.transfer)
        return PairBatch(models, lr, cut(observed.sigma, 1, unit), mask, hr, truth, hr_sigma, psf,
                         unit, observed)

    def _render(self, models):
        if self.engine == "torch":
            return render_batch(models, self.grid, self.device, self.dtype)
        images, lists = zip(*(render(model, self.grid) for model in models))
        table = np.zeros((len(models), max(map(len, lists)), 3))
        for row, points in zip(table, lists):
            row[: len(points)] = points
        return (torch.as_tensor(np.stack(images), device=self.device),
                torch.as_tensor(table, device=self.device))

    def _add_defects(self, lr, sky_rms, rngs):
        images = lr.cpu().numpy().copy()
        masks = [self.instrument.defects.apply(image, float(rms), rng)
                 for image, rms, rng in zip(images, sky_rms, rngs)]
        return (torch.as_tensor(images, device=self.device),
                torch.as_tensor(np.stack(masks), device=self.device))


class PairStream(IterableDataset):
    """
    Series of simulated pairs as a data set of torch.

    Blocks of 32 pairs are distributed over the workers of a `~torch.utils.data.DataLoader` and
    the ranks of `torch.distributed`, without repetition. The pairs equal the pairs of a catalogue
    with this seed and these classes.

    Parameters
    ----------
    preset : str
        One of ``lenssr.simulate.PRESETS``; default ``"hsc-hst"``.
    seed : int
        Seed of the series; default 0.
    start, n : int
        Index of the first pair, and number of pairs; by default 0 and without end.
    rank, world_size : int, optional
        Rank of this process and number of processes; by default as in `torch.distributed`.
    engine : {"torch", "lenstronomy"}
        Renderer of the scenes.
    **options
        Options of `simulate_pair`: ``substructure`` (also a sequence of classes, which take
        turns), ``instrument``, ``population``, ``scale``, ``size``, ``target_noise``; and the
        torch ``device``.

    Yields
    ------
    pair : dict
        Tensors of one pair, in electrons per pixel: ``lr``, ``sigma`` and ``mask``, ``(m, m)``;
        ``hr`` and ``truth``, the target with and without noise, ``(scale m, scale m)``; the
        ``psf``; and the ``index`` of the pair.

    Raises
    ------
    ValueError
        If a name is unknown or a number is out of range.

    Examples
    --------
    >>> from lenssr.simulate import PairStream
    >>> pair = next(iter(PairStream("hsc-hst", seed=1, size=16)))
    >>> pair["lr"].shape, pair["hr"].shape
    (torch.Size([16, 16]), torch.Size([32, 32]))
    """

    def __init__(self, preset="hsc-hst", seed=0, *, start=0, n=None, rank=None, world_size=None,
                 engine="torch", **options):
        self.series = PairSeries(preset, seed=seed, engine=engine, **options)
        self.start = check_nonnegative_int("start", start)
        self.n = None if n is None else check_positive_int("n", n)
        if (rank is None) != (world_size is None):
            raise ValueError("`rank` and `world_size` must be given together, got "
                             f"{rank!r} and {world_size!r}")
        if rank is not None and not 0 <= rank < check_positive_int("world_size", world_size):
            raise ValueError(f"`rank` must be below `world_size` {world_size}, got {rank!r}")
        self.rank, self.world_size = rank, world_size

    def _worker(self):
        """Return the index of this worker over all processes, and the number of workers."""
        rank, ranks = self.rank, self.world_size
        if rank is None:
            is_distributed = distributed.is_available() and distributed.is_initialized()
            rank, ranks = ((distributed.get_rank(), distributed.get_world_size())
                           if is_distributed else (0, 1))
        worker = get_worker_info()
        if worker is None:
            return rank, ranks
        return rank * worker.num_workers + worker.id, ranks * worker.num_workers

    def __iter__(self):
        worker, n_workers = self._worker()
        first = self.start + worker * PAIR_BATCH
        end = float("inf") if self.n is None else self.start + self.n
        while first < end:
            indices = range(first, int(min(first + PAIR_BATCH, end)))
            batch = self.series.batch(indices)
            tensors = {name: getattr(batch, name)
                       for name in ("lr", "sigma", "mask", "hr", "truth", "psf")}
            for k, index in enumerate(indices):
                yield {"index": index, **{name: part[k].float() if part.is_floating_point()
                                          else part[k] for name, part in tensors.items()}}
            first += n_workers * PAIR_BATCH


def _fast_margin(size, margin, factor):
    """Return the smallest margin, at least ``margin``, whose side has factors 2, 3 and 5 only."""
    from scipy.fft import next_fast_len

    while (side := (size + 2 * margin) * factor) != next_fast_len(side, real=True):
        margin += 1
    return margin


def _join_batches(batches):
    if len(batches) == 1:
        return batches[0]

    def join(parts):
        if isinstance(parts[0], list):
            return sum(parts, [])
        if isinstance(parts[0], torch.Tensor):
            return torch.cat(parts)
        return type(parts[0])(*(join([vars(p)[k] for p in parts]) for k in vars(parts[0])))

    return join(batches)
