"""`corolla ensemble`: the predictions of one run or several to labels. It reads files of probabilities: no GPU."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from corolla.errors import UserError
from corolla.evaluation.predictions import TTA, CheckpointName, Predictions, SplitName
from corolla.files import sha256
from corolla.training.run import Run, open_run

Method = Literal["vote", "mean"]


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


def combine(probabilities: Sequence[NDArray[np.float32]], method: Method) -> NDArray[np.int64]:
    """N x classes of each member -> N class indices.

    vote: each member has one vote; ties go to the class, among those with most votes, of the highest summed
    probability. mean: the highest mean probability.
    """
    summed = np.sum([member.astype(np.float64) for member in probabilities], axis=0)
    if method == "mean":
        return summed.argmax(1)
    votes = sum(np.eye(member.shape[1], dtype=np.int64)[member.argmax(1)] for member in probabilities)
    return np.where(votes == np.max(votes, axis=1, keepdims=True), summed, -np.inf).argmax(1)


def ensemble(
    folders: Sequence[Path],
    *,
    split: SplitName = "test",
    tta: TTA = "none",
    method: Method = "mean",
    checkpoint: CheckpointName = "best",
) -> Ensemble:
    """Join the runs' predictions by id and combine them.

    Raises:
        UserError: predictions that are missing, older than their checkpoint, or of other photos or classes.
    """
    runs = tuple(open_run(folder) for folder in folders)
    for position, run in enumerate(runs):
        if run.folder.resolve() in {other.folder.resolve() for other in runs[:position]}:
            raise UserError(f"{run.folder}: is named twice; every run has one vote")
    members = [_current_predictions(run, split, tta, checkpoint) for run in runs]
    ids = np.sort(members[0].ids)
    probabilities = []
    for run, member in zip(runs, members, strict=True):
        order = np.argsort(member.ids)
        if not np.array_equal(member.ids[order], ids):
            raise UserError(f"{run.folder}: its {split} predictions are of other photos than those of {runs[0].folder}")
        if member.probabilities.shape[1] != members[0].probabilities.shape[1]:
            raise UserError(f"{run.folder}: was trained for other classes than {runs[0].folder}")
        probabilities.append(member.probabilities[order])
    labels = members[0].labels
    return Ensemble(
        ids=ids,
        predicted=combine(probabilities, method),
        runs=runs,
        members=tuple(members),
        num_classes=probabilities[0].shape[1],
        labels=labels[np.argsort(members[0].ids)] if labels is not None else None,
    )


def _current_predictions(run: Run, split: str, tta: str, checkpoint: CheckpointName) -> Predictions:
    path = run.predictions(split, tta, checkpoint)
    command = f"corolla predict {run.folder} --split {split} --tta {tta}"
    command += " --checkpoint last" if checkpoint == "last" else ""
    if not path.exists():
        raise UserError(f"{path}: not predicted yet; run: {command}")
    try:
        predictions = Predictions.load(path)
    except UserError as error:
        raise UserError(f"{error}; run: {command}") from None
    source = run.best if checkpoint == "best" else run.last
    if source.exists() and sha256(source) != predictions.checkpoint:
        raise UserError(f"{path}: is older than {source}; run: {command}")
    return predictions


def ensemble_on_val(
    folders: Sequence[Path], *, tta: TTA, method: Method, checkpoint: CheckpointName
) -> Ensemble | None:
    """The same ensemble on val, where all its members were predicted there."""
    if not all(open_run(folder).predictions("val", tta, checkpoint).exists() for folder in folders):
        return None
    return ensemble(folders, split="val", tta=tta, method=method, checkpoint=checkpoint)
