"""The batches of a whole run, those of val among them: one set of worker processes makes all.

So no process is started at the end of an epoch, and val's first batches are there when the last step is done, as the
next epoch's are when val is.
"""

import itertools
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import torch

from corolla.data.dataset import Samples, TFRecordDataset
from corolla.data.hand_over import Batch, HandOver
from corolla.data.loader import Source, load_from
from corolla.data.sampler import EvalBatchSampler, TrainBatchSampler


class RunBatches:
    """Batches of training in their order, and at the end of each epoch those of val."""

    def __init__(self, batches: Generator[Batch, None, None], num_val: int) -> None:
        self._batches, self._num_val = batches, num_val

    def __next__(self) -> Batch:
        return next(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        return self

    def val(self) -> Iterator[Batch]:
        """Return the batches of val, where it is their turn; all of them are to be taken, or none follows."""
        return itertools.islice(self._batches, self._num_val)


@contextmanager
def run_batches(
    train: tuple[TFRecordDataset, TrainBatchSampler],
    val: tuple[TFRecordDataset, EvalBatchSampler],
    *,
    epoch_steps: int,
    val_is_next: bool,
    workers: int,
    device: torch.device,
) -> Iterator[RunBatches]:
    """Make the batches of a run, on `device`, until the block ends.

    Args:
        train: photos, and their batches from the step on at which the run goes on.
        val: photos, and their batches, the same each time.
        epoch_steps: batches of training after which val comes.
        val_is_next: the run was stopped between an epoch and its evaluation.
        workers: processes that make them; 0: this one.
    """
    (train_set, sampler), (val_set, val_sampler) = train, val

    def plan() -> Iterator[tuple[int, Samples]]:
        if val_is_next:
            yield from ((1, samples) for samples in val_sampler)
        for step, samples in enumerate(sampler, sampler.start + 1):
            yield 0, samples
            if step % epoch_steps == 0:
                yield from ((1, samples) for samples in val_sampler)

    sources = [Source(train_set, sampler.largest), Source(val_set, val_sampler.largest)]
    batches = load_from(sources, plan(), workers=workers, hand_over=HandOver.to(device))
    try:
        yield RunBatches(batches, len(val_sampler))
    finally:
        batches.close()
