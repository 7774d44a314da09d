"""The members of an ensemble: what several runs and files predict, joined by id."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from corolla.data.competition import SplitName
from corolla.data.index import find_index
from corolla.data.transforms.tta import TTA
from corolla.ensemble.files import PredictionFile
from corolla.errors import UserError
from corolla.evaluation.predictions import Predictions, current_predictions
from corolla.runs.folder import CheckpointName, Run, data_of, open_run


@dataclass(frozen=True, eq=False)
class MemberPredictions:
    """Predictions of one split by several members, rows in the same order for all."""

    runs: tuple[Run, ...]
    predictions: tuple[Predictions, ...]
    """As they were read, run by run."""
    ids: NDArray[np.str_]
    """N, sorted."""
    probabilities: tuple[NDArray[np.floating], ...]
    """N x classes of each member that has some, in the order of `ids`."""
    labels: NDArray[np.int64] | None
    """N, where the split is labelled."""
    files: tuple[PredictionFile, ...] = ()
    """Members that are files."""
    voted: tuple[NDArray[np.int64], ...] = ()
    """N class indices of each member, in the order they were named; only where files are among them."""
    data_class_names: tuple[str, ...] = ()
    """Those of the data folder, by which files are checked."""

    @property
    def num_classes(self) -> int:
        return self.probabilities[0].shape[1] if self.probabilities else len(self.data_class_names)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in the columns' order; empty where no file and no checkpoint tells them."""
        return next((each.class_names for each in self.predictions if each.class_names), self.data_class_names)


def read_members(
    folders: Sequence[Path],
    split: SplitName,
    *,
    tta: TTA,
    checkpoint: CheckpointName,
    data: Path | None = None,
    cache_dir: Path | None = None,
) -> MemberPredictions:
    """Read the runs' predictions and join them by id.

    They must be those of the data folder as it is now, where that is at hand: `data`, or the one that each run was
    trained with.

    Raises:
        UserError: predictions that are missing, older than their checkpoint, or of other photos or classes.
    """
    runs = tuple(open_run(folder) for folder in folders)
    for position, run in enumerate(runs):
        if run.folder.resolve() in {other.folder.resolve() for other in runs[:position]}:
            raise UserError(f"{run.folder}: is named twice; every run has one vote")
    places = [(data or data_of(run), run.config.size) for run in runs]
    there = {place: find_index(*place, cache_dir) for place in set(places)}
    indexes = [index if (index := there[place]) and split in index.splits else None for place in places]
    members = [
        current_predictions(run, split, tta, checkpoint, index=index) for run, index in zip(runs, indexes, strict=True)
    ]
    ids = np.sort(members[0].ids)
    probabilities = []
    for run, member in zip(runs, members, strict=True):
        order = np.argsort(member.ids)
        if not np.array_equal(member.ids[order], ids):
            raise UserError(f"{run.folder}: its {split} predictions are of other photos than those of {runs[0].folder}")
        if len({member.fingerprint, members[0].fingerprint} - {""}) > 1:
            raise UserError(
                f"{run.folder}: its {split} predictions are of other records than those of {runs[0].folder}, "
                "though the ids are the same; predict both with the same --data"
            )
        same_number = member.probabilities.shape[1] == members[0].probabilities.shape[1]
        if not same_number or len({member.class_names, members[0].class_names} - {()}) > 1:
            raise UserError(f"{run.folder}: was trained for other classes than {runs[0].folder}")
        probabilities.append(member.probabilities[order])
    labels = members[0].labels
    return MemberPredictions(
        runs=runs,
        predictions=tuple(members),
        ids=ids,
        probabilities=tuple(probabilities),
        labels=labels[np.argsort(members[0].ids)] if labels is not None else None,
    )


def all_predicted(folders: Sequence[Path], split: SplitName, *, tta: TTA, checkpoint: CheckpointName) -> bool:
    """Return whether every run has a file of such predictions."""
    return all(open_run(folder).predictions(split, tta, checkpoint).exists() for folder in folders)


def data_folder(runs: Sequence[Run], data: Path | None) -> Path:
    """Return the folder whose sample_submission.csv counts: `data`, else that of the first run, else data/."""
    return data or (data_of(runs[0]) if runs else Path("data"))
