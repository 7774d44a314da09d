"""The score of an ensemble on val: cross-fitted where it was fitted there, and what each member adds."""

from dataclasses import asdict, dataclass, field
from typing import Any

import pandas as pd

from corolla.ensemble.fit import CrossFitted, cross_fitted, fit_rule
from corolla.ensemble.members import MemberPredictions
from corolla.ensemble.rules import FITTED, EnsembleRule
from corolla.evaluation.metrics import macro_f1, share_among


@dataclass(frozen=True, kw_only=True)
class ValidationEstimate:
    """The scores of an ensemble on val (whose labels chose each member's best.pt already, whatever the method)."""

    in_sample: float
    """Macro F1 on the images that its weights were fitted on: optimistic, where it has some."""
    accuracy: float
    """Accuracy on the same images."""
    top5: float
    """Top-5 accuracy on the same images; a vote's by `EnsembleRule.ranked`."""
    cross_fitted: CrossFitted | None = None
    """Scores on images that they were not fitted on; None where nothing was fitted, or the photos are too few."""
    not_adjusted: float | None = None
    """With --adjust: macro F1 without it (cross-fitted, where there are weights); its gain is the difference."""
    members: pd.DataFrame = field(repr=False, compare=False)
    """The table that `leave_one_out` returns."""

    @property
    def macro_f1(self) -> float:
        """The value to report: cross-fitted where anything was fitted."""
        return self.cross_fitted.macro_f1 if self.cross_fitted is not None else self.in_sample

    def described(self) -> dict[str, Any]:
        """Return the scores as they stand in the JSON beside a submission."""
        # As object, so that what is not there is null and not NaN, which is no JSON.
        rows = self.members.astype(object).where(self.members.notna(), None)
        return {
            "val_macro_f1": self.macro_f1,
            "val_macro_f1_same_photos": self.in_sample,
            "val_accuracy": self.accuracy,
            "val_top5": self.top5,
            "val_cross_fitted": asdict(self.cross_fitted) if self.cross_fitted is not None else None,
            "val_macro_f1_not_adjusted": self.not_adjusted,
            "val_members": rows.to_dict("records"),
        }


def estimate_on_val(val: MemberPredictions, rule: EnsembleRule) -> ValidationEstimate:
    """Score `rule` on `val`, and cross-fit it where it was fitted there."""
    assert val.labels is not None
    predicted = rule.predict(val.probabilities)
    weighted, adjusted = rule.method in FITTED, rule.prior is not None
    joined = cross_fitted(val.probabilities, val.labels, rule.method, rule.prior) if weighted or adjusted else None
    not_adjusted = None
    if adjusted and weighted:
        without = cross_fitted(val.probabilities, val.labels, rule.method)
        not_adjusted = without.macro_f1 if without is not None else None
    elif adjusted:
        not_adjusted = macro_f1(val.labels, EnsembleRule(rule.method).predict(val.probabilities))
    return ValidationEstimate(
        in_sample=macro_f1(val.labels, predicted),
        accuracy=float((predicted == val.labels).mean()),
        top5=share_among(rule.ranked(val.probabilities), val.labels),
        cross_fitted=joined,
        not_adjusted=not_adjusted,
        members=leave_one_out(val, rule),
    )


def leave_one_out(val: MemberPredictions, rule: EnsembleRule) -> pd.DataFrame:
    """Return a row per member: run, weight, and macro F1 `alone`, of the ensemble `without` it, and what it `adds`.

    The ensemble without it is fitted anew where `rule` was fitted. All of it on the photos of the fit, so it tells the
    members apart and says nothing of other photos. An only member has no `without`: None.
    """
    assert val.labels is not None
    members, labels = val.probabilities, val.labels
    fitted = rule.method in FITTED or rule.prior is not None
    together = macro_f1(labels, rule.predict(members))
    rows = []
    names = val.names or [run.name for run in val.runs]
    for position, (name, member) in enumerate(zip(names, members, strict=True)):
        without = None
        if others := [other for number, other in enumerate(members) if number != position]:
            fewer = fit_rule(others, labels, rule.method, rule.prior) if fitted else rule
            without = macro_f1(labels, fewer.predict(others))
        rows.append(
            {
                "run": name,
                "weight": float(rule.weights[position]) if rule.weights is not None else 1 / len(members),
                "alone": macro_f1(labels, member.argmax(1)),
                "without": without,
                "adds": None if without is None else together - without,
            }
        )
    return pd.DataFrame(rows)
