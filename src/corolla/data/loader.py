"""Batches for training and evaluation, made ahead by worker processes.

It is fast because a worker decodes and crops each photo straight into its place in shared memory that is used again and
again, so that nothing is pickled, copied or stacked, and no fresh pages are asked of the kernel. (Threads were measured
as well: they wait for Python's lock, and made less than half as many batches at 64 px.) To a GPU a batch goes as it is,
uint8, straight from there (data/hand_over.py), while the network works on the one before.

The main process decides the content of a batch: it is a list of samples of an epoch, so neither the number of workers
nor the step at which a run resumes changes anything in it.

Workers can start long before their first batch, so that they are forked before this process starts CUDA: a fork copies
the tables of all memory that is mapped by then, and the driver's as well.
"""

import itertools
import math
import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from corolla.data.dataset import Samples
from corolla.data.hand_over import Batch, HandOver
from corolla.data.sampler import EvalBatchSampler, TrainBatchSampler
from corolla.data.slots import FORKS, Slots
from corolla.errors import UserError

PREFETCH = 2  # jobs a worker: enough for epochs to follow each other without a pause, and little memory
LARGEST_JOB, JOB_BYTES = 8, 20_000_000
"""A job is of several batches, at most so many and of so many bytes: what torch's loader costs, it costs a job."""
IN_USE = 4  # batches that are on their way to a GPU, or that the caller has
LATER_S = 30
"""How long a worker lives that was asked to end; then SIGALRM ends it."""
Task = tuple[int | None, int, Samples]
"""(slot, number of the source, samples): a batch to be made; without a slot the worker makes memory of its own."""
Made = int | Batch | UserError
"""A batch that was made: its slot, or itself where there was none; or what came up."""


class Photos(Protocol):
    """Photos that batches are made of: a TFRecordDataset, or what takes its place (data/recipe_photos.py)."""

    def __len__(self) -> int: ...

    @property
    def item_bytes(self) -> int:
        """Bytes of a sample, at most."""
        ...

    def batch_shape(self, samples: Samples) -> tuple[int, ...]:
        """Return the shape of a batch."""
        ...

    def load_into(self, samples: Samples, images: NDArray[np.uint8]) -> None:
        """Write samples into the first rows of `images`."""
        ...

    def labels(self, samples: Samples) -> NDArray[np.int64]:
        """Return the labels of samples."""
        ...

    def on_device(self, made: torch.Tensor, samples: Samples) -> Callable[[torch.Tensor], torch.Tensor] | None:
        """Return what makes images of a batch as it was made, once that is on the device; None where it is them."""
        ...


@dataclass(frozen=True)
class Source:
    """Photos, in batches of some size."""

    photos: Photos
    largest: int
    """Photos of a batch, at most."""


def make_batch(photos: Photos, samples: Samples) -> Batch:
    """Return several transformed samples of one epoch, decoded here and now."""
    images = torch.empty(photos.batch_shape(samples), dtype=torch.uint8)
    photos.load_into(samples, images.numpy())
    return Batch(images, torch.from_numpy(photos.labels(samples)), _indices(photos, samples))


def _indices(photos: Photos, samples: Samples) -> torch.Tensor:
    return torch.from_numpy(samples.indices % len(photos))


def load_batches(
    photos: Photos, batches: TrainBatchSampler | EvalBatchSampler, *, workers: int, device: torch.device
) -> Generator[Batch, None, None]:
    """Yield each `Batch`, on `device`, in the order of `batches`, made ahead by `workers` processes (0: none).

    Close it (`contextlib.closing`) to end the workers.

    Raises:
        UserError: an image does not decode (unless the data set puts grey ones in their place).
    """
    plan = ((0, samples) for samples in batches)
    return load_from([Source(photos, batches.largest)], plan, workers=workers, hand_over=HandOver.to(device))


def load_from(
    sources: Sequence[Source], plan: Iterable[tuple[int, Samples]], *, workers: int, hand_over: HandOver
) -> Generator[Batch, None, None]:
    """Yield the batches of several sources in one order, all made by the same processes; see `load_batches`.

    Args:
        plan: of each batch the number of its source and its samples; asked as batches are sent to be made.
    """
    with closing(Workers(sources, workers)) as started, closing(started.batches(plan, hand_over)) as batches:
        yield from batches


