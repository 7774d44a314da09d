"""The competition's metric against its formula, scikit-learn and torch."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray
from sklearn.metrics import f1_score, precision_recall_fscore_support
from torch.nn import functional as F

from corolla.evaluation.metrics import class_f1, classification_metrics, macro_f1

LABELS = np.array([0, 0, 0, 1, 1, 2])
PREDICTED = np.array([0, 0, 1, 1, 3, 0])  # 2 is never predicted, 3 is not in the truth

Pair = tuple[NDArray[np.int64], NDArray[np.int64]]


def formula(labels: NDArray[np.int64], predicted: NDArray[np.int64]) -> dict[int, float]:
    """2 TP / (2 TP + FP + FN) of each class present in the truth."""
    scores = {}
    for name in set(labels.tolist()):
        true_positives = int(((labels == name) & (predicted == name)).sum())
        mistakes = int(((labels == name) ^ (predicted == name)).sum())
        scores[name] = 2 * true_positives / (2 * true_positives + mistakes)
    return scores


@st.composite
def pairs(draw: st.DrawFn) -> Pair:
    count = draw(st.integers(1, 40))
    labels, predicted = (
        draw(npst.arrays(np.int64, count, elements=st.integers(0, most))) for most in (draw(st.integers(0, 6)), 9)
    )
    return labels, predicted


def test_macro_f1_by_hand() -> None:
    """Class 0: 2 hits, 1 missed, 1 false. Class 1: 1, 1, 1. Class 2: never predicted. Class 3 is not averaged in."""
    assert class_f1(LABELS, PREDICTED) == pytest.approx({0: 4 / 6, 1: 2 / 4, 2: 0.0})
    assert macro_f1(LABELS, PREDICTED) == pytest.approx((4 / 6 + 2 / 4 + 0) / 3)


def test_macro_f1_is_not_accuracy() -> None:
    labels, predicted = np.array([0] * 9 + [1]), np.zeros(10, np.int64)
    assert macro_f1(labels, predicted) == pytest.approx((18 / 19) / 2)


@given(pairs())
def test_macro_f1_is_the_formula(pair: Pair) -> None:
    expected = formula(*pair)
    assert class_f1(*pair) == pytest.approx(expected)
    assert macro_f1(*pair) == pytest.approx(sum(expected.values()) / len(expected))


@given(pairs())
def test_macro_f1_is_sklearns_where_every_prediction_is_in_the_truth(pair: Pair) -> None:
    labels = np.concatenate([*pair])
    predicted = np.concatenate([pair[1], pair[1]])
    assert macro_f1(labels, predicted) == pytest.approx(f1_score(labels, predicted, average="macro"))


@given(pairs())
def test_class_f1_is_sklearns_to_the_last_bit(pair: Pair) -> None:
    present = np.unique(pair[0])
    scores = np.asarray(precision_recall_fscore_support(*pair, labels=present, warn_for=("f-score",))[2])
    assert class_f1(*pair) == dict(zip(present.tolist(), scores.tolist(), strict=True))


@pytest.mark.parametrize("num_classes", [104, 5, 3])
def test_classification_metrics_are_torchs(num_classes: int) -> None:
    rng = np.random.default_rng(num_classes)
    logits = (5 * rng.standard_normal((50, num_classes))).astype(np.float32)
    labels = rng.integers(0, num_classes, 50)
    metrics = classification_metrics(logits, labels)
    scores, truth = torch.from_numpy(logits).double(), torch.from_numpy(labels)
    assert metrics.loss == pytest.approx(F.cross_entropy(scores, truth).item(), rel=1e-12)
    top = scores.topk(min(5, num_classes)).indices
    assert metrics.top1 == (top[:, 0] == truth).double().mean().item()
    assert metrics.top5 == pytest.approx((top == truth[:, None]).any(1).double().mean().item())
    assert metrics.macro_f1 == macro_f1(labels, logits.argmax(1))


def test_large_logits_have_a_finite_loss() -> None:
    logits = np.array([[1e4, 0.0], [0.0, 1e4]], np.float32)
    assert classification_metrics(logits, np.array([0, 0])).loss == pytest.approx(5e3)
