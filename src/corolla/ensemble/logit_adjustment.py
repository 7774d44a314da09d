"""Logit adjustment after training (Menon et al. 2021, "Long-tail learning via logit adjustment", section 4.1)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from corolla.data.index import Index
from corolla.ensemble.rules import TINY, Method, aggregated_scores
from corolla.errors import UserError
from corolla.evaluation.metrics import macro_f1

TAUS = np.linspace(0, 2, 41)
"""The powers that are tried; 0 is off, 1 the paper's own for the balanced error."""


def class_prior(index: Index) -> NDArray[np.float64]:
    """Return the frequency of each class in train; one that is not there counts as one photo.

    Raises:
        UserError: the data has no train split.
    """
    if "train" not in index.splits:
        raise UserError(f"{index.folder}: has no train split, but --adjust needs its class frequencies")
    counts = np.bincount(index.splits["train"].label, minlength=len(index.class_names))
    counts = np.maximum(counts, 1)
    return counts / counts.sum()


def fit_tau(
    probabilities: Sequence[NDArray[np.floating]],
    labels: NDArray[np.int64],
    prior: NDArray[np.float64],
    method: Method,
    weights: NDArray[np.float64] | None,
) -> float:
    """Return the power of the prior with the highest macro F1, of equal ones the least."""
    scores = np.log(np.maximum(aggregated_scores(probabilities, method, weights), TINY))
    values = [macro_f1(labels, (scores - tau * np.log(prior)).argmax(1)) for tau in TAUS]
    return float(TAUS[int(np.argmax(values))])