class Workers:
    """Processes that make batches of several sources. They start at once, and wait until they are told of which.

    Close it (`contextlib.closing`) to end them.
    """

    def __init__(self, sources: Sequence[Source], number: int) -> None:
        """Start `number` processes; of none, batches are made in this one."""
        self._sources = sources
        self._loader: DataLoader[Any] | None = None
        self._started: Any = None
        if not number:
            return
        largest = max(source.largest for source in sources), max(source.photos.item_bytes for source in sources)
        self._of_a_job = batches_of_a_job(math.prod(largest))
        self._slots = Slots((number * PREFETCH + 1) * self._of_a_job + IN_USE, *largest)
        self._jobs = _Jobs()
        self._loader = DataLoader(
            _Worker([source.photos for source in sources], self._slots),
            sampler=self._jobs,
            batch_size=None,  # a job is of whole batches
            num_workers=number,
            collate_fn=_as_it_is,
            worker_init_fn=_start_worker,
            prefetch_factor=PREFETCH,
            multiprocessing_context="fork" if FORKS else None,
            generator=torch.Generator(),  # torch's own stays as it is
            persistent_workers=True,  # else they would end with the jobs of the next line, of which there are none
        )
        self._started = iter(self._loader)  # which starts them

    def batches(self, plan: Iterable[tuple[int, Samples]], hand_over: HandOver) -> Generator[Batch, None, None]:
        """Yield the batches of a plan; see `load_from`. There is one plan for all of the workers' life."""
        with closing(
            self._by_workers(self._loader, plan, hand_over)
            if self._loader is not None
            else ((number, samples, make_batch(self._sources[number].photos, samples)) for number, samples in plan)
        ) as made:
            left = deque[Callable[[torch.Tensor], torch.Tensor] | None]()

            def noted() -> Iterator[Batch]:
                for number, samples, batch in made:
                    left.append(self._sources[number].photos.on_device(batch.images, samples))
                    yield batch

            for batch in hand_over.batches(noted()):
                finish = left.popleft()
                yield batch if finish is None else batch._replace(images=finish(batch.images))

    def _by_workers(
        self, loader: DataLoader[Any], plan: Iterable[tuple[int, Samples]], hand_over: HandOver
    ) -> Generator[tuple[int, Samples, Batch], None, None]:
        """Yield batches that workers write into slots of shared memory; only the slots' numbers are sent."""
        slots, sent = self._slots, deque[tuple[int, Samples]]()

        def tasks() -> Iterator[Task]:
            for number, samples in plan:
                sent.append((number, samples))
                yield slots.take(), number, samples

        def jobs() -> Iterator[list[Task]]:
            left = tasks()
            for _ in range(loader.num_workers):  # the first ones are small, so that all workers soon have one
                yield list(itertools.islice(left, 1))
            while job := list(itertools.islice(left, self._of_a_job)):
                yield job

        self._jobs.left = jobs()
        results = iter(loader)  # which sends the first ones to the workers that are there
        with hand_over.page_locked(slots.memory):
            for result in itertools.chain.from_iterable(results):
                if isinstance(result, UserError):
                    raise result
                number, samples = sent.popleft()
                photos = self._sources[number].photos
                made = result if isinstance(result, Batch) else slots.lend(result, photos.batch_shape(samples))
                yield number, samples, Batch(made[0], made[1], _indices(photos, samples))

    def close(self) -> None:
        """End the processes; close `batches` before."""
        if self._started is not None:
            # Torch's loader ends them when nothing refers to it any more; the traceback of an error may, for long.
            self._started.__del__()
        self._started = self._loader = None


def batches_of_a_job(batch_bytes: int) -> int:
    """Return how many batches of `batch_bytes` a worker makes at once."""
    return max(1, min(LARGEST_JOB, JOB_BYTES // max(1, batch_bytes)))


class _Jobs(Sampler[list[Task]]):
    """A sampler that makes each job when torch's loader is about to send it, not before."""

    def __init__(self) -> None:
        self.left: Iterator[list[Task]] = iter(())

    def __iter__(self) -> Iterator[list[Task]]:
        return self.left


class _Worker(Dataset[Any]):
    """The dataset of torch's loader, whose items are filled slots.

    A fault is returned as a value: an exception would reach the user wrapped in the worker's traceback.
    """

    def __init__(self, sources: Sequence[Photos], slots: Slots) -> None:
        self.sources, self.slots = sources, slots

    def __getitem__(self, job: list[Task]) -> list[Made]:
        return [self._made(task) for task in job]

    def _made(self, task: Task) -> Made:
        slot, number, samples = task
        photos = self.sources[number]
        try:
            if slot is None:
                return make_batch(photos, samples)
            images, labels = self.slots.arrays(slot, photos.batch_shape(samples))
            photos.load_into(samples, images)
            labels[:] = photos.labels(samples)
            return slot
        except UserError as error:
            return UserError(str(error))


def _as_it_is(batch: Any) -> Any:
    return batch


def _start_worker(_: int) -> None:
    """Give a worker one core and a process group of its own.

    Ctrl-C, or what `timeout` and batch systems send to the whole group, then reaches the main process alone, which
    saves a checkpoint and ends its workers. What is sent to all processes there are, as systemd does, ends a worker
    later: the main process needs it to come to the end of its step.
    """
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(os, "setpgrp"):
        os.setpgrp()
        signal.signal(signal.SIGTERM, lambda *_: signal.alarm(LATER_S))
