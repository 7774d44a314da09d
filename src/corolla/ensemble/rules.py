"""Rules that aggregate the probabilities of several networks to one label per image. Arrays alone: no files."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from corolla.evaluation.metrics import likeliest

Method = Literal["vote", "mean", "weighted", "greedy", "geometric"]
FITTED: tuple[Method, ...] = ("weighted", "greedy")
"""Their weights are fitted on val."""

RULE = {
    "method": str,
    "weights": ([float], None),
    "tau": (float, None),
    "prior": ([float], None),
}
"""The shape of a rule in JSON, which keeps every bit of a number."""
TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, eq=False)
class EnsembleRule:
    """A rule by which the probabilities of members become labels."""

    method: Method
    weights: NDArray[np.float64] | None = None
    """One a member, not negative, of sum 1; None: all the same."""
    prior: NDArray[np.float64] | None = None
    """Frequency of each class, for `tau`."""
    tau: float = 0.0
    """Probabilities are divided by prior^tau (Menon et al. 2021, section 4.1)."""

    def described(self) -> dict[str, Any]:
        """Return the rule for JSON, as `RULE` says."""
        return {
            "method": self.method,
            "weights": self.weights.tolist() if self.weights is not None else None,
            "tau": self.tau if self.prior is not None else None,
            "prior": self.prior.tolist() if self.prior is not None else None,
        }

    @staticmethod
    def read(described: dict[str, Any]) -> "EnsembleRule":
        """Return the rule that `described` gave."""
        weights, prior = (
            None if described[key] is None else np.array(described[key], np.float64) for key in ("weights", "prior")
        )
        return EnsembleRule(described["method"], weights, prior, described["tau"] or 0.0)

    def predict(self, probabilities: Sequence[NDArray[np.floating]]) -> NDArray[np.int64]:
        """Return N class indices of N x classes of each member."""
        if self.tau == 0:
            return aggregate(probabilities, self.method, self.weights)
        return self._adjusted(probabilities).argmax(1)

    def ranked(self, probabilities: Sequence[NDArray[np.floating]], count: int = 5) -> NDArray[np.int64]:
        """Return the first `count` classes (N x count) by the rule, the first that of `predict`.

        A vote ranks by the number of votes, and equal numbers, zero too, as its ties: by the summed probability.
        """
        if self.tau:
            return likeliest(self._adjusted(probabilities), count)
        scores = aggregated_scores(probabilities, self.method, self.weights)
        if self.method != "vote":
            return likeliest(scores, count)
        return np.lexsort((-scores, -_votes(probabilities)), axis=1)[:, :count]

    def _adjusted(self, probabilities: Sequence[NDArray[np.floating]]) -> NDArray[np.float64]:
        """Return the logarithms, N x classes, of the joined probabilities divided by prior^tau."""
        assert self.prior is not None
        scores = aggregated_scores(probabilities, self.method, self.weights)
        return np.log(np.maximum(scores, TINY)) - self.tau * np.log(self.prior)


def aggregate(
    probabilities: Sequence[NDArray[np.floating]], method: Method, weights: NDArray[np.float64] | None = None
) -> NDArray[np.int64]:
    """Return N class indices of N x classes of each member.

    vote: each member has one vote; ties go to the class, among those with most votes, of the highest summed
    probability. The others take the class of the highest `aggregated_scores`.
    """
    scores = aggregated_scores(probabilities, method, weights)
    if method != "vote":
        return scores.argmax(1)
    votes = _votes(probabilities)
    return np.where(votes == np.max(votes, axis=1, keepdims=True), scores, -np.inf).argmax(1)


def _votes(probabilities: Sequence[NDArray[np.floating]]) -> NDArray[np.int64]:
    """Return how many members (N x classes each) name each class, N x classes."""
    return np.sum([np.eye(member.shape[1], dtype=np.int64)[member.argmax(1)] for member in probabilities], axis=0)


def vote_of_labels(voted: Sequence[NDArray[np.int64]], scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return N class indices of the N that each member has voted for, where not all members have probabilities.

    Ties go to the class, among those with most votes, of the highest of `scores` (N x classes: the summed probabilities
    of those members that have some, else zeros), and where these are equal to the one that the first member voted for.
    """
    num_classes, rows = scores.shape[1], np.arange(len(scores))
    votes = sum(np.eye(num_classes, dtype=np.int64)[member] for member in voted)
    scores = np.where(votes == np.max(votes, axis=1, keepdims=True), scores, -np.inf)
    tied = scores == scores.max(axis=1, keepdims=True)
    chosen = voted[-1]
    for member in reversed(voted):
        chosen = np.where(tied[rows, member], member, chosen)
    return chosen


def aggregated_scores(
    probabilities: Sequence[NDArray[np.floating]], method: Method, weights: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Return N x classes of N x classes of each member, as probabilities but for a factor per row.

    weighted, greedy: the mean with `weights`. geometric: the mean of the log-probabilities. The others: the sum.
    """
    members = [member.astype(np.float64) for member in probabilities]
    if weights is not None:
        return np.tensordot(weights, np.stack(members), axes=1)
    if method == "geometric":
        return np.exp(np.mean([np.log(np.maximum(member, TINY)) for member in members], axis=0))
    return np.sum(members, axis=0)
