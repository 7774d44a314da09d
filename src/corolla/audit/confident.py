"""Which labels are likely wrong: confident learning (Northcutt, Jiang and Chuang, 2021), written from the paper."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Suspect:
    """A label that the probabilities contradict; `row` is its position in what was handed in."""

    row: int
    label: int
    suggested: int
    margin: float
    """Probability of the given class less that of the suggested one: -1..1, the lower the worse."""


def thresholds(probabilities: NDArray[np.floating], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean self-confidence of each class (C): the mean of p(class) over the photos with that label.

    Section 3.1, equation 2. It makes up for a model that is surer of some classes than of others. A class without
    photos gets infinity: nothing is counted as it.
    """
    num_classes = probabilities.shape[1]
    own = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    counts = np.bincount(labels, minlength=num_classes)
    sums = np.bincount(labels, own, num_classes)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)


def confident_classes(probabilities: NDArray[np.floating], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """The class that each photo is confidently of (N): the likeliest whose threshold it reaches; -1 where none is."""
    reached = np.where(probabilities >= thresholds(probabilities, labels), probabilities, -1.0)
    return np.where(reached.max(1) >= 0, reached.argmax(1), -1)


def confident_joint(probabilities: NDArray[np.floating], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts (C x C) of photos with given label i that are confidently of class j. Section 3.1, equation 1."""
    classes = confident_classes(probabilities, labels)
    counted = classes >= 0
    joint = np.zeros((probabilities.shape[1],) * 2, np.int64)
    np.add.at(joint, (labels[counted], classes[counted]), 1)
    return joint


def find_suspects(probabilities: NDArray[np.floating], labels: NDArray[np.int64]) -> list[Suspect]:
    """Labels off the diagonal of the confident joint, by normalised margin, the worst first.

    Args:
        probabilities: N x C, rows sum to 1, of a model that was not trained on these photos.
        labels: N, 0..C-1.
    """
    classes = confident_classes(probabilities, labels)
    rows = np.flatnonzero((classes >= 0) & (classes != labels))
    margins = probabilities[rows, labels[rows]] - probabilities[rows, classes[rows]]
    found = [
        Suspect(int(row), int(labels[row]), int(classes[row]), float(margin))
        for row, margin in zip(rows, margins, strict=True)
    ]
    return sorted(found, key=lambda suspect: (suspect.margin, suspect.row))
