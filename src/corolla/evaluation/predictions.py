"""Files of predictions: ids and probabilities, from `corolla predict` to the stages that need no network."""

import contextlib
import glob
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corolla.data.index import Index, split_of
from corolla.data.transforms.tta import TTA, parse_tta
from corolla.errors import UserError
from corolla.evaluation.npz import read_npz
from corolla.evaluation.probabilities import shape_fault, value_fault
from corolla.files import replacing, sha256
from corolla.runs.folder import CheckpointName, Run, data_of
from corolla.runs.without_torch import read_without_tensors
from corolla.text_files import shell_words

log = logging.getLogger(__name__)

REQUIRED = ("ids", "probabilities", "checkpoint")
OPTIONAL = ("labels", "fingerprint", "class_names", "epochs", "seconds", "fold")


@dataclass(frozen=True, eq=False)
class Predictions:
    """Probabilities that one checkpoint gives one split; rows are told apart by id, never by their order."""

    ids: NDArray[np.str_]
    probabilities: NDArray[np.float32]
    """N x classes, each row sums to 1."""
    labels: NDArray[np.int64] | None
    """N, where the split is labelled."""
    checkpoint: str
    """SHA-256 of the checkpoint that made them."""
    fingerprint: str = ""
    """Fingerprint of the split's records: photos, ids and labels (data/index.py); empty in files of early versions."""
    epochs: int | None = 0
    """Epochs that the checkpoint was trained; None where that is unknown, as of one that was imported."""
    seconds: float | None = 0.0
    """Seconds that it took, in all; None as with `epochs`."""
    class_names: tuple[str, ...] = ()
    """Names of the classes, in the columns' order; empty in files of earlier versions, whose checkpoint knows them."""
    fold: str = ""
    """The fold of which they are and the SHA-256 of the folds: "1/5 SHA"; out of fold "oof 5 SHA"; empty: no fold."""

    def save(self, path: Path) -> None:
        columns = {"ids": self.ids, "probabilities": self.probabilities, "checkpoint": np.array(self.checkpoint)}
        columns["fingerprint"] = np.array(self.fingerprint)
        if self.epochs is not None and self.seconds is not None:
            columns |= {"epochs": np.array(self.epochs), "seconds": np.array(self.seconds)}
        if self.labels is not None:
            columns["labels"] = self.labels
        if self.class_names:
            columns["class_names"] = np.array(self.class_names)
        if self.fold:
            columns["fold"] = np.array(self.fold)
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **columns)

    @staticmethod
    def load(path: Path) -> "Predictions":
        """Read a file of predictions.

        Raises:
            UserError: the file is damaged or not one of predictions, or what it holds are no probabilities.
        """
        found = read_npz(path, REQUIRED, OPTIONAL)
        if fault := _fault(found):
            raise UserError(f"{path}: not a readable file of predictions ({fault})")
        return Predictions(
            ids=found["ids"],
            probabilities=found["probabilities"],
            labels=found.get("labels"),
            checkpoint=str(found["checkpoint"]),
            fingerprint=str(found.get("fingerprint", "")),
            epochs=int(found["epochs"]) if "epochs" in found else None,
            seconds=float(found["seconds"]) if "seconds" in found else None,
            class_names=tuple(map(str, found.get("class_names", ()))),
            fold=str(found.get("fold", "")),
        )


def _fault(found: dict[str, NDArray[Any]]) -> str | None:
    """Return which array is not of the type and shape that `save` writes, or holds no probabilities; None if none."""
    ids, values = found["ids"], found["probabilities"]
    if fault := shape_fault(ids, values) or value_fault(ids, values):
        return fault
    for name, kinds, shape in (
        ("labels", "iu", ids.shape),
        ("checkpoint", "U", ()),
        ("fingerprint", "U", ()),
        ("fold", "U", ()),
        ("epochs", "iu", ()),
        ("seconds", "iuf", ()),
        ("class_names", "U", values.shape[1:]),
    ):
        array = found.get(name)
        if array is not None and (array.dtype.kind not in kinds or array.shape != shape):
            return f"{name} is of type {array.dtype} and shape {array.shape}"
    return None


