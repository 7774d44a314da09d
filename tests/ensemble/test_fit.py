"""Weights, selection and adjustment fitted on val, and how honestly their gain is told: arrays alone."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from corolla.ensemble.fit import FOLDS, REPEATS, cross_fitted, fit_rule
from corolla.ensemble.greedy import select_members
from corolla.ensemble.rules import EnsembleRule, Method, aggregate
from corolla.ensemble.weighted import fit_weights
from corolla.errors import UserError
from corolla.evaluation.metrics import macro_f1

MemberPredictions = list[NDArray[np.float32]]


def guesses(
    skills: Sequence[float], *, num: int = 300, classes: int = 5, seed: int = 0
) -> tuple[MemberPredictions, NDArray[np.int64]]:
    """MemberPredictions whose logits are noise and, for the true class, `skill` more."""
    rng = np.random.default_rng(seed)
    labels = np.arange(num) % classes
    members = []
    for skill in skills:
        logits = rng.normal(size=(num, classes))
        logits[np.arange(num), labels] += skill
        exp = np.exp(logits)
        members.append((exp / exp.sum(1, keepdims=True)).astype(np.float32))
    return members, labels


def test_geometric_is_the_mean_of_the_logarithms() -> None:
    members = [np.array([[0.9, 0.1, 0.0]], np.float32), np.array([[0.0, 0.3, 0.7]], np.float32)]
    assert aggregate(members, "mean").tolist() == [0]
    assert aggregate(members, "geometric").tolist() == [1]


def test_weights_are_those_of_the_mean() -> None:
    members, _ = guesses([0.5, 0.5])
    assert np.array_equal(aggregate(members, "weighted", np.array([1.0, 0.0])), members[0].argmax(1))
    assert np.array_equal(aggregate(members, "weighted", np.array([0.5, 0.5])), aggregate(members, "mean"))


def test_a_vote_ranks_as_its_ties_are_broken() -> None:
    """By the votes, then by the summed probability, then by the class's number; the other methods by their scores."""
    members = [np.array([[0.5, 0.1, 0.3, 0.0, 0.1]]), np.array([[0.1, 0.5, 0.4, 0.0, 0.0]]), np.eye(5)[[0]]]
    assert EnsembleRule("vote").ranked(members).tolist() == [[0, 1, 2, 4, 3]]
    assert EnsembleRule("mean").ranked(members, 3).tolist() == [[0, 2, 1]]


@pytest.mark.parametrize("method", ["vote", "mean", "geometric", "weighted"])
@pytest.mark.parametrize("tau", [0.0, 0.7])
def test_the_first_of_the_ranked_is_the_predicted(method: Method, tau: float) -> None:
    members, _ = guesses([0.5, 1.0, 0.2])
    members = [np.round(member, 1) for member in members]  # many ties
    weights = np.array([0.2, 0.5, 0.3]) if method == "weighted" else None
    rule = EnsembleRule(method, weights, np.arange(1, 6) / 15, tau if method != "vote" else 0.0)
    ranked = rule.ranked(members)
    assert np.array_equal(ranked[:, 0], rule.predict(members))
    assert (np.sort(ranked, axis=1) == np.arange(5)).all()


@pytest.mark.parametrize("fit", [fit_weights, select_members])
@pytest.mark.parametrize("skills", [[1.0], [1.0, 1.2, 0.0], [0.0, 3.0], [0.0, 0.0, 2.0, 0.0]])
def test_fitted_weights_are_shares_and_no_worse_than_the_best_member(
    fit: Callable[[MemberPredictions, NDArray[np.int64]], NDArray[np.float64]], skills: list[float]
) -> None:
    members, labels = guesses(skills)
    weights = fit(members, labels)
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1)
    assert np.array_equal(weights, fit(members, labels))
    reached = macro_f1(labels, aggregate(members, "weighted", weights))
    assert reached >= max(macro_f1(labels, member.argmax(1)) for member in members)
    if fit is fit_weights:
        assert reached >= macro_f1(labels, aggregate(members, "mean"))


