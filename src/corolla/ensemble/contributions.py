"""What each member adds to an ensemble, on val."""

import pandas as pd

from corolla.evaluation.combine import FITTED, Rule
from corolla.evaluation.fit import fit_rule
from corolla.evaluation.members import Members
from corolla.evaluation.metrics import macro_f1


def contributions(val: Members, rule: Rule) -> pd.DataFrame:
    """A row per member: run, weight, and macro F1 of it `alone`, of the ensemble `without` it and what it `adds`.

    The ensemble without it is fitted anew where `rule` was fitted. All of it on the photos of the fit, so it tells the
    members apart and says nothing of other photos. An only member has no `without`: None.
    """
    assert val.labels is not None
    members, labels = val.probabilities, val.labels
    fitted = rule.method in FITTED or rule.prior is not None
    together = macro_f1(labels, rule.predict(members))
    rows = []
    for position, (run, member) in enumerate(zip(val.runs, members, strict=True)):
        without = None
        if others := [other for number, other in enumerate(members) if number != position]:
            fewer = fit_rule(others, labels, rule.method, rule.prior) if fitted else rule
            without = macro_f1(labels, fewer.predict(others))
        rows.append(
            {
                "run": run.name,
                "weight": float(rule.weights[position]) if rule.weights is not None else 1 / len(members),
                "alone": macro_f1(labels, member.argmax(1)),
                "without": without,
                "adds": None if without is None else together - without,
            }
        )
    return pd.DataFrame(rows)
