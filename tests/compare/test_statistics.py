"""Statistics against known answers, and their promises: no alarm where nothing differs, one where much does."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import f1_score

from corolla.compare.statistics import (
    bootstrap_p,
    calibration,
    confident_mistakes,
    holm,
    interval,
    mcnemar,
    most_confident,
    resample_weights,
    two_level,
    weighted_macro_f1,
)
from corolla.evaluation.metrics import macro_f1


def test_each_resample_is_a_draw_with_replacement() -> None:
    weights = resample_weights(50, 300, seed=0)
    assert weights.shape == (300, 50)
    assert (weights.sum(1) == 50).all()
    assert np.array_equal(weights, resample_weights(50, 300, seed=0))
    assert abs(weights.mean() - 1) < 1e-6
    assert weights.max() > 3


@given(st.integers(0, 10_000))
def test_weighted_macro_f1_is_that_of_repeated_images(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels, predicted = rng.integers(0, 6, 40), rng.integers(0, 8, 40)
    weights = resample_weights(40, 3, seed)
    for row, value in zip(weights.astype(int), weighted_macro_f1(labels, predicted, weights), strict=True):
        assert value == pytest.approx(macro_f1(np.repeat(labels, row), np.repeat(predicted, row)), abs=1e-6)
    whole = weighted_macro_f1(labels, predicted, np.ones((1, 40), np.float32))[0]
    present = np.unique(labels)
    assert whole == pytest.approx(f1_score(labels, predicted, labels=present, average="macro", zero_division=0))  # pyright: ignore[reportArgumentType]


def test_mcnemar_counts_only_what_differs() -> None:
    a = np.array([True] * 10 + [False] * 2 + [True] * 50)
    b = np.array([False] * 10 + [True] * 2 + [True] * 50)
    assert mcnemar(a, b) == pytest.approx(0.03857, abs=1e-5)  # 2 * P(X <= 2), X ~ B(12, 1/2) = 2 * 79 / 4096
    assert mcnemar(a, a) == 1
    assert mcnemar(a, b) == mcnemar(b, a)


def test_bootstrap_p_by_hand() -> None:
    assert bootstrap_p(np.array([0.1] * 99)) == pytest.approx(2 / 100)
    assert bootstrap_p(np.array([0.1] * 97 + [-0.1] * 2)) == pytest.approx(6 / 100)
    assert bootstrap_p(np.zeros(9)) == 1


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_never_lowers_p_and_keeps_the_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(after >= before for before, after in zip(p_values, adjusted, strict=True))
    assert [adjusted[i] for i in np.argsort(p_values, kind="stable")] == sorted(adjusted)


def test_two_level_is_welchs_cousin_where_images_do_not_matter() -> None:
    a, b = [0.5, 0.52, 0.54], [0.4, 0.43, 0.46]
    effect = two_level(a, b, np.zeros(100))
    same: Any = stats.ttest_ind(a, b)
    assert effect.value == pytest.approx(0.09)
    assert effect.p == pytest.approx(float(same.pvalue), rel=1e-6)
    low, high = same.confidence_interval()
    assert (effect.low, effect.high) == (pytest.approx(low), pytest.approx(high))


def test_two_level_of_the_same_networks_is_the_paired_test_where_images_do_not_matter() -> None:
    a, b = [0.51, 0.63, 0.45], [0.50, 0.61, 0.45]  # the networks differ by more than what is compared
    effect = two_level(a, b, np.zeros(100), is_paired=True)
    same: Any = stats.ttest_rel(a, b)
    low, high = same.confidence_interval()
    assert effect.p == pytest.approx(float(same.pvalue), rel=1e-6)
    assert (effect.low, effect.high) == (pytest.approx(low), pytest.approx(high))
    assert two_level(a, b, np.zeros(100)).p > effect.p


def test_two_level_of_single_seeds_has_the_images_alone() -> None:
    noise = np.random.default_rng(0).normal(0, 0.01, 4000)
    effect = two_level([0.60], [0.55], noise)
    assert effect.high - effect.low == pytest.approx(2 * 1.96 * 0.01, rel=0.05)
    assert effect.p < 1e-4
    assert two_level([0.5], [0.5], np.zeros(10)).p == 1


def test_more_spread_between_seeds_is_more_doubt() -> None:
    images = np.random.default_rng(0).normal(0, 0.005, 1000)
    calm = two_level([0.6, 0.601, 0.599], [0.55, 0.551, 0.549], images)
    wild = two_level([0.6, 0.65, 0.55], [0.55, 0.60, 0.50], images)
    assert calm.p < 0.001 < 0.05 < wild.p
    assert wild.low < 0 < wild.high


def test_false_alarms_of_equal_recipes_are_as_rare_as_promised() -> None:
    """Three seeds a side, spread between seeds and images alike: some 5 % of 400 comparisons may be wrong."""
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(400):
        images = rng.normal(0, 0.01, 200)
        shared = rng.normal(0, 0.01)  # the images' part of the difference, the same for all seeds
        a, b = rng.normal(0.5, 0.02, 3) + shared, rng.normal(0.5, 0.02, 3)
        alarms += two_level(a.tolist(), b.tolist(), images).p < 0.05
    assert alarms <= 36  # 5 % and three standard deviations


def test_calibration_by_hand() -> None:
    probabilities = np.array([[0.95, 0.05], [0.95, 0.05], [0.65, 0.35], [0.25, 0.75]], np.float32)
    labels = np.array([0, 1, 0, 1])
    found = calibration(probabilities, labels, num_bins=10)
    assert found.count == [1, 1, 2]
    assert found.confidence == pytest.approx([0.65, 0.75, 0.95])
    assert found.accuracy == [1.0, 1.0, 0.5]
    assert found.ece == pytest.approx((0.35 + 0.25 + 2 * 0.45) / 4)


def test_a_sure_net_that_is_right_has_no_error() -> None:
    assert calibration(np.eye(4, dtype=np.float32), np.arange(4)).ece == 0


def test_the_interval_is_central() -> None:
    low, high = interval(0.5, np.linspace(0, 1, 1001))
    assert (low, high) == (pytest.approx(0.025), pytest.approx(0.975))


def test_the_interval_of_macro_f1_holds_what_was_observed_in_its_middle() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(30), 6)
    predicted = np.where(rng.random(180) < 0.7, labels, rng.integers(0, 30, 180))
    values = weighted_macro_f1(labels, predicted, resample_weights(180, 2000, 0))
    observed = macro_f1(labels, predicted)
    assert values.mean() < observed - 0.005, "resampling lowers macro F1"
    low, high = interval(observed, values)
    assert (low + high) / 2 == pytest.approx(observed, abs=0.005)


def test_the_most_confident_come_first() -> None:
    probabilities = np.array([[0.6, 0.4], [0.1, 0.9], [0.8, 0.2], [0.2, 0.8], [0.4, 0.6]], np.float32)
    assert most_confident(probabilities, np.array([0, 2, 1])) == [1, 2, 0]
    assert confident_mistakes(probabilities, np.array([0, 0, 1, 0, 1])) == [1, 2, 3]
    assert confident_mistakes(probabilities, probabilities.argmax(1)) == []


def test_no_interval_is_beyond_what_a_score_can_be() -> None:
    labels = np.repeat(np.arange(4), 2)
    predicted = np.array([0, 0, 1, 1, 2, 2, 3, 0])
    values = weighted_macro_f1(labels, predicted, resample_weights(8, 500, 0))
    low, high = interval(macro_f1(labels, predicted), values)
    assert (0 < low < 0.8, high) == (True, 1)
    low, high = interval(-macro_f1(labels, predicted), -values, lowest=-1)
    assert (low, -0.8 < high < 0) == (-1, True)
    effect = two_level([0.9, 0.3], [0.1], values)
    assert (effect.low, effect.high) == (-1, 1)
    assert effect.p > 0.05
