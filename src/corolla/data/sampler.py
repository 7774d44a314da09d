"""The samples of each batch: every one once an epoch, or `repeat` times, or those of rare classes more often."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corolla.data.dataset import Samples
from corolla.data.parts import Parts
from corolla.random import epoch_order, order_generator


def steps_per_epoch(num_samples: int, batch_size: int, repeat: int = 1) -> int:
    """Return the updates in an epoch: the incomplete last batch is left out, unless it is the only one.

    That is the last batch of the epoch, not of each of its `repeat` showings of all samples, which follow each other
    without a break.
    """
    return max(1, num_samples * repeat // batch_size)


@dataclass(frozen=True, eq=False)
class TrainBatchSampler:
    """The batches of the training steps [start, stop), each epoch in its own order.

    The incomplete last batch of an epoch is left out (another order next epoch brings its images back), unless it is
    the only one. With `repeat` an epoch shows every sample that often, each time with draws of its own: all of them in
    one order, then all in another. With `balance`, for which it has the `labels`, rare classes come more often
    (`balanced_order`).
    """

    num_samples: int
    batch_size: int
    seed: int
    start: int
    stop: int
    balance: float = 0.0
    labels: NDArray[np.int64] | None = None
    repeat: int = 1
    parts: Parts = Parts()
    """Those of each batch that this process computes; by default all."""

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def num_images(self) -> int:
        """Images of every batch, with those of other processes."""
        return min(self.batch_size, self.num_samples * self.repeat)

    @property
    def largest(self) -> int:
        """Images of the largest batch of this process."""
        return sum(self.parts.sizes(self.num_images).values())

    def __iter__(self) -> Iterator[Samples]:
        return map(self.own, range(self.start, self.stop))

    def own(self, step: int) -> Samples:
        """Return the samples in the own parts of the batch of a step (from 0)."""
        epoch, indices = self.whole(step)
        return Samples(epoch, self.parts.take(indices))

    def whole(self, step: int) -> Samples:
        """Return the samples in the batch of a step (from 0), with those of other processes."""
        epoch, batch = divmod(step, steps_per_epoch(self.num_samples, self.batch_size, self.repeat))
        return Samples(epoch, _order(self, epoch)[batch * self.batch_size : (batch + 1) * self.batch_size])


@functools.lru_cache(maxsize=2)  # of the epoch under way
def _order(batches: TrainBatchSampler, epoch: int) -> NDArray[np.int64]:
    if not batches.balance:
        return epoch_order(batches.num_samples, batches.seed, epoch, batches.repeat)
    assert batches.labels is not None
    return balanced_order(batches.labels, batches.balance, batches.seed, epoch, batches.repeat)


@dataclass(frozen=True)
class EvalBatchSampler:
    """The batches of evaluation: every sample exactly once, in order; the last batch may be short.

    Of several processes, r of W has the batches r, r + W, ...: other batches would be rounded in another way.
    """

    num_samples: int
    batch_size: int
    rank: int = 0
    num_ranks: int = 1

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def largest(self) -> int:
        """Images of the largest batch."""
        return self.batch_size

    @property
    def num_own(self) -> int:
        """Images of all batches of this process."""
        return sum(min(self.batch_size, self.num_samples - first) for first in self._starts)

    @property
    def _starts(self) -> range:
        return range(self.rank * self.batch_size, self.num_samples, self.num_ranks * self.batch_size)

    def __iter__(self) -> Iterator[Samples]:
        for first in self._starts:
            yield Samples(0, np.arange(first, min(first + self.batch_size, self.num_samples)))


def balanced_order(
    labels: NDArray[np.int64], balance: float, seed: int, epoch: int, repeat: int = 1
) -> NDArray[np.int64]:
    """Return `repeat` times as many samples as there are labels, in the order of epoch e, by the classes' balance.

    A class of n photos is shown n^(1 - balance) times, up to a factor and to rounding. A class's photos are shown
    equally often, but for one time, and which of them have that one is drawn anew in each epoch (systematic resampling,
    Kitagawa 1996). `i + r * len(labels)` is the r-th repeat of sample i.
    """
    if not balance:
        return epoch_order(len(labels), seed, epoch, repeat)
    rng = order_generator(seed, epoch)
    _, class_of, counts = np.unique(labels, return_inverse=True, return_counts=True)
    shuffled = rng.permutation(len(labels))
    by_class = shuffled[np.argsort(class_of[shuffled], kind="stable")]
    weights = (1 / counts**balance)[class_of[by_class]]
    length = len(labels) * repeat
    edges = np.floor(np.cumsum(weights) / weights.sum() * length + rng.random()).astype(np.int64)
    edges[-1] = length  # which rounding may have missed
    times = np.diff(edges, prepend=0)
    repeats = np.arange(length) - np.repeat(edges - times, times)
    return rng.permutation(np.repeat(by_class, times) + repeats * len(labels))