def views_predicted(run: Run, split: str, checkpoint: CheckpointName) -> list[TTA]:
    """Return the names of the views with which a checkpoint has predicted a split already, sorted."""
    found, checkpoint = [], run.counting(checkpoint)
    for path in sorted((run.folder / "predictions").glob(f"{glob.escape(split)}-*.npz")):
        name = path.stem.removeprefix(f"{split}-")
        if name.endswith("-last") != (checkpoint == "last"):
            continue
        with contextlib.suppress(UserError):  # a file of something else
            views = parse_tta(name.removesuffix("-last")).name
            found += [views] if run.predictions(split, views, checkpoint) == path else []
    return found


def views_in_common(
    runs: Sequence[Run], splits: Sequence[str], checkpoint: CheckpointName, *, prefers_none: bool = False
) -> TTA:
    """Return the views of predictions that are there already, where no others were asked for; none where nothing is.

    Args:
        prefers_none: of several kinds take `none` where it is there: training leaves it by itself.

    Raises:
        UserError: they are of several kinds; the message lists them.
    """
    kinds = {views for run in runs for split in splits for views in views_predicted(run, split, checkpoint)}
    if prefers_none and "none" in kinds and len(kinds) > 1:
        log.info("views: none (predicted as well: %s; --tta takes them)", ", ".join(sorted(kinds - {"none"})))
        return "none"
    if len(kinds) > 1:
        names = ", ".join(str(run.folder) for run in runs)
        there = ", ".join(sorted(kinds, key=lambda kind: (kind != "none", kind)))
        raise UserError(f"{names}: predicted with several kinds of views; choose one of them: --tta {there}")
    (found,) = kinds or {"none"}
    if found != "none":
        log.info("views: %s, as predicted already (--tta takes others)", found)
    return found


class StalePredictions(UserError):
    """Predictions are missing, damaged, or not those of the checkpoint and the data as they are now."""


def current_predictions(
    run: Run, split: str, tta: TTA, checkpoint: CheckpointName, *, index: Index | None = None
) -> Predictions:
    """Return the predictions of a checkpoint as it is now, and of the data of `index` where that is given.

    Ids do not tell whether the data are the same: where records have none they are places, which other data have too,
    and labels may be corrected. A run whose checkpoint was taken away keeps its predictions. They have the names of
    their classes, unless they are of an earlier version and the checkpoint is gone.

    Raises:
        StalePredictions: there are none; the message has the command that makes them.
    """
    path, source = run.predictions(split, tta, checkpoint), run.checkpoint(checkpoint)
    words: list[object] = ["corolla", "predict", run.folder, "--split", split, "--tta", parse_tta(tta).name]
    words += ["--checkpoint", "last"] if checkpoint == "last" else []
    command = shell_words(*words)
    if not path.exists():
        raise StalePredictions(f"{path}: not predicted yet; run: {command}")
    try:
        found = Predictions.load(path)
    except UserError as error:
        raise StalePredictions(f"{error}; run: {command}") from None
    if source.exists() and sha256(source) != found.checkpoint:
        raise StalePredictions(f"{path}: is older than {source}; run: {command}")
    if not found.class_names and source.exists():
        found = replace(found, class_names=tuple(read_without_tensors(source)["class_names"]))
    if index is not None:
        if index.folder.resolve() != data_of(run).resolve():
            command = shell_words(*words, "--data", index.folder)
        records = split_of(index, split)
        if not (found.fingerprint == records.fingerprint and np.array_equal(found.ids, records.id)):
            raise StalePredictions(f"{path}: is of other data than {index.folder} holds now; run: {command}")
        if found.class_names not in ((), index.class_names):
            raise StalePredictions(
                f"{path}: is of other classes than {index.folder} has (classes.txt); train a run on those, or put back "
                "the names that it was trained for"
            )
    return found
