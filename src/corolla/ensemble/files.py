"""Members of an ensemble that are files: submissions, and probabilities from elsewhere."""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from corolla.data.transforms.tta import TTA
from corolla.errors import UserError
from corolla.evaluation.labels import check_ids, check_submission, read_labels
from corolla.evaluation.npz import MAGIC
from corolla.evaluation.probabilities import read_probabilities_csv, read_probabilities_npz
from corolla.files import ZIP_FAULTS, sha256
from corolla.runs.folder import CheckpointName, Run
from corolla.text_files import read_csv_rows

SUFFIXES = (".csv", ".gz", ".zip", ".npz", ".npy")


@dataclass(frozen=True, eq=False)
class PredictionFile:
    """Labels or probabilities of a file, rows in the order of the sorted ids."""

    path: Path
    sha256: str
    """SHA-256 of the file as it is, packed or not."""
    voted: NDArray[np.int64]
    """N class indices."""
    probabilities: NDArray[np.floating] | None
    """N x classes; None of a submission, which has labels only."""
    fingerprint: str = ""
    """Fingerprint of the records that were predicted, where corolla wrote the file."""
    source: "OwnPrediction | None" = None
    """The run that made it, where it lies in its folder."""


@dataclass(frozen=True)
class OwnPrediction:
    """The run in whose folder a file of predictions lies, and of what it is."""

    run: Run
    tta: TTA
    checkpoint: CheckpointName
    sha256: str = ""
    """SHA-256 of the checkpoint."""


def own_prediction(path: Path) -> OwnPrediction | None:
    """Return what a file of predictions of test is by the place where it lies; None of one from elsewhere."""
    place = path.absolute().parent
    is_in_run = place.name == "predictions" and (place.parent / "config.json").is_file()
    if not (is_in_run and path.name.startswith("test-")):
        return None
    views, near = path.stem.removeprefix("test-"), path.parent.parent
    run = Run(near if near.name and path.parent.name == "predictions" else place.parent)
    return OwnPrediction(run, views.removesuffix("-last"), "last" if views.endswith("-last") else "best")


def is_file(member: Path) -> bool:
    """Return whether a member is a file, by what is there or, where nothing is, by its name; else it is a run."""
    return not member.is_dir() and (member.exists() or member.suffix.lower() in SUFFIXES)


def has_probabilities(path: Path) -> bool:
    """Return whether a file holds arrays, or a CSV of an id and more columns than a submission has."""
    if _is_npz(path):
        return True
    if not path.is_file():
        return False
    header = next(read_csv_rows(path), (1, list[str]()))[1]
    return header[:1] == ["id"] and len(header) > 2 and "label" not in [each.strip() for each in header]


def check_is_of_test(path: Path) -> None:
    """Check that a file does not lie where predictions out of fold do.

    Raises:
        UserError: it does.
    """
    if path.name.startswith("oof-") and path.absolute().parent.name == "predictions":
        raise UserError(f"{path}: is of train and val, out of fold; name the runs of the cross-validation themselves")


def read_file(path: Path, sample: pd.DataFrame, class_names: Sequence[str]) -> PredictionFile:
    """Read a submission or probabilities, whichever the file holds.

    Args:
        sample: the competition's sample_submission.csv, whose ids must all be there exactly once.
        class_names: the data's.

    Raises:
        UserError: it is neither, or of other ids or classes.
    """
    if not path.exists():
        raise UserError(f"{path}: there is no such file")
    digest = sha256(path) if path.is_file() else ""  # a pipe is for the reader to refuse
    if not _is_npz(path) and _has_labels(path, class_names):
        table = read_labels(path)
        check_submission(table, sample, len(class_names), source=str(path))
        return PredictionFile(path, digest, table.sort_values("id")["label"].to_numpy(), None)
    found = (read_probabilities_npz if _is_npz(path) else read_probabilities_csv)(path, class_names)
    check_ids(found.ids.tolist(), sample["id"].tolist(), source=str(path))
    values = found.values[np.argsort(found.ids)]
    return PredictionFile(path, digest, values.argmax(1), values, found.fingerprint)


def _has_labels(path: Path, class_names: Sequence[str]) -> bool:
    """Return whether a CSV is meant as id,label, so that its reader says what is amiss with the columns."""
    header = next(read_csv_rows(path), (1, list[str]()))[1]
    return header == ["id", "label"] or ("label" not in class_names and "label" in [each.strip() for each in header])


def _is_npz(path: Path) -> bool:
    """Return whether arrays are in a file or should be by its name: a .zip may hold a CSV or, renamed, arrays."""
    if path.suffix.lower() in (".npz", ".npy"):
        return True
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(len(MAGIC))
    if start.startswith(b"PK\x03\x04"):
        try:
            with zipfile.ZipFile(path) as archive:
                return any(name.endswith(".npy") for name in archive.namelist())
        except (OSError, *ZIP_FAULTS):  # the reader of CSVs says so
            return False
    return start == MAGIC
