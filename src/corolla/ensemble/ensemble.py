"""`corolla ensemble`: the predictions of one run or several to labels. It reads files of probabilities: no GPU."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from corolla.evaluation.combine import FITTED, Method, Rule
from corolla.evaluation.fit import fit_rule
from corolla.evaluation.members import Members, all_predicted, read_members
from corolla.evaluation.predictions import TTA, CheckpointName, Predictions, SplitName
from corolla.training.run import Run


@dataclass(frozen=True, eq=False)
class Ensemble:
    """What several runs say together."""

    ids: NDArray[np.str_]
    predicted: NDArray[np.int64]
    """N class indices, in the order of `ids`."""
    runs: tuple[Run, ...]
    members: tuple[Predictions, ...]
    """What was combined, run by run."""
    num_classes: int
    labels: NDArray[np.int64] | None


def combine_members(members: Members, rule: Rule) -> Ensemble:
    """What the members say by `rule`."""
    return Ensemble(
        ids=members.ids,
        predicted=rule.predict(members.probabilities),
        runs=members.runs,
        members=members.predictions,
        num_classes=members.num_classes,
        labels=members.labels,
    )


def ensemble(
    folders: Sequence[Path],
    *,
    split: SplitName = "test",
    tta: TTA = "none",
    method: Method = "mean",
    checkpoint: CheckpointName = "best",
) -> Ensemble:
    """Join the runs' predictions by id and combine them; weighted and greedy are fitted on those of val.

    Raises:
        UserError: predictions that are missing, older than their checkpoint, or of other photos or classes.
    """
    members = read_members(folders, split, tta=tta, checkpoint=checkpoint)
    if method not in FITTED:
        return combine_members(members, Rule(method))
    val = read_members(folders, "val", tta=tta, checkpoint=checkpoint)
    assert val.labels is not None, "val is labelled"
    return combine_members(members, fit_rule(val.probabilities, val.labels, method))


def ensemble_on_val(
    folders: Sequence[Path], *, tta: TTA, method: Method, checkpoint: CheckpointName
) -> Ensemble | None:
    """The same ensemble on val, where all its members were predicted there."""
    if not all_predicted(folders, "val", tta=tta, checkpoint=checkpoint):
        return None
    return ensemble(folders, split="val", tta=tta, method=method, checkpoint=checkpoint)
