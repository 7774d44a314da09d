"""Confident learning: the labels that it calls likely errors, by hand and on any probabilities."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from corolla.audit.label_errors import LabelIssue, find_label_issues, thresholds


def issues_of(probabilities: np.ndarray, labels: np.ndarray) -> list[LabelIssue]:
    return find_label_issues(np.arange(len(labels)), probabilities, labels)


def test_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.4, 0.6], [0.1, 0.9], [0.7, 0.3]])
    labels = np.array([0, 0, 0, 1, 1, 1])
    # Means of the own class: (0.9 + 0.7 + 0.2) / 3 = 0.6 and (0.6 + 0.9 + 0.3) / 3 = 0.6.
    assert thresholds(probabilities, labels) == pytest.approx([0.6, 0.6])
    # 0.6 of row 3 meets class 1's threshold only up to rounding, so it is put clear of it.
    probabilities[3] = 0.38, 0.62
    issues = find_label_issues(np.arange(10, 16), probabilities, labels)
    assert [(issue.photo, issue.label, issue.suggested) for issue in issues] == [(12, 0, 1), (15, 1, 0)]
    assert [issue.margin for issue in issues] == pytest.approx([-0.6, -0.4])


@settings(max_examples=50)
@given(arrays(np.float64, (30, 4), elements=st.floats(0.01, 1)), arrays(np.int64, 30, elements=st.integers(0, 3)))
def test_any_probabilities(weights: np.ndarray, labels: np.ndarray) -> None:
    probabilities = weights / weights.sum(1, keepdims=True)
    bars, issues = thresholds(probabilities, labels), issues_of(probabilities, labels)
    suggested = {issue.photo: issue.suggested for issue in issues}
    for photo, (row, label) in enumerate(zip(probabilities, labels, strict=True)):
        reached = [c for c in range(4) if row[c] >= bars[c]]
        likeliest = max(reached, key=lambda c: row[c]) if reached else label
        assert suggested.get(photo, label) == likeliest
    assert [issue.margin for issue in issues] == sorted(issue.margin for issue in issues)
    assert all(-1 <= issue.margin <= 1 for issue in issues)


def test_a_class_without_photos_is_never_suggested() -> None:
    probabilities = np.array([[0.1, 0.2, 0.7], [0.3, 0.2, 0.5]])
    assert sorted(issue.suggested for issue in issues_of(probabilities, np.array([0, 1]))) == [0, 1]
