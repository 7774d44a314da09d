"""Batches for training and evaluation, made ahead by worker processes.

It is fast because a worker decodes and crops each photo straight into its place in shared memory that is used again and
again, so that nothing is pickled, copied or stacked, and no fresh pages are asked of the kernel. (Threads were measured
as well: they wait for Python's lock, and made less than half as many batches at 64 px.) To a GPU a batch goes as it is,
uint8, from pinned memory and on a stream of its own, while the network works on the one before.

The main process decides the content of a batch: it is a list of (epoch, index) keys, so neither the number of workers
nor the step at which a run resumes changes anything in it.
"""

import functools
import math
import mmap
import os
import signal
import sys
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from corolla.data.dataset import SampleKey, TFRecordDataset
from corolla.data.sampler import EvalBatchSampler, TrainBatchSampler
from corolla.errors import UserError


class Batch(NamedTuple):
    """A batch of N photos: images N x H x W x 3 or N x views x H x W x 3 (uint8), labels and indices N (int64)."""

    images: torch.Tensor
    labels: torch.Tensor
    indices: torch.Tensor


def make_batch(dataset: TFRecordDataset, keys: list[SampleKey]) -> Batch:
    """Return several transformed samples of one epoch, decoded here and now."""
    images = torch.empty(dataset.batch_shape(keys), dtype=torch.uint8)
    dataset.load_into(keys, images.numpy())
    return collate(dataset, images, keys)


def collate(dataset: TFRecordDataset, images: torch.Tensor, keys: list[SampleKey]) -> Batch:
    """Return the batch whose images are the first rows of `images`."""
    indices = torch.tensor([i % len(dataset) for _, i in keys])
    labels = torch.from_numpy(dataset.split.label[indices.numpy()].astype(np.int64))
    return Batch(images[: len(keys)], labels, indices)


def load_batches(
    photos: TFRecordDataset, batches: TrainBatchSampler | EvalBatchSampler, *, workers: int, device: torch.device
) -> Generator[Batch, None, None]:
    """Yield each `Batch`, on `device`, in the order of `batches`, made ahead by `workers` processes (0: none).

    Close it (`contextlib.closing`) to end the workers.

    Raises:
        UserError: an image does not decode (unless the data set puts grey ones in their place).
    """
    with closing(
        _by_workers(photos, batches, workers)
        if workers
        else _one_by_one(functools.partial(make_batch, photos), batches)
    ) as made:
        if device.type == "cuda":
            yield from _copied_ahead(made, device)
        else:
            for batch in made:
                yield Batch(batch.images.to(device), batch.labels.to(device), batch.indices)


def _one_by_one(
    make: Callable[[list[SampleKey]], Batch], plan: Iterable[list[SampleKey]]
) -> Generator[Batch, None, None]:
    """Yield `make` of each batch's keys, like `map`, but so that it can be closed."""
    yield from map(make, plan)


def _by_workers(
    photos: TFRecordDataset, plan: TrainBatchSampler | EvalBatchSampler, workers: int
) -> Generator[Batch, None, None]:
    """Yield batches that torch's workers write into slots of shared memory; only the slots' numbers are sent."""
    assert photos.transform is not None
    slots = _Slots(workers * PREFETCH + 2, (plan.largest, *photos.transform.shape))
    sent: deque[list[SampleKey]] = deque()

    def jobs() -> Iterator[Job]:
        for keys in plan:
            sent.append(keys)
            yield slots.take(), keys

    loader = DataLoader(
        _Worker(photos, slots),
        sampler=_Jobs(jobs),
        batch_size=None,  # a job is a whole batch
        num_workers=workers,
        collate_fn=_as_it_is,
        worker_init_fn=_start_worker,
        prefetch_factor=PREFETCH,
        multiprocessing_context="fork" if FORKS else None,
    )
    for result in loader:
        if isinstance(result, UserError):
            raise result
        keys = sent.popleft()
        images = result if isinstance(result, torch.Tensor) else slots.lend(result, photos.batch_shape(keys))
        yield collate(photos, images, keys)


