"""The members of an ensemble: what several runs and files predict, joined by id."""

import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from corolla.data.competition import SplitName
from corolla.data.index import Index, find_index
from corolla.data.record_files import size_folders
from corolla.data.transforms.tta import TTA, parse_tta
from corolla.ensemble.files import PredictionFile
from corolla.errors import UserError
from corolla.evaluation.predictions import Predictions, current_predictions, views_in_common
from corolla.runs.best_epoch import counting_checkpoint
from corolla.runs.folder import CheckpointName, Run, data_of, open_run
from corolla.runs.folds import check_same_fold, own_index
from corolla.runs.same_data import check_has_val, warn_of_learned_val

log = logging.getLogger(__name__)


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
    names: tuple[str, ...] = ()
    """Names of the members, where they are cross-validations and not their first run, which stands in `runs`."""
    of_runs: tuple[Predictions, ...] = ()
    """Predictions of each run of its fold, cross-validation by cross-validation, where the members are such."""

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
    for run in runs:
        counting_checkpoint(run, checkpoint)
        if split == "val":
            check_has_val(run)
    if split == "val":
        check_same_fold(runs)
    for position, run in enumerate(runs):
        if run.folder.resolve() in {other.folder.resolve() for other in runs[:position]}:
            raise UserError(f"{run.folder}: is named twice; every run has one vote")
    indexes = _indexes(runs, split, data, cache_dir)
    members = [
        current_predictions(run, split, tta, checkpoint, index=index) for run, index in zip(runs, indexes, strict=True)
    ]
    ids, orders = np.sort(members[0].ids), [np.argsort(member.ids) for member in members]
    labels = [None if each.labels is None else each.labels[order] for each, order in zip(members, orders, strict=True)]
    for number, (run, member) in enumerate(zip(runs, members, strict=True)):
        if not np.array_equal(member.ids[orders[number]], ids):
            raise UserError(f"{run.folder}: its {split} predictions are of other photos than those of {runs[0].folder}")
        for before in range(number):
            _check_together(split, data, (run, member), (runs[before], members[before]))
        here, first = labels[number], labels[0]
        if here is not None and first is not None and not np.array_equal(here, first):
            raise UserError(f"{run.folder}: {split} has other labels at its size than for {runs[0].folder}")
    return MemberPredictions(
        runs=runs,
        predictions=tuple(members),
        ids=ids,
        probabilities=tuple(member.probabilities[order] for member, order in zip(members, orders, strict=True)),
        labels=labels[0],
    )


def _indexes(runs: Sequence[Run], split: SplitName, data: Path | None, cache_dir: Path | None) -> list[Index | None]:
    """Return the index of each run's data as they are now; None where the records are not at hand."""
    there: dict[tuple[Path, int | None], Index | None] = {}
    for run in runs:
        folder, size = place = data or data_of(run), run.config.size
        if place in there:
            continue
        there[place] = index = find_index(folder, size, cache_dir)
        if index is None and (others := size_folders(folder)):
            _warn_once(
                f"{folder}: holds photos of {', '.join(map(str, others))} px, but none of the {size} px that "
                f"{run.folder} was trained at: whether they are those that it predicted can't be told"
            )
    found = [there[data or data_of(run), run.config.size] for run in runs]
    indexes = found
    if split != "test":
        indexes = [index and own_index(run, index, cache_dir) for run, index in zip(runs, found, strict=True)]
    if split == "val":
        for run, index in zip(runs, indexes, strict=True):
            warn_of_learned_val(run, index)
    return [index if index and split in index.splits else None for index in indexes]


@functools.cache
def _warn_once(text: str) -> None:
    log.warning("%s", text)


def _check_together(
    split: SplitName, data: Path | None, second: tuple[Run, Predictions], first: tuple[Run, Predictions]
) -> None:
    """Check that predictions of two runs are of the same records and classes, and not of one run twice.

    Two sizes have no bytes in common: they are taken to be of the same photos if they lie in one data folder.

    Raises:
        UserError: they do not belong together.
    """
    (run, member), (other, others) = second, first
    if member.checkpoint == others.checkpoint:
        raise UserError(f"{run.folder}: is a copy of {other.folder} (the same checkpoint); every run has one vote")
    folders = {(data or data_of(each)).resolve() for each in (run, other)}
    are_sizes_of_one = len(folders) == 1 and run.config.size != other.config.size
    if not are_sizes_of_one and len({member.fingerprint, others.fingerprint} - {""}) > 1:
        raise UserError(
            f"{run.folder}: its {split} predictions are of other records than those of {other.folder}, though the ids "
            "are the same; predict both with the same --data"
        )
    same_number = member.probabilities.shape[1] == others.probabilities.shape[1]
    if not same_number or len({member.class_names, others.class_names} - {()}) > 1:
        raise UserError(f"{run.folder}: was trained for other classes than {other.folder}")


def views_for(runs: Sequence[Run], splits: Sequence[SplitName], checkpoint: CheckpointName, tta: TTA | None) -> TTA:
    """Return the name of the views that were asked for; None: of those with which the runs were predicted already.

    Raises:
        UserError: no views are called so, or the runs were predicted with several kinds.
    """
    return views_in_common(runs, splits, checkpoint) if tta is None else parse_tta(tta).name


def all_predicted(folders: Sequence[Path], split: SplitName, *, tta: TTA, checkpoint: CheckpointName) -> bool:
    """Return whether every run has a file of such predictions; of val none that has learned from it."""
    runs = [open_run(folder) for folder in folders]
    return all((split != "val" or run.validates) and run.predictions(split, tta, checkpoint).exists() for run in runs)


def data_folder(runs: Sequence[Run], data: Path | None) -> Path:
    """Return the folder whose sample_submission.csv counts: `data`, else that of the first run, else data/."""
    return data or (data_of(runs[0]) if runs else Path("data"))
