"""A rule that is fitted on val, and its score on images it was not fitted on (cross-fitting)."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corolla.ensemble.greedy import select_members
from corolla.ensemble.logit_adjustment import fit_tau
from corolla.ensemble.rules import EnsembleRule, Method
from corolla.ensemble.weighted import fit_weights
from corolla.errors import UserError
from corolla.evaluation.metrics import macro_f1

FOLDS, REPEATS = 5, 3
TRAINED_WITH = "name the data that they were trained with (--data)"
NO_ADJUSTED_VOTE = "--adjust needs probabilities, a vote has none: take another --method, such as mean"


def fit_rule(
    probabilities: Sequence[NDArray[np.floating]],
    labels: NDArray[np.int64],
    method: Method,
    prior: NDArray[np.float64] | None = None,
) -> EnsembleRule:
    """Return the rule of `method` for the highest macro F1 on N x classes of each member and N labels.

    With `prior` (classes) the logits are adjusted as well. What needs no fitting is left as it is.

    Raises:
        UserError: a vote has no logits to adjust, or `prior` is of other classes.
    """
    if prior is not None and method == "vote":
        raise UserError(NO_ADJUSTED_VOTE)
    if prior is not None and len(prior) != probabilities[0].shape[1]:
        raise UserError(
            f"--adjust: the data has {len(prior)} classes, the runs have {probabilities[0].shape[1]}; {TRAINED_WITH}"
        )
    weights = None
    if method == "weighted":
        weights = fit_weights(probabilities, labels)
    elif method == "greedy":
        weights = select_members(probabilities, labels)
    tau = fit_tau(probabilities, labels, prior, method, weights) if prior is not None else 0.0
    return EnsembleRule(method, weights, prior, tau)


@dataclass(frozen=True)
class CrossFitted:
    """Macro F1 of a fitted rule on images that it was not fitted on."""

    macro_f1: float
    """Mean over the repeats."""
    sd: float
    """Between the repeats, which differ in the folds alone: it says nothing of other photos."""
    folds: int
    repeats: int


def cross_fitted(
    probabilities: Sequence[NDArray[np.floating]],
    labels: NDArray[np.int64],
    method: Method,
    prior: NDArray[np.float64] | None = None,
) -> CrossFitted | None:
    """Return the score of a repeated stratified K-fold: fitted on K - 1 folds, predicted on the last, all joined.

    None where the photos are too few for two folds.
    """
    from sklearn.model_selection import StratifiedKFold  # a second, which nothing else here needs

    folds = min(FOLDS, int(np.bincount(labels).max()))
    if folds < 2:
        return None
    values = []
    for repeat in range(REPEATS):
        predicted = np.empty_like(labels)
        with warnings.catch_warnings():
            # Classes with fewer photos than folds are missing from some: that is so on this data, and no fault.
            warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
            splits = list(StratifiedKFold(folds, shuffle=True, random_state=repeat).split(labels, labels))
        for inside, outside in splits:
            rule = fit_rule([member[inside] for member in probabilities], labels[inside], method, prior)
            predicted[outside] = rule.predict([member[outside] for member in probabilities])
        values.append(macro_f1(labels, predicted))
    return CrossFitted(float(np.mean(values)), float(np.std(values, ddof=1)), folds, REPEATS)
