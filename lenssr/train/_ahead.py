"""Batches made ahead of the steps that take them, by other processes."""

import multiprocessing
import os

from torch.utils.data import DataLoader, Dataset

from lenssr._validation import check_nonnegative_int

__all__ = ["PrefetchLoader", "check_workers", "default_workers"]

MOST = 8     # processes that are started unless told otherwise
AHEAD = 4    # batches of each


def default_workers(device):
    """Processes that keep a GPU busy; none beside a training that takes the processors itself."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(MOST, (cores or 1) - 1) if device.type == "cuda" and _forks() else 0


def check_workers(workers):
    """The number of processes as given, None where it is left to `usual_workers`."""
    if workers is None:
        return None
    if check_nonnegative_int("workers", workers) and not _forks():
        raise ValueError(f"`workers` must be 0 on a system that cannot fork, got {workers}")
    return workers


class PrefetchLoader:
    """A source of pairs whose batches are made by processes before they are asked for."""

    def __init__(self, pairs, steps, batch, rank, world, workers):
        self.made = iter(DataLoader(
            _Batches(pairs, steps, batch, rank, world), batch_size=None, collate_fn=_as_it_is,
            num_workers=workers, multiprocessing_context="fork" if workers else None,
            prefetch_factor=AHEAD if workers else None))

    def batch(self, *_):
        """The batch of the next step."""
        return next(self.made)


class _Batches(Dataset):
    """The batches of some steps."""

    def __init__(self, pairs, steps, *share):
        self.pairs, self.steps, self.share = pairs, steps, share

    def __len__(self):
        return len(self.steps)

    def __getitem__(self, k):
        return self.pairs.batch(self.steps[k], *self.share)


def _as_it_is(batch):
    return batch


def _forks():
    return "fork" in multiprocessing.get_all_start_methods()