def test_fitted_weights_are_no_worse_than_the_best_member_on_few_photos() -> None:
    """Where a search on so rough a score gets stuck, as it does in some of these."""
    for seed in range(60):
        members, labels = guesses([0.3, 0.6, 0.9], num=24, classes=4, seed=seed)
        reached = macro_f1(labels, aggregate(members, "weighted", fit_weights(members, labels)))
        assert reached >= max(macro_f1(labels, member.argmax(1)) for member in members)


def test_a_member_that_knows_nothing_weighs_little() -> None:
    members, labels = guesses([0.0, 2.0, 2.0], num=1000)
    for method in ("weighted", "greedy"):
        weights = fit_rule(members, labels, method).weights
        assert weights is not None
        assert weights[0] < 0.2
        assert min(weights[1:]) > weights[0]


def test_greedy_takes_a_perfect_member_alone() -> None:
    members, labels = guesses([0.5, 50.0, 0.5])
    assert select_members(members, labels).tolist() == [0, 1, 0]


def test_greedy_may_choose_a_member_twice() -> None:
    """A strong member beside two weak ones that help it where it hesitates."""
    members, labels = guesses([1.8, 1.0, 1.0], num=1000)
    shares = select_members(members, labels)
    assert shares[0] > max(shares[1:])
    assert macro_f1(labels, aggregate(members, "greedy", shares)) >= macro_f1(labels, aggregate(members, "mean"))


@pytest.mark.parametrize("method", ["weighted", "greedy"])
def test_a_gain_out_of_nothing_is_not_reported(method: Method) -> None:
    """MemberPredictions that all know nothing: the fit finds weights that look better, the folds know otherwise."""
    members, labels = guesses([0.0] * 6, num=150)
    fitted = macro_f1(labels, fit_rule(members, labels, method).predict(members))
    honest = cross_fitted(members, labels, method)
    assert honest is not None
    assert (honest.folds, honest.repeats) == (FOLDS, REPEATS)
    assert fitted > 0.25
    assert honest.macro_f1 < 0.25 < fitted
    assert cross_fitted(members, labels, method) == honest


def test_a_real_gain_is_reported() -> None:
    members, labels = guesses([0.0, 0.0, 0.0, 2.5], num=400)
    honest = cross_fitted(members, labels, "weighted")
    assert honest is not None
    assert honest.macro_f1 > macro_f1(labels, aggregate(members, "mean")) + 0.05


def test_too_few_photos_for_folds() -> None:
    members, _ = guesses([1.0], num=5)
    assert cross_fitted(members, np.arange(5), "weighted") is None


def test_adjusting_finds_rare_classes() -> None:
    """Networks that were trained on 95 % of class 0 lean to it; val is balanced."""
    prior = np.array([0.95, 0.05])
    members, labels = guesses([1.5, 1.5], num=400, classes=2)
    leaning = []
    for member in members:
        skewed = member * prior
        leaning.append((skewed / skewed.sum(1, keepdims=True)).astype(np.float32))
    plain, rule = EnsembleRule("mean"), fit_rule(leaning, labels, "mean", prior)
    assert rule.tau > 0.3
    honest = cross_fitted(leaning, labels, "mean", prior)
    assert honest is not None
    assert honest.macro_f1 > macro_f1(labels, plain.predict(leaning)) + 0.05


def test_what_cannot_be_adjusted_is_told() -> None:
    members, labels = guesses([1.0, 1.0])
    with pytest.raises(UserError, match="a vote has none"):
        fit_rule(members, labels, "vote", np.full(5, 0.2))
    with pytest.raises(UserError, match="the data has 4 classes, the runs have 5; name the data that they were"):
        fit_rule(members, labels, "mean", np.full(4, 0.25))


def test_where_adjusting_does_not_help_it_is_off() -> None:
    members, labels = guesses([50.0])
    rule = fit_rule(members, labels, "mean", np.array([0.6, 0.1, 0.1, 0.1, 0.1]))
    assert rule.tau == 0
    assert np.array_equal(rule.predict(members), EnsembleRule("mean").predict(members))
