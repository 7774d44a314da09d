"""Weights of an ensemble's members, fitted for macro F1. Nothing is random."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from corolla.ensemble.rules import TINY
from corolla.evaluation.metrics import macro_f1

STEPS = (0.3, 0.1, 0.03)
"""Shares by which the coordinate search moves towards or away from one member."""
MAX_SWEEPS = 10


def fit_weights(probabilities: Sequence[NDArray[np.floating]], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return M weights, not negative, of sum 1, fitted on N x classes of each of M members and N labels.

    Macro F1 is a step function of the weights, so descent has nothing to go by: the least log loss (which is convex in
    them) or equal weights, whichever has the higher macro F1, and from there a coordinate search on macro F1 itself.
    Where that ends below the best member, the search starts once more from that member alone.
    """
    stacked = np.stack([member.astype(np.float64) for member in probabilities])
    equal = np.full(len(stacked), 1 / len(stacked))
    if len(stacked) == 1:
        return equal

    def score(weights: NDArray[np.float64]) -> float:
        return macro_f1(labels, np.tensordot(weights, stacked, axes=1).argmax(1))

    start = max(_least_log_loss(stacked[:, np.arange(len(labels)), labels]), equal, key=score)
    found = _coordinate_search(start, score)
    alone = max(np.eye(len(stacked)), key=score)
    return _coordinate_search(alone, score) if score(alone) > score(found) else found


def _least_log_loss(of_truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return, of M x N probabilities of the true classes, the weights of the mixture with the least mean -log p."""

    from scipy.optimize import minimize  # takes half a second, which a vote need not wait for
    from scipy.special import softmax

    def loss(free: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights = softmax(free)
        mixed = np.maximum(weights @ of_truth, TINY)
        slope = -(of_truth / mixed).mean(1)
        return float(-np.log(mixed).mean()), weights * (slope - weights @ slope)

    return softmax(minimize(loss, np.zeros(len(of_truth)), jac=True, method="L-BFGS-B").x)


def _coordinate_search(
    weights: NDArray[np.float64], score: Callable[[NDArray[np.float64]], float]
) -> NDArray[np.float64]:
    """Move towards one member or away from it as long as the score rises, by ever smaller steps."""
    best = score(weights)
    for step in STEPS:
        for _ in range(MAX_SWEEPS):
            improved = False
            for member in range(len(weights)):
                for sign in (1, -1):
                    moved = weights.copy()
                    moved[member] = max(0.0, moved[member] + sign * step)
                    if moved.sum() == 0:
                        continue
                    moved /= moved.sum()
                    if (value := score(moved)) > best:
                        weights, best, improved = moved, value, True
            if not improved:
                break
    return weights
