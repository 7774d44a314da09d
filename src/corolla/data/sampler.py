"""The order of an epoch: every photo once, or rare classes more often than their photos would have it."""

import numpy as np
from numpy.typing import NDArray

from corolla.data.flowers import epoch_order, sample_generator


def balanced_order(labels: NDArray[np.int64], balance: float, seed: int, epoch: int) -> NDArray[np.int64]:
    """As many samples as there are labels, in the order of epoch e; a class of n photos about n^(1 - balance) times.

    A class's photos are shown equally often, but for one time, and which of them have that one is drawn anew in each
    epoch (systematic resampling, Kitagawa 1996). `i + r * len(labels)` is the r-th repeat of sample i.
    """
    if not balance:
        return epoch_order(len(labels), seed, epoch)
    rng = sample_generator(seed, epoch, 2**64 - 1)
    _, class_of, counts = np.unique(labels, return_inverse=True, return_counts=True)
    shuffled = rng.permutation(len(labels))
    by_class = shuffled[np.argsort(class_of[shuffled], kind="stable")]
    weights = (1 / counts**balance)[class_of[by_class]]
    edges = np.floor(np.cumsum(weights) / weights.sum() * len(labels) + rng.random()).astype(np.int64)
    edges[-1] = len(labels)  # whatever the sums were rounded to
    times = np.diff(edges, prepend=0)
    repeats = np.arange(len(labels)) - np.repeat(edges - times, times)
    return rng.permutation(np.repeat(by_class, times) + repeats * len(labels))
