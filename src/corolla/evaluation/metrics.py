"""The competition's metric and its companions, over every sample exactly once."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from corolla.errors import UserError


def macro_f1(labels: ArrayLike, predicted: ArrayLike) -> float:
    """Return the mean F1 over the classes present in the truth, as the competition scores it; never predicted is 0.

    Raises:
        UserError: they are not one class index for each of the same photos.
    """
    labels, predicted = np.asarray(labels), np.asarray(predicted)
    if labels.ndim != 1 or labels.shape != predicted.shape or not labels.size:
        shapes = f"{labels.shape} and {predicted.shape}"
        raise UserError(
            f"macro F1: a class for each photo is expected, of the truth and predicted; shapes are {shapes}"
        )
    return float(np.mean(list(class_f1(labels, predicted).values())))


def class_f1(labels: NDArray[np.int64], predicted: NDArray[np.int64]) -> dict[int, float]:
    """Return the F1 of each class present in the truth.

    Counted here because scikit-learn, which gives the same to the last bit, takes a second to import.
    """
    present, num_labelled = np.unique(labels, return_counts=True)

    def count(values: NDArray[np.int64]) -> NDArray[np.int64]:
        inside = values[np.isin(values, present)]
        return np.bincount(np.searchsorted(present, inside), minlength=len(present))

    scores = 2 * count(labels[labels == predicted]) / (num_labelled + count(predicted))
    return dict(zip(present.tolist(), scores.tolist(), strict=True))


def likeliest(scores: NDArray[np.floating], count: int = 5) -> NDArray[np.int64]:
    """Return the `count` classes of the highest scores (N x classes) of each row, the highest first.

    Of equal scores the class of the lower number comes first, so the first column is that of `argmax`.
    """
    return np.argsort(-scores, axis=1, kind="stable")[:, :count]


def share_among(ranked: NDArray[np.int64], labels: NDArray[np.int64]) -> float:
    """Return the share of N labels that are among the classes of their row (N x K): with K = 5 the top-5 accuracy."""
    return float((ranked == labels[:, None]).any(1).mean())


@dataclass(frozen=True)
class Metrics:
    """The scores of one evaluation."""

    loss: float
    """The plain cross entropy, in nats; a photo counts for at most 87.3 where it is of probabilities."""
    top1: float
    top5: float
    macro_f1: float
    labels: NDArray[np.int64] = field(repr=False, compare=False)
    """N, the truth."""
    predicted: NDArray[np.int64] = field(repr=False, compare=False)
    probabilities: NDArray[np.float32] | None = field(default=None, repr=False, compare=False)
    """N x classes, where the metrics are of probabilities."""


def metrics_of_probabilities(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> Metrics:
    """Return the metrics of probabilities N x classes and labels N.

    Training, `predict` and `compare` all have their loss from here, so that a run has one. A probability that float32
    has as 0 counts as the smallest normal number, 1.2e-38.
    """
    found = classification_metrics(np.log(np.maximum(probabilities, np.finfo(np.float32).tiny)), labels)
    return replace(found, probabilities=probabilities)


def classification_metrics(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> Metrics:
    """Return the metrics of logits N x classes and labels N."""
    from scipy.special import log_softmax  # for corolla score, which has no logits, its import takes a while

    scores = logits.astype(np.float64)
    predicted = scores.argmax(1)
    return Metrics(
        loss=float(-log_softmax(scores, axis=1)[np.arange(len(labels)), labels].mean()),
        top1=float((predicted == labels).mean()),
        top5=share_among(likeliest(scores), labels),
        macro_f1=macro_f1(labels, predicted),
        labels=labels,
        predicted=predicted,
    )
