"""What an ensemble is worth on val, told honestly where it was fitted there."""

from dataclasses import asdict, dataclass, field
from typing import Any

import pandas as pd

from corolla.evaluation.combine import FITTED, Rule
from corolla.evaluation.contributions import contributions
from corolla.evaluation.fit import CrossFitted, cross_fitted
from corolla.evaluation.members import Members
from corolla.evaluation.metrics import macro_f1


@dataclass(frozen=True, kw_only=True)
class OnVal:
    """An ensemble on val (whose labels chose each member's best.pt already, whatever the method)."""

    same_photos: float
    """Macro F1 on the photos that its weights were fitted on: too kind, where it has some."""
    accuracy: float
    """On the same."""
    cross_fitted: CrossFitted | None = None
    """On photos that they were not fitted on; None where nothing was fitted, or the photos are too few."""
    not_adjusted: float | None = None
    """With --adjust: macro F1 without it (cross-fitted, where there are weights); its gain is the difference."""
    members: pd.DataFrame = field(repr=False, compare=False)
    """See evaluation/contributions.py."""

    @property
    def macro_f1(self) -> float:
        """The value to report: cross-fitted where anything was fitted."""
        return self.cross_fitted.macro_f1 if self.cross_fitted is not None else self.same_photos

    def described(self) -> dict[str, Any]:
        """For JSON."""
        # As object, so that what is not there is null and not NaN, which is no JSON.
        rows = self.members.astype(object).where(self.members.notna(), None)
        return {
            "val_macro_f1": self.macro_f1,
            "val_macro_f1_same_photos": self.same_photos,
            "val_accuracy": self.accuracy,
            "val_cross_fitted": asdict(self.cross_fitted) if self.cross_fitted is not None else None,
            "val_macro_f1_not_adjusted": self.not_adjusted,
            "val_members": rows.to_dict("records"),
        }


def rule_on_val(val: Members, rule: Rule) -> OnVal:
    """`rule`, and where it was fitted (on `val`) the fitting of it."""
    assert val.labels is not None
    predicted = rule.predict(val.probabilities)
    weighted, adjusted = rule.method in FITTED, rule.prior is not None
    joined = cross_fitted(val.probabilities, val.labels, rule.method, rule.prior) if weighted or adjusted else None
    not_adjusted = None
    if adjusted and weighted:
        without = cross_fitted(val.probabilities, val.labels, rule.method)
        not_adjusted = without.macro_f1 if without is not None else None
    elif adjusted:
        not_adjusted = macro_f1(val.labels, Rule(rule.method).predict(val.probabilities))
    return OnVal(
        same_photos=macro_f1(val.labels, predicted),
        accuracy=float((predicted == val.labels).mean()),
        cross_fitted=joined,
        not_adjusted=not_adjusted,
        members=contributions(val, rule),
    )
