"""The confusion matrix: counts, the most frequent mistakes, and a figure of any classes."""

import numpy as np

from corolla.plots.confusion import confused_pairs, confusion_figure, confusion_matrix, pixels

LABELS = np.array([0, 0, 0, 1, 1, 2, 2, 2])
PREDICTED = np.array([0, 1, 1, 1, 0, 2, 2, 0])


def test_counts_and_pairs() -> None:
    counts = confusion_matrix(LABELS, PREDICTED, 4)
    assert counts.tolist() == [[1, 2, 0, 0], [1, 1, 0, 0], [1, 0, 2, 0], [0, 0, 0, 0]]
    assert confused_pairs(counts) == [(0, 1, 2), (1, 0, 1), (2, 0, 1)]


def test_figure() -> None:
    names = ["$$x^2$$", "tulip", "a name that is much too long to stand beside a matrix", "a class without photos"]
    drawn = pixels(confusion_figure(LABELS, PREDICTED, names, title="epoch 3"))
    assert drawn.dtype == np.uint8
    assert drawn.shape == (660, 1040, 3)
    right = pixels(confusion_figure(LABELS, LABELS, names, title="epoch 3"))
    assert not np.array_equal(drawn, right)
