"""Pairs without end, made as they are asked for: training on the fly."""

from torch import distributed
from torch.utils.data import IterableDataset, get_worker_info

from lenssr._validation import check_nonnegative_int, check_positive_int
from lenssr.simulate._series import BATCH, PairSeries

__all__ = ["PairStream"]


class PairStream(IterableDataset):
    """
    A series of simulated pairs as a data set of torch.

    Shared out over the workers of a `~torch.utils.data.DataLoader` and the ranks of
    `torch.distributed`, in blocks of 32, such that no pair comes twice. The pairs are those
    of a catalogue with the same seed and classes.

    Parameters
    ----------
    preset : str
        One of ``lenssr.simulate.PRESETS``.
    seed : int
        Seed of the series.
    start, n : int
        First pair, and how many; without end by default.
    rank, world_size : int, optional
        Which of how many processes this is; by default as `torch.distributed` has it.
    engine : {"torch", "lenstronomy"}
        What renders the scenes.
    **options
        ``substructure``, ``instrument``, ``population``, ``scale``, ``size`` and
        ``target_noise``, as for `simulate_pair`, and ``device``; ``substructure`` may be a
        sequence of classes, which take turns.

    Yields
    ------
    pair : dict
        Tensors of one pair, in electrons per pixel: ``lr`` and ``sigma`` ``(m, m)``, ``mask``,
        ``hr`` and ``truth``, the target with and without its noise, ``(scale m, scale m)``,
        ``psf``, and the ``index`` of the pair.

    Raises
    ------
    ValueError
        If a name is unknown or a number out of its range.
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

    def _share(self):
        """Which of how many shares of the series this process makes."""
        rank, ranks = self.rank, self.world_size
        if rank is None:
            known = distributed.is_available() and distributed.is_initialized()
            rank, ranks = ((distributed.get_rank(), distributed.get_world_size()) if known
                           else (0, 1))
        worker = get_worker_info()
        if worker is None:
            return rank, ranks
        return rank * worker.num_workers + worker.id, ranks * worker.num_workers

    def __iter__(self):
        share, shares = self._share()
        first = self.start + share * BATCH
        end = float("inf") if self.n is None else self.start + self.n
        while first < end:
            indices = range(first, int(min(first + BATCH, end)))
            batch = self.series.batch(indices)
            tensors = {name: getattr(batch, name)
                       for name in ("lr", "sigma", "mask", "hr", "truth", "psf")}
            for k, index in enumerate(indices):
                yield {"index": index, **{name: part[k].float() if part.is_floating_point()
                                          else part[k] for name, part in tensors.items()}}
            first += shares * BATCH
