"""The competition's metric and its companions, over every sample exactly once."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import f1_score, top_k_accuracy_score
from torch.nn import functional as F


def macro_f1(labels: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    """Mean F1 over the classes present in the truth, as the competition scores it (one never predicted has F1 0)."""
    return float(f1_score(labels, predicted, labels=np.unique(labels), average="macro", zero_division=0))


def class_f1(labels: NDArray[np.int64], predicted: NDArray[np.int64]) -> dict[int, float]:
    """F1 of each class present in the truth."""
    present = np.unique(labels)
    scores = f1_score(labels, predicted, labels=present, average=None, zero_division=0)
    return dict(zip(present.tolist(), np.atleast_1d(scores).tolist(), strict=True))


@dataclass(frozen=True)
class Metrics:
    """Of one evaluation; the loss is the plain cross entropy, in nats."""

    loss: float
    top1: float
    top5: float
    macro_f1: float


def classification_metrics(logits: torch.Tensor, labels: torch.Tensor) -> Metrics:
    """From logits N x classes and labels N."""
    scores, truth = logits.double().numpy(), labels.numpy()
    predicted = scores.argmax(1)
    k = min(5, scores.shape[1] - 1)
    return Metrics(
        loss=float(F.cross_entropy(logits.double(), labels)),
        top1=float((predicted == truth).mean()),
        top5=float(top_k_accuracy_score(truth, scores, k=k, labels=np.arange(scores.shape[1]))) if k > 1 else 1.0,
        macro_f1=macro_f1(truth, predicted),
    )
