"""Tells whether a run or its checkpoint is of the data that lie here, without torch."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from corolla.config import TrainConfig
from corolla.data.index import Index
from corolla.data.subset import subset_index
from corolla.errors import UserError
from corolla.runs.folder import Run
from corolla.text_files import mismatch

log = logging.getLogger(__name__)


def train_fingerprint(index: Index) -> dict[str, str]:
    """Return the fingerprints of the splits that training looks at, and of the folder's own where it has others."""
    return {name: fingerprint for name, fingerprint in index.fingerprint.items() if name != "test"}


def _looked_at(index: Index) -> dict[str, str]:
    """Return the fingerprints of train and val as a run has them; there may be no val."""
    return {name: index.fingerprint[name] for name in ("train", "val") if name in index.splits}


def check_same_data(content: dict[str, Any], index: Index, path: Path) -> None:
    """Check that the checkpoint at `path` was trained with the data of `index`, wherever that lay.

    Raises:
        UserError: it was not.
    """
    if tuple(content["class_names"]) != index.class_names:
        raise UserError(
            f"{index.folder}: its classes (classes.txt) are not those that {path} was trained for; for a run on these "
            "data choose another --run-name"
        )
    for split, fingerprint in _looked_at(index).items():
        if content["fingerprint"].get(split) != fingerprint:
            raise UserError(
                f"{index.folder}: its {split} images are not those that {path} was trained with; give the same data "
                "with --data, or a run on these another --run-name (from those weights: --model.weights)"
            )


def may_have_learned_val(fingerprint: Mapping[str, str], index: Index) -> bool:
    """Return whether photos of val may be among those that were learned: neither train nor val is what it was then.

    Where train is the same, none of its photos has become one of val; where val is, it is the one it was held against.

    Args:
        fingerprint: of the splits that a network was trained with.
    """
    now = _looked_at(index)
    return len(now) == 2 and all(fingerprint.get(split, each) != each for split, each in now.items())


def _knows_val(fingerprint: Mapping[str, str], index: Index) -> bool:
    """Return whether photos of val were learned by a network that was trained with the same folder of data.

    The folder is the same where its own val is. There, whoever was not validated on the same photos has learned some.

    Args:
        fingerprint: of what it was trained with; the folder's own val is in it, where that is another one.
    """
    own = fingerprint.get("val of the folder", fingerprint.get("val"))
    here = index.of_folder.get("val of the folder", index.fingerprint["val"])
    return own == here and fingerprint.get("val") != index.fingerprint["val"]


def notes_on_val(content: dict[str, Any], index: Index, path: Path, settings: TrainConfig) -> list[str]:
    """Return a note where the checkpoint at `path`, from which a run of `settings` learns, may know photos of its val.

    Where it was trained at another size, nothing tells but its folds.

    Raises:
        UserError: it does know some: it was trained with the same data folder, and validated on other photos or none.
    """
    is_known = mismatch(content, {"config": {str: object}, "fingerprint": {str: str}}) is None
    same_size = is_known and content["config"].get("size") == index.size
    there = content["config"].get("train") if is_known else None
    there = there if isinstance(there, dict) else {}
    folds, own = (there.get("fold"), there.get("folds_sha256")), (settings.fold, settings.folds_sha256)
    other_fold = settings.fold is not None and folds[1] == own[1] and folds[0] != own[0]
    if other_fold or (same_size and "val" in index.splits and _knows_val(content["fingerprint"], index)):
        raise UserError(
            f"{path}: has learned from photos that this run is to be validated on, so its scores would be too good; "
            "take one that was validated on the same photos (the same fold, or val)"
        )
    is_joined = there.get("on") == "train+val" or any((folds[0], own[0]))
    is_known = is_known and bool(content["fingerprint"])  # nothing is known of an imported one
    if is_known and not same_size and "val" in index.splits and is_joined and folds != own:
        return [
            f"note: {path} was trained on photos of another size, of train and val in another way than this run is; if "
            "they are the same photos, it has learned some that are in val here, and this run's scores are too good"
        ]
    if not (same_size and may_have_learned_val(content["fingerprint"], index)):
        return []
    return [
        f"note: {path} was trained with other photos, in train and in val, than {index.folder} holds; where it has "
        "learned from some that are in val here, this run's scores are too good"
    ]


def check_has_val(run: Run) -> None:
    """Check that a run has photos that it was validated on and has not learned.

    Raises:
        UserError: it has learned from val as well.
    """
    if not run.validates:
        raise UserError(
            f"{run.folder}: has learned from val (--train.on train+val), so that nothing it says of val is a score; "
            "take the run with val that has chosen its epochs, or predict test alone"
        )


def warn_of_learned_val(run: Run, index: Index | None) -> None:
    """Say that a run's scores on the val of `index` mean little, where it may have learned photos that are in it."""
    trained = run.environment.get("fingerprint") or {}
    if index is not None and run.imported:
        log.warning(
            "%s: was imported, and what it was trained with is unknown; if photos of val in %s were among that, its "
            "scores there, and what is fitted to them, are too good",
            run.folder,
            index.folder,
        )
    if index is None or index.size != run.config.size or "train" not in index.splits or not trained:
        return
    settings = run.config.train
    if may_have_learned_val(trained, subset_index(index, settings.share, settings.seed)):
        log.warning(
            "%s: was trained with other photos, in train and in val, than %s holds now; where it has learned from "
            "some that are in val now, its scores there, and what is fitted to them, are too good",
            run.folder,
            index.folder,
        )
