"""Batches for training and evaluation, prefetched by worker processes.

The workers are torch's; what they decode is decided here, in the main process: each batch is a list of (epoch, index)
keys, so neither the number of workers nor the step at which a run resumes changes what is in it.
"""

import os
import signal
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from corolla.data.flowers import Batch, Flowers, Key, epoch_order
from corolla.errors import UserError


def steps_per_epoch(num_samples: int, batch_size: int) -> int:
    """Updates in an epoch: the incomplete last batch is left out, unless it is the only one."""
    return max(1, num_samples // batch_size)


@dataclass(frozen=True)
class TrainBatches(Sampler[list[Key]]):
    """The batches of steps [start, stop), each epoch in its own order; the incomplete last batch of an epoch is left
    out (another order next epoch brings its images back), unless it is the only one."""

    num_samples: int
    batch_size: int
    seed: int
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[list[Key]]:
        length = steps_per_epoch(self.num_samples, self.batch_size)
        epoch, order = -1, epoch_order(0, 0, 0)
        for step in range(self.start, self.stop):
            if step // length != epoch:
                epoch = step // length
                order = epoch_order(self.num_samples, self.seed, epoch)
            first = step % length * self.batch_size
            yield [(epoch, int(i)) for i in order[first : first + self.batch_size]]


@dataclass(frozen=True)
class EvalBatches(Sampler[list[Key]]):
    """Every sample exactly once, in order; the last batch may be short."""

    num_samples: int
    batch_size: int

    def __len__(self) -> int:
        return -(-self.num_samples // self.batch_size)

    def __iter__(self) -> Iterator[list[Key]]:
        for first in range(0, self.num_samples, self.batch_size):
            yield [(0, i) for i in range(first, min(first + self.batch_size, self.num_samples))]


def load_batches(
    dataset: Flowers, batches: TrainBatches | EvalBatches, *, workers: int, device: torch.device
) -> Generator[Batch, None, None]:
    """Each `Batch`, in the order of `batches`, decoded ahead by `workers` processes (0: none).

    Close it (`contextlib.closing`) to end the workers.

    Raises:
        UserError: an image does not decode (unless the data set puts grey ones in their place).
    """
    loader = DataLoader(
        _BatchReader(dataset),
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=_as_it_is,
        pin_memory=device.type == "cuda",
        worker_init_fn=_start_worker,
        # Two batches a worker: the epochs follow each other without a pause, and shared memory is scarce in containers.
        prefetch_factor=2 if workers else None,
    )
    for batch in loader:
        if isinstance(batch, UserError):
            raise batch
        yield batch


class _BatchReader(Dataset[Batch | UserError]):
    """Has torch's workers read whole batches, straight into a batch's memory.

    A fault is handed over as a value: an exception would reach the user wrapped in the worker's traceback.
    """

    def __init__(self, photos: Flowers) -> None:
        self.photos = photos

    def __getitems__(self, keys: list[Key]) -> Batch | UserError:
        try:
            return self.photos.batch(keys)
        except UserError as error:
            return UserError(str(error))

    def __getitem__(self, key: Key) -> Batch | UserError:
        return self.__getitems__([key])


def _as_it_is(batch: Any) -> Any:
    return batch


def _start_worker(_: int) -> None:
    """A worker has one core, and is in a process group of its own: Ctrl-C, or what `timeout` and batch systems send to
    the whole group, reaches the main process alone, which saves a checkpoint and then ends its workers."""
    torch.set_num_threads(1)
    os.setpgrp()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
