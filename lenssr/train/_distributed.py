"""Distributed processes of a training, and prefetching of batches."""

import gc
import multiprocessing
import os
from contextlib import AbstractContextManager
from datetime import timedelta

import torch
from torch import distributed
from torch.utils.data import DataLoader, Dataset

from lenssr._validation import check_nonnegative_int

TIMEOUT = timedelta(hours=12)  # of processes that wait while the first renders scenes


class Distributed(AbstractContextManager):
    """Processes that share a training, each with its own batch."""

    def __init__(self, device=None):
        if device is not None:
            try:
                device = torch.device(device)
            except RuntimeError as err:
                raise ValueError(f"`device` must be a torch device such as 'cpu' or 'cuda', got "
                                 f"{device!r}") from err
        cuda = torch.cuda.is_available() and (device is None or device.type == "cuda")
        self.begun = distributed.is_available() and (
            distributed.is_torchelastic_launched() and not distributed.is_initialized())
        if self.begun:
            distributed.init_process_group("nccl" if cuda else "gloo", timeout=TIMEOUT)
        is_distributed = distributed.is_available() and distributed.is_initialized()
        self.rank, self.world = ((distributed.get_rank(), distributed.get_world_size())
                                 if is_distributed
                                 else (0, 1))
        self.local = int(os.environ.get("LOCAL_RANK", 0)) if is_distributed else 0
        if is_distributed and cuda:
            device = torch.device("cuda", self.local)
            torch.cuda.set_device(device)
        self.device = device or torch.device("cuda" if cuda else "cpu")
        self.shared = []

    def __exit__(self, *error):
        if self.begun:
            if error[0] is None:  # other processes may never arrive
                distributed.barrier()  # wait for messages of other processes
            # References to the group keep threads that must not outlive Python.
            for network in self.shared:
                network.reducer = network.logger = network.process_group = None
            self.shared.clear()
            distributed.destroy_process_group()
            gc.collect()

    @property
    def first(self):
        """True if this process writes and validates."""
        return self.rank == 0

    def parallel(self, network):
        """Return the network with gradients averaged over the processes."""
        if self.world == 1:
            return network
        if self.device.type == "cuda":
            network = torch.nn.SyncBatchNorm.convert_sync_batchnorm(network)
        self.shared.append(torch.nn.parallel.DistributedDataParallel(
            network, [self.local] if self.device.type == "cuda" else None))
        return self.shared[-1]

    def mean(self, value):
        """Average a tensor over the processes."""
        if self.world == 1:
            return value
        value = value.detach().clone().to(self.device)
        distributed.all_reduce(value)
        return value / self.world

    def broadcast_from_rank_zero(self, make):
        """Call ``make()`` in the first process and send its result to all."""
        values = [make() if self.first else None]
        if self.world > 1:
            distributed.broadcast_object_list(values)
        return values[0]

    def rank_zero_first(self, make):
        """Call ``make()`` in the first process of each machine before the others."""
        if self.world == 1:
            return make()
        value = make() if self.local == 0 else None
        distributed.barrier()
        return value if self.local == 0 else make()


MAX_WORKERS = 8  # default number of worker processes
BATCHES_AHEAD = 4  # batches prepared by each worker


def default_workers(device):
    """Return the default number of worker processes: several for a GPU, none for a CPU."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(MAX_WORKERS, (cores or 1) - 1) if device.type == "cuda" and _forks() else 0


def check_workers(workers):
    """Return the number of worker processes, or `None` for the default."""
    if workers is None:
        return None
    if check_nonnegative_int("workers", workers) and not _forks():
        raise ValueError(f"`workers` must be 0 on a system that cannot fork, got {workers}")
    return workers


class PrefetchLoader:
    """Source of pairs whose batches are prepared by worker processes."""

    def __init__(self, pairs, steps, batch, rank, world, workers):
        self.made = iter(DataLoader(
            _Batches(pairs, steps, batch, rank, world), batch_size=None, collate_fn=_as_it_is,
            num_workers=workers, multiprocessing_context="fork" if workers else None,
            prefetch_factor=BATCHES_AHEAD if workers else None))

    def batch(self, *_):
        """Return the batch of the next step."""
        return next(self.made)


class _Batches(Dataset):
    """Dataset of the batches of several steps."""

    def __init__(self, pairs, steps, *step_args):
        self.pairs, self.steps, self.fraction = pairs, steps, step_args

    def __len__(self):
        return len(self.steps)

    def __getitem__(self, k):
        return self.pairs.batch(self.steps[k], *self.fraction)


def _as_it_is(batch):
    return batch


def _forks():
    return "fork" in multiprocessing.get_all_start_methods()
