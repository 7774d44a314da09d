"""Subsets of photos: fractions of the training photos, and numbers of photos rounded to a total."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from corolla.data.index import Index, Split, split_of
from corolla.random import subset_generator


def subset_index(index: Index, fraction: float, seed: int) -> Index:
    """Return the index with `fraction` of each class's training photos, at least one of each; val and test stay whole.

    They are chosen by (seed, class) alone, and a smaller fraction is part of every larger one with that seed.

    Raises:
        UserError: the data has no train split.
    """
    if fraction == 1:
        return index
    train = split_of(index, "train")
    kept = []
    for label in np.unique(train.label):
        rows = np.flatnonzero(train.label == label)
        shuffled = subset_generator(seed, int(label)).permutation(rows)
        kept.append(shuffled[: max(1, round(fraction * len(rows)))])
    return dataclasses.replace(index, splits={**index.splits, "train": take_rows(train, np.sort(np.concatenate(kept)))})


def take_rows(split: Split, rows: np.ndarray) -> Split:
    """Return a split's photos in these rows (numbers, or a bool for each)."""
    columns = {f.name: getattr(split, f.name) for f in dataclasses.fields(split)}
    return dataclasses.replace(split, **{k: v[rows] for k, v in columns.items() if isinstance(v, np.ndarray)})


def largest_remainder(exact: Sequence[float], total: int) -> list[int]:
    """Return `exact`, each number rounded down or up, so that the sum is `total`: up where the remainder is largest."""
    counts = [math.floor(value + 1e-9) for value in exact]  # 0.7 of 10 may be a little less than 7
    by_remainder = sorted(range(len(counts)), key=lambda i: counts[i] - exact[i])
    for i in by_remainder[: total - sum(counts)]:
        counts[i] += 1
    return counts
