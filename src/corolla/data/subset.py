"""A share of the training photos, for the question how much data a recipe needs."""

import dataclasses

import numpy as np

from corolla.data.flowers import Flowers, sample_generator
from corolla.data.index import Index, Split


def with_share(index: Index, share: float, seed: int) -> Index:
    """The index with `share` of each class's training photos, at least one of each; val and test stay whole.

    Which ones is a function of (seed, class), and a smaller share is part of every larger one with that seed.

    Raises:
        UserError: the data has no train split.
    """
    if share == 1:
        return index
    train = Flowers(index, "train").split
    kept = []
    for label in np.unique(train.label):
        rows = np.flatnonzero(train.label == label)
        shuffled = sample_generator(seed, 2**32 - 1, int(label)).permutation(rows)
        kept.append(shuffled[: max(1, round(share * len(rows)))])
    return dataclasses.replace(index, splits={**index.splits, "train": _take(train, np.sort(np.concatenate(kept)))})


def _take(split: Split, rows: np.ndarray) -> Split:
    columns = {f.name: getattr(split, f.name) for f in dataclasses.fields(split)}
    return dataclasses.replace(split, **{k: v[rows] for k, v in columns.items() if isinstance(v, np.ndarray)})
