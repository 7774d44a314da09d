"""Ensemble selection with replacement (Caruana et al. 2004, "Ensemble Selection from Libraries of Models")."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from corolla.evaluation.metrics import macro_f1

PATIENCE = 5
"""Rounds without a rise of macro F1 after which the selection ends."""
MAX_ROUNDS = 100


def select_members(probabilities: Sequence[NDArray[np.floating]], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return how often each of M members was chosen: N x classes of each, N labels -> M weights of sum 1.

    It starts with the best members alone, as many of them as have the highest macro F1 together (section 2.2: sorted
    initialisation), then adds whichever member gives the highest, again and again (section 2.1: with replacement). Of
    all those ensembles the best is taken, of equal ones the smallest; ties between members go to the first.
    """
    stacked = np.stack([member.astype(np.float64) for member in probabilities])

    def score(summed: NDArray[np.float64]) -> float:
        return macro_f1(labels, summed.argmax(1))

    alone = [score(member) for member in stacked]
    ranked = sorted(range(len(stacked)), key=lambda m: -alone[m])
    prefixes = [score(summed) for summed in np.cumsum(stacked[ranked], axis=0)]
    length = int(np.argmax(prefixes)) + 1
    counts = np.bincount(ranked[:length], minlength=len(stacked))
    best, chosen, waited = prefixes[length - 1], counts, 0
    summed = stacked[ranked[:length]].sum(0)
    for _ in range(MAX_ROUNDS):
        if waited == PATIENCE:
            break
        values = [score(summed + member) for member in stacked]
        added = int(np.argmax(values))
        summed = summed + stacked[added]
        counts = counts + (np.arange(len(stacked)) == added)
        waited += 1
        if values[added] > best:
            best, chosen, waited = values[added], counts, 0
    return chosen / chosen.sum()