PREFETCH = 2  # batches a worker: enough for epochs to follow each other without a pause, and little memory
FORKS = sys.platform == "linux"  # elsewhere processes are started afresh, and do not share what this one has mapped
Job = tuple[int | None, list[SampleKey]]
"""(slot, keys); without a slot the worker makes memory of its own for the batch."""


class _Slots:
    """Memory for a few batches, shared with the workers that are forked later.

    A slot is free again when nothing refers to the batch in it any more; a caller that keeps all batches gets further
    ones in memory of their own. So the kernel touches each page once, not once a batch, which costs as much as filling
    it. It is no file in /dev/shm, which containers keep small.
    """

    def __init__(self, number: int, shape: tuple[int, ...]) -> None:
        memory = mmap.mmap(-1, number * math.prod(shape)) if FORKS else None
        self._slots = np.frombuffer(memory, np.uint8).reshape(number, -1) if memory else None
        self._free = deque(range(number if memory else 0))

    def take(self) -> int | None:
        """Return a free slot; None where there is none."""
        return self._free.pop() if self._free else None  # the one used last: it may still be in the processor's cache

    def pixels(self, slot: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Return the first bytes of a slot as images."""
        assert self._slots is not None
        return self._slots[slot, : math.prod(shape)].reshape(shape)

    def lend(self, slot: int, shape: tuple[int, ...]) -> torch.Tensor:
        """Return the images in a slot, which is taken until the last tensor that shares their memory is gone."""
        # The tensor's storage, which all its views share, keeps this object alive.
        lent = self.pixels(slot, shape).view(_Lent)
        weakref.finalize(lent, self._free.append, slot)
        return torch.from_numpy(lent)


class _Lent(np.ndarray):
    """An array that a finalizer can watch, which plain arrays do not allow."""


@dataclass(frozen=True)
class _Jobs(Sampler[Job]):
    """A sampler that makes each batch's job when torch's loader is about to send it, not before."""

    make: Callable[[], Iterator[Job]]

    def __iter__(self) -> Iterator[Job]:
        return self.make()


class _Worker(Dataset[Any]):
    """The dataset of torch's loader, whose items are filled slots.

    A fault is returned as a value: an exception would reach the user wrapped in the worker's traceback.
    """

    def __init__(self, photos: TFRecordDataset, slots: _Slots) -> None:
        self.photos, self.slots = photos, slots

    def __getitem__(self, job: Job) -> int | torch.Tensor | UserError:
        slot, keys = job
        try:
            if slot is None:
                return make_batch(self.photos, keys).images
            self.photos.load_into(keys, self.slots.pixels(slot, self.photos.batch_shape(keys)))
            return slot
        except UserError as error:
            return UserError(str(error))


def _as_it_is(batch: Any) -> Any:
    return batch


def _start_worker(_: int) -> None:
    """Give a worker one core and a process group of its own.

    Ctrl-C, or what `timeout` and batch systems send to the whole group, then reaches the main process alone, which
    saves a checkpoint and ends its workers.
    """
    torch.set_num_threads(1)
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def _copied_ahead(made: Iterable[Batch], device: torch.device) -> Generator[Batch, None, None]:
    """Yield each batch on the GPU; the next is copied on a stream of its own while the network works on this one."""
    side = torch.cuda.Stream(device)
    waiting: tuple[Batch, torch.cuda.Event] | None = None
    for batch in made:
        with torch.cuda.stream(side):
            images = batch.images.pin_memory().to(device, non_blocking=True)
            copied = Batch(images, batch.labels.pin_memory().to(device, non_blocking=True), batch.indices)
        arrived = torch.cuda.Event()
        arrived.record(side)
        if waiting is not None:
            yield _received(*waiting, device)
        waiting = copied, arrived
    if waiting is not None:
        yield _received(*waiting, device)


def _received(batch: Batch, arrived: torch.cuda.Event, device: torch.device) -> Batch:
    """Return `batch`, after having the network's stream (not the host) wait for its copy."""
    stream = torch.cuda.current_stream(device)
    stream.wait_event(arrived)
    for tensor in (batch.images, batch.labels):
        tensor.record_stream(stream)  # its memory is not given away before the network has read it
    return batch
