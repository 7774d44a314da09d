"""Members of which some are files: joined by id with the predictions of runs, and checked by the data folder."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from corolla.data.class_names import read_class_names
from corolla.data.competition import SAMPLE_SUBMISSION
from corolla.data.index import Index, find_index
from corolla.data.record_files import size_folders
from corolla.data.transforms.tta import TTA
from corolla.ensemble.files import PredictionFile, is_file, own_prediction, read_file
from corolla.ensemble.members import MemberPredictions, data_folder, read_members
from corolla.errors import UserError
from corolla.evaluation.labels import check_ids, read_labels
from corolla.evaluation.predictions import current_predictions
from corolla.runs.folder import CheckpointName

log = logging.getLogger(__name__)

ROUNDING = 1e-3
"""Probabilities that differ by no more may be a copy in float16, or as text of few digits."""


def read_mixed(
    paths: Sequence[Path],
    *,
    tta: TTA,
    checkpoint: CheckpointName,
    data: Path | None = None,
    cache_dir: Path | None = None,
) -> MemberPredictions:
    """Read the predictions of test by files and, if any, runs, and join them by id.

    Raises:
        UserError: the data folder has no sample submission, a member can't be read, is named twice, or is of other
            photos or classes than the data folder's.
    """
    folders = [path for path in paths if not is_file(path)]
    runs = (
        read_members(folders, "test", tta=tta, checkpoint=checkpoint, data=data, cache_dir=cache_dir)
        if folders
        else None
    )
    folder = data_folder(runs.runs if runs else (), data)
    sample, class_names = _read_sample(folder), read_class_names(folder / "classes.txt")
    if runs:
        first = runs.runs[0].folder
        check_ids(runs.ids.tolist(), sample["id"].tolist(), source=f"{first}: its test predictions")
        if runs.num_classes != len(class_names) or runs.class_names not in ((), class_names):
            raise UserError(f"{first}: was trained for other classes than {folder} has (classes.txt)")
    named = [path for path in paths if is_file(path)]
    for position, path in enumerate(named):
        _check_is_a_prediction(path, folder, named[:position])
    files = [_checked(read_file(path, sample, class_names), runs, folder, cache_dir) for path in named]
    joined = _in_order(paths, runs, files)
    _check_differ(joined)
    return MemberPredictions(
        runs=runs.runs if runs else (),
        predictions=runs.predictions if runs else (),
        ids=np.sort(sample["id"].to_numpy(str)),
        probabilities=tuple(values for _, _, values in joined if values is not None),
        labels=runs.labels if runs else None,
        files=tuple(files),
        voted=tuple(voted for _, voted, _ in joined),
        data_class_names=class_names,
    )


def _read_sample(folder: Path) -> pd.DataFrame:
    if not (folder / SAMPLE_SUBMISSION).exists():
        raise UserError(
            f"{folder}: has no {SAMPLE_SUBMISSION}, by whose ids files are checked; name its data folder with --data"
        )
    return read_labels(folder / SAMPLE_SUBMISSION)


def _check_is_a_prediction(path: Path, folder: Path, before: Sequence[Path]) -> None:
    """Check that a file is no member already, and not one of the CSVs of the data folder, which `*.csv` may name too.

    Raises:
        UserError: it is.
    """
    if path.resolve() in {other.resolve() for other in before}:
        raise UserError(f"{path}: is named twice; every member has one vote")
    if path.name.startswith(("sample_submission", "sample-submission")):
        raise UserError(f"{path}: its labels are an example's, not predictions; leave it out")
    if path.resolve() == (folder / "test_labels.csv").resolve():
        raise UserError(f"{path}: its labels are the truth, not predictions; leave it out")


Joined = tuple[Path, NDArray[np.int64], NDArray[np.floating] | None]
"""A member's path, the class that it votes for on each photo, and its probabilities, if it has some."""


def _in_order(paths: Sequence[Path], runs: MemberPredictions | None, files: Sequence[PredictionFile]) -> list[Joined]:
    """Return the members in the order in which they were named."""
    of_files, of_runs = iter(files), iter(runs.probabilities if runs else ())
    joined: list[Joined] = []
    for path in paths:
        if is_file(path):
            file = next(of_files)
            joined.append((path, file.voted, file.probabilities))
        else:
            values = next(of_runs)
            joined.append((path, values.argmax(1), values))
    return joined


def _check_differ(joined: Sequence[Joined]) -> None:
    """Check that no file is another member's copy: with equal probabilities it is one; what may be one is noted.

    Raises:
        UserError: it is.
    """
    for position, (path, voted, values) in enumerate(joined):
        for other, other_voted, other_values in joined[:position]:
            if not is_file(path) and not is_file(other):
                continue
            if values is None or other_values is None:
                same = "the same labels" if np.array_equal(voted, other_voted) else None
            elif np.array_equal(values.astype(np.float32), other_values.astype(np.float32)):  # as text, or wider
                raise UserError(f"{path}: has the same probabilities as {other}; every member has one vote")
            else:
                same = "nearly the same probabilities" if np.allclose(values, other_values, 0, ROUNDING) else None
            if same:
                log.warning("%s: has %s as %s; if it is a copy, leave it out: it counts twice", path, same, other)


def _checked(
    file: PredictionFile, runs: MemberPredictions | None, folder: Path, cache_dir: Path | None
) -> PredictionFile:
    """Return a file, with the run that made it, after a check that it is of the records that the data folder holds now.

    Raises:
        UserError: corolla wrote it, and it is of others or, in its run's folder, older than the checkpoint.
    """
    if source := own_prediction(file.path):
        index = find_index(folder, source.run.config.size, cache_dir)
        found = current_predictions(
            source.run, "test", source.tta, source.checkpoint, index=index if _has_test(index) else None
        )
        is_itself = file.path.suffix == ".npz" and file.probabilities is not None  # beside it lies a CSV of its labels
        return replace(file, source=replace(source, sha256=found.checkpoint)) if is_itself else file
    if file.fingerprint:
        known = {each.fingerprint for each in runs.predictions} - {""} if runs else set()
        known |= set() if file.fingerprint in known else _fingerprints(folder, cache_dir)
        if known and file.fingerprint not in known:
            raise UserError(f"{file.path}: is of other photos than {folder} holds now, though the ids are the same")
    return file


def _has_test(index: Index | None) -> bool:
    return index is not None and "test" in index.splits


def _fingerprints(folder: Path, cache_dir: Path | None) -> set[str]:
    """Return the fingerprint of the folder's test split at each of its sizes."""
    indexes = (find_index(folder, size, cache_dir) for size in size_folders(folder))
    return {index.splits["test"].fingerprint for index in indexes if index and "test" in index.splits}
